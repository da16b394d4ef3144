//! An owner that the server still has: only for such a one is anything made.
//!
//! The watch of owners may be behind that of what they own, by half a minute after the server was
//! away. Who then makes what the garbage collector takes would make it again and again, for as
//! long as its own copy has the owner. So whoever makes pods, ReplicaSets, Jobs or revisions shows
//! a [`Living`], which there is only where the server was asked.
//!
//! One answer serves a whole sync: it is younger than what the sync decides by, and an owner that
//! goes after it gets no more than that sync makes, for the next one asks anew.
//! Example: ReplicaSet `web` is deleted, its controller's watch is behind, its pods go → the
//! controller wants new ones, asks for `web`, gets 404 and makes nothing.

use client::{Api, Error, Object};
use schema::Dom;
use tokio::sync::OnceCell;

use crate::workload::claims::Owner;

/// What a sync asks of its owner: nothing until somebody wants to know, then once. Each sync has its
/// own.
pub(crate) struct Inquiry<'a> {
    owner: &'a Owner,
    /// Where the owner is.
    owners: Api,
    /// What the server said; an error is no answer.
    lives: OnceCell<bool>,
}

/// See the module's header.
#[derive(Clone, Copy)]
pub(crate) struct Living<'a> {
    owner: &'a Owner,
}

impl<'a> Inquiry<'a> {
    pub(crate) fn new(owners: Api, owner: &'a Owner) -> Self {
        Self {
            owner,
            owners,
            lives: OnceCell::new(),
        }
    }

    /// Who it is about, as the asker knows it.
    pub(crate) fn owner(&self) -> &'a Owner {
        self.owner
    }

    /// None: the owner is gone, is another by now, or is being deleted.
    pub(crate) async fn living(&self) -> Result<Option<Living<'a>>, Error> {
        let lives = self.lives.get_or_try_init(|| self.ask()).await?;
        Ok(lives.then_some(Living { owner: self.owner }))
    }

    async fn ask(&self) -> Result<bool, Error> {
        let fresh = self.owners.find(&self.owner.name).await?;
        Ok(fresh.is_some_and(|fresh| {
            let stays = |dom: Dom| !api::meta::of(dom.as_ref()).is_deleting();
            fresh.uid() == self.owner.uid && fresh.parse().is_ok_and(stays)
        }))
    }
}

impl<'a> Living<'a> {
    /// Who it is, as the asker knows it.
    pub(crate) fn owner(&self) -> &'a Owner {
        self.owner
    }

    /// Makes something of the owner.
    pub(crate) async fn make(&self, dependents: &Api, body: &Dom) -> Result<Object, Error> {
        dependents.create(body.to_json(body.root())).await
    }
}
