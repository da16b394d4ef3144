//! DaemonSets: a pod on every node that fits.
//!
//! `fit` says which nodes those are, `plan` what to do, this file fetches and applies. The
//! scheduler binds the pods: each may only go to its node.
//! Source: kubernetes v1.36.3 pkg/controller/daemon.

mod fit;
mod plan;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use api::{Gvr, LabelSelector};
use client::{Api, Cache, Change, Error, Key, Object, WorkQueue};
use futures_util::future::join_all;
use parking_lot::Mutex;
use schema::{Dom, Ref};
use tokio::time::Instant;

use crate::context::{Context, work};
use crate::daemonset::fit::{Fit, bind, fit, target};
use crate::daemonset::plan::{Plan, Set, Status, World, place, roll, status};
use crate::informers::{BY_CONTROLLER, controller_uid};
use crate::workload::amount::Amount;
use crate::workload::claiming::{Claiming, Match};
use crate::workload::claims::Owner;
use crate::workload::control::{BURST, Control, namespace_ends, slow_start};
use crate::workload::expectations::{Expectations, TIMEOUT};
use crate::workload::living::Inquiry;
use crate::workload::pods::Pod;
use crate::workload::revisions::{HASH, History, Revisions, Synced};
use crate::workload::{Name, Owners, label_selector, template};

const TASK: &str = "daemonset-controller";
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(900);
/// Nodes with failed pods that are remembered.
const REMEMBERED: usize = 10_000;

struct Daemons {
    context: Context,
    control: Control,
    sets: Cache,
    pods: Cache,
    nodes: Cache,
    revisions: Cache,
    expectations: Arc<Expectations>,
    queue: Arc<WorkQueue<Name>>,
    /// By set and node: how long to wait before the next failed pod is deleted, since when.
    failed: Mutex<HashMap<(String, String), (Duration, Instant)>>,
}

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<Name>> = Arc::new(WorkQueue::new());
    let expectations = Arc::new(Expectations::default());
    let (add, gone) = (queue.clone(), expectations.clone());
    let sets = context.informers.of("apps", "v1", "daemonsets");
    let sets = sets.on_change(move |change| {
        if change.new.is_none() {
            gone.forget(change.key());
        }
        add.add(Name(change.key().clone()));
    });
    let sets = sets.cache();
    let (add, all) = (queue.clone(), sets.clone());
    let nodes = context.informers.of("", "v1", "nodes");
    let nodes = nodes.on_change(move |change| {
        if changes_fit(change) {
            for set in all.list() {
                add.add(Name(set.key().clone()));
            }
        }
    });
    let owners = Owners {
        kind: "DaemonSet",
        cache: sets.clone(),
        selector: label_selector,
    };
    let (add, seen, of_pod) = (queue.clone(), expectations.clone(), owners.clone());
    let pods = context.informers.of("", "v1", "pods");
    let pods = pods.index(BY_CONTROLLER, controller_uid);
    let pods = pods.on_change(move |change| {
        let told = of_pod.told(change);
        seen.hear(&told, change.object().uid());
        for owner in told.touched {
            add.add(Name(owner));
        }
    });
    let add = queue.clone();
    let revisions = context.informers.of("apps", "v1", "controllerrevisions");
    let revisions = revisions.index(BY_CONTROLLER, controller_uid);
    let revisions = revisions.on_change(move |change| {
        for owner in owners.told(change).touched {
            add.add(Name(owner));
        }
    });
    let all = Arc::new(Daemons {
        control: Control::new(&context, TASK),
        context: context.clone(),
        sets,
        pods: pods.cache(),
        nodes: nodes.cache(),
        revisions: revisions.cache(),
        expectations,
        queue: queue.clone(),
        failed: Mutex::default(),
    });
    work(TASK, &context, &queue, move |Name(key)| {
        let all = all.clone();
        async move { all.sync(&key).await }
    });
}

