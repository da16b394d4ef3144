//! Roles and bindings of a control plane, found by subject.
//!
//! A binding is entered once for each of its subjects: (namespace, user or group) → bindings. A
//! question looks up the user and each group in the cluster-wide entries and in those of the
//! namespace, so that its cost does not grow with the number of bindings.
//! Example: group system:nodes in namespace a → entries ("", g:system:nodes), ("a", g:system:nodes).
//! A ClusterRole with an aggregation rule has its own rules and those of the roles it selects.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use schema::Ref;

use super::{Action, Rule};
use crate::{Lookup, User};

/// Where an object lives: its namespace (empty for the cluster) and name.
type Place = (String, String);

/// What a question found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed, and by which binding.
    Allowed(String),
    /// Not allowed; the roles that could not be found, if any.
    Unknown(String),
}

/// A binding of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    binding: &'a Binding,
    subject: &'a Subject,
}

#[derive(Debug, PartialEq, Eq)]
struct Binding {
    namespace: String,
    name: String,
    role_kind: String,
    role: String,
    subjects: Vec<Subject>,
}

#[derive(Debug, PartialEq, Eq)]
struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

#[derive(Debug, Default)]
struct Role {
    rules: Arc<[Rule]>,
    labels: BTreeMap<String, String>,
    /// Label sets whose roles are included.
    aggregated: Vec<BTreeMap<String, String>>,
}

/// Roles and bindings.
#[derive(Debug, Default)]
pub struct Index {
    /// Roles and ClusterRoles.
    roles: HashMap<Place, Role>,
    bindings: HashMap<Place, Arc<Binding>>,
    /// By namespace and subject.
    by_subject: HashMap<Place, BTreeMap<String, Arc<Binding>>>,
    /// ClusterRoles with an aggregation rule.
    aggregating: BTreeSet<String>,
    /// Their rules, found once after each change of a role.
    joined: Mutex<HashMap<String, Arc<[Rule]>>>,
}

