//! ControllerRevisions: the templates that a DaemonSet or StatefulSet had, numbered.
//!
//! Finds the one of the present template or makes it, and gives it the highest number; the caller
//! deletes old ones.
//! Source: kubernetes v1.36.3 pkg/controller/history/controller_history.go,
//! pkg/controller/daemon/update.go (constructHistory).

use api::{Gvr, LabelSelector};
use client::{Api, Cache, Client, DeleteOptions, Error};
use schema::{Dom, Node, Ref};

use crate::workload::claiming::{Claimed, Claiming, by_labels};
use crate::workload::claims::Owner;
use crate::workload::living::Inquiry;
use crate::workload::template::{hash, same};

/// The label by which DaemonSets know their revisions, and pods theirs.
pub(crate) const HASH: &str = "controller-revision-hash";
/// The label by which StatefulSets know their revisions.
pub(crate) const HISTORY_HASH: &str = "controller.kubernetes.io/hash";

/// One revision.
#[derive(Clone, Debug)]
pub(crate) struct Revision {
    pub(crate) name: String,
    pub(crate) number: i64,
    /// Value of the label that tells it apart.
    pub(crate) hash: String,
    dom: Dom,
}

/// All revisions of an owner, the oldest first.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) all: Vec<Revision>,
    /// Place of the one with the owner's template.
    pub(crate) current: usize,
}

/// What [`Revisions::sync`] came to.
pub(crate) enum Synced {
    /// The history with the present template in it.
    Whole(History),
    /// Its name is taken by another template: the owner counts a collision.
    Collision,
    /// The server has the owner no more, and nothing was made.
    OwnerGone,
}

/// How to find and make revisions.
pub(crate) struct Revisions<'a> {
    pub(crate) client: &'a Client,
    pub(crate) cache: &'a Cache,
    pub(crate) label: &'static str,
}

impl Revision {
    fn read(dom: Dom, label: &str) -> Self {
        let meta = api::meta::of(dom.as_ref());
        Self {
            name: meta.name().to_owned(),
            number: dom.as_ref().int("revision").unwrap_or(0),
            hash: meta.label(label).unwrap_or(meta.name()).to_owned(),
            dom,
        }
    }

    /// The template, as a document of its own.
    pub(crate) fn template(&self) -> Option<Dom> {
        let from = self.dom.as_ref().at(&["data", "spec", "template"])?;
        let mut dom = Dom::new();
        let root = dom.import(from.dom(), from.node());
        dom.set_root(root);
        dom.remove(root, "$patch");
        Some(dom)
    }

    fn has_template(&self, template: Ref<'_>) -> bool {
        self.template()
            .is_some_and(|own| same(own.as_ref(), template))
    }
}

/// The same with its members by name, as Go writes maps: clients compare a revision's bytes with
/// those that they would have written.
fn in_order(dom: &mut Dom, node: Node) -> Node {
    let mut sorted = Vec::new();
    dom.write_sorted(node, &mut sorted);
    match Dom::parse_json(&sorted) {
        Ok(sorted) => dom.import(&sorted, sorted.root()),
        Err(_) => node,
    }
}

