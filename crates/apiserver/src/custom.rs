//! Custom resources: a definition becomes a row like any other.
//!
//! A task follows the definitions in the store, compiles their schemas into types, replaces the
//! catalog, and then says in the definition's status that it is served. A definition that is
//! being deleted takes its objects with it.
//! Source: apiextensions-apiserver v0.36.3 pkg/apiserver, pkg/controller/{status,finalizer}.

mod columns;
mod compile;
mod convert;
mod status;
mod validate;

use std::sync::Arc;

use api::FieldError;
use base::tasks;
use registry::{Lookup, Resource, View};
use schema::{Dom, Ref};

use crate::Server;
use crate::catalog::Catalog;
use crate::follow::Follower;

/// Where definitions are stored.
pub(crate) const PREFIX: &str = "apiextensions.k8s.io/customresourcedefinitions";
/// Keeps a definition until its objects are gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The version of a definition by name.
fn version<'a>(definition: &'a Dom, name: &str) -> Option<Ref<'a>> {
    let spec = definition.as_ref().get("spec")?;
    spec.items("versions")
        .find(|version| version.str("name") == name)
}

/// Findings of the definition's schema and its rules.
pub(crate) fn validate(
    resource: &Resource,
    view: &View,
    dom: &Dom,
    old: Option<Ref<'_>>,
    errors: &mut Vec<FieldError>,
) {
    let Some(definition) = &resource.definition else {
        return;
    };
    let schema = version(definition, &view.version)
        .and_then(|version| version.at(&["schema", "openAPIV3Schema"]));
    if let Some(schema) = schema {
        validate::object(dom.as_ref(), schema, errors);
    }
    // Rules count on values of the declared types.
    if let Some(rules) = view.rules.as_ref().filter(|_| errors.is_empty()) {
        rules.check(dom.as_ref(), old, errors);
    }
}

/// Where a definition keeps its replicas and its selector.
pub(crate) fn scale_paths(
    resource: &Resource,
    view: &View,
) -> Option<(String, String, Option<String>)> {
    let definition = resource.definition.as_ref()?;
    let scale = version(definition, &view.version)?.at(&["subresources", "scale"])?;
    let selector = scale.str("labelSelectorPath");
    Some((
        scale.str("specReplicasPath").to_owned(),
        scale.str("statusReplicasPath").to_owned(),
        (!selector.is_empty()).then(|| selector.to_owned()),
    ))
}

/// Makes the catalog of what is defined now.
fn reload(server: &Arc<Server>) -> Vec<Dom> {
    let definitions = server.lookup.list(PREFIX, "");
    let mut rows = Vec::new();
    for definition in &definitions {
        if api::meta::of(definition.as_ref()).is_deleting() && !is_served(definition) {
            continue;
        }
        match compile::row(definition) {
            Some(row) => rows.push(Arc::new(row)),
            None => tracing::warn!(
                name = api::meta::of(definition.as_ref()).name(),
                "definition cannot be served"
            ),
        }
    }
    server.catalog.store(Arc::new(Catalog::new(rows)));
    server.aggregation.catalog_changed.notify_one();
    definitions
}

/// Objects of a deleted definition stay reachable until they are gone.
fn is_served(definition: &Dom) -> bool {
    api::meta::of(definition.as_ref()).has_finalizer(FINALIZER)
}

/// Begins to serve what definitions define.
pub(crate) fn start(server: &Arc<Server>) {
    let from = server.config.store.current_revision();
    let definitions = reload(server);
    let prefix = crate::object::key(&server.config.root, PREFIX, "", "");
    let follower = Follower::new(server.config.store.clone(), prefix, from);
    let (weak, shutdown) = (Arc::downgrade(server), server.config.shutdown.clone());
    let _detached = tasks::spawn("custom-resources", &shutdown.clone(), async move {
        if let Some(server) = weak.upgrade() {
            status::settle(&server, &definitions).await;
        }
        let followed = follower.run(weak, shutdown, |server| async move {
            let definitions = reload(&server);
            status::settle(&server, &definitions).await;
        });
        followed.await;
    });
}
