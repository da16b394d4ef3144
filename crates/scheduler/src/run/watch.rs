//! What the scheduler watches, and what each change does to its state.

use std::sync::Arc;

use api::Gvr;
use base::Shutdown;
use client::{Cache, Change, Client, ListOptions, Object, Reflector};

use crate::run::world::World;
use crate::snapshot::{controller, service};
use crate::{Budget, Claim, Class, Event, Labels, NodeInfo, PodInfo, Volume};

type OnChange = fn(&World, &Change);

/// Group, version, resource, what to do.
const WATCHED: &[(&str, &str, &str, OnChange)] = &[
    ("", "v1", "namespaces", on_namespace),
    ("", "v1", "services", on_service),
    ("", "v1", "replicationcontrollers", |world, change| {
        on_controller(world, change, "/ReplicationController");
    }),
    ("apps", "v1", "replicasets", |world, change| {
        on_controller(world, change, "apps/ReplicaSet");
    }),
    ("apps", "v1", "statefulsets", |world, change| {
        on_controller(world, change, "apps/StatefulSet");
    }),
    ("policy", "v1", "poddisruptionbudgets", on_budget),
    ("", "v1", "persistentvolumeclaims", on_claim),
    ("", "v1", "persistentvolumes", on_volume),
    ("storage.k8s.io", "v1", "storageclasses", on_class),
    ("", "v1", "nodes", on_node),
    ("", "v1", "pods", on_pod),
];

/// Starts all watches; returns when each has its first list.
pub(super) async fn start(client: &Client, world: &Arc<World>, shutdown: &Shutdown) {
    for (group, version, resource, on_change) in WATCHED {
        let world = world.clone();
        let cache = Reflector::new(
            client.resource(&Gvr::new(group, version, resource)),
            ListOptions::default(),
            Cache::new(Vec::new()),
        )
        .on_change(move |change| on_change(&world, change))
        .start(shutdown);
        cache.synced().await;
    }
}

fn on_pod(world: &World, change: &Change) {
    let new = change.new.as_ref().and_then(|pod| PodInfo::read(pod));
    world.on_pod(change.key(), new);
}

fn on_node(world: &World, change: &Change) {
    let new = change.new.as_ref().and_then(|node| NodeInfo::read(node));
    world.on_node(&change.key().name, new);
}

fn on_namespace(world: &World, change: &Change) {
    let labels = change.new.as_ref().and_then(|namespace| labels(namespace));
    world.change(|state, _| state.snapshot.set_namespace(&change.key().name, labels));
}

fn labels(object: &Object) -> Option<Labels> {
    let dom = object.parse().ok()?;
    Some(Labels::read(dom.as_ref().get("metadata")?, "labels"))
}

fn on_service(world: &World, change: &Change) {
    let own = change.new.as_ref().and_then(|object| service(object));
    let key = change.key();
    world.change(|state, _| {
        let all = &mut state.snapshot.objects.services;
        if let Some(own) = own {
            let names = all.entry(key.namespace.clone()).or_default();
            names.insert(key.name.clone(), own);
        } else if let Some(names) = all.get_mut(&key.namespace) {
            names.remove(&key.name);
            if names.is_empty() {
                all.remove(&key.namespace);
            }
        }
    });
}

fn on_controller(world: &World, change: &Change, kind: &str) {
    let is_map = kind.starts_with('/');
    let own = change.new.as_ref().and_then(|new| controller(new, is_map));
    let key = (kind.to_owned(), change.key().clone());
    world.change(|state, _| {
        let all = &mut state.snapshot.objects.controllers;
        match own {
            Some(own) => all.insert(key, own),
            None => all.remove(&key),
        };
    });
}

fn on_budget(world: &World, change: &Change) {
    let own = change.new.as_ref().and_then(|budget| Budget::read(budget));
    let key = change.key().clone();
    world.change(|state, _| {
        let all = &mut state.snapshot.objects.budgets;
        match own {
            Some(own) => all.insert(key, own),
            None => all.remove(&key),
        };
    });
}

fn on_claim(world: &World, change: &Change) {
    let own = change.new.as_ref().and_then(|claim| Claim::read(claim));
    let key = change.key().clone();
    world.change(|state, now| {
        let all = &mut state.snapshot.objects.claims;
        let old = match own.clone() {
            Some(own) => all.insert(key, own),
            None => all.remove(&key),
        };
        if own.is_some() && own != old {
            state.queue.on_event(&Event::Storage, now);
        }
    });
}

fn on_volume(world: &World, change: &Change) {
    let own = change.new.as_ref().and_then(|volume| Volume::read(volume));
    let name = change.key().name.clone();
    world.change(|state, now| {
        let all = &mut state.snapshot.objects.volumes;
        let old = match own.clone() {
            Some(own) => all.insert(name, own),
            None => all.remove(&name),
        };
        if own.is_some() && own != old {
            state.queue.on_event(&Event::Storage, now);
        }
    });
}

fn on_class(world: &World, change: &Change) {
    let own = change.new.as_ref().and_then(|class| Class::read(class));
    let name = change.key().name.clone();
    world.change(|state, now| {
        let all = &mut state.snapshot.objects.classes;
        let old = match own.clone() {
            Some(own) => all.insert(name, own),
            None => all.remove(&name),
        };
        if own.is_some() && own != old {
            state.queue.on_event(&Event::Storage, now);
        }
    });
}
