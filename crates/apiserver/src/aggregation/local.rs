//! APIServices of what is served here, and the tasks of the remote ones.
//!
//! Built-in group-versions are registered once with each start, those of custom resources as long
//! as they are served; who removes the label `automanaged` from an object has it for himself. The
//! decision is `plan`, which sees objects and answers with steps. Example: a definition of
//! `v1.example.com` appears → Create `v1.example.com`; it goes → Delete.
//! Source: kube-aggregator v0.36.3 pkg/controllers/autoregister/autoregister_controller.go
//! (checkAPIService and its table), pkg/controllers/status/local,
//! kubernetes v1.36.3 pkg/controlplane/controller/crdregistration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use api::meta;
use base::{Shutdown, tasks};
use futures_util::future::join_all;
use schema::{Dom, Ref};

use super::{ApiService, GROUP, PREFIX, Services, name_of, priorities, remote};
use crate::catalog::Catalog;
use crate::follow::Follower;
use crate::options::{DeleteOptions, WriteOptions};
use crate::outbound::Backend;
use crate::{Server, bootstrap};

/// Says how an object is kept.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Once with each start.
const ON_START: &str = "onstart";
/// As long as it is wanted.
const ALWAYS: &str = "true";
/// After a write that failed.
const RETRY: Duration = Duration::from_secs(1);

/// An APIService that is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    group: String,
    version: String,
    priorities: (i64, i64),
    managed: &'static str,
}

impl Wanted {
    fn name(&self) -> String {
        name_of(&self.group, &self.version)
    }

    fn write_spec(&self, dom: &mut Dom) {
        let root = dom.root();
        let spec = dom.new_map();
        if !self.group.is_empty() {
            dom.set_str(spec, "group", &self.group);
        }
        dom.set_str(spec, "version", &self.version);
        dom.set_int(spec, "groupPriorityMinimum", self.priorities.0);
        dom.set_int(spec, "versionPriority", self.priorities.1);
        dom.set(root, "spec", spec);
    }

    fn object(&self) -> Dom {
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        let metadata = dom.new_map();
        dom.set_str(metadata, "name", &self.name());
        let labels = dom.new_map();
        dom.set_str(labels, MANAGED, self.managed);
        dom.set(metadata, "labels", labels);
        dom.set(root, "metadata", metadata);
        self.write_spec(&mut dom);
        dom
    }

    fn is(&self, object: Ref<'_>) -> bool {
        let Some(spec) = object.get("spec") else {
            return false;
        };
        let extra = ["service", "caBundle", "insecureSkipTLSVerify"];
        spec.str("group") == self.group
            && spec.str("version") == self.version
            && spec.int("groupPriorityMinimum") == Some(self.priorities.0)
            && spec.int("versionPriority") == Some(self.priorities.1)
            && extra.iter().all(|key| spec.get(key).is_none())
    }
}

/// What the catalog serves.
fn wanted(catalog: &Catalog) -> BTreeMap<String, Wanted> {
    let mut all = BTreeMap::new();
    for group in catalog.groups().iter().filter(|group| group.name != GROUP) {
        for version in &group.versions {
            let served = catalog.of(&group.name, version);
            let custom = served.iter().any(|one| one.resource.definition.is_some());
            let (priorities, managed) = match priorities::built_in(&group.name, version) {
                Some(priorities) if !custom => (priorities, ON_START),
                None if !custom => continue,
                _ => (priorities::of(&group.name, version), ALWAYS),
            };
            let one = Wanted {
                group: group.name.clone(),
                version: version.clone(),
                priorities,
                managed,
            };
            all.insert(one.name(), one);
        }
    }
    all
}

/// What is to be done about one APIService.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Create(Wanted),
    Update(Wanted),
    /// With its uid.
    Delete(String, String),
    /// It is served here and does not say so.
    Available(String),
}

impl Step {
    fn name(&self) -> String {
        match self {
            Step::Create(one) | Step::Update(one) => one.name(),
            Step::Delete(name, _) | Step::Available(name) => name.clone(),
        }
    }
}

/// What was done before.
#[derive(Debug, Default)]
struct Past {
    /// There when the server started.
    at_start: BTreeSet<String>,
    /// Settled at least once.
    settled: BTreeSet<String>,
}

/// Pure.
fn plan(wanted: &BTreeMap<String, Wanted>, current: &[Dom], past: &Past) -> Vec<Step> {
    let current: BTreeMap<&str, Ref<'_>> = current
        .iter()
        .map(|dom| (meta::of(dom.as_ref()).name(), dom.as_ref()))
        .collect();
    let mut steps = Vec::new();
    for (name, one) in wanted {
        let once = one.managed == ON_START && past.settled.contains(name);
        if !once && !current.contains_key(name.as_str()) {
            steps.push(Step::Create(one.clone()));
        }
    }
    for (name, object) in current {
        let own = meta::of(object);
        let managed = own.label(MANAGED);
        let once = managed == Some(ON_START)
            && (!past.at_start.contains(name) || past.settled.contains(name));
        let desired = wanted.get(name);
        let settled = past.settled.contains(name);
        let done = desired.is_some_and(|one| one.managed == ON_START && settled);
        let ours = matches!(managed, Some(ON_START | ALWAYS)) && !once && !done;
        match desired {
            _ if !ours || own.is_deleting() => {}
            None => {
                steps.push(Step::Delete(name.to_owned(), own.uid().to_owned()));
                continue;
            }
            Some(one) if !one.is(object) => {
                steps.push(Step::Update(one.clone()));
                continue;
            }
            Some(_) => {}
        }
        let local = object.at(&["spec", "service"]).is_none();
        let says = meta::condition(object, "Available");
        let says = says.is_some_and(|of| of.str("status") == "True" && of.str("reason") == "Local");
        if local && !says {
            steps.push(Step::Available(name.to_owned()));
        }
    }
    steps
}

