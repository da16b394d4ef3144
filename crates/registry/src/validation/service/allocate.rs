//! What happens to a Service before anybody validates it: linked fields are completed, addresses
//! and ports are taken, what a change makes void goes back.
//!
//! Source: kubernetes v1.36.3 pkg/registry/core/service/storage/storage.go (beginCreate,
//! beginUpdate, afterDelete), alloc.go (allocateCreate, allocateUpdate).

use api::Status;
use schema::{Dom, Ref};

use super::addresses::Addresses;
use super::families::{self, Families};
use super::ports::Ports;
use super::stack::Stack;
use crate::hooks::{Context, Extras};

/// The linked fields of a stored Service.
pub(super) fn stored(cx: &Context<'_>, old: Ref<'_>) -> Stack {
    let mut stack = Stack::of(old);
    families::complete(&mut stack, &Families::of(cx.service_ranges));
    stack
}

/// See [`crate::strategy::Allocate`].
pub(crate) fn allocate(
    cx: &Context<'_>,
    new: Option<&mut Dom>,
    old: Option<Ref<'_>>,
    extras: &mut Extras,
) -> Result<(), Status> {
    let before = old.map(|old| stored(cx, old));
    let name = match (&new, old) {
        (Some(new), _) => api::meta::of(new.as_ref()).name().to_owned(),
        (None, Some(old)) => api::meta::of(old).name().to_owned(),
        (None, None) => return Ok(()),
    };
    let name = name.as_str();
    let mut addresses = Addresses { cx, name, extras };
    let Some(dom) = new else {
        addresses.release(before.map(|old| old.held()).unwrap_or_default());
        return Ok(());
    };
    let mut stack = Stack::of(dom.as_ref());
    match &before {
        Some(before) => families::pair_update(&mut stack, before),
        None => families::pair(&mut stack),
    }
    families::decide(
        &mut stack,
        before.as_ref(),
        &Families::of(cx.service_ranges),
    )
    .map_err(|errors| Status::invalid(&cx.resource.group_kind(), name, &errors))?;
    match &before {
        Some(before) => addresses.change(&mut stack, before)?,
        None => addresses.give(&mut stack)?,
    }
    stack.put(dom);
    Ports::of(cx, name).allocate(dom, old)
}
