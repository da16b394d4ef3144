//! Keeps the Endpoints objects of Services with a selector.
//!
//! Source: kubernetes v1.36.3 pkg/controller/endpoint/endpoints_controller.go.

use std::collections::HashMap;
use std::sync::Arc;

use api::Gvr;
use base::Chain;
use client::{DeleteOptions, Error, EventType, Key, Object, Reference, WorkQueue};
use parking_lot::Mutex;
use schema::Dom;

use crate::context::{Context, work};
use crate::endpoint::endpoints_plan::{Endpoints, plan};
use crate::endpoint::pod::Pod;
use crate::endpoint::service::Service;
use crate::endpoint::slice_sync::{BEHIND_AT_MOST, Queue, watch_services_and_pods};
use crate::endpoint::subsets;
use crate::endpoint::trigger::{self, TriggerTimes};
use crate::endpoint::write::put_map;
use crate::facts::{Facts, Reader};

struct Shell {
    context: Context,
    queue: Queue,
    services: Facts<Service>,
    pods: Facts<Pod>,
    endpoints: Facts<Endpoints>,
    triggers: Mutex<TriggerTimes>,
    /// Revisions that this controller replaced: a cache that shows one lags behind.
    replaced: Mutex<HashMap<Key, String>>,
}

pub(crate) fn start(context: Context) {
    let queue: Queue = Arc::new(WorkQueue::new());
    let (services, pods) = watch_services_and_pods(&context, &queue);
    let (add, known) = (queue.clone(), services.clone());
    let endpoints = endpoints(&context);
    let starting = endpoints.clone();
    let endpoints = endpoints.on_step(move |step| {
        // Only what is there at the start can be left over from a Service that went meanwhile:
        // later ones may be made before their Service.
        let election = step.new.as_ref().is_some_and(|new| new.is_election());
        let leftover = starting.is_starting() && !election && known.get(step.key).is_none();
        if step.new.is_none() || leftover {
            add.add(step.key.clone());
        }
    });
    let all = Arc::new(Shell {
        context: context.clone(),
        queue: queue.clone(),
        services,
        pods,
        endpoints,
        triggers: Mutex::default(),
        replaced: Mutex::default(),
    });
    work("endpoints-controller", &context, &queue, move |key| {
        let all = all.clone();
        async move { all.sync(&key).await }
    });
}

pub(super) fn endpoints(context: &Context) -> Facts<Endpoints> {
    let reader = Reader::by_namespace(Endpoints::read);
    Facts::of(context, ["", "v1", "endpoints"], reader)
}

impl Shell {
    async fn sync(&self, key: &Key) -> Result<(), Error> {
        self.services.synced().await;
        self.pods.synced().await;
        self.endpoints.synced().await;
        let api = self
            .context
            .client
            .namespaced(&Gvr::new("", "v1", "endpoints"), &key.namespace);
        let current = self.endpoints.get(key);
        let Some(service) = self.services.get(key) else {
            self.triggers.lock().forget(key);
            self.replaced.lock().remove(key);
            return match current {
                Some(_) => match api.delete(&key.name, &DeleteOptions::default()).await {
                    Err(error) if error.is_not_found() => Ok(()),
                    other => other,
                },
                None => Ok(()),
            };
        };
        if !service.follows_pods() {
            return Ok(());
        }
        let object = self.endpoints.object(key);
        if self.is_replaced(key, object.as_deref()) {
            self.queue.add_after(key.clone(), BEHIND_AT_MOST / 20);
            return Ok(());
        }
        let mut pods = self.pods.bin(&key.namespace);
        pods.retain(|pod| service.selects(&pod.labels));
        let trigger = self.triggers.lock().next(key, &service, &pods);
        let Some(mut wanted) = plan(&service, &pods, current.as_deref()) else {
            return Ok(());
        };
        match trigger {
            Some(time) => wanted.annotations.insert(
                trigger::ANNOTATION.to_owned(),
                api::time::format_seconds(time),
            ),
            None => wanted.annotations.remove(trigger::ANNOTATION),
        };
        let json = document(&wanted, object.as_deref());
        let written = match &object {
            Some(_) => api.update(&key.name, json).await,
            None => api.create(json).await,
        };
        match written {
            Ok(written) => {
                if let Some(object) = object
                    && object.resource_version() != written.resource_version()
                {
                    let revision = object.resource_version().to_owned();
                    self.replaced.lock().insert(key.clone(), revision);
                }
                Ok(())
            }
            // The namespace ends or is gone; or the cache has not shown what exists.
            Err(error) if object.is_none() && (error.is_not_found() || error.code() == 403) => {
                Ok(())
            }
            Err(error) => {
                self.report(key, &service, object.is_none(), &error);
                Err(error)
            }
        }
    }

    fn is_replaced(&self, key: &Key, shown: Option<&Object>) -> bool {
        let replaced = self.replaced.lock();
        let revision = replaced.get(key);
        shown.is_some_and(|shown| {
            revision.is_some_and(|revision| revision == shown.resource_version())
        })
    }

    fn report(&self, key: &Key, service: &Service, creates: bool, error: &Error) {
        if error.is_conflict() || error.is_already_exists() {
            return;
        }
        let cause = Chain(error);
        let (reason, message) = match creates {
            true => (
                "FailedToCreateEndpoint",
                format!("Failed to create endpoint for service {key}: {cause}"),
            ),
            false => (
                "FailedToUpdateEndpoint",
                format!("Failed to update endpoint {key}: {cause}"),
            ),
        };
        let about = Reference::new("v1", "Endpoints", key, &service.uid);
        self.context
            .recorder
            .record(&about, EventType::Warning, reason, message);
    }
}

fn document(wanted: &Endpoints, known: Option<&Object>) -> Vec<u8> {
    let mut dom = known
        .and_then(|object| object.parse().ok())
        .unwrap_or_default();
    if known.is_none() {
        let root = Dom::new_map(&mut dom);
        dom.set_root(root);
        dom.set_str(root, "apiVersion", "v1");
        dom.set_str(root, "kind", "Endpoints");
        let metadata = dom.ensure_map(root, "metadata");
        dom.set_str(metadata, "name", &wanted.name);
        dom.set_str(metadata, "namespace", &wanted.namespace);
    }
    let root = dom.root();
    let metadata = dom.ensure_map(root, "metadata");
    put_map(&mut dom, metadata, "labels", &wanted.labels);
    put_map(&mut dom, metadata, "annotations", &wanted.annotations);
    subsets::write(&wanted.subsets, &mut dom, root);
    dom.to_json(root)
}
