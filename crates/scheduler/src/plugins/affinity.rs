//! Node name, node selector and node affinity.

use crate::plugins::{MAX_SCORE, Reasons};
use crate::pod::{Requirement, Term};
use crate::{NodeInfo, PodInfo, Snapshot};

pub(super) fn node_name(pod: &PodInfo, node: &NodeInfo) -> Reasons {
    if pod.node_name.is_empty() || pod.node_name == node.name {
        return Vec::new();
    }
    vec!["node(s) didn't match the requested node name".to_owned()]
}

pub(super) fn filter(pod: &PodInfo, node: &NodeInfo) -> Reasons {
    let selected = pod
        .node_selector
        .iter()
        .all(|(key, value)| node.labels.get(key) == Some(value));
    let affine = pod
        .required_affinity
        .as_ref()
        .is_none_or(|terms| terms.iter().any(|term| term_matches(term, node)));
    if selected && affine {
        return Vec::new();
    }
    vec!["node(s) didn't match Pod's node affinity/selector".to_owned()]
}

/// The sum of the weights of the preferred terms that match, scaled to the best node.
pub(super) fn score(pod: &PodInfo, node: &NodeInfo, snapshot: &Snapshot) -> i64 {
    if pod.preferred_affinity.is_empty() {
        return 0;
    }
    let weight = |node: &NodeInfo| -> i64 {
        let matching = pod
            .preferred_affinity
            .iter()
            .filter(|(_, term)| term_matches(term, node));
        matching.map(|(weight, _)| weight).sum()
    };
    let best = snapshot.nodes().map(weight).max().unwrap_or(0);
    if best == 0 {
        0
    } else {
        MAX_SCORE * weight(node) / best
    }
}

/// A term without requirements matches nothing (upstream's rule).
fn term_matches(term: &Term, node: &NodeInfo) -> bool {
    if term.labels.is_empty() && term.fields.is_empty() {
        return false;
    }
    term.labels
        .iter()
        .all(|r| requirement_matches(r, node.labels.get(&r.key).map(String::as_str)))
        && term.fields.iter().all(|r| {
            requirement_matches(r, (r.key == "metadata.name").then_some(node.name.as_str()))
        })
}

fn requirement_matches(requirement: &Requirement, value: Option<&str>) -> bool {
    let listed = |value: &str| requirement.values.iter().any(|listed| listed == value);
    let compare = |order| {
        let number = |text: &str| text.parse::<i64>().ok();
        match (
            value.and_then(number),
            requirement.values.first().and_then(|text| number(text)),
        ) {
            (Some(own), Some(bound)) => own.cmp(&bound) == order,
            _ => false,
        }
    };
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(std::cmp::Ordering::Greater),
        "Lt" => compare(std::cmp::Ordering::Less),
        _ => false,
    }
}
