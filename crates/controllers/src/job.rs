//! Jobs: pods that run to their end, counted exactly once.
//!
//! `model` is what the plan sees, `plan` decides, this file fetches and applies.
//! Source: kubernetes v1.36.3 pkg/controller/job/job_controller.go.

mod indexes;
mod model;
mod plan;
mod policy;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api::{Gvr, LabelSelector};
use client::{Cache, Change, Error, Key, Object, WorkQueue};
use futures_util::future::join_all;
use parking_lot::Mutex;
use schema::{Dom, Ref};

use crate::context::{Context, work};
use crate::informers::{BY_CONTROLLER, controller_uid};
use crate::job::model::{FAILURES, FINALIZER, IGNORED_FAILURES, INDEX, Job, Pod, Status};
use crate::job::plan::{Backoff, New, Outcome, Settlement, Step, World, decide, finish, settle};
use crate::workload::claiming::{Claimed, Claiming, Match};
use crate::workload::claims::Owner;
use crate::workload::control::{Control, namespace_ends, slow_start};
use crate::workload::expectations::{Expectations, TIMEOUT};
use crate::workload::living::Inquiry;
use crate::workload::{Name, Owners, label_selector, template};

const TASK: &str = "job-controller";
/// Changes of pods within so long are looked at together.
const BATCH: Duration = Duration::from_millis(50);
/// What `generateName` may have before its random end.
const PREFIX_LIMIT: usize = 58;

struct Jobs {
    context: Context,
    control: Control,
    jobs: Cache,
    pods: Cache,
    expectations: Arc<Expectations>,
    queue: Arc<WorkQueue<Name>>,
    memory: Arc<Mutex<HashMap<Key, Memory>>>,
}

/// What is remembered of a Job between two looks.
#[derive(Default)]
struct Memory {
    uid: String,
    backoff: Backoff,
    /// Uids whose finalizer was taken, until the cache knows.
    released: HashSet<String>,
    /// The revision last written: an older one in the cache is not looked at.
    written: u64,
}

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<Name>> = Arc::new(WorkQueue::new());
    let orphans: Arc<WorkQueue<Name>> = Arc::new(WorkQueue::new());
    let expectations = Arc::new(Expectations::default());
    let memory: Arc<Mutex<HashMap<Key, Memory>>> = Arc::default();
    let of_jobs = context.informers.of("", "v1", "pods");
    let of_jobs = of_jobs.index(BY_CONTROLLER, controller_uid).cache();
    let (add, gone, past) = (queue.clone(), expectations.clone(), memory.clone());
    let left = orphans.clone();
    let jobs = context.informers.of("batch", "v1", "jobs");
    let jobs = jobs.on_change(move |change| {
        if change.new.is_none() {
            gone.forget(change.key());
            past.lock().remove(change.key());
        }
        // Its pods may have told all they will while it still counted them.
        if let Some(uid) = gone_uid(change) {
            for pod in of_jobs.by_index(BY_CONTROLLER, uid) {
                left.add(Name(pod.key().clone()));
            }
        }
        add.add(Name(change.key().clone()));
    });
    let jobs = jobs.cache();
    let owners = Owners {
        kind: "Job",
        cache: jobs.clone(),
        selector: label_selector,
    };
    let (add, seen, past) = (queue.clone(), expectations.clone(), memory.clone());
    let (of_pod, left) = (owners.clone(), orphans.clone());
    let pods = context.informers.of("", "v1", "pods");
    let pods = pods.on_change(move |change| {
        let told = of_pod.told(change);
        seen.hear(&told, change.object().uid());
        if is_held(change) {
            left.add(Name(change.key().clone()));
        } else {
            for owner in &told.touched {
                if let Some(known) = past.lock().get_mut(owner) {
                    known.released.remove(change.object().uid());
                }
            }
        }
        for owner in told.touched {
            add.add_after(Name(owner), BATCH);
        }
    });
    let all = Arc::new(Jobs {
        control: Control::new(&context, TASK),
        context: context.clone(),
        jobs,
        pods: pods.cache(),
        expectations,
        queue: queue.clone(),
        memory,
    });
    let own = all.clone();
    work(TASK, &context, &queue, move |Name(key)| {
        let all = own.clone();
        async move { all.sync(&key).await }
    });
    work(TASK, &context, &orphans, move |Name(key)| {
        let (all, owners) = (all.clone(), owners.clone());
        async move { all.free(&key, &owners).await }
    });
}

