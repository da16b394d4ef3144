//! Which nodes a pod accepts, for those who look at one pod and one node now and then. The scheduler
//! has its own, compiled once a decision.
//!
//! Source: component-helpers v0.36.3 scheduling/corev1/nodeaffinity/nodeaffinity.go.

use schema::Ref;

/// Whether a pod's spec accepts the node: `nodeSelector` and required node affinity.
#[must_use]
pub fn selects(spec: Ref<'_>, node: Ref<'_>) -> bool {
    let meta = crate::meta::of(node);
    let plain = spec.entries("nodeSelector");
    let mut plain = plain.map(|(key, value)| meta.label(key) == value.as_str());
    if !plain.all(|holds| holds) {
        return false;
    }
    let required = [
        "affinity",
        "nodeAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
    ];
    let Some(required) = spec.at(&required).filter(|r| !r.is_null()) else {
        return true;
    };
    let label = |key: &str| meta.label(key);
    let field = |key: &str| (key == "metadata.name").then(|| meta.name());
    required.items("nodeSelectorTerms").any(|term| {
        let empty = term.items("matchExpressions").next().is_none()
            && term.items("matchFields").next().is_none();
        !empty
            && term
                .items("matchExpressions")
                .all(|r| holds(r, label(r.str("key"))))
            && term
                .items("matchFields")
                .all(|r| holds(r, field(r.str("key"))))
    })
}

fn holds(requirement: Ref<'_>, value: Option<&str>) -> bool {
    let listed = || {
        let mut values = requirement.items("values").filter_map(Ref::as_str);
        values.any(|listed| Some(listed) == value)
    };
    let compared = || -> Option<(i64, i64)> {
        let bound = requirement.items("values").next()?.as_str()?;
        Some((value?.parse().ok()?, bound.parse().ok()?))
    };
    match requirement.str("operator") {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(|(value, bound)| value > bound),
        "Lt" => compared().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(spec: &str, expected: bool) {
        let node = r#"{"metadata":{"name":"n","labels":{"disk":"ssd","size":"4"}}}"#;
        let parse = |text: &str| schema::Dom::parse_json(text.as_bytes()).unwrap();
        let (spec, node) = (parse(spec), parse(node));
        assert_eq!(selects(spec.as_ref(), node.as_ref()), expected);
    }

    #[test]
    fn nodes_that_are_accepted() {
        check("{}", true);
        check(r#"{"nodeSelector":{"disk":"hdd"}}"#, false);
        let affinity = |terms: &str| {
            format!(
                r#"{{"affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":[{terms}]}}}}}}}}"#
            )
        };
        let less = r#"{"matchExpressions":[{"key":"size","operator":"Lt","values":["3"]}]}"#;
        let named = r#"{"matchFields":[{"key":"metadata.name","operator":"In","values":["n"]}]}"#;
        check(&affinity(less), false);
        check(&affinity(&format!("{less},{named}")), true);
        check(&affinity("{}"), false);
    }
}
