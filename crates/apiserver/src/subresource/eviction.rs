//! `eviction`: a delete that asks the disruption budgets first.
//!
//! Source: kubernetes v1.36.3 pkg/registry/core/pod/storage/eviction.go.

use api::{Cause, Gvk, Status, meta};
use schema::{Dom, Ref};
use store::{Revision, Txn};
use transport::{Request, Response};

use super::body_as;
use crate::options::{DeleteOptions, WriteOptions};
use crate::verbs::{Call, Changed, store_error};
use crate::{answer, codec, object};

/// Evictions that the disruption controller has not confirmed (upstream's MaxDisruptedPodSize).
const DISRUPTED: usize = 2000;

pub(super) async fn run(call: Call, request: Request) -> Result<Response, Status> {
    let gvk = Gvk::new("policy", "v1", "Eviction");
    let query = call.query.clone();
    let mut body = body_as(request, &gvk).await?;
    let own = meta::of(body.as_ref());
    if !own.name().is_empty() && own.name() != call.info.name {
        return Err(Status::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let dry_run = query.contains_key("dryRun");
    call.admit_foreign("eviction", &gvk, &mut body, dry_run)
        .await?;
    let mut options = DeleteOptions::parse(&query, body.as_ref().get("deleteOptions"))?;
    let name = call.info.name.clone();
    let stored = call.read(&name)?;
    let pod = object::parse(&stored.value, stored.revision);
    let done = api::pod::is_terminal(pod.as_ref())
        || api::meta::of(pod.as_ref()).is_deleting()
        || phase(pod.as_ref()) == "Pending";
    let named = options.revision.is_some();
    let charged = match done {
        true => Charged::Nothing,
        false => charge(&call, pod.as_ref(), options.dry_run).await?,
    };
    if !named && matches!(charged, Charged::NothingForUnready(_)) {
        // Only as long as it is not ready.
        options.revision = Some(stored.revision.to_string());
    }
    let removed = match mark(&call, &name, &mut options).await {
        Ok(()) => call.remove(&name, &options).await.map(|_| ()),
        Err(status) => Err(status),
    };
    match (removed, charged) {
        (Err(status), Charged::NothingForUnready(budget)) if !named && status.code == 409 => {
            return Err(refused(&still_processed(&budget)));
        }
        (removed, _) => removed?,
    }
    Ok(answer::status(&Status::succeeded(201), &call.accepted))
}

fn phase(pod: Ref<'_>) -> &str {
    pod.at(&["status", "phase"])
        .and_then(Ref::as_str)
        .unwrap_or_default()
}

/// What an eviction cost.
enum Charged {
    /// One of the disruptions allowed, or there is no budget.
    Nothing,
    /// The pod serves nobody, so the budget of this name pays nothing.
    NothingForUnready(String),
}

/// Says in the pod's status why it goes.
async fn mark(call: &Call, name: &str, options: &mut DeleteOptions) -> Result<(), Status> {
    if options.dry_run {
        return Ok(());
    }
    let write = WriteOptions::parse(&call.query, "CreateOptions")?;
    let now = api::time::format_seconds(call.server.config.clock.now());
    let gr = call.gr();
    let wanted = options.clone();
    let changed = call
        .change(name, "status", &write, None, &mut |old| {
            let own = meta::of(old.as_ref());
            if let Some(uid) = wanted.uid.as_deref().filter(|uid| *uid != own.uid()) {
                let cause = format!(
                    "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                    own.uid()
                );
                return Err(Status::conflict(&gr, name, &cause));
            }
            let revision = wanted.revision.as_deref();
            if let Some(revision) = revision.filter(|one| *one != own.resource_version()) {
                let cause = format!(
                    "the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record ({}). The object might have been modified",
                    own.resource_version()
                );
                return Err(Status::conflict(&gr, name, &cause));
            }
            let mut new = old.clone();
            let root = new.root();
            let metadata = new.ensure_map(root, "metadata");
            new.remove(metadata, "resourceVersion");
            add_condition(&mut new, &now);
            Ok(new)
        })
        .await?;
    if let (Changed::Stored(stored), Some(revision)) = (changed, &mut options.revision) {
        *revision = stored.revision.to_string();
    }
    Ok(())
}

fn add_condition(pod: &mut Dom, now: &str) {
    let root = pod.root();
    let status = pod.ensure_map(root, "status");
    let list = pod.ensure_list(status, "conditions");
    let found = pod
        .items(list)
        .find(|&node| pod.at_node(node).str("type") == "DisruptionTarget");
    let condition = found.unwrap_or_else(|| {
        let node = pod.new_map();
        pod.set_str(node, "type", "DisruptionTarget");
        pod.push(list, node);
        node
    });
    if pod.at_node(condition).str("status") != "True" {
        pod.set_str(condition, "status", "True");
        pod.set_str(condition, "lastTransitionTime", now);
    }
    pod.set_str(condition, "reason", "EvictionByEvictionAPI");
    pod.set_str(condition, "message", "Eviction API: evicting");
}

fn refused(cause: &str) -> Status {
    let mut refused = Status::too_many_requests(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        10,
    );
    refused.has_details = true;
    refused.causes.push(Cause {
        reason: "DisruptionBudget".to_owned(),
        message: cause.to_owned(),
        field: String::new(),
    });
    refused
}

fn still_processed(budget: &str) -> String {
    format!("The disruption budget {budget} is still being processed by the server.")
}

async fn charge(call: &Call, pod: Ref<'_>, dry_run: bool) -> Result<Charged, Status> {
    use registry::Lookup;
    let prefix = "poddisruptionbudgets";
    let budgets = call.server.lookup.list(prefix, &call.info.namespace);
    let chosen: Vec<Dom> = budgets
        .into_iter()
        .filter(|budget| {
            let selector = meta::label_selector(budget.as_ref().at(&["spec", "selector"]));
            selector.is_ok_and(|selector| meta::of(pod).matches(&selector))
        })
        .collect();
    let mut budget = match <[Dom; 1]>::try_from(chosen) {
        Ok([budget]) => budget,
        Err(none) if none.is_empty() => return Ok(Charged::Nothing),
        Err(_) => {
            let cause = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(Status::internal(cause));
        }
    };
    let name = meta::of(budget.as_ref()).name().to_owned();
    let status = budget.as_ref().get("status");
    let allowed = status
        .and_then(|s| s.int("disruptionsAllowed"))
        .unwrap_or(0);
    let observed = status
        .and_then(|s| s.int("observedGeneration"))
        .unwrap_or(0);
    let generation = meta::of(budget.as_ref()).generation();
    let healthy = |key| status.and_then(|s| s.int(key)).unwrap_or(0);
    let (current, desired) = (healthy("currentHealthy"), healthy("desiredHealthy"));
    if !api::pod::is_ready(pod) {
        let policy = budget
            .as_ref()
            .at(&["spec", "unhealthyPodEvictionPolicy"])
            .and_then(Ref::as_str);
        if policy == Some("AlwaysAllow") || (current >= desired && desired > 0) {
            return Ok(Charged::NothingForUnready(name));
        }
    }
    if observed < generation {
        return Err(refused(&still_processed(&name)));
    }
    if allowed < 0 {
        let cause = "pdb disruptions allowed is negative";
        let gr = api::Gr {
            group: "policy".to_owned(),
            resource: "poddisruptionbudget".to_owned(),
        };
        return Err(Status::forbidden(&gr, &name, cause));
    }
    let disrupted = status.map_or(0, |s| s.entries("disruptedPods").count());
    if disrupted > DISRUPTED {
        let cause =
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        let gr = api::Gr {
            group: "policy".to_owned(),
            resource: "poddisruptionbudget".to_owned(),
        };
        return Err(Status::forbidden(&gr, &name, cause));
    }
    if allowed == 0 {
        let mut status = refused(&format!(
            "The disruption budget {name} needs {desired} healthy pods and has {current} currently"
        ));
        status.retry_after_seconds = 0;
        return Err(status);
    }
    if dry_run {
        return Ok(Charged::Nothing);
    }
    let revision = meta::of(budget.as_ref())
        .resource_version()
        .parse()
        .unwrap_or(0);
    let root = budget.root();
    let map = budget.ensure_map(root, "status");
    budget.set_int(map, "disruptionsAllowed", allowed - 1);
    let disrupted = budget.ensure_map(map, "disruptedPods");
    let now = api::time::format_seconds(call.server.config.clock.now());
    budget.set_str(disrupted, meta::of(pod).name(), &now);
    let Some(row) = registry::RESOURCES.iter().find(|row| row.prefix == prefix) else {
        return Ok(Charged::Nothing);
    };
    let key = object::key(
        &call.server.config.root,
        prefix,
        &call.info.namespace,
        &name,
    );
    let value = codec::to_stored(row, &mut budget);
    let txn = Txn::update(key, value, Revision(revision));
    match call
        .server
        .config
        .store
        .txn(txn)
        .await
        .map_err(|e| store_error(&e))?
    {
        store::Outcome::Committed { .. } => Ok(Charged::Nothing),
        store::Outcome::Conflict { .. } => Err(refused(&still_processed(&name))),
    }
}
