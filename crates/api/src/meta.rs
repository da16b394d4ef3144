//! What every object carries: `metadata` and the pair kind, apiVersion.
//!
//! Owns small readers over a document; none of them fails, an absent or mistyped field reads
//! as empty. Knows no kind.
//! Source: apimachinery v0.36.3 pkg/apis/meta/v1/{types,controller_ref}.go.

use crate::kind::Gvk;
use crate::labels::{Selector, SelectorError};
use crate::time;
use jiff::Timestamp;
use schema::Ref;

/// Readers of an object's metadata.
#[derive(Copy, Clone, Debug)]
pub struct Meta<'a>(Option<Ref<'a>>);

/// One entry of `metadata.ownerReferences`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Owner<'a> {
    /// `apiVersion` of the owner.
    pub api_version: &'a str,
    /// Kind of the owner.
    pub kind: &'a str,
    /// Name of the owner.
    pub name: &'a str,
    /// Uid of the owner.
    pub uid: &'a str,
    /// It is the managing controller.
    pub controller: bool,
    /// The owner's foreground deletion waits for this object.
    pub block_owner_deletion: bool,
}

/// The metadata of `object`.
#[must_use]
pub fn of(object: Ref<'_>) -> Meta<'_> {
    Meta(object.get("metadata"))
}

/// Kind and version of `object`; an odd `apiVersion` reads as empty.
#[must_use]
pub fn gvk(object: Ref<'_>) -> Gvk {
    Gvk::from_fields(object.str("apiVersion"), object.str("kind")).unwrap_or_default()
}

/// Is condition `kind` of `object` (in `status.conditions`) `True`?
#[must_use]
pub fn condition_is_true(object: Ref<'_>, kind: &str) -> bool {
    condition(object, kind).is_some_and(|c| c.str("status") == "True")
}

/// The condition of that type in `status.conditions`.
#[must_use]
pub fn condition<'a>(object: Ref<'a>, kind: &str) -> Option<Ref<'a>> {
    object
        .get("status")?
        .items("conditions")
        .find(|c| c.str("type") == kind)
}

/// A `LabelSelector` object as a selector: `None` matches nothing, an empty one everything.
pub fn label_selector(selector: Option<Ref<'_>>) -> Result<Selector, SelectorError> {
    let Some(selector) = selector.filter(|s| !s.is_null()) else {
        return Ok(Selector::nothing());
    };
    let labels = selector
        .entries("matchLabels")
        .map(|(k, v)| (k, v.as_str().unwrap_or("")));
    let expressions = selector.items("matchExpressions").map(|e| {
        let values = e.items("values").map(|v| v.as_str().unwrap_or(""));
        (e.str("key"), e.str("operator"), values)
    });
    Selector::from_parts(labels, expressions)
}

/// A plain map of labels as a selector (Services, ReplicationControllers): an absent or empty
/// one matches everything; callers that mean nothing by it check before.
#[must_use]
pub fn set_selector(labels: Option<Ref<'_>>) -> Selector {
    let entries = labels.into_iter().flat_map(Ref::map);
    Selector::from_set(entries.map(|(k, v)| (k, v.as_str().unwrap_or(""))))
}

impl<'a> Meta<'a> {
    fn str(self, key: &str) -> &'a str {
        self.0.map_or("", |meta| meta.str(key))
    }

    fn time(self, key: &str) -> Option<Timestamp> {
        time::field(self.0?, key)
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(self) -> &'a str {
        self.str("name")
    }

    /// `metadata.generateName`.
    #[must_use]
    pub fn generate_name(self) -> &'a str {
        self.str("generateName")
    }

    /// `metadata.namespace`; empty for objects of the cluster.
    #[must_use]
    pub fn namespace(self) -> &'a str {
        self.str("namespace")
    }

    /// `metadata.uid`.
    #[must_use]
    pub fn uid(self) -> &'a str {
        self.str("uid")
    }

    /// `metadata.resourceVersion`.
    #[must_use]
    pub fn resource_version(self) -> &'a str {
        self.str("resourceVersion")
    }

    /// `metadata.generation`.
    #[must_use]
    pub fn generation(self) -> i64 {
        self.0.and_then(|meta| meta.int("generation")).unwrap_or(0)
    }

    /// `namespace/name`, or the name alone.
    #[must_use]
    pub fn key(self) -> String {
        match self.namespace() {
            "" => self.name().to_owned(),
            namespace => format!("{namespace}/{}", self.name()),
        }
    }

    /// `metadata.creationTimestamp`.
    #[must_use]
    pub fn created(self) -> Option<Timestamp> {
        self.time("creationTimestamp")
    }

    /// `metadata.deletionTimestamp`.
    #[must_use]
    pub fn deleted(self) -> Option<Timestamp> {
        self.time("deletionTimestamp")
    }

    /// Is the object being deleted?
    #[must_use]
    pub fn is_deleting(self) -> bool {
        !self.str("deletionTimestamp").is_empty()
    }

    /// `metadata.deletionGracePeriodSeconds`.
    #[must_use]
    pub fn deletion_grace_seconds(self) -> Option<i64> {
        self.0?.int("deletionGracePeriodSeconds")
    }

    /// One label.
    #[must_use]
    pub fn label(self, key: &str) -> Option<&'a str> {
        self.0?.get("labels")?.get(key)?.as_str()
    }

    /// One annotation.
    #[must_use]
    pub fn annotation(self, key: &str) -> Option<&'a str> {
        self.0?.get("annotations")?.get(key)?.as_str()
    }

    /// All labels.
    pub fn labels(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.map("labels")
    }

    /// All annotations.
    pub fn annotations(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.map("annotations")
    }

    fn map(self, key: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let entries = self.0.into_iter().flat_map(move |meta| meta.entries(key));
        entries.map(|(k, v)| (k, v.as_str().unwrap_or("")))
    }

    /// `metadata.finalizers`.
    pub fn finalizers(self) -> impl Iterator<Item = &'a str> {
        self.0
            .into_iter()
            .flat_map(|meta| meta.items("finalizers"))
            .filter_map(Ref::as_str)
    }

    /// Does the object carry this finalizer?
    #[must_use]
    pub fn has_finalizer(self, name: &str) -> bool {
        self.finalizers().any(|finalizer| finalizer == name)
    }

    /// `metadata.ownerReferences`.
    pub fn owners(self) -> impl Iterator<Item = Owner<'a>> {
        let all = self
            .0
            .into_iter()
            .flat_map(|meta| meta.items("ownerReferences"));
        all.map(|owner| Owner {
            api_version: owner.str("apiVersion"),
            kind: owner.str("kind"),
            name: owner.str("name"),
            uid: owner.str("uid"),
            controller: owner.bool("controller").unwrap_or(false),
            block_owner_deletion: owner.bool("blockOwnerDeletion").unwrap_or(false),
        })
    }

    /// The owner that manages the object.
    #[must_use]
    pub fn controller(self) -> Option<Owner<'a>> {
        self.owners().find(|owner| owner.controller)
    }

    /// Does the managing owner have this uid?
    #[must_use]
    pub fn is_controlled_by(self, uid: &str) -> bool {
        self.controller().is_some_and(|owner| owner.uid == uid)
    }

    /// Does `selector` match the object's labels?
    #[must_use]
    pub fn matches(self, selector: &Selector) -> bool {
        selector.matches(|key| self.label(key))
    }
}

#[cfg(test)]
mod tests;
