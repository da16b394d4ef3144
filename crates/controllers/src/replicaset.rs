//! ReplicaSets and ReplicationControllers: as many pods as they ask for.
//!
//! One mechanism; [`Kind`] says what differs. `plan` decides, this file fetches and applies.
//! Source: kubernetes v1.36.3 pkg/controller/replicaset/replica_set.go,
//! pkg/controller/replication.

mod plan;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use api::{Gvr, LabelSelector};
use client::{Cache, Error, Key, Object, WorkQueue};
use schema::{Dom, Ref};

use crate::context::{Context, work};
use crate::informers::{BY_CONTROLLER, controller_uid};
use crate::replicaset::plan::{Change, Set, Status};
use crate::workload::claiming::{Claiming, Match};
use crate::workload::claims::Owner;
use crate::workload::control::{BURST, Control, message, namespace_ends, slow_start};
use crate::workload::expectations::{Expectations, TIMEOUT};
use crate::workload::living::Inquiry;
use crate::workload::pods::{self, Pod};
use crate::workload::{Name, Owners, label_selector, template};

/// What differs between the two.
struct Kind {
    task: &'static str,
    /// Where its events come from.
    component: &'static str,
    api_version: &'static str,
    kind: &'static str,
    group: &'static str,
    resource: &'static str,
    selector: fn(Ref<'_>) -> Option<LabelSelector>,
    /// Whether its status has `terminatingReplicas`.
    counts_terminating: bool,
}

static REPLICA_SET: Kind = Kind {
    task: "replicaset-controller",
    component: "replicaset-controller",
    api_version: "apps/v1",
    kind: "ReplicaSet",
    group: "apps",
    resource: "replicasets",
    selector: label_selector,
    counts_terminating: true,
};

static REPLICATION_CONTROLLER: Kind = Kind {
    task: "replicationcontroller-controller",
    component: "replication-controller",
    api_version: "v1",
    kind: "ReplicationController",
    group: "",
    resource: "replicationcontrollers",
    selector: |owner| {
        let selector = owner.get("spec")?.get("selector")?;
        Some(api::meta::set_selector(Some(selector)))
    },
    counts_terminating: false,
};

pub(crate) fn start_replica_sets(context: Context) {
    start(context, &REPLICA_SET);
}

pub(crate) fn start_replication_controllers(context: Context) {
    start(context, &REPLICATION_CONTROLLER);
}

struct World {
    kind: &'static Kind,
    context: Context,
    control: Control,
    sets: Cache,
    pods: Cache,
    expectations: Arc<Expectations>,
    queue: Arc<WorkQueue<Name>>,
}

fn start(context: Context, kind: &'static Kind) {
    let queue: Arc<WorkQueue<Name>> = Arc::new(WorkQueue::new());
    let expectations = Arc::new(Expectations::default());
    let (add, gone) = (queue.clone(), expectations.clone());
    let sets = context.informers.of(kind.group, "v1", kind.resource);
    let sets = sets.index(BY_CONTROLLER, controller_uid);
    let sets = sets.on_change(move |change| {
        let replaced = match (&change.old, &change.new) {
            (Some(old), Some(new)) => old.uid() != new.uid(),
            (_, new) => new.is_none(),
        };
        if replaced {
            gone.forget(change.key());
        }
        add.add(Name(change.key().clone()));
    });
    let sets = sets.cache();
    let owners = Owners {
        kind: kind.kind,
        cache: sets.clone(),
        selector: kind.selector,
    };
    let (add, seen) = (queue.clone(), expectations.clone());
    let pods = context.informers.of("", "v1", "pods");
    let pods = pods.index(BY_CONTROLLER, controller_uid);
    let pods = pods.on_change(move |change| {
        let told = owners.told(change);
        seen.hear(&told, change.object().uid());
        for owner in told.touched {
            add.add(Name(owner));
        }
    });
    let world = Arc::new(World {
        kind,
        control: Control::new(&context, kind.component),
        context: context.clone(),
        sets,
        pods: pods.cache(),
        expectations,
        queue: queue.clone(),
    });
    work(kind.task, &context, &queue, move |Name(key)| {
        let world = world.clone();
        async move { world.sync(&key).await }
    });
}

impl World {
    async fn sync(&self, key: &Key) -> Result<(), Error> {
        self.sets.synced().await;
        self.pods.synced().await;
        let Some(object) = self.sets.get(key) else {
            self.expectations.forget(key);
            return Ok(());
        };
        let Ok(dom) = object.parse() else {
            return Ok(());
        };
        let Some(selector) = (self.kind.selector)(dom.as_ref()) else {
            return Ok(());
        };
        let owner = Owner::read(self.kind.api_version, self.kind.kind, dom.as_ref());
        let set = Set::read(dom.as_ref());
        let may_change = self.expectations.satisfied(key);
        if !may_change {
            // Nobody tells when expectations run out.
            self.queue.add_after(Name(key.clone()), TIMEOUT);
        }
        let now = self.context.clock.now();
        let inquiry = Inquiry::new(self.api(&owner.namespace), &owner);
        let (active, terminating) = self.claim(&inquiry, &selector).await?;
        let mut failure = None;
        if may_change && !owner.deleting {
            match plan::change(set.replicas, active.len()) {
                Change::None => {}
                Change::Create(count) => {
                    failure = self
                        .create(key, &inquiry, dom.as_ref(), count.min(BURST))
                        .await;
                }
                Change::Delete(count) => {
                    let all: Vec<&Pod> = active.iter().collect();
                    let on_node = self.crowd(&object, &dom);
                    let doomed = pods::first_to_go(&all, &on_node, count.min(BURST), now);
                    failure = self.delete(key, &owner, &doomed).await;
                }
            }
        }
        let status = Status::of(&set, &active, now);
        let terminating = self.kind.counts_terminating.then_some(terminating);
        let problem = failure.as_ref().map(message);
        let problem = problem.as_deref();
        self.write(&object, dom, &status, terminating, problem)
            .await?;
        if let Some(error) = failure {
            return Err(error);
        }
        if let Some(wait) = plan::next_look(&set, &active, now) {
            self.queue.add_after(Name(key.clone()), wait);
        }
        Ok(())
    }

