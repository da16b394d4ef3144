//! An owner that the server still has: only for such a one is anything made.
//!
//! The watch of owners may be behind that of what they own, by half a minute after the server was
//! away. Who then makes what the garbage collector takes would make it again and again, for as
//! long as its own copy has the owner. So whoever makes pods, ReplicaSets, Jobs or revisions shows
//! a [`Living`], which there is only where the server was asked.
//! Example: ReplicaSet `web` is deleted, its controller's watch is behind, its pods go → the
//! controller wants new ones, asks for `web`, gets 404 and makes nothing.

use client::{Api, Error, Object};
use schema::Dom;

use crate::workload::claims::Owner;

/// See the module's header.
pub(crate) struct Living<'a> {
    owner: &'a Owner,
}

impl<'a> Living<'a> {
    /// Asks the server; none: the owner is gone, is another by now, or is being deleted.
    pub(crate) async fn ask(owners: &Api, owner: &'a Owner) -> Result<Option<Self>, Error> {
        let fresh = owners.find(&owner.name).await?;
        let lives = fresh.is_some_and(|fresh| {
            let stays = |dom: Dom| !api::meta::of(dom.as_ref()).is_deleting();
            fresh.uid() == owner.uid && fresh.parse().is_ok_and(stays)
        });
        Ok(lives.then_some(Self { owner }))
    }

    /// Who it is, as the asker knows it.
    pub(crate) fn owner(&self) -> &'a Owner {
        self.owner
    }

    /// Makes something of the owner.
    pub(crate) async fn make(&self, dependents: &Api, body: &Dom) -> Result<Object, Error> {
        dependents.create(body.to_json(body.root())).await
    }
}
