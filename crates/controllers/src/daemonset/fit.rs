//! Whether a node is one on which a DaemonSet's pod runs. Pure.
//!
//! Source: kubernetes v1.36.3 pkg/controller/daemon/daemon_controller.go (NodeShouldRunDaemonPod),
//! pkg/controller/daemon/util/daemonset_util.go.

use schema::{Dom, Node, Ref};

/// Key and effect that every daemon pod tolerates; with the host's network one more.
const TOLERATED: &[(&str, &str)] = &[
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// What a pod does on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    /// It should run there.
    pub(super) runs: bool,
    /// One that is there may stay.
    pub(super) stays: bool,
}

fn tolerated(spec: Ref<'_>) -> impl Iterator<Item = (&'static str, &'static str)> {
    let host = spec.bool("hostNetwork").unwrap_or(false);
    let network = host.then_some(NETWORK);
    TOLERATED.iter().copied().chain(network)
}

/// `template` is `spec.template.spec` of the DaemonSet.
pub(super) fn fit(template: Ref<'_>, node: Ref<'_>) -> Fit {
    const NO: Fit = Fit {
        runs: false,
        stays: false,
    };
    let name = api::meta::of(node).name();
    let wanted = template.str("nodeName");
    if !wanted.is_empty() && wanted != name || !api::nodes::selects(template, node) {
        return NO;
    }
    let taints = || {
        node.get("spec")
            .into_iter()
            .flat_map(|spec| spec.items("taints"))
    };
    let repels = |effect: &str| {
        taints().any(|taint| taint.str("effect") == effect && !tolerates(template, taint))
    };
    let (drains, repels) = (repels("NoExecute"), repels("NoSchedule"));
    Fit {
        runs: !drains && !repels,
        stays: !drains,
    }
}

fn tolerates(template: Ref<'_>, taint: Ref<'_>) -> bool {
    let (key, effect) = (taint.str("key"), taint.str("effect"));
    if tolerated(template).any(|own| own == (key, effect)) {
        return true;
    }
    template.items("tolerations").any(|toleration| {
        let (of_key, of_effect) = (toleration.str("key"), toleration.str("effect"));
        if !of_effect.is_empty() && of_effect != effect || !of_key.is_empty() && of_key != key {
            return false;
        }
        match toleration.str("operator") {
            "Exists" => true,
            "" | "Equal" => !of_key.is_empty() && toleration.str("value") == taint.str("value"),
            _ => false,
        }
    })
}

/// The node that a daemon pod is, or is to be, on.
pub(super) fn target(pod: Ref<'_>) -> Option<&str> {
    let spec = pod.get("spec")?;
    match spec.str("nodeName") {
        "" => {}
        node => return Some(node),
    }
    let required = spec.at(&[
        "affinity",
        "nodeAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
    ])?;
    let mut fields = required
        .items("nodeSelectorTerms")
        .flat_map(|term| term.items("matchFields"));
    let field = fields.find(|f| f.str("key") == "metadata.name" && f.str("operator") == "In")?;
    field.items("values").next()?.as_str()
}

/// Makes a pod's spec (a node of `dom`) one for that node of the cluster.
pub(super) fn bind(dom: &mut Dom, spec: Node, node: &str) {
    let wanted: Vec<(&str, &str)> = tolerated(dom.at_node(spec)).collect();
    let list = dom.ensure_list(spec, "tolerations");
    for (key, effect) in wanted {
        let known = dom.items(list).any(|t| {
            let t = dom.at_node(t);
            let same = t.str("key") == key && t.str("effect") == effect;
            same && t.str("operator") == "Exists"
        });
        if !known {
            let toleration = dom.new_map();
            dom.set_str(toleration, "key", key);
            dom.set_str(toleration, "operator", "Exists");
            dom.set_str(toleration, "effect", effect);
            dom.push(list, toleration);
        }
    }
    let affinity = dom.ensure_map(spec, "affinity");
    let affinity = dom.ensure_map(affinity, "nodeAffinity");
    let required = dom.ensure_map(affinity, "requiredDuringSchedulingIgnoredDuringExecution");
    let terms = dom.new_list();
    let term = dom.new_map();
    let fields = dom.ensure_list(term, "matchFields");
    let field = dom.new_map();
    dom.set_str(field, "key", "metadata.name");
    dom.set_str(field, "operator", "In");
    let values = dom.ensure_list(field, "values");
    let value = dom.new_str(node);
    dom.push(values, value);
    dom.push(fields, field);
    dom.push(terms, term);
    dom.set(required, "nodeSelectorTerms", terms);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, node: &str, runs: bool, stays: bool) {
        let parse = |text: &str| Dom::parse_json(text.as_bytes()).unwrap();
        let (template, node) = (parse(template), parse(node));
        assert_eq!(fit(template.as_ref(), node.as_ref()), Fit { runs, stays });
    }

    #[test]
    fn nodes_that_fit() {
        let node = r#"{"metadata":{"name":"n","labels":{"disk":"ssd","size":"4"}}}"#;
        check("{}", node, true, true);
        check(r#"{"nodeName":"m"}"#, node, false, false);
        check(r#"{"nodeSelector":{"disk":"ssd"}}"#, node, true, true);
        check(r#"{"nodeSelector":{"disk":"hdd"}}"#, node, false, false);
        let affinity = |term: &str| {
            format!(
                r#"{{"affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":[{term}]}}}}}}}}"#
            )
        };
        let more = r#"{"matchExpressions":[{"key":"size","operator":"Gt","values":["3"]}]}"#;
        check(&affinity(more), node, true, true);
        let named = r#"{"matchFields":[{"key":"metadata.name","operator":"In","values":["m"]}]}"#;
        check(&affinity(named), node, false, false);
    }

    #[test]
    fn taints() {
        let node =
            |taint: &str| format!(r#"{{"metadata":{{"name":"n"}},"spec":{{"taints":[{taint}]}}}}"#);
        let keep_off = node(r#"{"key":"a","value":"1","effect":"NoSchedule"}"#);
        check("{}", &keep_off, false, true);
        check(
            r#"{"tolerations":[{"key":"a","operator":"Exists"}]}"#,
            &keep_off,
            true,
            true,
        );
        check(
            r#"{"tolerations":[{"key":"a","value":"2"}]}"#,
            &keep_off,
            false,
            true,
        );
        check(
            "{}",
            &node(r#"{"key":"a","effect":"NoExecute"}"#),
            false,
            false,
        );
        let down = r#"{"key":"node.kubernetes.io/unreachable","effect":"NoExecute"}"#;
        check("{}", &node(down), true, true);
    }
}