/// The object that is not there any more, though another may have its name.
fn gone_uid(change: &Change) -> Option<&str> {
    let old = change.old.as_ref()?.uid();
    let remains = change.new.as_ref().is_some_and(|new| new.uid() == old);
    (!remains).then_some(old)
}

/// The newest revision of the pod holds the finalizer.
fn is_held(change: &Change) -> bool {
    change.new.as_ref().is_some_and(|pod| {
        pod.parse()
            .is_ok_and(|dom| api::meta::of(dom.as_ref()).has_finalizer(FINALIZER))
    })
}

/// A Job that another controller manages.
fn is_foreign(job: Ref<'_>) -> bool {
    let by = job.at(&["spec", "managedBy"]).and_then(Ref::as_str);
    by.is_some_and(|by| by != "kubernetes.io/job-controller")
}

fn revision(object: &Object) -> u64 {
    object.resource_version().parse().unwrap_or(0)
}

impl Jobs {
    fn api(&self, namespace: &str) -> client::Api {
        let gvr = Gvr::new("batch", "v1", "jobs");
        self.context.client.namespaced(&gvr, namespace)
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        self.jobs.synced().await;
        self.pods.synced().await;
        let Some(object) = self.jobs.get(key) else {
            return Ok(());
        };
        let Ok(dom) = object.parse() else {
            return Ok(());
        };
        let job = Job::read(dom.as_ref());
        if is_foreign(dom.as_ref()) {
            return Ok(());
        }
        let owner = Owner::read("batch/v1", "Job", dom.as_ref());
        let (backoff, released) = {
            let mut memory = self.memory.lock();
            let known = memory.entry(key.clone()).or_default();
            if known.uid != object.uid() {
                *known = Memory {
                    uid: object.uid().to_owned(),
                    ..Memory::default()
                };
                self.expectations.forget(key);
            }
            if revision(&object) < known.written {
                // What was written last comes as an event.
                return Ok(());
            }
            (known.backoff.clone(), known.released.clone())
        };
        if job.status.is_finished() {
            self.free_all(&owner).await?;
            return Ok(());
        }
        let Some(selector) = label_selector(dom.as_ref()) else {
            return Ok(());
        };
        let may_change = self.expectations.satisfied(key);
        if !may_change {
            self.queue.add_after(Name(key.clone()), TIMEOUT);
        }
        let inquiry = Inquiry::new(self.api(&owner.namespace), &owner);
        let pods = self.claim(&inquiry, &selector).await?;
        let world = World {
            job: &job,
            pods: &pods,
            released: &released,
            may_change,
            backoff: &backoff,
            now: self.context.clock.now(),
        };
        let decision = decide(&world);
        if let Some(again) = decision.again {
            self.queue.add_after(Name(key.clone()), again);
        }
        let next = decision.backoff.clone();
        let (outcome, failure) = self.step(key, &inquiry, &dom, &world, &decision.step).await;
        let settlement = settle(&world, decision, outcome);
        self.settle(key, &owner, dom, &world, &settlement, next)
            .await?;
        failure.map_or(Ok(()), Err)
    }

    /// The pods that are the Job's.
    async fn claim(
        &self,
        inquiry: &Inquiry<'_>,
        selector: &LabelSelector,
    ) -> Result<Vec<Pod>, Error> {
        let pods = self.control.pods(&inquiry.owner().namespace);
        let claiming = Claiming::new(inquiry, pods).with_finalizer(FINALIZER);
        let claimed = claiming.claim(&self.pods, |dom| {
            let pod = Pod::read(dom.as_ref());
            Match::when(pod.base.matches(selector), || pod)
        });
        let tracked = |claimed: Claimed<Pod>| Pod {
            tracked: claimed.what.tracked || claimed.adopted.is_some(),
            ..claimed.what
        };
        Ok(claimed.await?.into_iter().map(tracked).collect())
    }

