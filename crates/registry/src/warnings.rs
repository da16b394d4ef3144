//! Warnings: what is accepted and yet hardly meant.
//!
//! Every sentence is upstream's, as clients show it. Called after validation, so what is read here
//! is of the right type.
//! Source: kubernetes v1.36.3 pkg/api/pod/warnings.go, pkg/api/service/warnings.go,
//! pkg/registry/*/*/strategy.go (WarningsOnCreate, WarningsOnUpdate).

mod pod;

use schema::Ref;

pub(crate) use pod::{pod, template};

/// A Service's fields that do nothing.
pub(crate) fn service(new: Ref<'_>, _: Option<Ref<'_>>, out: &mut Vec<String>) {
    let Some(spec) = new.get("spec") else {
        return;
    };
    if spec.str("clusterIP") == "None" {
        if !spec.str("loadBalancerIP").is_empty() {
            out.push("spec.loadBalancerIP is ignored for headless services".to_owned());
        }
        if spec.items("externalIPs").next().is_some() {
            out.push("spec.externalIPs is ignored for headless services".to_owned());
        }
        if spec.str("sessionAffinity") != "None" {
            out.push("spec.SessionAffinity is ignored for headless services".to_owned());
        }
    }
    if spec.str("type") != "ExternalName" && !spec.str("externalName").is_empty() {
        out.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
}

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
