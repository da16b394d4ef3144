//! Mirrors Endpoints objects of Services without a selector into slices.
//!
//! Source: kubernetes v1.36.3
//! pkg/controller/endpointslicemirroring/endpointslicemirroring_controller.go.

use std::sync::Arc;

use api::Gvr;
use client::{Error, EventType, Key, Reference, WorkQueue};
use parking_lot::Mutex;

use crate::context::{Context, work};
use crate::endpoint::endpoints_plan::Endpoints;
use crate::endpoint::endpoints_sync::endpoints;
use crate::endpoint::mirror_plan::{CONTROLLER, MAX, Plan, may_mirror, plan};
use crate::endpoint::service::Service;
use crate::endpoint::slice::Slice;
use crate::endpoint::slice_sync::{BEHIND_AT_MOST, Queue, bin, services, watch_slices};
use crate::endpoint::tracker::Tracker;
use crate::endpoint::write::{Owner, Writes, send};
use crate::facts::Facts;

struct Mirror {
    context: Context,
    queue: Queue,
    services: Facts<Service>,
    endpoints: Facts<Endpoints>,
    slices: Facts<Slice>,
    tracker: Arc<Mutex<Tracker>>,
}

pub(crate) fn start(context: Context) {
    let queue: Queue = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let services = services(&context).on_step(move |step| {
        let by_hand = |service: &Option<Arc<Service>>| {
            let service = service.as_ref();
            service.is_some_and(|service| service.selector.is_none())
        };
        if by_hand(&step.old) != by_hand(&step.new) {
            add.add(step.key.clone());
        }
    });
    let add = queue.clone();
    let endpoints = endpoints(&context).on_step(move |step| {
        if [&step.old, &step.new]
            .into_iter()
            .flatten()
            .any(|one| may_mirror(one))
        {
            add.add(step.key.clone());
        }
    });
    let tracker: Arc<Mutex<Tracker>> = Arc::default();
    let slices = watch_slices(&context, &queue, &tracker, CONTROLLER);
    let all = Arc::new(Mirror {
        context: context.clone(),
        queue: queue.clone(),
        services,
        endpoints,
        slices,
        tracker,
    });
    work(
        "endpointslice-mirroring-controller",
        &context,
        &queue,
        move |key| {
            let all = all.clone();
            async move { all.sync(&key).await }
        },
    );
}

impl Mirror {
    async fn sync(&self, key: &Key) -> Result<(), Error> {
        self.services.synced().await;
        self.endpoints.synced().await;
        self.slices.synced().await;
        let mut slices = self.slices.bin(&bin(&key.namespace, &key.name));
        slices.retain(|slice| slice.is_managed_by(CONTROLLER) && !slice.terminating);
        let service = self.services.get(key);
        let by_hand = service.is_some_and(|service| service.selector.is_none());
        let endpoints = self.endpoints.get(key);
        let mirrored = endpoints.filter(|one| by_hand && may_mirror(one));
        let plan = match &mirrored {
            Some(endpoints) => {
                if self.tracker.lock().is_stale(key, &slices) {
                    self.tracker.lock().wait(key);
                    self.queue.add_after(key.clone(), BEHIND_AT_MOST);
                    return Ok(());
                }
                plan(endpoints, &slices)
            }
            None => {
                self.tracker.lock().forget(key);
                let delete = slices.iter().map(|slice| Slice::clone(slice)).collect();
                Plan {
                    writes: Writes {
                        delete,
                        ..Writes::default()
                    },
                    ..Plan::default()
                }
            }
        };
        let uid = mirrored.as_ref().map_or("", |endpoints| &endpoints.uid);
        self.report(key, uid, &plan);
        let api = self.context.client.namespaced(
            &Gvr::new("discovery.k8s.io", "v1", "endpointslices"),
            &key.namespace,
        );
        let owner = Owner {
            kind: "Endpoints",
            name: &key.name,
            uid,
        };
        let known = |slice: &Key| self.slices.object(slice);
        send(&api, key, &owner, plan.writes, known, &self.tracker).await
    }

    fn report(&self, key: &Key, uid: &str, plan: &Plan) {
        let about = Reference::new("v1", "Endpoints", key, uid);
        let warn = |reason, message: String| {
            self.context
                .recorder
                .record(&about, EventType::Warning, reason, message);
        };
        if plan.invalid > 0 {
            let text = format!(
                "Skipped {} invalid IP addresses when mirroring to EndpointSlices",
                plan.invalid
            );
            warn("InvalidIPAddress", text);
        }
        if plan.skipped > plan.invalid {
            let text = format!(
                "A max of {MAX} addresses can be mirrored to EndpointSlices per Endpoints subset. {} addresses were skipped",
                plan.skipped
            );
            warn("TooManyAddressesToMirror", text);
        }
    }
}
