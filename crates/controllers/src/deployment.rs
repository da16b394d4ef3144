//! Deployments: a ReplicaSet for each template, pods moved from the old ones to the new one.
//!
//! `model` is what the plan sees, `plan` decides, this file fetches and applies.
//! Source: kubernetes v1.36.3 pkg/controller/deployment/deployment_controller.go.

mod model;
mod plan;

use std::sync::Arc;

use api::Gvr;
use client::{Api, Cache, DeleteOptions, Error, Key, Object, WorkQueue};
use schema::{Dom, Ref};

use crate::context::{Context, work};
use crate::deployment::model::{Annotations, Condition, Deployment, REVISION, ROLLBACK_TO, Set};
use crate::deployment::plan::{Effect, Plan, plan};
use crate::informers::{BY_CONTROLLER, controller_uid};
use crate::workload::claiming::{Claimed, Claiming, by_labels};
use crate::workload::claims::Owner;
use crate::workload::control::{Control, message, namespace_ends};
use crate::workload::living::Inquiry;
use crate::workload::template::{HASH_LABEL, hash, same, set_hash};
use crate::workload::{Name, Owners, label_selector};

const TASK: &str = "deployment-controller";
/// A name of 253 characters has this much before its hash.
const NAME_LIMIT: usize = 253;

struct World {
    context: Context,
    control: Control,
    deployments: Cache,
    sets: Cache,
    pods: Cache,
    queue: Arc<WorkQueue<Name>>,
}

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<Name>> = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let deployments = context.informers.of("apps", "v1", "deployments");
    let deployments = deployments.on_change(move |change| add.add(Name(change.key().clone())));
    let deployments = deployments.cache();
    let owners = Owners {
        kind: "Deployment",
        cache: deployments.clone(),
        selector: label_selector,
    };
    let (add, of_set) = (queue.clone(), owners.clone());
    let sets = context.informers.of("apps", "v1", "replicasets");
    let sets = sets.index(BY_CONTROLLER, controller_uid);
    let sets = sets.on_change(move |change| {
        for owner in of_set.told(change).touched {
            add.add(Name(owner));
        }
    });
    let sets = sets.cache();
    let (add, all_sets) = (queue.clone(), sets.clone());
    let pods = context.informers.of("", "v1", "pods");
    let pods = pods.index(BY_CONTROLLER, controller_uid);
    let pods = pods.on_change(move |change| {
        // Only recreation waits for the end of pods.
        if let (Some(old), None) = (&change.old, &change.new)
            && let Some(owner) = recreating_owner(old, &all_sets, &owners)
        {
            add.add(Name(owner));
        }
    });
    let world = Arc::new(World {
        control: Control::new(&context, TASK),
        context: context.clone(),
        deployments,
        sets,
        pods: pods.cache(),
        queue: queue.clone(),
    });
    work(TASK, &context, &queue, move |Name(key)| {
        let world = world.clone();
        async move { world.sync(&key).await }
    });
}

/// The Deployment of a pod that went, if it lets all old pods end before it starts new ones.
fn recreating_owner(pod: &Object, sets: &Cache, owners: &Owners) -> Option<Key> {
    let dom = pod.parse().ok()?;
    let owner = api::meta::of(dom.as_ref()).controller()?;
    if owner.kind != "ReplicaSet" {
        return None;
    }
    let set = sets.get(&Key::new(pod.namespace(), owner.name))?;
    let deployment = owners.resolve(&set.parse().ok()?, pod.namespace())?;
    let dom = deployment.parse().ok()?;
    let strategy = dom.as_ref().at(&["spec", "strategy"])?;
    (strategy.str("type") == "Recreate").then(|| deployment.key().clone())
}

/// A Deployment with its sets while effects are applied.
struct Work<'a> {
    owner: &'a Owner,
    inquiry: &'a Inquiry<'a>,
    deployment: Dom,
    sets: Vec<Dom>,
    hash: String,
    new_name: String,
}