    /// The active pods that are the owner's, and how many of its pods are going.
    async fn claim(
        &self,
        inquiry: &Inquiry<'_>,
        selector: &LabelSelector,
    ) -> Result<(Vec<Pod>, i64), Error> {
        let owner = inquiry.owner();
        let pods = self.control.pods(&owner.namespace);
        let mut terminating = 0;
        let claimed = Claiming::new(inquiry, pods).claim(&self.pods, |dom| {
            let pod = Pod::read(dom.as_ref());
            let matches = pod.matches(selector);
            if pod.is_terminating() && matches && pod.owner.as_deref() == Some(&owner.uid) {
                terminating += 1;
            }
            match pod.is_active() {
                true => Match::when(matches, || pod),
                false => Match::Ignored,
            }
        });
        let claimed = claimed.await?.into_iter();
        Ok((claimed.map(|claimed| claimed.what).collect(), terminating))
    }

    fn api(&self, namespace: &str) -> client::Api {
        let gvr = Gvr::new(self.kind.group, "v1", self.kind.resource);
        self.context.client.namespaced(&gvr, namespace)
    }

    async fn create(
        &self,
        key: &Key,
        inquiry: &Inquiry<'_>,
        set: Ref<'_>,
        count: usize,
    ) -> Option<Error> {
        let template = set.at(&["spec", "template"])?;
        let living = match inquiry.living().await {
            Ok(Some(living)) => living,
            Ok(None) => return None,
            Err(error) => return Some(error),
        };
        let mut pod = template::pod(template, living.owner());
        let prefix = template::name_prefix(&living.owner().name);
        let root = pod.root();
        let metadata = pod.ensure_map(root, "metadata");
        pod.set_str(metadata, "generateName", &prefix);
        self.expectations.expect(key, count, []);
        let (made, failure) = slow_start(count, |_| self.control.create(&pod, &living)).await;
        self.expectations.created(key, count - made);
        // Nothing more can be done in a namespace that is going.
        failure.filter(|error| !namespace_ends(error))
    }

    async fn delete(&self, key: &Key, owner: &Owner, doomed: &[&Pod]) -> Option<Error> {
        let uids = doomed.iter().map(|pod| pod.uid.clone());
        self.expectations.expect(key, 0, uids);
        let deletions = doomed
            .iter()
            .map(|pod| self.control.delete(&pod.name, owner));
        let results = futures_util::future::join_all(deletions).await;
        let mut failure = None;
        for (pod, result) in doomed.iter().zip(results) {
            if let Err(error) = result {
                self.expectations.deleted(key, &pod.uid);
                if !error.is_not_found() {
                    failure = failure.or(Some(error));
                }
            }
        }
        failure
    }

    /// Active pods on each node of all sets with the same owner, by their selectors.
    fn crowd(&self, object: &Object, set: &Dom) -> HashMap<String, usize> {
        let mut on_node = HashMap::new();
        let Some(owner) = api::meta::of(set.as_ref()).controller() else {
            return on_node;
        };
        let mut seen = HashSet::new();
        for sibling in self.sets.by_index(BY_CONTROLLER, owner.uid) {
            let mut pods = self.pods.by_index(BY_CONTROLLER, sibling.uid());
            pods.retain(|pod| pod.namespace() == object.namespace());
            for pod in pods.iter().filter_map(|pod| Pod::of(pod)) {
                if pod.is_active() && seen.insert(pod.uid) {
                    *on_node.entry(pod.node).or_default() += 1;
                }
            }
        }
        on_node
    }

    async fn write(
        &self,
        object: &Object,
        mut dom: Dom,
        status: &Status,
        terminating: Option<i64>,
        problem: Option<&str>,
    ) -> Result<(), Error> {
        let now = self.context.clock.now();
        if !plan::write(&mut dom, status, terminating, problem, now) {
            return Ok(());
        }
        let api = self.api(object.namespace());
        let name = object.name();
        match api
            .update_subresource(name, "status", dom.to_json(dom.root()))
            .await
        {
            Err(error) if error.is_conflict() => {}
            Err(error) if error.is_not_found() => return Ok(()),
            other => return other.map(|_| ()),
        }
        // Somebody else wrote meanwhile: the counts are put into what there is now, once.
        let Some(fresh) = api
            .find(name)
            .await?
            .filter(|new| new.uid() == object.uid())
        else {
            return Ok(());
        };
        let generation = api::meta::of(dom.as_ref()).generation();
        let Ok(mut dom) = fresh.parse() else {
            return Ok(());
        };
        if plan::write(&mut dom, status, terminating, problem, now) {
            let root = dom.root();
            let map = dom.ensure_map(root, "status");
            dom.set_int(map, "observedGeneration", generation);
            api.update_subresource(name, "status", dom.to_json(root))
                .await?;
        }
        Ok(())
    }
}
