//! `matchLabelKeys` and `mismatchLabelKeys` of affinity terms and spread constraints: the pod's
//! own values of those labels become part of the selector when the pod is created, so that the
//! scheduler sees plain selectors. Source: kubernetes v1.36.3 pkg/registry/core/pod/strategy.go
//! mutatePodAffinity, mutateTopologySpreadConstraints.

use schema::{Dom, Node};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn merge(dom: &mut Dom) {
    let root = dom.root();
    for kind in ["podAffinity", "podAntiAffinity"] {
        let path = |field| ["spec", "affinity", kind, field];
        for term in items(dom, root, &path(REQUIRED)) {
            merge_into(dom, term);
        }
        for preferred in items(dom, root, &path(PREFERRED)) {
            if let Some(term) = dom.get(preferred, "podAffinityTerm") {
                merge_into(dom, term);
            }
        }
    }
    for constraint in items(dom, root, &["spec", "topologySpreadConstraints"]) {
        merge_into(dom, constraint);
    }
}

fn items(dom: &Dom, root: Node, path: &[&str]) -> Vec<Node> {
    let list = dom.at(root, path);
    list.into_iter().flat_map(|list| dom.items(list)).collect()
}

/// An absent selector matches nothing and stays absent.
fn merge_into(dom: &mut Dom, term: Node) {
    let Some(selector) = dom.get(term, "labelSelector") else {
        return;
    };
    for (field, operator) in [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")] {
        for key in items(dom, term, &[field]) {
            let key = dom.as_str(key).unwrap_or_default().to_owned();
            let label = dom.at(dom.root(), &["metadata", "labels", &key]);
            let Some(value) = label.and_then(|label| dom.as_str(label)) else {
                continue;
            };
            let value = value.to_owned();
            let requirement = dom.new_map();
            dom.set_str(requirement, "key", &key);
            dom.set_str(requirement, "operator", operator);
            let values = dom.ensure_list(requirement, "values");
            let value = dom.new_str(&value);
            dom.push(values, value);
            let all = dom.ensure_list(selector, "matchExpressions");
            dom.push(all, requirement);
        }
    }
}

#[cfg(test)]
mod tests;
