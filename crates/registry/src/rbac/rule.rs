//! One rule of a role, and whether it allows an action.

use schema::Ref;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action<'a> {
    /// `get`, `list`, … or an HTTP method in lower case.
    pub verb: &'a str,
    /// API group.
    pub group: &'a str,
    /// Resource; empty: the action is about `path`.
    pub resource: &'a str,
    /// Subresource.
    pub subresource: &'a str,
    /// Name of the object.
    pub name: &'a str,
    /// Namespace of the object.
    pub namespace: &'a str,
    /// Path of a request that is not about a resource.
    pub path: &'a str,
}

/// A rule: what is allowed on what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Allowed verbs; `*` for all.
    pub verbs: Vec<String>,
    /// API groups; `*` for all.
    pub groups: Vec<String>,
    /// Resources, `resource/subresource`, `*/subresource` or `*`.
    pub resources: Vec<String>,
    /// Names; empty for all.
    pub names: Vec<String>,
    /// Paths, possibly ending in `*`.
    pub urls: Vec<String>,
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == wanted)
}

fn has_or_all(list: &[String], wanted: &str) -> bool {
    list.iter().any(|one| one == "*" || one == wanted)
}

/// Whether one of the listed resources is `resource/subresource`.
fn resource_matches(list: &[String], resource: &str, subresource: &str) -> bool {
    list.iter().any(|one| {
        if one == "*" {
            return true;
        }
        if subresource.is_empty() {
            return one == resource;
        }
        one.split_once('/')
            .is_some_and(|(left, right)| right == subresource && (left == "*" || left == resource))
    })
}

fn url_matches(list: &[String], path: &str) -> bool {
    list.iter().any(|one| {
        one == "*"
            || one == path
            || (one.ends_with('*') && path.starts_with(one.trim_end_matches('*')))
    })
}

impl Rule {
    /// From a PolicyRule.
    pub fn read(rule: Ref<'_>) -> Self {
        let texts = |key| rule.items(key).map(|one| one.text().to_owned()).collect();
        Self {
            verbs: texts("verbs"),
            groups: texts("apiGroups"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            urls: texts("nonResourceURLs"),
        }
    }

    /// The rules of a Role or ClusterRole.
    pub fn read_all(role: Ref<'_>) -> Vec<Self> {
        role.items("rules").map(Self::read).collect()
    }

    /// Whether it allows the action.
    pub fn allows(&self, action: &Action<'_>) -> bool {
        if !has_or_all(&self.verbs, action.verb) {
            return false;
        }
        if action.resource.is_empty() {
            return url_matches(&self.urls, action.path);
        }
        has_or_all(&self.groups, action.group)
            && resource_matches(&self.resources, action.resource, action.subresource)
            && (self.names.is_empty() || has(&self.names, action.name))
    }

    /// Whether it allows all that `other` does, which has at most one entry of each kind.
    pub(super) fn covers_simple(&self, other: &Rule) -> bool {
        let resources = other.resources.iter().all(|wanted| {
            let (resource, subresource) = wanted.split_once('/').unwrap_or((wanted, ""));
            resource_matches(&self.resources, resource, subresource)
        });
        let names = match other.names.as_slice() {
            [] => self.names.is_empty(),
            wanted => self.names.is_empty() || wanted.iter().all(|one| has(&self.names, one)),
        };
        let urls = other.urls.iter().all(|wanted| {
            let covers = |own: &String| {
                own == wanted
                    || own == "*"
                    || (own.ends_with('*') && wanted.starts_with(own.trim_end_matches('*')))
            };
            self.urls.iter().any(covers)
        });
        other.verbs.iter().all(|verb| has_or_all(&self.verbs, verb))
            && other
                .groups
                .iter()
                .all(|group| has_or_all(&self.groups, group))
            && resources
            && names
            && urls
    }

    /// The same as rules with one verb on one thing each.
    pub(super) fn break_down(&self) -> Vec<Rule> {
        let mut simple = Vec::new();
        let one = |text: &String| vec![text.clone()];
        for group in &self.groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let base = Rule {
                        verbs: one(verb),
                        groups: one(group),
                        resources: one(resource),
                        ..Rule::default()
                    };
                    if self.names.is_empty() {
                        simple.push(base);
                        continue;
                    }
                    simple.extend(self.names.iter().map(|name| Rule {
                        names: one(name),
                        ..base.clone()
                    }));
                }
            }
        }
        for url in &self.urls {
            simple.extend(self.verbs.iter().map(|verb| Rule {
                verbs: one(verb),
                urls: one(url),
                ..Rule::default()
            }));
        }
        simple
    }

    /// `{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}`.
    /// Source: kubernetes v1.36.3 pkg/apis/rbac/v1/evaluation_helpers.go, CompactString.
    pub fn describe(&self) -> String {
        let lists = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.urls),
            ("ResourceNames", &self.names),
            ("Verbs", &self.verbs),
        ];
        let parts = lists
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(title, list)| {
                let quoted: Vec<_> = list.iter().map(|one| format!("{one:?}")).collect();
                format!("{title}:[{}]", quoted.join(" "))
            });
        format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
    }
}
