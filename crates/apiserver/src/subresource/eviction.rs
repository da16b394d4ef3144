//! `eviction`: a delete that asks the disruption budgets first.
//!
//! Source: kubernetes v1.36.3 pkg/registry/core/pod/storage/eviction.go.

use api::{Cause, Gvk, Status, meta};
use schema::{Dom, Ref};
use store::{Revision, Txn};
use transport::{Request, Response};

use super::body_as;
use crate::options::DeleteOptions;
use crate::verbs::{Call, store_error};
use crate::{answer, codec, object};

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
    let options = DeleteOptions::parse(&query, body.as_ref().get("deleteOptions"))?;
    let name = call.info.name.clone();
    let stored = call.read(&name)?;
    let pod = object::parse(&stored.value, stored.revision);
    let done = api::pod::is_terminal(pod.as_ref())
        || api::meta::of(pod.as_ref()).is_deleting()
        || phase(pod.as_ref()) == "Pending";
    if !done {
        charge(&call, pod.as_ref(), options.dry_run).await?;
    }
    call.remove(&name, &options).await?;
    Ok(answer::status(&Status::succeeded(201), &call.accepted))
}

fn phase(pod: Ref<'_>) -> &str {
    pod.at(&["status", "phase"])
        .and_then(Ref::as_str)
        .unwrap_or_default()
}

async fn charge(call: &Call, pod: Ref<'_>, dry_run: bool) -> Result<(), Status> {
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
        Err(none) if none.is_empty() => return Ok(()),
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
    let mut refused = Status::too_many_requests(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        0,
    );
    refused.has_details = true;
    if observed < generation {
        refused.retry_after_seconds = 10;
        refused.causes.push(Cause {
            reason: "DisruptionBudget".to_owned(),
            message: format!(
                "The disruption budget {name} is still being processed by the server."
            ),
            field: String::new(),
        });
        return Err(refused);
    }
    if allowed <= 0 {
        let healthy = |key| status.and_then(|s| s.int(key)).unwrap_or(0);
        refused.causes.push(Cause {
            reason: "DisruptionBudget".to_owned(),
            message: format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                healthy("desiredHealthy"),
                healthy("currentHealthy")
            ),
            field: String::new(),
        });
        return Err(refused);
    }
    if dry_run {
        return Ok(());
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
        return Ok(());
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
        store::Outcome::Committed { .. } => Ok(()),
        store::Outcome::Conflict { .. } => {
            refused.retry_after_seconds = 10;
            Err(refused)
        }
    }
}