/// A node came, went, or its labels or taints changed.
fn changes_fit(change: &Change) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else {
        return true;
    };
    let (Ok(old), Ok(new)) = (old.parse(), new.parse()) else {
        return true;
    };
    let same = |path: &[&str]| match (old.as_ref().at(path), new.as_ref().at(path)) {
        (Some(a), Some(b)) => a.equal(b),
        (a, b) => a.is_none() && b.is_none(),
    };
    !same(&["metadata", "labels"]) || !same(&["spec", "taints"])
}

fn read(set: Ref<'_>, hash: &str) -> Set {
    let strategy = set.at(&["spec", "updateStrategy"]);
    let rolling = strategy.and_then(|strategy| strategy.get("rollingUpdate"));
    let spec = set.get("spec");
    Set {
        on_delete: strategy.is_some_and(|strategy| strategy.str("type") == "OnDelete"),
        surge: Amount::read(rolling.and_then(|r| r.get("maxSurge"))),
        unavailable: Amount::read(rolling.and_then(|r| r.get("maxUnavailable"))),
        min_ready_seconds: spec.and_then(|s| s.int("minReadySeconds")).unwrap_or(0),
        hash: hash.to_owned(),
    }
}

impl Daemons {
    fn api(&self, namespace: &str) -> Api {
        let gvr = Gvr::new("apps", "v1", "daemonsets");
        self.context.client.namespaced(&gvr, namespace)
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        for cache in [&self.sets, &self.pods, &self.nodes, &self.revisions] {
            cache.synced().await;
        }
        let Some(object) = self.sets.get(key) else {
            return Ok(());
        };
        let Ok(dom) = object.parse() else {
            return Ok(());
        };
        let owner = Owner::read("apps/v1", "DaemonSet", dom.as_ref());
        let Some(selector) = label_selector(dom.as_ref()) else {
            return Ok(());
        };
        if selector.is_empty() {
            let text = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.control
                .warning(&owner, "SelectingAll", text.to_owned());
            return Ok(());
        }
        if owner.deleting {
            return Ok(());
        }
        let may_change = self.expectations.satisfied(key);
        if !may_change {
            self.queue.add_after(Name(key.clone()), TIMEOUT);
        }
        let collisions = dom
            .as_ref()
            .get("status")
            .and_then(|s| s.int("collisionCount"));
        let inquiry = Inquiry::new(self.api(&owner.namespace), &owner);
        let revisions = Revisions {
            client: &self.context.client,
            cache: &self.revisions,
            label: HASH,
        };
        let history = revisions
            .sync(&inquiry, &selector, dom.as_ref(), collisions)
            .await?;
        let history = match history {
            Synced::Whole(history) => history,
            Synced::Collision => return self.collide(&owner, dom, collisions).await,
            Synced::OwnerGone => return Ok(()),
        };
        let hash = history.all[history.current].hash.clone();
        let set = read(dom.as_ref(), &hash);
        let pods = self.claim(&inquiry, &selector).await?;
        let nodes = self.fits(dom.as_ref());
        let world = World {
            set: &set,
            nodes: &nodes,
            pods: &pods,
            now: self.context.clock.now(),
        };
        let mut failure = None;
        if may_change {
            let mut plan = place(&world);
            self.bury(&owner, key, &mut plan);
            if plan.create.is_empty() && plan.delete.is_empty() {
                plan = roll(&world);
            }
            failure = self.apply(key, &inquiry, &dom, &world, &plan).await.err();
            if failure.is_none() {
                self.clean_up(&revisions, &owner, &dom, &history, &pods)
                    .await?;
            }
        }
        let counts = status(&world);
        self.write(&owner, dom, counts, may_change).await?;
        if set.min_ready_seconds > 0 && counts.ready != counts.available {
            let waits = pods.values().flatten().filter_map(|pod| {
                let wait = pod.available_in(set.min_ready_seconds, world.now)?;
                (!wait.is_zero()).then_some(wait)
            });
            if let Some(wait) = waits.min() {
                self.queue.add_after(Name(key.clone()), wait);
            }
        }
        failure.map_or(Ok(()), Err)
    }

