//! The roles and bindings that a cluster starts with, from a table of facts.
//!
//! `bootstrap.txt` holds one object a paragraph (its head explains the form); this file renders
//! them with upstream's labels and annotations. A test compares with upstream's own list.
//! Source: kubernetes v1.36.3 plugin/pkg/auth/authorizer/rbac/bootstrappolicy.

use schema::{Dom, Node};

use super::Rule;

const TABLE: &str = include_str!("bootstrap.txt");
const GROUP: &str = "rbac.authorization.k8s.io";

/// An object of the bootstrap policy.
#[derive(Debug)]
pub struct BootstrapObject {
    /// `clusterroles`, `clusterrolebindings`, `roles` or `rolebindings`.
    pub resource: &'static str,
    /// Empty for the cluster.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The whole object.
    pub object: Dom,
}

/// Every object, ClusterRoles first.
pub fn bootstrap() -> Vec<BootstrapObject> {
    paragraphs()
        .map(|(head, body)| render(head, &body))
        .collect()
}

/// The rules of one ClusterRole of the table: the node authorizer's are those of system:node.
pub fn bootstrap_rules(cluster_role: &str) -> Vec<Rule> {
    let wanted = |head: &str| {
        let mut words = head.split(' ');
        words.next() == Some("ClusterRole") && words.next() == Some(cluster_role)
    };
    let found = paragraphs().find(|(head, _)| wanted(head));
    found
        .map(|(_, body)| body.into_iter().map(rule).collect())
        .unwrap_or_default()
}

/// A head line and the indented lines below it.
fn paragraphs() -> impl Iterator<Item = (&'static str, Vec<&'static str>)> {
    let mut lines = TABLE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .peekable();
    std::iter::from_fn(move || {
        let head = lines.next()?;
        let mut body = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with("  ")) {
            body.push(line.trim_start());
        }
        Some((head, body))
    })
}

fn rule(line: &str) -> Rule {
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let words: Vec<_> = line.split(' ').collect();
    let mut rule = Rule::default();
    match words.as_slice() {
        ["url", urls, verbs] => {
            rule.urls = list(urls);
            rule.verbs = list(verbs);
        }
        [groups, resources, verbs, names @ ..] => {
            let group = |name: &str| if name == "core" { "" } else { name }.to_owned();
            rule.groups = groups.split(',').map(group).collect();
            rule.resources = list(resources);
            rule.verbs = list(verbs);
            rule.names = names.iter().flat_map(|names| list(names)).collect();
        }
        _ => {}
    }
    rule
}

fn render(head: &str, body: &[&str]) -> BootstrapObject {
    let mut words = head.split(' ');
    let kind = words.next().unwrap_or_default();
    let place = words.next().unwrap_or_default();
    let resource = match kind {
        "ClusterRole" => "clusterroles",
        "ClusterRoleBinding" => "clusterrolebindings",
        "Role" => "roles",
        _ => "rolebindings",
    };
    // Names of the cluster have no slash.
    let (namespace, name) = place.split_once('/').unwrap_or(("", place));
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "apiVersion", &format!("{GROUP}/v1"));
    dom.set_str(root, "kind", kind);
    let meta = dom.ensure_map(root, "metadata");
    dom.set_str(meta, "name", name);
    if !namespace.is_empty() {
        dom.set_str(meta, "namespace", namespace);
    }
    let labels = dom.ensure_map(meta, "labels");
    dom.set_str(labels, "kubernetes.io/bootstrapping", "rbac-defaults");
    let annotations = dom.ensure_map(meta, "annotations");
    dom.set_str(
        annotations,
        "rbac.authorization.kubernetes.io/autoupdate",
        "true",
    );
    let (mut role_ref, mut aggregated) = (None, false);
    while let Some(word) = words.next() {
        if word == "->" {
            role_ref = words.next().and_then(|role| role.split_once('/'));
        } else if let Some(selector) = word.strip_prefix('+') {
            aggregated = true;
            let rule = dom.ensure_map(root, "aggregationRule");
            let selectors = dom.ensure_list(rule, "clusterRoleSelectors");
            let one = dom.new_map();
            dom.push(selectors, one);
            let wanted = dom.ensure_map(one, "matchLabels");
            dom.set_str(wanted, &format!("{GROUP}/{selector}"), "true");
        } else {
            dom.set_str(labels, &format!("{GROUP}/{word}"), "true");
        }
    }
    match role_ref {
        None if aggregated => {
            let none = dom.new_null();
            dom.set(root, "rules", none);
        }
        None => {
            let rules = dom.ensure_list(root, "rules");
            for line in body {
                let one = render_rule(&mut dom, &rule(line));
                dom.push(rules, one);
            }
        }
        Some((role_kind, role)) => {
            let reference = dom.ensure_map(root, "roleRef");
            dom.set_str(reference, "apiGroup", GROUP);
            dom.set_str(reference, "kind", role_kind);
            dom.set_str(reference, "name", role);
            for line in body {
                let subjects = dom.ensure_list(root, "subjects");
                let one = render_subject(&mut dom, line);
                dom.push(subjects, one);
            }
        }
    }
    BootstrapObject {
        resource,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        object: dom,
    }
}

fn render_rule(dom: &mut Dom, rule: &Rule) -> Node {
    let map = dom.new_map();
    let lists = [
        ("verbs", &rule.verbs),
        ("apiGroups", &rule.groups),
        ("resources", &rule.resources),
        ("resourceNames", &rule.names),
        ("nonResourceURLs", &rule.urls),
    ];
    for (key, values) in lists {
        for value in values {
            let list = dom.ensure_list(map, key);
            let value = dom.new_str(value);
            dom.push(list, value);
        }
    }
    map
}

fn render_subject(dom: &mut Dom, line: &str) -> Node {
    let map = dom.new_map();
    let (kind, name) = line.split_once(' ').unwrap_or((line, ""));
    dom.set_str(map, "kind", kind);
    match name.split_once('/') {
        Some((namespace, name)) if kind == "ServiceAccount" => {
            dom.set_str(map, "name", name);
            dom.set_str(map, "namespace", namespace);
        }
        _ => {
            dom.set_str(map, "apiGroup", GROUP);
            dom.set_str(map, "name", name);
        }
    }
    map
}
