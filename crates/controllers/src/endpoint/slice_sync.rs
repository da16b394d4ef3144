//! Keeps the EndpointSlices of Services with a selector: facts in, [`slice_plan`] applied.
//!
//! Source: kubernetes v1.36.3 pkg/controller/endpointslice/endpointslice_controller.go.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use base::Chain;
use client::{Error, EventType, Key, Object, Reference, WorkQueue};
use parking_lot::Mutex;

use crate::context::{Context, work};
use crate::endpoint::pod::{Pod, pods};
use crate::endpoint::service::Service;
use crate::endpoint::slice::Slice;
use crate::endpoint::slice_plan::{CONTROLLER, World, plan};
use crate::endpoint::tracker::Tracker;
use crate::endpoint::trigger::{self, TriggerTimes};
use crate::endpoint::write::{Owner, Writes, send};
use crate::facts::{Facts, Reader, Step};

/// A slice that somebody else touched is looked at so much later: changes come in bunches.
const FOREIGN_DELAY: Duration = Duration::from_secs(1);

/// The cache shows an own write by then; the step that shows it brings the Service at once.
pub(super) const BEHIND_AT_MOST: Duration = Duration::from_secs(1);

pub(super) type Queue = Arc<WorkQueue<Key>>;

/// Services that wait for a node to exist, by node.
type Waiting = Arc<Mutex<HashMap<String, BTreeSet<Key>>>>;

struct Slices {
    context: Context,
    queue: Queue,
    services: Facts<Service>,
    pods: Facts<Pod>,
    zones: Facts<Zone>,
    slices: Facts<Slice>,
    tracker: Arc<Mutex<Tracker>>,
    triggers: Mutex<TriggerTimes>,
    waiting: Waiting,
}

pub(crate) fn start(context: Context) {
    let queue: Queue = Arc::new(WorkQueue::new());
    let (services, pods) = watch_services_and_pods(&context, &queue);
    let waiting: Waiting = Arc::default();
    let (add, waits) = (queue.clone(), waiting.clone());
    let nodes = Facts::of(&context, ["", "v1", "nodes"], Reader::by_namespace(zone));
    let zones = nodes.on_step(move |step| {
        if step.old.is_none() {
            let services = waits.lock().remove(&step.key.name);
            services.into_iter().flatten().for_each(|key| add.add(key));
        }
    });
    let tracker: Arc<Mutex<Tracker>> = Arc::default();
    let slices = watch_slices(&context, &queue, &tracker, CONTROLLER);
    let all = Arc::new(Slices {
        context: context.clone(),
        queue: queue.clone(),
        services,
        pods,
        zones,
        slices,
        tracker,
        triggers: Mutex::default(),
        waiting,
    });
    work("endpointslice-controller", &context, &queue, move |key| {
        let all = all.clone();
        async move { all.sync(&key).await }
    });
}

/// Services and pods, for a queue of Services: a pod's step brings the Services that select it
/// now or did before.
pub(super) fn watch_services_and_pods(
    context: &Context,
    queue: &Queue,
) -> (Facts<Service>, Facts<Pod>) {
    let add = queue.clone();
    let services = services(context).on_step(move |step| add.add(step.key.clone()));
    let (add, known) = (queue.clone(), services.clone());
    let pods = pods(context).on_step(move |step| {
        for service in touched(&known.bin(&step.key.namespace), step) {
            add.add(Key::new(step.key.namespace.as_str(), service));
        }
    });
    (services, pods)
}

pub(super) fn services(context: &Context) -> Facts<Service> {
    Facts::of(
        context,
        ["", "v1", "services"],
        Reader::by_namespace(Service::read),
    )
}

/// The Services whose endpoints a pod's step may change.
fn touched(services: &[Arc<Service>], step: &Step<'_, Pod>) -> Vec<String> {
    let (old, new) = (step.old.as_deref(), step.new.as_deref());
    let (differs, moved) = match (old, new) {
        (Some(old), Some(new)) => (new.differs(old), new.moved(old)),
        _ => (true, false),
    };
    if !differs && !moved {
        return Vec::new();
    }
    let selects =
        |service: &Service, pod: Option<&Pod>| pod.is_some_and(|pod| service.selects(&pod.labels));
    let names = |service: &Service, pod: Option<&Pod>| pod.is_some_and(|pod| service.names(pod));
    services
        .iter()
        .filter(|service| {
            let (before, after) = (selects(service, old), selects(service, new));
            if differs || old.is_none() {
                before || after
            } else {
                before != after || (after && names(service, old) != names(service, new))
            }
        })
        .map(|service| service.name.clone())
        .collect()
}

