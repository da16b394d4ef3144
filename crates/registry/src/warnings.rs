//! Warnings: what is accepted and yet hardly meant.
//!
//! Every sentence is upstream's, as clients show it. Called after validation, so what is read here
//! is of the right type.
//! Source: kubernetes v1.36.3 pkg/api/pod/warnings.go, pkg/api/service/warnings.go,
//! pkg/registry/*/*/strategy.go (WarningsOnCreate, WarningsOnUpdate).

mod pod;
mod service;

use schema::Ref;

pub(crate) use pod::{pod, template};
pub(crate) use service::service;

/// A Node's fields that nobody reads any more.
pub(crate) fn node(new: Ref<'_>, _: Option<Ref<'_>>, out: &mut Vec<String>) {
    let Some(spec) = new.get("spec") else {
        return;
    };
    if spec
        .get("configSource")
        .is_some_and(|value| !value.is_null())
    {
        out.push("spec.configSource: the feature is no longer supported".to_owned());
    }
    if !spec.str("externalID").is_empty() {
        out.push(
            "spec.externalID: this field is deprecated, and is unused by Kubernetes".to_owned(),
        );
    }
}

/// An EndpointSlice of names.
pub(crate) fn endpoint_slice(new: Ref<'_>, _: Option<Ref<'_>>, out: &mut Vec<String>) {
    if new.str("addressType") == "FQDN" {
        out.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
    }
}

#[cfg(test)]
mod tests;
