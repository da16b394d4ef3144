//! Objects that every namespace must have: the `default` ServiceAccount and the ConfigMap with
//! the cluster's CA. One mechanism: a namespace that lives gets the object; one that is deleted
//! or changed is put back.
//!
//! Source: kubernetes v1.36 pkg/controller/serviceaccount/serviceaccounts_controller.go,
//! pkg/controller/certificates/rootcacertpublisher/publisher.go.

use std::sync::Arc;

use api::Gvr;
use client::{Cache, Error, Key, ListOptions, Object, Reflector, WorkQueue};
use schema::Dom;

use crate::context::{Context, work};

const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

/// What a namespace must have.
#[derive(Clone)]
struct Wanted {
    task: &'static str,
    resource: &'static str,
    name: &'static str,
    /// The object without its namespace; given the CA bundle.
    body: fn(&str) -> Dom,
    /// Whether an existing object is as wanted.
    is_right: fn(&Object, &str) -> bool,
}

pub(crate) fn start_service_account(context: Context) {
    start(
        context,
        Wanted {
            task: "serviceaccount-controller",
            resource: "serviceaccounts",
            name: "default",
            body: |_| object("ServiceAccount", "default"),
            is_right: |_, _| true,
        },
    );
}

pub(crate) fn start_root_ca(context: Context) {
    start(
        context,
        Wanted {
            task: "root-ca-certificate-publisher-controller",
            resource: "configmaps",
            name: "kube-root-ca.crt",
            body: |ca| {
                let mut dom = object("ConfigMap", "kube-root-ca.crt");
                let root = dom.root();
                let metadata = dom.ensure_map(root, "metadata");
                let annotations = dom.ensure_map(metadata, "annotations");
                dom.set_str(annotations, "kubernetes.io/description", DESCRIPTION);
                let data = dom.ensure_map(root, "data");
                dom.set_str(data, "ca.crt", ca);
                dom
            },
            is_right: |object, ca| {
                object.parse().is_ok_and(|dom| {
                    let data = dom.as_ref().get("data");
                    data.is_some_and(|data| data.len() == 1 && data.str("ca.crt") == ca)
                })
            },
        },
    );
}

fn object(kind: &str, name: &str) -> Dom {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "apiVersion", "v1");
    dom.set_str(root, "kind", kind);
    let metadata = dom.ensure_map(root, "metadata");
    dom.set_str(metadata, "name", name);
    dom
}

fn start(context: Context, wanted: Wanted) {
    let queue: Arc<WorkQueue<String>> = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let namespaces = context.informers.of("", "v1", "namespaces");
    let namespaces = namespaces.on_change(move |change| {
        if let Some(new) = &change.new {
            add.add(new.name().to_owned());
        }
    });
    let namespaces = namespaces.cache();
    let add = queue.clone();
    let objects = Reflector::new(
        context
            .informers
            .resource(&Gvr::new("", "v1", wanted.resource)),
        ListOptions {
            fields: format!("metadata.name={}", wanted.name),
            ..ListOptions::default()
        },
        Cache::new(Vec::new()),
    )
    .on_change(move |change| add.add(change.key().namespace.clone()))
    .start(&context.shutdown);
    let own = context.clone();
    work(wanted.task, &context, &queue, move |namespace| {
        let (context, wanted) = (own.clone(), wanted.clone());
        let (namespaces, objects) = (namespaces.clone(), objects.clone());
        async move {
            objects.synced().await;
            let lives = namespaces
                .get(&Key::new("", namespace.as_str()))
                .is_some_and(|namespace| is_active(&namespace));
            if !lives {
                return Ok(());
            }
            put(&context, &wanted, &objects, &namespace).await
        }
    });
}

async fn put(
    context: &Context,
    wanted: &Wanted,
    objects: &Cache,
    namespace: &str,
) -> Result<(), Error> {
    let known = objects.get(&Key::new(namespace, wanted.name));
    if known
        .as_ref()
        .is_some_and(|known| (wanted.is_right)(known, &context.root_ca))
    {
        return Ok(());
    }
    let gvr = Gvr::new("", "v1", wanted.resource);
    let api = context.client.namespaced(&gvr, namespace);
    let dom = (wanted.body)(&context.root_ca);
    let json = dom.to_json(dom.root());
    let result = match known {
        Some(_) => api.update(wanted.name, json).await,
        None => api.create(json).await,
    };
    match result {
        // The cache lags behind an object that exists: its event comes and brings the key again.
        Err(error) if error.is_already_exists() => Ok(()),
        // The namespace ends or is gone.
        Err(error) if error.is_not_found() || error.code() == 403 => Ok(()),
        other => other.map(|_| ()),
    }
}

fn is_active(namespace: &Object) -> bool {
    namespace.parse().is_ok_and(|dom| {
        let namespace = dom.as_ref();
        namespace
            .get("metadata")
            .is_some_and(|m| m.str("deletionTimestamp").is_empty())
            && namespace
                .get("status")
                .is_none_or(|s| s.str("phase") != "Terminating")
    })
}