    async fn step(
        &self,
        key: &Key,
        inquiry: &Inquiry<'_>,
        job: &Dom,
        world: &World<'_>,
        step: &Step,
    ) -> (Outcome, Option<Error>) {
        let owner = inquiry.owner();
        let mut outcome = Outcome::default();
        let mut failure = None;
        match step {
            Step::Nothing => {}
            Step::End(doomed) | Step::Remove(doomed) => {
                let uncounted = matches!(step, Step::Remove(_));
                let pods: Vec<&Pod> = doomed.iter().map(|at| &world.pods[*at]).collect();
                if uncounted {
                    let uids = pods.iter().map(|pod| pod.base.uid.clone());
                    self.expectations.expect(key, 0, uids);
                }
                let deletions = pods.iter().map(|pod| self.delete(owner, pod, uncounted));
                for (pod, result) in pods.iter().zip(join_all(deletions).await) {
                    let gone = match &result {
                        Ok(()) => true,
                        Err(error) => {
                            self.expectations.deleted(key, &pod.base.uid);
                            error.is_not_found()
                        }
                    };
                    if gone {
                        outcome.deleted += 1;
                        outcome.deleted_ready += usize::from(pod.base.ready);
                    } else {
                        failure = failure.or(result.err());
                    }
                }
            }
            Step::Create(new) => {
                let Some(from) = job.as_ref().at(&["spec", "template"]) else {
                    return (outcome, None);
                };
                let living = match inquiry.living().await {
                    Ok(Some(living)) => living,
                    Ok(None) => return (outcome, None),
                    Err(error) => return (outcome, Some(error)),
                };
                let living = &living;
                self.expectations.expect(key, new.len(), []);
                let (made, error) = slow_start(new.len(), |at| {
                    let pod = pod(from, owner, &new[at], world.job);
                    async move { self.control.create(&pod, living).await }
                })
                .await;
                self.expectations.created(key, new.len() - made);
                outcome.created = made;
                failure = error.filter(|error| !namespace_ends(error));
            }
        }
        (outcome, failure)
    }

    async fn delete(&self, owner: &Owner, pod: &Pod, uncounted: bool) -> Result<(), Error> {
        if uncounted && pod.tracked {
            let patch = let_go(&pod.base.uid);
            self.control
                .patch(&owner.namespace, &pod.base.name, patch)
                .await?;
        }
        self.control.delete(&pod.base.name, owner).await
    }

