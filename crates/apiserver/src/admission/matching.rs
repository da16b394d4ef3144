//! Whether a rule and the selectors of a hook concern a request. Pure.
//!
//! Example: the rule `apps/v1 deployments/*` concerns `deployments/scale`, not `deployments`.
//! Source: kubernetes v1.36.3 apiserver/pkg/admission/plugin/webhook/predicates.

use schema::Ref;

use super::config::Rule;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) operation: Operation,
    pub(crate) group: &'a str,
    pub(crate) version: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) namespace: &'a str,
}

fn listed(list: &[String], value: &str) -> bool {
    list.iter().any(|one| one == "*" || one == value)
}

/// Whether the rule concerns the request.
pub(crate) fn concerns(rule: &Rule, asked: &Asked<'_>) -> bool {
    let cluster =
        asked.namespace.is_empty() || asked.resource == "namespaces" && asked.group.is_empty();
    let scope = match rule.scope.as_str() {
        "Cluster" => cluster,
        "Namespaced" => !cluster,
        _ => true,
    };
    scope
        && listed(&rule.operations, asked.operation.as_str())
        && listed(&rule.groups, asked.group)
        && listed(&rule.versions, asked.version)
        && rule.resources.iter().any(|pattern| {
            let (resource, sub) = pattern.split_once('/').unwrap_or((pattern, ""));
            (resource == "*" || resource == asked.resource)
                && (sub == "*" || sub == asked.subresource)
        })
}

/// Objects by which webhooks could lock everybody out of removing them.
pub(crate) fn exempt(asked: &Asked<'_>) -> bool {
    const KINDS: [&str; 6] = [
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    ];
    asked.group == "admissionregistration.k8s.io" && KINDS.contains(&asked.resource)
}

/// Policies and their bindings, which no policy may lock.
pub(crate) fn is_policy(asked: &Asked<'_>) -> bool {
    exempt(asked) && asked.resource.contains("admissionpolic")
}

/// Whether one of the objects has the labels.
pub(crate) fn selects(
    selector: &api::labels::Selector,
    new: Option<Ref<'_>>,
    old: Option<Ref<'_>>,
) -> bool {
    selector.is_empty() && !selector.is_nothing()
        || [new, old]
            .into_iter()
            .flatten()
            .any(|object| api::meta::of(object).matches(selector))
}