impl Revisions<'_> {
    fn api(&self, namespace: &str) -> Api {
        let gvr = Gvr::new("apps", "v1", "controllerrevisions");
        self.client.namespaced(&gvr, namespace)
    }

    /// Finds or makes the revision of the present template.
    pub(crate) async fn sync(
        &self,
        inquiry: &Inquiry<'_>,
        selector: &LabelSelector,
        object: Ref<'_>,
        collisions: Option<i64>,
    ) -> Result<Synced, Error> {
        let owner = inquiry.owner();
        let mut all = self.claim(inquiry, selector).await?;
        all.sort_by(|a, b| (a.number, &a.name).cmp(&(b.number, &b.name)));
        let Some(template) = object.at(&["spec", "template"]) else {
            return Ok(Synced::Collision);
        };
        let found = all
            .iter()
            .rposition(|revision| revision.has_template(template));
        let others = all.iter().enumerate().filter(|(at, _)| Some(*at) != found);
        let next = others
            .map(|(_, revision)| revision.number)
            .max()
            .unwrap_or(0)
            + 1;
        let api = self.api(&owner.namespace);
        let current = match found {
            Some(at) if all[at].number >= next => {
                return Ok(Synced::Whole(History { all, current: at }));
            }
            Some(at) => {
                let mut dom = all.remove(at).dom;
                let root = dom.root();
                dom.set_int(root, "revision", next);
                let name = api::meta::of(dom.as_ref()).name().to_owned();
                api.update(&name, dom.to_json(root))
                    .await?
                    .parse()
                    .unwrap_or(dom)
            }
            None => {
                let hash = hash(template, collisions);
                let name = format!("{}-{hash}", owner.name);
                let body = self.body(owner, object, template, &name, &hash, next);
                let Some(living) = inquiry.living().await? else {
                    return Ok(Synced::OwnerGone);
                };
                match living.make(&api, &body).await {
                    Ok(made) => made.parse().unwrap_or(body),
                    Err(error) if error.is_already_exists() => {
                        let there = api.find(&name).await?.and_then(|there| there.parse().ok());
                        let there = there.filter(|dom| {
                            let ours = api::meta::of(dom.as_ref()).is_controlled_by(&owner.uid);
                            let revision = Revision::read(dom.clone(), self.label);
                            ours && revision.has_template(template)
                        });
                        let Some(there) = there else {
                            return Ok(Synced::Collision);
                        };
                        there
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        all.push(Revision::read(current, self.label));
        Ok(Synced::Whole(History {
            current: all.len() - 1,
            all,
        }))
    }

    async fn claim(
        &self,
        inquiry: &Inquiry<'_>,
        selector: &LabelSelector,
    ) -> Result<Vec<Revision>, Error> {
        let claiming = Claiming::new(inquiry, self.api(&inquiry.owner().namespace));
        let mine = claiming.claim(self.cache, by_labels(selector)).await?;
        let read = |revision: Claimed<Dom>| Revision::read(revision.newest(), self.label);
        Ok(mine.into_iter().map(read).collect())
    }

    fn body(
        &self,
        owner: &Owner,
        object: Ref<'_>,
        template: Ref<'_>,
        name: &str,
        hash: &str,
        number: i64,
    ) -> Dom {
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        dom.set_str(root, "apiVersion", "apps/v1");
        dom.set_str(root, "kind", "ControllerRevision");
        let metadata = dom.ensure_map(root, "metadata");
        dom.set_str(metadata, "name", name);
        let labels = dom.ensure_map(metadata, "labels");
        for (key, value) in api::meta::of(template).labels() {
            dom.set_str(labels, key, value);
        }
        dom.set_str(labels, self.label, hash);
        let annotations = dom.ensure_map(metadata, "annotations");
        for (key, value) in api::meta::of(object).annotations() {
            dom.set_str(annotations, key, value);
        }
        owner.write(&mut dom, metadata);
        let data = dom.ensure_map(root, "data");
        let spec = dom.ensure_map(data, "spec");
        let copy = dom.import(template.dom(), template.node());
        dom.set_str(copy, "$patch", "replace");
        let copy = in_order(&mut dom, copy);
        dom.set(spec, "template", copy);
        dom.set_int(root, "revision", number);
        dom
    }

    /// Deletes the oldest of those that nothing uses, beyond `limit`.
    pub(crate) async fn clean_up(
        &self,
        owner: &Owner,
        history: &History,
        is_live: impl Fn(&Revision) -> bool,
        limit: usize,
    ) -> Result<(), Error> {
        let all = history.all.iter().enumerate();
        let unused: Vec<&Revision> = all
            .filter(|(at, revision)| *at != history.current && !is_live(revision))
            .map(|(_, revision)| revision)
            .collect();
        let api = self.api(&owner.namespace);
        for revision in &unused[..unused.len().saturating_sub(limit)] {
            match api.delete(&revision.name, &DeleteOptions::default()).await {
                Err(error) if error.is_not_found() => {}
                other => other?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_by_name() {
        let template = r#"{"metadata":{"labels":{"b":"1","a":"2"}},"$patch":"replace","spec":{"z":[{"d":1,"c":2}],"y":{}}}"#;
        let mut dom = Dom::parse_json(template.as_bytes()).unwrap();
        let root = dom.root();
        let sorted = in_order(&mut dom, root);
        assert_eq!(
            String::from_utf8(dom.to_json(sorted)).unwrap(),
            r#"{"$patch":"replace","metadata":{"labels":{"a":"2","b":"1"}},"spec":{"y":{},"z":[{"c":2,"d":1}]}}"#
        );
    }
}
