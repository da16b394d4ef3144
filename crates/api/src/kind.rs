//! Names of kinds and resources: group, version, kind, resource.
//!
//! Source: apimachinery v0.36.3 pkg/runtime/schema/group_version.go.

use std::fmt;

/// Group and kind; prints as `Kind.group` (`Kind` in the core group).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gk {
    /// API group, empty for the core group.
    pub group: String,
    /// Kind.
    pub kind: String,
}

/// Group and resource; prints as `resource.group` (`resource` in the core group).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gr {
    /// API group, empty for the core group.
    pub group: String,
    /// Plural resource name, or a kind where upstream uses one in its place.
    pub resource: String,
}

/// Group, version and kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gvk {
    /// API group, empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Kind.
    pub kind: String,
}

/// Group, version and resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gvr {
    /// API group, empty for the core group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural resource name.
    pub resource: String,
}

/// An `apiVersion` with more than one slash.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unexpected GroupVersion string: {0}")]
pub struct GroupVersionError(String);

/// Splits `apiVersion` into group and version (`v1` → core group).
pub fn parse_api_version(text: &str) -> Result<(&str, &str), GroupVersionError> {
    if text == "/" {
        return Ok(("", ""));
    }
    match text.split_once('/') {
        None => Ok(("", text)),
        Some((_, rest)) if rest.contains('/') => Err(GroupVersionError(text.to_owned())),
        Some(pair) => Ok(pair),
    }
}

/// Joins group and version to an `apiVersion`.
#[must_use]
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

impl Gk {
    /// Names a kind of a group.
    #[must_use]
    pub fn new(group: &str, kind: &str) -> Self {
        Self {
            group: group.to_owned(),
            kind: kind.to_owned(),
        }
    }
}

impl Gr {
    /// Names a resource of a group.
    #[must_use]
    pub fn new(group: &str, resource: &str) -> Self {
        Self {
            group: group.to_owned(),
            resource: resource.to_owned(),
        }
    }

    /// Names nothing at all, as in errors about non-resource paths.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.group.is_empty() && self.resource.is_empty()
    }
}

impl Gvk {
    /// Names a kind.
    #[must_use]
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
        }
    }

    /// Reads the pair of fields that every object carries.
    pub fn from_fields(api_version: &str, kind: &str) -> Result<Self, GroupVersionError> {
        let (group, version) = parse_api_version(api_version)?;
        Ok(Self::new(group, version, kind))
    }

    /// `group/version`, or `version` in the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// Drops the version.
    #[must_use]
    pub fn group_kind(&self) -> Gk {
        Gk::new(&self.group, &self.kind)
    }
}

impl Gvr {
    /// Names a resource.
    #[must_use]
    pub fn new(group: &str, version: &str, resource: &str) -> Self {
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            resource: resource.to_owned(),
        }
    }

    /// `group/version`, or `version` in the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    /// Drops the version.
    #[must_use]
    pub fn group_resource(&self) -> Gr {
        Gr::new(&self.group, &self.resource)
    }

    /// Path of the collection: `/api/v1/[namespaces/NS/]pods`, `/apis/GROUP/VERSION/…`.
    #[must_use]
    pub fn path(&self, namespace: &str) -> String {
        let Self {
            group,
            version,
            resource,
        } = self;
        let mut path = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        if !namespace.is_empty() {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(resource);
        path
    }
}

fn dotted(f: &mut fmt::Formatter<'_>, name: &str, group: &str) -> fmt::Result {
    if group.is_empty() {
        f.write_str(name)
    } else {
        write!(f, "{name}.{group}")
    }
}

impl fmt::Display for Gk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        dotted(f, &self.kind, &self.group)
    }
}

impl fmt::Display for Gr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        dotted(f, &self.resource, &self.group)
    }
}

impl fmt::Display for Gvk {
    /// `group/version, Kind=kind`; the core group prints as `/v1, Kind=Pod`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

impl fmt::Display for Gvr {
    /// `group/version, Resource=resource`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}, Resource={}",
            self.group, self.version, self.resource
        )
    }
}
