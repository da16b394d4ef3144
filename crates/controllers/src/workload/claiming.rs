//! An owner takes its dependents in: what matches is adopted, what no longer matches let go.
//!
//! What becomes of a candidate is decided by [`super::claims`]; what matches, by the caller.
//! Before the first adoption the server is asked for the owner ([`super::living`]): the caches may
//! not know yet that it goes, and what it adopted then would go with it.
//! Example: orphans `a`, `b` match, `c` of the owner does not → the owner is asked for, `a` and
//! `b` are patched and given to the caller, `c` is released; the owner is going → only `c`.
//! Source: kubernetes v1.36.3 pkg/controller/controller_ref_manager.go (ClaimObject,
//! RecheckDeletionTimestamp).

use std::sync::Arc;

use client::{Api, Cache, Error, Object, Patch};
use schema::Dom;

use crate::informers::{BY_CONTROLLER, orphans_of};
use crate::workload::claims::{Claim, Owner, claim};
use crate::workload::control::patched;
use crate::workload::living::Inquiry;

/// See the module's header.
pub(crate) struct Claiming<'a> {
    inquiry: &'a Inquiry<'a>,
    /// Where the owner's dependents are.
    dependents: Api,
    /// What they hold.
    finalizer: Option<&'static str>,
}

/// What a caller says of a candidate.
pub(crate) enum Match<T> {
    /// It matches; this is kept of it.
    Yes(T),
    /// It does not: the owner's own are let go.
    No,
    /// It stays as it is.
    Ignored,
}

impl<T> Match<T> {
    /// What is kept, if it matches.
    pub(crate) fn when(matches: bool, what: impl FnOnce() -> T) -> Self {
        match matches {
            true => Self::Yes(what()),
            false => Self::No,
        }
    }
}

/// A dependent that is the owner's.
pub(crate) struct Claimed<T> {
    /// What the caller made of it.
    pub(crate) what: T,
    /// As it is since it was adopted; none when it was the owner's before.
    pub(crate) adopted: Option<Object>,
}

/// What may be the owner's: its own, and what nobody manages in its namespace.
fn candidates(cache: &Cache, owner: &Owner) -> Vec<Arc<Object>> {
    let mut found = cache.by_index(BY_CONTROLLER, &owner.uid);
    found.extend(cache.by_index(BY_CONTROLLER, &orphans_of(&owner.namespace)));
    found
}

impl<'a> Claiming<'a> {
    pub(crate) fn new(inquiry: &'a Inquiry<'a>, dependents: Api) -> Self {
        Self {
            inquiry,
            dependents,
            finalizer: None,
        }
    }

    /// Dependents get a finalizer with their owner, and lose it with it.
    pub(crate) fn with_finalizer(mut self, finalizer: &'static str) -> Self {
        self.finalizer = Some(finalizer);
        self
    }

    /// Everything in `cache` that is the owner's.
    pub(crate) async fn claim<T>(
        self,
        cache: &Cache,
        mut read: impl FnMut(Dom) -> Match<T>,
    ) -> Result<Vec<Claimed<T>>, Error> {
        let owner = self.inquiry.owner();
        let mut mine = Vec::new();
        for object in candidates(cache, owner) {
            let Ok(dom) = object.parse() else { continue };
            let meta = api::meta::of(dom.as_ref());
            let managed_by = meta.controller().map(|owner| owner.uid.to_owned());
            let deleting = meta.is_deleting();
            let what = match read(dom) {
                Match::Yes(what) => Some(what),
                Match::No => None,
                Match::Ignored => continue,
            };
            let claim = claim(owner, managed_by.as_deref(), what.is_some(), deleting);
            let adopted = match claim {
                Claim::Foreign => continue,
                Claim::Mine => None,
                Claim::Adopt => match self.adopt(&object).await? {
                    None => continue,
                    adopted => adopted,
                },
                Claim::Release => {
                    let patch = owner.release(object.uid(), self.finalizer);
                    self.patch(&object, patch).await?;
                    continue;
                }
            };
            mine.extend(what.map(|what| Claimed { what, adopted }));
        }
        Ok(mine)
    }

    /// None: the owner is going, or the orphan is gone.
    async fn adopt(&self, orphan: &Object) -> Result<Option<Object>, Error> {
        let Some(living) = self.inquiry.living().await? else {
            return Ok(None);
        };
        let patch = living.owner().adoption(orphan.uid(), self.finalizer);
        self.patch(orphan, patch).await
    }

    async fn patch(&self, object: &Object, json: Vec<u8>) -> Result<Option<Object>, Error> {
        let patch = Patch::Strategic(json.into());
        patched(self.dependents.patch(object.name(), "", patch).await)
    }
}

/// For dependents that match by their labels alone, and of which the whole document is kept.
pub(crate) fn by_labels(selector: &api::LabelSelector) -> impl Fn(Dom) -> Match<Dom> {
    |dom| match api::meta::of(dom.as_ref()).matches(selector) {
        true => Match::Yes(dom),
        false => Match::No,
    }
}

impl Claimed<Dom> {
    /// The newest that is known of it.
    pub(crate) fn newest(self) -> Dom {
        let adopted = self.adopted.and_then(|adopted| adopted.parse().ok());
        adopted.unwrap_or(self.what)
    }
}

#[cfg(test)]
mod tests;