impl World {
    async fn sync(&self, key: &Key) -> Result<(), Error> {
        self.deployments.synced().await;
        self.sets.synced().await;
        self.pods.synced().await;
        let Some(object) = self.deployments.get(key) else {
            return Ok(());
        };
        let Ok(dom) = object.parse() else {
            return Ok(());
        };
        let owner = Owner::read("apps/v1", "Deployment", dom.as_ref());
        let Some(selector) = label_selector(dom.as_ref()) else {
            return Ok(());
        };
        if selector.is_empty() {
            let text = "This deployment is selecting all pods. A non-empty selector is required.";
            self.control
                .warning(&owner, "SelectingAll", text.to_owned());
            return Ok(());
        }
        let inquiry = Inquiry::new(self.api(&owner.namespace), &owner);
        let sets = self.claim(&inquiry, &selector).await?;
        let deployment = Deployment::read(dom.as_ref());
        let template = dom.as_ref().at(&["spec", "template"]);
        let hash = template.map_or_else(String::new, |t| hash(t, deployment.status.collisions));
        let mut work = Work {
            new_name: set_name(&owner.name, &hash),
            hash,
            sets,
            owner: &owner,
            inquiry: &inquiry,
            deployment: dom,
        };
        let facts: Vec<Set> = work.sets.iter().map(|set| self.facts(&work, set)).collect();
        let now = self.context.clock.now();
        let plan = plan(&deployment, &facts, &work.new_name, now);
        let again = plan.again;
        self.apply(&mut work, &deployment, plan).await?;
        if let Some(again) = again {
            self.queue.add_after(Name(key.clone()), again);
        }
        Ok(())
    }

    fn facts(&self, work: &Work<'_>, set: &Dom) -> Set {
        let template = |dom: &Dom| dom.at(dom.root(), &["spec", "template"]);
        let matches = match (template(&work.deployment), template(set)) {
            (Some(a), Some(b)) => same(work.deployment.at_node(a), set.at_node(b)),
            _ => false,
        };
        let uid = api::meta::of(set.as_ref()).uid();
        let pods = self.pods.by_index(BY_CONTROLLER, uid);
        let runs = |pod: &Arc<Object>| {
            pod.parse()
                .is_ok_and(|dom| !api::pod::is_terminal(dom.as_ref()))
        };
        Set {
            matches,
            pods_run: pods.iter().any(runs),
            ..Set::read(set.as_ref())
        }
    }

    fn sets_api(&self, namespace: &str) -> Api {
        let gvr = Gvr::new("apps", "v1", "replicasets");
        self.context.client.namespaced(&gvr, namespace)
    }

    fn api(&self, namespace: &str) -> Api {
        let gvr = Gvr::new("apps", "v1", "deployments");
        self.context.client.namespaced(&gvr, namespace)
    }

    /// The sets that are the Deployment's.
    async fn claim(
        &self,
        inquiry: &Inquiry<'_>,
        selector: &api::LabelSelector,
    ) -> Result<Vec<Dom>, Error> {
        let claiming = Claiming::new(inquiry, self.sets_api(&inquiry.owner().namespace));
        let mine = claiming.claim(&self.sets, by_labels(selector)).await?;
        Ok(mine.into_iter().map(Claimed::newest).collect())
    }