    fn fits(&self, set: Ref<'_>) -> BTreeMap<String, Fit> {
        let template = set.at(&["spec", "template", "spec"]);
        let nodes = self.nodes.list();
        let fits = nodes.iter().filter_map(|node| {
            let dom = node.parse().ok()?;
            Some((node.name().to_owned(), fit(template?, dom.as_ref())))
        });
        fits.collect()
    }

    /// The set's pods by node; those that ended and are going are nobody's any more.
    async fn claim(
        &self,
        inquiry: &Inquiry<'_>,
        selector: &LabelSelector,
    ) -> Result<BTreeMap<String, Vec<Pod>>, Error> {
        let pods = self.control.pods(&inquiry.owner().namespace);
        let claimed = Claiming::new(inquiry, pods).claim(&self.pods, |dom| {
            let pod = Pod::read(dom.as_ref());
            let node = target(dom.as_ref()).map(str::to_owned);
            Match::when(pod.matches(selector), || (node, pod))
        });
        let mut by_node: BTreeMap<String, Vec<Pod>> = BTreeMap::new();
        for (node, pod) in claimed.await?.into_iter().map(|claimed| claimed.what) {
            if let Some(node) = node.filter(|_| !(pod.has_ended() && pod.deleting)) {
                by_node.entry(node).or_default().push(pod);
            }
        }
        Ok(by_node)
    }

    /// Moves pods that ended to those to delete, failed ones not too often.
    fn bury(&self, owner: &Owner, key: &Key, plan: &mut Plan) {
        let mut known = self.failed.lock();
        if known.len() > REMEMBERED {
            known.retain(|_, (wait, since)| since.elapsed() < *wait * 2);
        }
        for (pod, node, failed) in std::mem::take(&mut plan.ended) {
            let name = format!("{}/{pod}", owner.namespace);
            if !failed {
                let text = format!(
                    "Found succeeded daemon pod {name} on node {node}, will try to delete it"
                );
                self.control.normal(owner, "SucceededDaemonPod", text);
                plan.delete.push(pod);
                continue;
            }
            let entry = known.entry((owner.uid.clone(), node.clone()));
            let now = Instant::now();
            let (wait, since) = entry.or_insert((Duration::ZERO, now));
            let left = wait.saturating_sub(since.elapsed());
            if !left.is_zero() {
                self.queue.add_after(Name(key.clone()), left);
                continue;
            }
            let calm = since.elapsed() > LONGEST_BACKOFF * 2;
            *wait = match calm || wait.is_zero() {
                true => FIRST_BACKOFF,
                false => wait.saturating_mul(2).min(LONGEST_BACKOFF),
            };
            *since = now;
            let text =
                format!("Found failed daemon pod {name} on node {node}, will try to kill it");
            self.control.warning(owner, "FailedDaemonPod", text);
            plan.delete.push(pod);
        }
    }

