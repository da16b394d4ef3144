//! Admission that is built in: what is set on, and what is refused for, writes besides a kind's
//! own rules.
//!
//! Order as upstream's recommended plugins: NamespaceLifecycle, NodeRestriction, LimitRanger, ServiceAccount,
//! DefaultTolerationSeconds, Priority, RuntimeClass, PersistentVolumeClaim protection, DefaultStorageClass,
//! ResourceQuota last. Reads other objects only through [`crate::Lookup`].
//! Source: kubernetes v1.36.3 plugin/pkg/admission, pkg/kubeapiserver/options/plugins.go.

mod limits;
mod node;
mod pods;
mod quota;

use api::Status;
use schema::{Dom, Ref};

use crate::hooks::{Context, Extras};

/// What is about to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Create.
    Create,
    /// Update, also of a subresource.
    Update,
    /// Delete.
    Delete,
}

/// Changes and checks the object of a write (none for a delete).
pub fn admit(
    cx: &Context<'_>,
    operation: Operation,
    new: &mut Dom,
    old: Option<Ref<'_>>,
) -> Result<(), Status> {
    namespace(cx, operation, new.as_ref())?;
    node::restrict(cx, operation, new.as_ref(), old)?;
    let pod = cx.resource.kind == "Pod" && cx.resource.storage().group.is_empty();
    if pod && operation == Operation::Create && cx.subresource.is_empty() {
        limits::apply_defaults(cx, new);
        pods::service_account(cx, new)?;
        pods::tolerations(new);
        pods::priority(cx, new)?;
        pods::runtime_class(cx, new)?;
    }
    // Upstream's plugin handles updates too: who takes a pod's tolerations away gets these back.
    if pod && operation == Operation::Update && cx.subresource.is_empty() {
        pods::tolerations(new);
    }
    if cx.resource.kind == "PersistentVolumeClaim" && operation == Operation::Create {
        claims(cx, new);
    }
    if cx.resource.kind == "PersistentVolume" && operation == Operation::Create {
        finalizer(new, "kubernetes.io/pv-protection");
    }
    if operation == Operation::Create && cx.subresource.is_empty() {
        limits::check(cx, new.as_ref())?;
    }
    Ok(())
}

/// Charges quotas; called when everything else has been accepted.
pub fn charge(
    cx: &Context<'_>,
    operation: Operation,
    new: Ref<'_>,
    old: Option<Ref<'_>>,
    extras: &mut Extras,
) -> Result<(), Status> {
    quota::charge(cx, operation, new, old, extras)
}

fn namespace(cx: &Context<'_>, operation: Operation, object: Ref<'_>) -> Result<(), Status> {
    if operation != Operation::Create || cx.namespace.is_empty() || !cx.resource.is_namespaced() {
        return Ok(());
    }
    let gr = api::Gr::new("", "namespaces");
    let Some(found) = cx.lookup.get("namespaces", "", cx.namespace) else {
        return Err(Status::not_found(&gr, cx.namespace));
    };
    let terminating = api::meta::of(found.as_ref()).is_deleting()
        || crate::columns::at(found.as_ref(), &["status", "phase"]) == "Terminating";
    let exempt = cx.resource.kind == "LocalSubjectAccessReview" || !cx.resource.is_stored();
    if terminating && !exempt {
        let own = cx.resource.group_resource();
        let name = api::meta::of(object).name();
        let cause = format!(
            "unable to create new content in namespace {} because it is being terminated",
            cx.namespace
        );
        let mut status = Status::forbidden(&own, name, &cause);
        status.causes.push(api::Cause {
            reason: "NamespaceTerminating".to_owned(),
            message: format!("namespace {} is being terminated", cx.namespace),
            field: "metadata.namespace".to_owned(),
        });
        return Err(status);
    }
    Ok(())
}

fn finalizer(dom: &mut Dom, name: &str) {
    let root = dom.root();
    let meta = crate::edit::ensure_map(dom, root, "metadata");
    let list = crate::edit::ensure_list(dom, meta, "finalizers");
    if !dom.items(list).any(|node| dom.as_str(node) == Some(name)) {
        let node = dom.new_str(name);
        dom.push(list, node);
    }
}

fn claims(cx: &Context<'_>, dom: &mut Dom) {
    finalizer(dom, "kubernetes.io/pvc-protection");
    let root = dom.root();
    let Some(spec) = crate::edit::map(dom, root, "spec") else {
        return;
    };
    let beta = "volume.beta.kubernetes.io/storage-class";
    let chosen = dom.get(spec, "storageClassName").is_some()
        || api::meta::of(dom.as_ref()).annotation(beta).is_some();
    if chosen {
        return;
    }
    let key = "storageclass.kubernetes.io/is-default-class";
    let classes = cx.lookup.list("storageclasses", "");
    let defaults = classes.iter().map(Dom::as_ref);
    let newest = defaults
        .filter(|class| api::meta::of(*class).annotation(key) == Some("true"))
        .max_by_key(|class| {
            (
                api::meta::of(*class).created(),
                std::cmp::Reverse(api::meta::of(*class).name().to_owned()),
            )
        });
    if let Some(class) = newest {
        let name = api::meta::of(class).name().to_owned();
        dom.set_str(spec, "storageClassName", &name);
    }
}
