//! Roles and bindings may not give more than their author has, unless they may say so.
//!
//! Source: kubernetes v1.36.3 pkg/registry/rbac/{escalation_check.go,*/policybased/storage.go}.

use registry::Lookup;
use registry::rbac::{Index, Rule, confirm_no_escalation};
use schema::Ref;

use crate::{Decision, RequestInfo, UserInfo};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Checks the new state of a Role, ClusterRole or binding; `Err` is the reason of a Forbidden.
/// `authorize` answers whether `user` may `escalate` or `bind`.
pub(crate) fn check_escalation(
    user: &UserInfo,
    info: &RequestInfo,
    new: Ref<'_>,
    old: Option<Ref<'_>>,
    lookup: &dyn Lookup,
    authorize: &dyn Fn(&UserInfo, &RequestInfo) -> Decision,
) -> Result<(), String> {
    let bound = matches!(
        info.resource.as_str(),
        "rolebindings" | "clusterrolebindings"
    );
    let role = matches!(info.resource.as_str(), "roles" | "clusterroles");
    if info.group != GROUP || !(bound || role) || user.is_in("system:masters") {
        return Ok(());
    }
    let same = |key: &str| match (old.and_then(|old| old.get(key)), new.get(key)) {
        (Some(old), Some(new)) => old.equal(new),
        (None, None) => true,
        _ => false,
    };
    // What only touches metadata hands out nothing new.
    let keys = ["rules", "aggregationRule", "subjects", "roleRef"];
    if old.is_some() && keys.into_iter().all(same) {
        return Ok(());
    }
    let may = |verb: &str, resource: &str, name: &str| {
        let question = RequestInfo {
            is_resource: true,
            verb: verb.to_owned(),
            group: GROUP.to_owned(),
            version: "*".to_owned(),
            resource: resource.to_owned(),
            namespace: info.namespace.clone(),
            name: name.to_owned(),
            ..RequestInfo::default()
        };
        matches!(authorize(user, &question), Decision::Allow { .. })
    };
    if role {
        if may("escalate", &info.resource, &info.name) {
            return Ok(());
        }
        let index = Index::read(lookup, &info.namespace);
        confirm_no_escalation(&index, user, &info.namespace, &Rule::read_all(new))?;
        if new.get("aggregationRule").is_some() && !same("aggregationRule") {
            // Whoever chooses by label chooses anything.
            let everything = [full_authority(false), full_authority(true)];
            let refused = "must have cluster-admin privileges to use the aggregationRule";
            return confirm_no_escalation(&index, user, "", &everything)
                .map_err(|reason| format!("{refused}: {reason}"));
        }
        return Ok(());
    }
    let reference = new.get("roleRef").unwrap_or(Ref::null());
    let resource = if reference.str("kind") == "ClusterRole" {
        "clusterroles"
    } else {
        "roles"
    };
    if may("bind", resource, reference.str("name")) {
        return Ok(());
    }
    let index = Index::read(lookup, &info.namespace);
    let kind = reference.str("kind");
    let rules = index.role_rules(&info.namespace, kind, reference.str("name"))?;
    confirm_no_escalation(&index, user, &info.namespace, &rules)
}

fn full_authority(urls: bool) -> Rule {
    let all = || vec!["*".to_owned()];
    if urls {
        return Rule {
            verbs: all(),
            urls: all(),
            ..Rule::default()
        };
    }
    Rule {
        verbs: all(),
        groups: all(),
        resources: all(),
        ..Rule::default()
    }
}