/// The condition of one that is served here.
fn local_condition() -> remote::Verdict {
    remote::Verdict {
        status: "True",
        reason: "Local",
        message: "Local APIServices are always available".to_owned(),
    }
}

async fn take(server: &Arc<Server>, step: &Step) -> Result<(), api::Status> {
    let Some(mut call) = bootstrap::call(server, GROUP, "v1", "apiservices", "") else {
        return Ok(());
    };
    let name = step.name();
    call.info.name.clone_from(&name);
    let options = WriteOptions::default();
    let done = match step {
        Step::Create(one) => call.create_object(one.object(), &options).await.map(|_| ()),
        Step::Update(one) => {
            let mut change = |old: &Dom| {
                let mut new = old.clone();
                one.write_spec(&mut new);
                Ok(new)
            };
            let done = call.change(&name, "", &options, None, &mut change).await;
            done.map(|_| ())
        }
        Step::Delete(name, uid) => {
            let options = DeleteOptions {
                uid: Some(uid.clone()),
                ..DeleteOptions::default()
            };
            let done = call.remove(name, &options).await;
            done.map(|_| ())
        }
        Step::Available(name) => remote::write(server, name, &local_condition()).await,
    };
    match done {
        // Others were faster: the change wakes us again.
        Err(status) if matches!(status.code(), 404 | 409) => Ok(()),
        done => done,
    }
}

/// Keeps APIServices.
struct Keeper {
    past: Past,
    /// The tasks of remote ones, with what they were started for.
    tasks: BTreeMap<String, (Backend, tasks::Handle)>,
}

impl Keeper {
    /// Brings everything up to date; whether all could be written.
    async fn pass(&mut self, server: &Arc<Server>) -> bool {
        let (services, objects) = Services::read(&server.lookup);
        server.aggregation.services.store(Arc::new(services));
        let wanted = wanted(&server.catalog.load());
        let steps = plan(&wanted, &objects, &self.past);
        let results = join_all(steps.iter().map(|step| take(server, step))).await;
        let mut failed = BTreeSet::new();
        for (step, result) in steps.iter().zip(results) {
            if let Err(status) = result {
                let name = step.name();
                tracing::warn!(name, err = %status, "an APIService is not as it should be");
                failed.insert(name);
            }
        }
        let present = objects.iter().map(|dom| meta::of(dom.as_ref()).name());
        self.past.settled = present
            .chain(wanted.keys().map(String::as_str))
            .filter(|name| !failed.contains(*name))
            .map(str::to_owned)
            .collect();
        failed.is_empty()
    }

    /// Has a task for every remote one.
    fn watch_over(&mut self, server: &Arc<Server>, shutdown: &Shutdown) {
        let services = server.aggregation.services();
        let remote: BTreeMap<&str, &ApiService> = services
            .remote()
            .map(|one| (one.name.as_str(), one))
            .collect();
        self.tasks.retain(|name, (backend, task)| {
            let kept = remote
                .get(name.as_str())
                .is_some_and(|one| one.backend.as_ref() == Some(backend));
            if !kept {
                task.abort();
                server.aggregation.forget(name);
            }
            kept
        });
        for (name, one) in remote {
            let Some(backend) = one.backend.clone() else {
                continue;
            };
            self.tasks.entry(name.to_owned()).or_insert_with(|| {
                let (weak, service) = (Arc::downgrade(server), one.clone());
                let watch = remote::watch(weak, shutdown.clone(), service);
                (backend, tasks::spawn("api-service", shutdown, watch))
            });
        }
    }
}

/// Registers what is served here, then follows what changes.
pub(crate) async fn start(server: &Arc<Server>) {
    let from = server.config.store.current_revision();
    let (_, objects) = Services::read(&server.lookup);
    let names = objects.iter().map(|dom| meta::of(dom.as_ref()).name());
    let mut keeper = Keeper {
        past: Past {
            at_start: names.map(str::to_owned).collect(),
            settled: BTreeSet::new(),
        },
        tasks: BTreeMap::new(),
    };
    let clean = keeper.pass(server).await;
    let prefix = crate::object::key(&server.config.root, PREFIX, "", "");
    let follower = Follower::new(server.config.store.clone(), prefix, from);
    let weak = Arc::downgrade(server);
    let changed = Arc::clone(&server.aggregation.catalog_changed);
    let shutdown = server.config.shutdown.clone();
    let ending = shutdown.clone();
    let _detached = tasks::spawn("api-services", &shutdown, async move {
        follow(keeper, weak, follower, changed, ending, clean).await;
    });
}

async fn follow(
    mut keeper: Keeper,
    server: Weak<Server>,
    mut follower: Follower,
    catalog: Arc<tokio::sync::Notify>,
    shutdown: Shutdown,
    mut clean: bool,
) {
    if let Some(server) = server.upgrade() {
        keeper.watch_over(&server, &shutdown);
    }
    loop {
        let retry = async {
            match clean {
                true => std::future::pending().await,
                false => tokio::time::sleep(RETRY).await,
            }
        };
        tokio::select! {
            biased;
            changed = follower.changed() => {
                if let Err(error) = changed {
                    if !shutdown.is_triggered() {
                        let err = base::Chain(&error);
                        tracing::error!(%err, "APIServices are no longer followed");
                    }
                    return;
                }
            }
            () = catalog.notified() => {}
            () = retry => {}
        }
        let Some(server) = server.upgrade() else {
            return;
        };
        clean = keeper.pass(&server).await;
        keeper.watch_over(&server, &shutdown);
    }
}

#[cfg(test)]
mod tests;