    async fn apply(
        &self,
        work: &mut Work<'_>,
        deployment: &Deployment,
        plan: Plan,
    ) -> Result<(), Error> {
        let api = self.sets_api(&work.owner.namespace);
        for effect in plan.effects {
            match effect {
                Effect::Create {
                    replicas,
                    annotations,
                } => {
                    if !self
                        .create(work, deployment, replicas, &annotations)
                        .await?
                    {
                        // Its event brings the key again.
                        return Ok(());
                    }
                }
                Effect::Update { set, annotations } => {
                    let dom = &mut work.sets[set];
                    set_annotations(dom, &annotations);
                    let spec = dom.root();
                    let spec = dom.ensure_map(spec, "spec");
                    dom.set_int(spec, "minReadySeconds", deployment.min_ready_seconds);
                    replace(&api, dom).await?;
                }
                Effect::Scale {
                    set,
                    from,
                    to,
                    annotations,
                } => {
                    let dom = &mut work.sets[set];
                    set_annotations(dom, &annotations);
                    let spec = dom.root();
                    let spec = dom.ensure_map(spec, "spec");
                    dom.set_int(spec, "replicas", to);
                    replace(&api, dom).await?;
                    if from != to {
                        let way = if from < to { "up" } else { "down" };
                        let meta = api::meta::of(work.sets[set].as_ref());
                        let text = format!(
                            "Scaled {way} replica set {} from {from} to {to}",
                            meta.name()
                        );
                        self.control.normal(work.owner, "ScalingReplicaSet", text);
                    }
                }
                Effect::Delete { set } => {
                    let meta = api::meta::of(work.sets[set].as_ref());
                    match api.delete(meta.name(), &DeleteOptions::default()).await {
                        Err(error) if error.is_not_found() => {}
                        other => other?,
                    }
                }
                Effect::Rollback { to, warning, done } => {
                    if let Some((reason, text)) = warning {
                        self.control.warning(work.owner, reason, text);
                    }
                    self.roll_back(work, to).await?;
                    if let Some(text) = done {
                        self.control.normal(work.owner, "DeploymentRollback", text);
                    }
                    return Ok(());
                }
            }
        }
        let known = deployment.annotations.get(REVISION);
        if plan.status == deployment.status && plan.revision.as_ref() == known {
            return Ok(());
        }
        if let Some(revision) = &plan.revision {
            let dom = &mut work.deployment;
            let metadata = dom.root();
            let metadata = dom.ensure_map(metadata, "metadata");
            let annotations = dom.ensure_map(metadata, "annotations");
            dom.set_str(annotations, REVISION, revision);
        }
        plan.status.write(&mut work.deployment);
        self.write_status(work).await
    }