impl Subject {
    /// The key of the entries of this subject; `None`: it names nobody.
    fn key(&self, binding_namespace: &str) -> Option<String> {
        match self.kind.as_str() {
            "User" => Some(format!("u:{}", self.name)),
            "Group" => Some(format!("g:{}", self.name)),
            "ServiceAccount" => {
                let own = Some(self.namespace.as_str()).filter(|own| !own.is_empty());
                let namespace = own.unwrap_or(binding_namespace);
                let name = &self.name;
                (!namespace.is_empty())
                    .then(|| format!("u:system:serviceaccount:{namespace}:{name}"))
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Binding {
            namespace,
            name,
            role_kind,
            role,
            ..
        } = self.binding;
        if namespace.is_empty() {
            write!(f, "ClusterRoleBinding {name:?}")?;
        } else {
            write!(f, "RoleBinding {:?}", format!("{name}/{namespace}"))?;
        }
        write!(f, " of {role_kind} {role:?} to {} ", self.subject.kind)?;
        if self.subject.kind != "ServiceAccount" {
            return write!(f, "{:?}", self.subject.name);
        }
        let own = Some(&self.subject.namespace).filter(|own| !own.is_empty());
        write!(
            f,
            "{:?}",
            format!("{}/{}", self.subject.name, own.unwrap_or(namespace))
        )
    }
}

impl Index {
    /// Everything that concerns `namespace` (empty: only the cluster), read afresh.
    pub fn read(lookup: &dyn Lookup, namespace: &str) -> Self {
        let mut index = Self::default();
        for prefix in [
            "clusterroles",
            "clusterrolebindings",
            "roles",
            "rolebindings",
        ] {
            let namespaced = !prefix.starts_with("cluster");
            if namespaced && namespace.is_empty() {
                continue;
            }
            let scope = if namespaced { namespace } else { "" };
            for object in lookup.list(prefix, scope) {
                let meta = object.as_ref().get("metadata").unwrap_or(Ref::null());
                let (namespace, name) = (meta.str("namespace"), meta.str("name"));
                index.set(prefix, namespace, name, Some(object.as_ref()));
            }
        }
        index
    }

    /// Enters, replaces or (`None`) removes an object of one of the four resources; others are
    /// ignored.
    pub fn set(&mut self, resource: &str, namespace: &str, name: &str, object: Option<Ref<'_>>) {
        let place = (namespace.to_owned(), name.to_owned());
        match resource {
            "roles" | "clusterroles" => self.set_role(place, object),
            "rolebindings" | "clusterrolebindings" => self.set_binding(place, object),
            _ => {}
        }
    }

    fn set_role(&mut self, place: Place, object: Option<Ref<'_>>) {
        self.joined = Mutex::default();
        let Some(object) = object else {
            self.aggregating.remove(&place.1);
            self.roles.remove(&place);
            return;
        };
        let labels = |map: Option<Ref<'_>>, key: &str| {
            let entries = map
                .into_iter()
                .flat_map(|map| map.entries(key).collect::<Vec<_>>());
            entries
                .map(|(key, value)| (key.to_owned(), value.text().to_owned()))
                .collect()
        };
        let selectors = object.get("aggregationRule").map(|rule| {
            let selectors = rule.items("clusterRoleSelectors");
            selectors
                .map(|selector| labels(Some(selector), "matchLabels"))
                .collect()
        });
        let aggregated: Vec<_> = selectors.unwrap_or_default();
        if place.0.is_empty() && !aggregated.is_empty() {
            self.aggregating.insert(place.1.clone());
        } else if place.0.is_empty() {
            self.aggregating.remove(&place.1);
        }
        let role = Role {
            rules: Rule::read_all(object).into(),
            labels: labels(object.get("metadata"), "labels"),
            aggregated,
        };
        self.roles.insert(place, role);
    }

    fn set_binding(&mut self, place: Place, object: Option<Ref<'_>>) {
        if let Some(old) = self.bindings.remove(&place) {
            for key in old
                .subjects
                .iter()
                .filter_map(|subject| subject.key(&place.0))
            {
                let entry = (place.0.clone(), key);
                if let Some(named) = self.by_subject.get_mut(&entry) {
                    named.remove(&place.1);
                    if named.is_empty() {
                        self.by_subject.remove(&entry);
                    }
                }
            }
        }
        let Some(object) = object else {
            return;
        };
        let role = object.get("roleRef").unwrap_or(Ref::null());
        let subjects = object.items("subjects").map(|subject| Subject {
            kind: subject.str("kind").to_owned(),
            name: subject.str("name").to_owned(),
            namespace: subject.str("namespace").to_owned(),
        });
        let binding = Arc::new(Binding {
            namespace: place.0.clone(),
            name: place.1.clone(),
            role_kind: role.str("kind").to_owned(),
            role: role.str("name").to_owned(),
            subjects: subjects.collect(),
        });
        for key in binding
            .subjects
            .iter()
            .filter_map(|subject| subject.key(&place.0))
        {
            let named = self.by_subject.entry((place.0.clone(), key)).or_default();
            named.insert(place.1.clone(), binding.clone());
        }
        self.bindings.insert(place, binding);
    }

    /// The rules of a role that a binding in `namespace` refers to.
    pub fn role_rules(
        &self,
        namespace: &str,
        kind: &str,
        name: &str,
    ) -> Result<Arc<[Rule]>, String> {
        let (place, resource) = match kind {
            "Role" => ((namespace.to_owned(), name.to_owned()), "role"),
            "ClusterRole" => ((String::new(), name.to_owned()), "clusterrole"),
            _ => return Err(format!("unsupported role reference kind: {kind:?}")),
        };
        let Some(role) = self.roles.get(&place) else {
            return Err(format!(
                "{resource}.rbac.authorization.k8s.io {name:?} not found"
            ));
        };
        if kind != "ClusterRole" || !self.aggregating.contains(name) {
            return Ok(role.rules.clone());
        }
        let mut joined = self
            .joined
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        let rules = joined
            .entry(name.to_owned())
            .or_insert_with(|| self.aggregate(name).into());
        Ok(rules.clone())
    }

    /// Own rules, those of the selected roles, of the roles that these select, and so on.
    fn aggregate(&self, name: &str) -> Vec<Rule> {
        let mut rules: Vec<Rule> = Vec::new();
        let (mut seen, mut open) = (BTreeSet::new(), vec![name]);
        while let Some(name) = open.pop() {
            let Some(role) = self.roles.get(&(String::new(), name.to_owned())) else {
                continue;
            };
            if !seen.insert(name) {
                continue;
            }
            for rule in role.rules.iter() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
            if role.aggregated.is_empty() {
                continue;
            }
            let selected = self.roles.iter().filter(|((namespace, _), candidate)| {
                let fits = |wanted: &BTreeMap<String, String>| {
                    wanted
                        .iter()
                        .all(|(key, value)| candidate.labels.get(key) == Some(value))
                };
                namespace.is_empty() && role.aggregated.iter().any(fits)
            });
            open.extend(selected.map(|((_, name), _)| name.as_str()));
        }
        rules
    }

    /// Calls `visit` for every rule of `user` in `namespace`, until it returns false.
    fn visit<'a>(
        &'a self,
        user: &User,
        namespace: &str,
        mut visit: impl FnMut(Source<'a>, Result<&Rule, String>) -> bool,
    ) {
        let mut keys = vec![format!("u:{}", user.name)];
        keys.extend(user.groups.iter().map(|group| format!("g:{group}")));
        let scopes = if namespace.is_empty() {
            &[""][..]
        } else {
            &["", namespace][..]
        };
        for scope in scopes {
            for key in &keys {
                let entry = ((*scope).to_owned(), key.clone());
                for binding in self
                    .by_subject
                    .get(&entry)
                    .into_iter()
                    .flat_map(BTreeMap::values)
                {
                    let subjects = &mut binding.subjects.iter();
                    let subject = subjects.find(|subject| subject.key(scope).as_ref() == Some(key));
                    let Some(subject) = subject else {
                        continue;
                    };
                    let source = || Source { binding, subject };
                    match self.role_rules(scope, &binding.role_kind, &binding.role) {
                        Ok(rules) => {
                            if !rules.iter().all(|rule| visit(source(), Ok(rule))) {
                                return;
                            }
                        }
                        Err(error) => {
                            if !visit(source(), Err(error)) {
                                return;
                            }
                        }
                    }
                }
            }
        }
    }

    /// Whether `user` may do it, and why.
    pub fn authorize(&self, user: &User, action: &Action<'_>) -> Verdict {
        let (mut allowed, mut errors) = (None, Vec::new());
        self.visit(user, action.namespace, |source, rule| {
            match rule {
                Ok(rule) if rule.allows(action) => allowed = Some(source.to_string()),
                Ok(_) => {}
                Err(error) => errors.push(error),
            }
            allowed.is_none()
        });
        if let Some(source) = allowed {
            return Verdict::Allowed(format!("RBAC: allowed by {source}"));
        }
        errors.dedup();
        Verdict::Unknown(match errors.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        })
    }

    /// All rules of `user` in `namespace`, and the roles that could not be found.
    pub fn rules_for(&self, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        let (mut rules, mut errors) = (Vec::new(), Vec::new());
        self.visit(user, namespace, |_, rule| {
            match rule {
                Ok(rule) => rules.push(rule.clone()),
                Err(error) => errors.push(error),
            }
            true
        });
        (rules, errors)
    }
}
