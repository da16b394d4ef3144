//! Who belongs to an owner: orphans that match are adopted, own ones that no longer match are let
//! go. The decision is pure; the patches are made here, sent by [`super::control`].
//!
//! Source: kubernetes v1.36.3 pkg/controller/controller_ref_manager.go.

use schema::{Dom, Ref};

/// An owner as its dependents' references name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) deleting: bool,
}

impl Owner {
    pub(crate) fn read(api_version: &'static str, kind: &'static str, object: Ref<'_>) -> Self {
        let meta = api::meta::of(object);
        Self {
            api_version,
            kind,
            namespace: meta.namespace().to_owned(),
            name: meta.name().to_owned(),
            uid: meta.uid().to_owned(),
            resource_version: meta.resource_version().to_owned(),
            deleting: meta.is_deleting(),
        }
    }

    /// For events about it.
    pub(crate) fn reference(&self) -> client::Reference {
        client::Reference {
            api_version: self.api_version.to_owned(),
            kind: self.kind.to_owned(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            resource_version: self.resource_version.clone(),
            field_path: String::new(),
        }
    }

    /// Puts itself as managing owner into `metadata`.
    pub(crate) fn write(&self, dom: &mut Dom, metadata: schema::Node) {
        let list = dom.ensure_list(metadata, "ownerReferences");
        let reference = dom.new_map();
        dom.set_str(reference, "apiVersion", self.api_version);
        dom.set_str(reference, "kind", self.kind);
        dom.set_str(reference, "name", &self.name);
        dom.set_str(reference, "uid", &self.uid);
        dom.set_bool(reference, "controller", true);
        dom.set_bool(reference, "blockOwnerDeletion", true);
        dom.push(list, reference);
    }

    /// The strategic patch by which it takes an orphan.
    pub(crate) fn adoption(&self, uid: &str, finalizer: Option<&str>) -> Vec<u8> {
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        let metadata = dom.ensure_map(root, "metadata");
        dom.set_str(metadata, "uid", uid);
        self.write(&mut dom, metadata);
        if let Some(finalizer) = finalizer {
            let list = dom.ensure_list(metadata, "finalizers");
            let name = dom.new_str(finalizer);
            dom.push(list, name);
        }
        dom.to_json(root)
    }

    /// The strategic patch by which it lets a dependent go.
    pub(crate) fn release(&self, uid: &str, finalizer: Option<&str>) -> Vec<u8> {
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        let metadata = dom.ensure_map(root, "metadata");
        dom.set_str(metadata, "uid", uid);
        let list = dom.ensure_list(metadata, "ownerReferences");
        let entry = dom.new_map();
        dom.set_str(entry, "$patch", "delete");
        dom.set_str(entry, "uid", &self.uid);
        dom.push(list, entry);
        if let Some(finalizer) = finalizer {
            let list = dom.ensure_list(metadata, "$deleteFromPrimitiveList/finalizers");
            let name = dom.new_str(finalizer);
            dom.push(list, name);
        }
        dom.to_json(root)
    }
}

/// What to do with a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Ours already.
    Mine,
    /// Becomes ours.
    Adopt,
    /// Is no longer ours.
    Release,
    /// None of our business.
    Foreign,
}

/// Whether an object with managing owner `owner` belongs to `to`.
pub(crate) fn claim(to: &Owner, owner: Option<&str>, matches: bool, deleting: bool) -> Claim {
    match owner {
        Some(uid) if uid != to.uid => Claim::Foreign,
        Some(_) if matches => Claim::Mine,
        Some(_) if to.deleting => Claim::Foreign,
        Some(_) => Claim::Release,
        None if to.deleting || !matches || deleting => Claim::Foreign,
        None => Claim::Adopt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orphans_that_match_are_adopted_and_strangers_let_go() {
        let alive = Owner {
            uid: "u".to_owned(),
            ..Owner::default()
        };
        let going = Owner {
            deleting: true,
            ..alive.clone()
        };
        let rows = [
            (&alive, Some("v"), true, false, Claim::Foreign),
            (&alive, Some("u"), true, false, Claim::Mine),
            (&alive, Some("u"), false, false, Claim::Release),
            (&alive, None, true, false, Claim::Adopt),
            (&alive, None, true, true, Claim::Foreign),
            (&alive, None, false, false, Claim::Foreign),
            (&going, Some("u"), true, false, Claim::Mine),
            (&going, Some("u"), false, false, Claim::Foreign),
            (&going, None, true, false, Claim::Foreign),
        ];
        for (to, owner, matches, deleting, expected) in rows {
            assert_eq!(claim(to, owner, matches, deleting), expected);
        }
    }
}