    async fn write_status(&self, work: &Work<'_>) -> Result<(), Error> {
        let json = work.deployment.to_json(work.deployment.root());
        let api = self.api(&work.owner.namespace);
        match api
            .update_subresource(&work.owner.name, "status", json)
            .await
        {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Creates the new set; false when it was there and is ours, or the Deployment is gone: the
    /// cache only lags.
    async fn create(
        &self,
        work: &mut Work<'_>,
        deployment: &Deployment,
        replicas: i64,
        annotations: &Annotations,
    ) -> Result<bool, Error> {
        let Some(living) = work.inquiry.living().await? else {
            return Ok(false);
        };
        let api = self.sets_api(&work.owner.namespace);
        let body = new_set(work, deployment, replicas, annotations);
        match living.make(&api, &body).await {
            Ok(made) => {
                if replicas > 0 {
                    let name = &work.new_name;
                    let text = format!("Scaled up replica set {name} from 0 to {replicas}");
                    self.control.normal(work.owner, "ScalingReplicaSet", text);
                }
                work.sets.push(made.parse().unwrap_or(body));
                Ok(true)
            }
            Err(error) if error.is_already_exists() => {
                let Some(there) = api.find(&work.new_name).await? else {
                    return Err(error);
                };
                if self.is_ours(work, &there) {
                    return Ok(false);
                }
                // Another template has this name: the next one counts the collision.
                let mut status = deployment.status.clone();
                status.collisions = Some(status.collisions.unwrap_or(0) + 1);
                status.write(&mut work.deployment);
                self.write_status(work).await?;
                Ok(false)
            }
            Err(error) if namespace_ends(&error) => Ok(false),
            Err(error) => {
                const REASON: &str = "ReplicaSetCreateError";
                let text = format!(
                    "Failed to create new replica set \"{}\": {}",
                    work.new_name,
                    message(&error)
                );
                if deployment.deadline_seconds.is_some() {
                    let now = self.context.clock.now();
                    let mut status = deployment.status.clone();
                    let condition =
                        Condition::new("Progressing", "False", REASON, text.clone(), now);
                    status.set(condition);
                    if status != deployment.status {
                        status.write(&mut work.deployment);
                        self.write_status(work).await?;
                    }
                }
                self.control.warning(work.owner, REASON, text);
                Err(error)
            }
        }
    }

    fn is_ours(&self, work: &Work<'_>, set: &Object) -> bool {
        set.parse().is_ok_and(|dom| {
            api::meta::of(dom.as_ref()).is_controlled_by(&work.owner.uid)
                && self.facts(work, &dom).matches
        })
    }

    /// Takes over the template and annotations of an old set, if any, and ends the request.
    async fn roll_back(&self, work: &mut Work<'_>, to: Option<usize>) -> Result<(), Error> {
        let dom = &mut work.deployment;
        let root = dom.root();
        let metadata = dom.ensure_map(root, "metadata");
        let annotations = dom.ensure_map(metadata, "annotations");
        dom.remove(annotations, ROLLBACK_TO);
        if let Some(set) = to.map(|to| &work.sets[to]) {
            if let Some(template) = set.at(set.root(), &["spec", "template"]) {
                let copy = dom.import(set, template);
                let spec = dom.ensure_map(root, "spec");
                dom.set(spec, "template", copy);
                let metadata = dom.ensure_map(copy, "metadata");
                let labels = dom.ensure_map(metadata, "labels");
                dom.remove(labels, HASH_LABEL);
            }
            let stale: Vec<String> = dom
                .entries(annotations)
                .map(|(key, _)| key.to_owned())
                .filter(|key| !model::is_own_annotation(key))
                .collect();
            for key in stale {
                dom.remove(annotations, &key);
            }
            for (key, value) in api::meta::of(set.as_ref()).annotations() {
                if !model::is_own_annotation(key) {
                    dom.set_str(annotations, key, value);
                }
            }
        }
        let json = dom.to_json(root);
        let api = self.api(&work.owner.namespace);
        api.update(&work.owner.name, json).await.map(|_| ())
    }
}

/// The name of the set of a template.
fn set_name(deployment: &str, hash: &str) -> String {
    let room = NAME_LIMIT - 1 - hash.len();
    let start = deployment.get(..room).unwrap_or(deployment);
    format!("{start}-{hash}")
}

fn set_annotations(dom: &mut Dom, annotations: &Annotations) {
    let root = dom.root();
    let metadata = dom.ensure_map(root, "metadata");
    let map = dom.ensure_map(metadata, "annotations");
    for (key, value) in annotations {
        dom.set_str(map, key, value);
    }
}

/// Writes a set and goes on with what the server made of it.
async fn replace(api: &Api, dom: &mut Dom) -> Result<(), Error> {
    let json = dom.to_json(dom.root());
    let name = api::meta::of(dom.as_ref()).name().to_owned();
    let written = api.update(&name, json).await?;
    if let Ok(written) = written.parse() {
        *dom = written;
    }
    Ok(())
}

fn new_set(
    work: &Work<'_>,
    deployment: &Deployment,
    replicas: i64,
    annotations: &Annotations,
) -> Dom {
    let from = &work.deployment;
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "apiVersion", "apps/v1");
    dom.set_str(root, "kind", "ReplicaSet");
    let metadata = dom.ensure_map(root, "metadata");
    dom.set_str(metadata, "name", &work.new_name);
    let labels = dom.ensure_map(metadata, "labels");
    let of_template = from
        .as_ref()
        .at(&["spec", "template", "metadata", "labels"]);
    for (key, value) in of_template.into_iter().flat_map(Ref::map) {
        dom.set_str(labels, key, value.as_str().unwrap_or(""));
    }
    dom.set_str(labels, HASH_LABEL, &work.hash);
    work.owner.write(&mut dom, metadata);
    set_annotations(&mut dom, annotations);
    let spec = dom.ensure_map(root, "spec");
    dom.set_int(spec, "replicas", replicas);
    dom.set_int(spec, "minReadySeconds", deployment.min_ready_seconds);
    for field in ["selector", "template"] {
        if let Some(value) = from.at(from.root(), &["spec", field]) {
            let copy = dom.import(from, value);
            dom.set(spec, field, copy);
        }
    }
    let selector = dom.ensure_map(spec, "selector");
    let labels = dom.ensure_map(selector, "matchLabels");
    dom.set_str(labels, HASH_LABEL, &work.hash);
    let template = dom.ensure_map(spec, "template");
    set_hash(&mut dom, template, &work.hash);
    dom
}