/// The slices of one controller, for a queue of Services.
pub(super) fn watch_slices(
    context: &Context,
    queue: &Queue,
    tracker: &Arc<Mutex<Tracker>>,
    controller: &'static str,
) -> Facts<Slice> {
    let (add, tracker) = (queue.clone(), tracker.clone());
    let waiting = queue.clone();
    let later = move |key: &Key, slice: &Slice| {
        if !slice.service().is_empty() {
            let service = Key::new(key.namespace.as_str(), slice.service());
            add.add_after(service, FOREIGN_DELAY);
        }
    };
    let reader = Reader {
        read: Slice::read,
        bin: |key, slice| bin(&key.namespace, slice.service()),
    };
    let gvr = ["discovery.k8s.io", "v1", "endpointslices"];
    Facts::of(context, gvr, reader).on_step(move |step| {
        let ours = |slice: &Option<Arc<Slice>>| {
            let slice = slice.as_ref();
            slice.is_some_and(|slice| slice.is_managed_by(controller))
        };
        let service = |slice: &Slice| Key::new(step.key.namespace.as_str(), slice.service());
        if let Some(slice) = step.new.as_ref().or(step.old.as_ref())
            && tracker.lock().moved_on(&service(slice))
        {
            waiting.add(service(slice));
        }
        match (&step.old, &step.new) {
            (Some(old), Some(new)) if old.service() != new.service() => {
                later(step.key, old);
                later(step.key, new);
            }
            (Some(_), Some(new)) if ours(&step.old) != ours(&step.new) => later(step.key, new),
            (_, Some(new)) => {
                if ours(&step.new) && tracker.lock().is_foreign(&service(new), new) {
                    later(step.key, new);
                }
            }
            (Some(old), None) => {
                if ours(&step.old) && tracker.lock().gone(&service(old), &old.uid) {
                    later(step.key, old);
                }
            }
            (None, None) => {}
        }
    })
}

pub(super) fn bin(namespace: &str, service: &str) -> String {
    format!("{namespace}/{service}")
}

/// A node's zone, empty without one.
struct Zone(String);

fn zone(node: &Object) -> Option<Zone> {
    let dom = node.parse().ok()?;
    let zone = api::meta::of(dom.as_ref()).label("topology.kubernetes.io/zone");
    Some(Zone(zone.unwrap_or_default().to_owned()))
}

impl Slices {
    async fn sync(&self, key: &Key) -> Result<(), Error> {
        self.services.synced().await;
        self.pods.synced().await;
        self.zones.synced().await;
        self.slices.synced().await;
        let Some(service) = self.services.get(key) else {
            self.tracker.lock().forget(key);
            self.triggers.lock().forget(key);
            return Ok(());
        };
        if !service.follows_pods() {
            return Ok(());
        }
        let mut slices = self.slices.bin(&bin(&key.namespace, &key.name));
        slices.retain(|slice| slice.is_managed_by(CONTROLLER) && !slice.terminating);
        if self.tracker.lock().is_stale(key, &slices) {
            self.tracker.lock().wait(key);
            self.queue.add_after(key.clone(), BEHIND_AT_MOST);
            return Ok(());
        }
        let mut pods = self.pods.bin(&key.namespace);
        pods.retain(|pod| service.selects(&pod.labels));
        let trigger = self.triggers.lock().next(key, &service, &pods);
        let mut plan = plan(&World {
            service: &service,
            pods: &pods,
            zone_of: &|node| Some(self.zones.get(&Key::new("", node))?.0.clone()),
            slices: &slices,
        });
        self.wait_for(&plan.missing_nodes, key);
        for slice in plan.create.iter_mut().chain(&mut plan.update) {
            match trigger {
                Some(time) => slice.annotations.insert(
                    trigger::ANNOTATION.to_owned(),
                    api::time::format_seconds(time),
                ),
                None => slice.annotations.remove(trigger::ANNOTATION),
            };
        }
        let api = self.context.client.namespaced(
            &Gvr::new("discovery.k8s.io", "v1", "endpointslices"),
            &key.namespace,
        );
        let owner = Owner {
            kind: "Service",
            name: &key.name,
            uid: &service.uid,
        };
        let writes = Writes {
            create: plan.create,
            update: plan.update,
            delete: plan.delete,
        };
        let known = |slice: &Key| self.slices.object(slice);
        let sent = send(&api, key, &owner, writes, known, &self.tracker).await;
        if let Err(error) = &sent
            && !error.is_conflict()
        {
            let message = format!(
                "Error updating Endpoint Slices for Service {key}: {}",
                Chain(error)
            );
            let about = Reference::new("v1", "Service", key, &service.uid);
            let reason = "FailedToUpdateEndpointSlices";
            self.context
                .recorder
                .record(&about, EventType::Warning, reason, message);
        }
        sent
    }

    fn wait_for(&self, nodes: &[String], service: &Key) {
        let mut waiting = self.waiting.lock();
        for node in nodes {
            let services = waiting.entry(node.clone()).or_default();
            services.insert(service.clone());
        }
        // One may have come since the plan was made.
        if nodes
            .iter()
            .any(|node| self.zones.get(&Key::new("", node.as_str())).is_some())
        {
            self.queue.add(service.clone());
        }
    }
}