    /// Writes, lets go, writes again.
    async fn settle(
        &self,
        key: &Key,
        owner: &Owner,
        mut dom: Dom,
        world: &World<'_>,
        settlement: &Settlement,
        backoff: Backoff,
    ) -> Result<(), Error> {
        if settlement.flush {
            dom = self.write(key, dom, &settlement.status).await?;
            if let Some(known) = self.memory.lock().get_mut(key) {
                known.backoff = backoff;
            }
            if let Some((reason, text)) = settlement.event {
                self.control.normal(owner, reason, text.to_owned());
            }
        }
        let pods: Vec<&Pod> = settlement
            .release
            .iter()
            .map(|at| &world.pods[*at])
            .collect();
        if let Some(known) = self.memory.lock().get_mut(key) {
            let uids = pods.iter().map(|pod| pod.base.uid.clone());
            known.released.extend(uids);
        }
        let patches = pods.iter().map(|pod| {
            let patch = let_go(&pod.base.uid);
            self.control.patch(&owner.namespace, &pod.base.name, patch)
        });
        let (mut released, mut failure) = (HashSet::new(), None);
        for (pod, result) in pods.iter().zip(join_all(patches).await) {
            match result {
                Ok(true) => {
                    released.insert(pod.base.uid.clone());
                    continue;
                }
                Ok(false) => {
                    released.insert(pod.base.uid.clone());
                    // The event of its end, which may be long behind, is still to come.
                    if self.is_known(&key.namespace, pod) {
                        continue;
                    }
                }
                Err(error) => failure = failure.or(Some(error)),
            }
            // No event will tell.
            if let Some(known) = self.memory.lock().get_mut(key) {
                known.released.remove(&pod.base.uid);
            }
        }
        let (status, end) = finish(world, settlement, &released);
        if let Some(status) = status {
            self.write(key, dom, &status).await?;
            if let Some(end) = end {
                if end.kind == "Complete" {
                    if world
                        .job
                        .completions
                        .is_some_and(|all| status.succeeded > all)
                    {
                        let text = "Too many succeeded pods running after completion count reached";
                        let reason = "TooManySucceededPods";
                        self.control.warning(owner, reason, text.to_owned());
                    }
                    self.control
                        .normal(owner, "Completed", "Job completed".to_owned());
                } else {
                    self.control.warning(owner, &end.reason, end.message);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// The cache holds the pod.
    fn is_known(&self, namespace: &str, pod: &Pod) -> bool {
        let cached = self.pods.get(&Key::new(namespace, &pod.base.name));
        cached.is_some_and(|cached| cached.uid() == pod.base.uid)
    }

    async fn write(&self, key: &Key, mut dom: Dom, status: &Status) -> Result<Dom, Error> {
        status.write(&mut dom);
        let json = dom.to_json(dom.root());
        let api = self.api(&key.namespace);
        let written = api.update_subresource(&key.name, "status", json).await?;
        if let Some(known) = self.memory.lock().get_mut(key) {
            known.written = revision(&written);
        }
        Ok(written.parse().unwrap_or(dom))
    }

    /// Lets go of what a finished Job still holds.
    async fn free_all(&self, owner: &Owner) -> Result<(), Error> {
        let pods = self.pods.by_index(BY_CONTROLLER, &owner.uid);
        for pod in pods.iter().filter_map(|object| Pod::of(object)) {
            if pod.tracked {
                let patch = let_go(&pod.base.uid);
                self.control
                    .patch(&owner.namespace, &pod.base.name, patch)
                    .await?;
            }
        }
        Ok(())
    }

    /// Lets go of a pod that no Job counts any more.
    async fn free(&self, key: &Key, owners: &Owners) -> Result<(), Error> {
        self.jobs.synced().await;
        let Some(object) = self.pods.get(key) else {
            return Ok(());
        };
        let Ok(dom) = object.parse() else {
            return Ok(());
        };
        let meta = api::meta::of(dom.as_ref());
        if !meta.has_finalizer(FINALIZER) {
            return Ok(());
        }
        if meta.controller().is_some_and(|owner| owner.kind != "Job") {
            return Ok(());
        }
        let job = owners.resolve(&dom, &key.namespace);
        let counts = job.and_then(|job| job.parse().ok()).is_some_and(|job| {
            is_foreign(job.as_ref()) || !Job::read(job.as_ref()).status.is_finished()
        });
        if counts {
            return Ok(());
        }
        let patch = let_go(object.uid());
        self.control.patch(&key.namespace, &key.name, patch).await?;
        Ok(())
    }
}

/// The strategic patch that takes the finalizer.
fn let_go(uid: &str) -> Vec<u8> {
    format!(
        r#"{{"metadata":{{"uid":"{uid}","$deleteFromPrimitiveList/finalizers":["{FINALIZER}"]}}}}"#
    )
    .into_bytes()
}

/// The pod to create.
fn pod(from: Ref<'_>, owner: &Owner, new: &New, job: &Job) -> Dom {
    let mut dom = template::pod(from, owner);
    let root = dom.root();
    let metadata = dom.ensure_map(root, "metadata");
    let finalizers = dom.ensure_list(metadata, "finalizers");
    let held = dom
        .items(finalizers)
        .any(|f| dom.as_str(f) == Some(FINALIZER));
    if !held {
        let finalizer = dom.new_str(FINALIZER);
        dom.push(finalizers, finalizer);
    }
    let mut prefix = template::name_prefix(&owner.name);
    if job.indexed {
        let spec = dom.ensure_map(root, "spec");
        for list in ["initContainers", "containers"] {
            let Some(list) = dom.get(spec, list) else {
                continue;
            };
            let containers: Vec<_> = dom.items(list).collect();
            for container in containers {
                add_index_variable(&mut dom, container);
            }
        }
    }
    if let Some(index) = new.index {
        let number = index.to_string();
        let labels = dom.ensure_map(metadata, "labels");
        dom.set_str(labels, INDEX, &number);
        let annotations = dom.ensure_map(metadata, "annotations");
        dom.set_str(annotations, INDEX, &number);
        if let Some((failures, ignored)) = new.failures {
            dom.set_str(annotations, FAILURES, &failures.to_string());
            if ignored > 0 {
                dom.set_str(annotations, IGNORED_FAILURES, &ignored.to_string());
            }
        }
        let spec = dom.ensure_map(root, "spec");
        dom.set_str(spec, "hostname", &format!("{}-{number}", owner.name));
        let end = format!("-{number}-");
        let room = PREFIX_LIMIT.saturating_sub(end.len());
        let start = owner.name.get(..room).unwrap_or(&owner.name);
        prefix = format!("{start}{end}");
    }
    dom.set_str(metadata, "generateName", &prefix);
    dom
}

fn add_index_variable(dom: &mut Dom, container: schema::Node) {
    const NAME: &str = "JOB_COMPLETION_INDEX";
    let list = dom.ensure_list(container, "env");
    let known = dom.items(list).any(|v| dom.at_node(v).str("name") == NAME);
    if known {
        return;
    }
    let variable = dom.new_map();
    dom.set_str(variable, "name", NAME);
    let source = dom.ensure_map(variable, "valueFrom");
    let field = dom.ensure_map(source, "fieldRef");
    dom.set_str(field, "apiVersion", "v1");
    let path = format!("metadata.labels['{INDEX}']");
    dom.set_str(field, "fieldPath", &path);
    dom.push(list, variable);
}
