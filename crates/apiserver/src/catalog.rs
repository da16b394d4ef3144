//! Which resources are served: the built-in rows and those of custom resource definitions.
//!
//! A catalog is immutable; a changed definition makes a new one that replaces it as a whole.

use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};
use registry::{RESOURCES, Resource, View};

/// A resource with one of its views.
#[derive(Clone, Debug)]
pub(crate) struct Served {
    pub(crate) resource: Arc<Resource>,
    pub(crate) index: usize,
}

impl Served {
    pub(crate) fn view(&self) -> &View {
        &self.resource.views[self.index]
    }
}

/// One group with its versions in order of preference.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) versions: Vec<String>,
}

/// A key of the catalog that is not owned.
#[derive(Hash)]
struct Asked<'a>(&'a str, &'a str, &'a str);

impl Equivalent<(String, String, String)> for Asked<'_> {
    fn equivalent(&self, key: &(String, String, String)) -> bool {
        self.0 == key.0 && self.1 == key.1 && self.2 == key.2
    }
}

/// All that is served.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    by_name: HashMap<(String, String, String), Served>,
    groups: Vec<Group>,
    pub(crate) documents: crate::openapi::Documents,
}

/// Groups in upstream's order of priority.
const ORDER: [&str; 21] = [
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

impl Catalog {
    /// The built-in rows and `custom`.
    pub(crate) fn new(custom: Vec<Arc<Resource>>) -> Catalog {
        let mut catalog = Catalog::default();
        let mut groups: Vec<Group> = ORDER
            .iter()
            .map(|name| Group {
                name: (*name).to_owned(),
                versions: Vec::new(),
            })
            .collect();
        let built_in = groups.len();
        let rows: Vec<Arc<Resource>> = RESOURCES.iter().cloned().chain(custom).collect();
        for resource in &rows {
            for (index, view) in resource.views.iter().enumerate().filter(|(_, v)| v.served) {
                let key = (
                    view.group.to_string(),
                    view.version.to_string(),
                    resource.plural.to_string(),
                );
                catalog.by_name.insert(
                    key,
                    Served {
                        resource: Arc::clone(resource),
                        index,
                    },
                );
                let group = match groups.iter().position(|group| group.name == view.group) {
                    Some(at) => &mut groups[at],
                    None => {
                        groups.push(Group {
                            name: view.group.to_string(),
                            versions: Vec::new(),
                        });
                        let last = groups.len() - 1;
                        &mut groups[last]
                    }
                };
                if !group
                    .versions
                    .iter()
                    .any(|version| *version == view.version)
                {
                    group.versions.push(view.version.to_string());
                }
            }
        }
        for group in &mut groups {
            group
                .versions
                .sort_by_key(|version| std::cmp::Reverse(version_order(version)));
        }
        groups[built_in..].sort_by(|a, b| a.name.cmp(&b.name));
        groups.retain(|group| !group.versions.is_empty());
        catalog.groups = groups;
        catalog
    }

    /// The resource of that name.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Served> {
        let asked = Asked(group, version, plural);
        self.by_name.get(&asked).cloned()
    }

    /// Groups in order.
    pub(crate) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Resources of a group's version, by name.
    pub(crate) fn of(&self, group: &str, version: &str) -> Vec<Served> {
        let of = self
            .by_name
            .iter()
            .filter(|((g, v, _), _)| g == group && v == version);
        let mut of: Vec<Served> = of.map(|(_, served)| served.clone()).collect();
        of.sort_by(|a, b| a.resource.plural.cmp(&b.resource.plural));
        of
    }

    /// Whether there is such a group.
    pub(crate) fn has_group(&self, group: &str) -> bool {
        self.groups.iter().any(|found| found.name == group)
    }

    /// Whether the group has that version.
    pub(crate) fn has_version(&self, group: &str, version: &str) -> bool {
        let found = self.groups.iter().find(|found| found.name == group);
        found.is_some_and(|group| group.versions.iter().any(|v| v == version))
    }
}

/// v2 before v1 before v1beta2 before v1beta1 before v1alpha1, others last by name.
/// Source: apimachinery v0.36.3 pkg/version/helpers.go CompareKubeAwareVersionStrings.
pub(crate) fn version_order(version: &str) -> (u8, u64, u64, std::cmp::Reverse<String>) {
    let other = (0, 0, 0, std::cmp::Reverse(version.to_owned()));
    let Some(rest) = version.strip_prefix('v') else {
        return other;
    };
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let Ok(major) = rest[..digits].parse::<u64>() else {
        return other;
    };
    let (rank, minor) = match &rest[digits..] {
        "" => (3, ""),
        tail if tail.starts_with("beta") => (2, &tail[4..]),
        tail if tail.starts_with("alpha") => (1, &tail[5..]),
        _ => return other,
    };
    let none = std::cmp::Reverse(String::new());
    match (rank, minor) {
        (3, _) => (3, major, 0, none),
        (_, "") => other,
        (_, minor) => match minor.parse() {
            Ok(minor) => (rank, major, minor, none),
            Err(_) => other,
        },
    }
}
