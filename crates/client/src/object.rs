//! One API object as the bytes that the server sent, with the few facts every holder needs.

mod shared;

use std::fmt;

use bytes::Bytes;
use schema::{Dom, SyntaxError};

use schema::scan;

use self::shared::Shared;
pub use self::shared::Sharing;

/// Namespace and name; the namespace is empty for cluster-scoped objects.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl Key {
    /// Names an object.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// An immutable revision of an object.
#[derive(Clone)]
pub struct Object {
    bytes: Bytes,
    key: Key,
    uid: String,
    resource_version: String,
    shared: Shared,
}

impl Object {
    /// Reads the header facts; `None` when the bytes are no object with metadata.
    pub fn new(bytes: Bytes) -> Option<Self> {
        let metadata = scan::member(&bytes, "metadata")?;
        let mut object = Self {
            bytes: bytes.clone(),
            key: Key::default(),
            uid: String::new(),
            resource_version: String::new(),
            shared: Shared::default(),
        };
        for (name, value) in scan::members(metadata)? {
            let slot = match &metadata[name] {
                b"namespace" => &mut object.key.namespace,
                b"name" => &mut object.key.name,
                b"uid" => &mut object.uid,
                b"resourceVersion" => &mut object.resource_version,
                _ => continue,
            };
            scan::plain_string(&metadata[value])?.clone_into(slot);
        }
        Some(object)
    }

    /// The JSON text.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Namespace and name.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// `metadata.namespace`, empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// `metadata.resourceVersion`.
    pub fn resource_version(&self) -> &str {
        &self.resource_version
    }

    /// The object as a tree, for views and patches.
    pub fn parse(&self) -> Result<Dom, SyntaxError> {
        self.shared.parse(&self.bytes)
    }

    /// Until the guard goes the object is parsed once, for all who ask for its tree.
    pub fn share(&self) -> Sharing<'_> {
        self.shared.share()
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({} @{})", self.key, self.resource_version)
    }
}
