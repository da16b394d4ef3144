//! Reads of other objects for hooks, straight from the store's committed state.

use registry::Lookup;
use schema::Dom;
use store::{Range, Store};

use crate::object;

/// The store as hooks see it.
#[derive(Clone)]
pub(crate) struct StoreLookup {
    pub(crate) store: Store,
    pub(crate) root: String,
}

impl Lookup for StoreLookup {
    fn get(&self, prefix: &str, namespace: &str, name: &str) -> Option<Dom> {
        let found = self
            .store
            .get(&object::key(&self.root, prefix, namespace, name))?;
        Some(object::parse(&found.value, found.mod_revision.0))
    }

    fn list(&self, prefix: &str, namespace: &str) -> Vec<Dom> {
        let range = Range::prefix(&object::key(&self.root, prefix, namespace, ""));
        match self.store.range(&range) {
            Ok(page) => page
                .items
                .iter()
                .map(|kv| object::parse(&kv.value, kv.mod_revision.0))
                .collect(),
            Err(error) => {
                tracing::error!(err = %base::Chain(&error), "list for a hook");
                Vec::new()
            }
        }
    }
}