    async fn apply(
        &self,
        key: &Key,
        inquiry: &Inquiry<'_>,
        set: &Dom,
        world: &World<'_>,
        plan: &Plan,
    ) -> Result<(), Error> {
        let owner = inquiry.owner();
        let mut create = &plan.create[..plan.create.len().min(BURST)];
        let living = match create {
            [] => None,
            _ => inquiry.living().await?,
        };
        if living.is_none() {
            create = &[];
        }
        let delete = &plan.delete[..plan.delete.len().min(BURST)];
        if create.is_empty() && delete.is_empty() {
            return Ok(());
        }
        let uid = |name: &String| {
            let mut all = world.pods.values().flatten();
            all.find(|pod| pod.name == *name).map(|pod| pod.uid.clone())
        };
        self.expectations
            .expect(key, create.len(), delete.iter().filter_map(uid));
        let mut failure = None;
        if let (Some(from), Some(living)) = (set.as_ref().at(&["spec", "template"]), &living) {
            let (made, error) = slow_start(create.len(), |at| {
                let pod = pod(from, owner, &create[at], &world.set.hash);
                async move { self.control.create(&pod, living).await }
            })
            .await;
            self.expectations.created(key, create.len() - made);
            failure = error.filter(|error| !namespace_ends(error));
        }
        let deletions = delete.iter().map(|name| self.control.delete(name, owner));
        for (name, result) in delete.iter().zip(join_all(deletions).await) {
            if let Err(error) = result {
                if let Some(uid) = uid(name) {
                    self.expectations.deleted(key, &uid);
                }
                if !error.is_not_found() {
                    failure = failure.or(Some(error));
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn clean_up(
        &self,
        revisions: &Revisions<'_>,
        owner: &Owner,
        set: &Dom,
        history: &History,
        pods: &BTreeMap<String, Vec<Pod>>,
    ) -> Result<(), Error> {
        let spec = set.as_ref().get("spec");
        let limit = spec
            .and_then(|s| s.int("revisionHistoryLimit"))
            .unwrap_or(10);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let live = |hash: &str| {
            let mut all = pods.values().flatten();
            all.any(|pod| pod.label(HASH) == Some(hash))
        };
        revisions
            .clean_up(owner, history, |revision| live(&revision.hash), limit)
            .await
    }

    /// The name of the new revision is taken: the next try has another.
    async fn collide(&self, owner: &Owner, mut dom: Dom, known: Option<i64>) -> Result<(), Error> {
        let root = dom.root();
        let status = dom.ensure_map(root, "status");
        dom.set_int(status, "collisionCount", known.unwrap_or(0) + 1);
        self.put(owner, &dom).await
    }

    async fn write(
        &self,
        owner: &Owner,
        mut dom: Dom,
        counts: Status,
        observed: bool,
    ) -> Result<(), Error> {
        let generation = api::meta::of(dom.as_ref()).generation();
        let fields = [
            ("desiredNumberScheduled", counts.desired),
            ("currentNumberScheduled", counts.current),
            ("numberMisscheduled", counts.misscheduled),
            ("numberReady", counts.ready),
            ("updatedNumberScheduled", counts.updated),
            ("numberAvailable", counts.available),
            ("numberUnavailable", counts.desired - counts.available),
        ];
        let known = dom.as_ref().get("status");
        let int = |field| known.and_then(|status| status.int(field)).unwrap_or(0);
        let same = fields.iter().all(|(field, count)| int(field) == *count)
            && int("observedGeneration") >= generation;
        if same {
            return Ok(());
        }
        let root = dom.root();
        let status = dom.ensure_map(root, "status");
        for (field, count) in fields {
            dom.set_int(status, field, count);
        }
        if observed {
            dom.set_int(status, "observedGeneration", generation);
        }
        self.put(owner, &dom).await
    }

    async fn put(&self, owner: &Owner, dom: &Dom) -> Result<(), Error> {
        let api = self.api(&owner.namespace);
        let json = dom.to_json(dom.root());
        let result: Result<Object, Error> =
            api.update_subresource(&owner.name, "status", json).await;
        match result {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

/// The pod for a node.
fn pod(from: Ref<'_>, owner: &Owner, node: &str, hash: &str) -> Dom {
    let mut dom = template::pod(from, owner);
    let root = dom.root();
    let metadata = dom.ensure_map(root, "metadata");
    let prefix = template::name_prefix(&owner.name);
    dom.set_str(metadata, "generateName", &prefix);
    let labels = dom.ensure_map(metadata, "labels");
    dom.set_str(labels, HASH, hash);
    let spec = dom.ensure_map(root, "spec");
    bind(&mut dom, spec, node);
    dom
}
