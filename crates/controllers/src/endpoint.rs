//! Who is behind a Service: the EndpointSlice, Endpoints and EndpointSliceMirroring controllers.
//!
//! All three read the same facts ([`pod`], [`service`], [`slice`], [`subsets`]) and decide by
//! pure plans ([`slice_plan`], [`endpoints_plan`], [`mirror_plan`]); the `*_sync` shells keep the
//! facts up to date and write what the plans say. Addresses only: rules, zones and routes made of
//! them are other crates' work.
//! Source: endpointslice v0.36.3; kubernetes v1.36.3
//! pkg/controller/{endpointslice,endpoint,endpointslicemirroring}.

mod endpoints_plan;
mod endpoints_sync;
mod hints;
mod mirror_plan;
mod mirror_sync;
mod pod;
mod service;
mod slice;
mod slice_plan;
mod slice_sync;
mod subsets;
mod tracker;
mod trigger;
mod write;

pub(crate) use endpoints_sync::start as start_endpoints;
pub(crate) use mirror_sync::start as start_mirroring;
pub(crate) use pod::{Owner, Pod, pods};
pub(crate) use slice_sync::start as start_slices;

#[cfg(test)]
mod tests;
