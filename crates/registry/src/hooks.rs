//! What hooks may see besides the object, and what they may add to the transaction.
//!
//! Knows no store: [`Lookup`] is answered by the API server's cache, by a fixture in tests.

use schema::Dom;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Name.
    pub name: String,
    /// Unique id, if the authenticator knows one.
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// Anything else the authenticator says of them.
    pub extra: Vec<(String, Vec<String>)>,
}

impl User {
    /// Whether they are in the group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|name| name == group)
    }
}

/// Reads other objects, as stored.
pub trait Lookup: Send + Sync {
    /// One object; `prefix` is [`crate::Resource::prefix`].
    fn get(&self, prefix: &str, namespace: &str, name: &str) -> Option<Dom>;
    /// All objects of a namespace (empty: of all).
    fn list(&self, prefix: &str, namespace: &str) -> Vec<Dom>;
}

/// Circumstances of one write.
pub struct Context<'a> {
    /// The row.
    pub resource: &'a crate::Resource,
    /// Which view of it the client used.
    pub view: &'a crate::View,
    /// Now.
    pub now: jiff::Timestamp,
    /// Who asks.
    pub user: &'a User,
    /// Namespace of the request; empty for the cluster.
    pub namespace: &'a str,
    /// Empty, or the subresource.
    pub subresource: &'a str,
    /// Other objects.
    pub lookup: &'a dyn Lookup,
    /// A random number below the bound.
    pub below: &'a dyn Fn(u64) -> u64,
    /// Nothing will be stored.
    pub dry_run: bool,
    /// The cluster's Service ranges.
    pub service_ranges: &'a [ipnet::IpNet],
}

/// A write to another object in the same transaction.
#[derive(Debug)]
pub enum Extra {
    /// Creates it; a conflict if it exists.
    Create {
        /// [`crate::Resource::prefix`]
        prefix: String,
        /// Empty for the cluster.
        namespace: String,
        /// Name.
        name: String,
        /// The stored form.
        object: Dom,
    },
    /// Deletes it, if it is there.
    Delete {
        /// [`crate::Resource::prefix`]
        prefix: String,
        /// Empty for the cluster.
        namespace: String,
        /// Name.
        name: String,
    },
    /// Replaces it as it was read at that revision.
    Update {
        /// [`crate::Resource::prefix`]
        prefix: String,
        /// Empty for the cluster.
        namespace: String,
        /// Name.
        name: String,
        /// The stored form, with its `metadata.resourceVersion` as read.
        object: Dom,
    },
}

/// What hooks add to a write.
#[derive(Debug, Default)]
pub struct Extras {
    /// Writes to other objects.
    pub writes: Vec<Extra>,
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
}
