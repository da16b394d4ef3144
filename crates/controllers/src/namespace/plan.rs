//! What a namespace's conditions say about its end. Pure.

use std::collections::BTreeMap;

use schema::{Dom, Node};

/// What was found after deleting.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) undiscovered: Vec<String>,
    pub(super) failures: Vec<String>,
    pub(super) remaining: Vec<Remaining>,
}

/// An object that is still there.
#[derive(Clone, Debug)]
pub(super) struct Remaining {
    pub(super) resource: String,
    pub(super) finalizers: Vec<String>,
}

/// See the fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Nothing is left: the finalizer can go.
    pub(super) finished: bool,
    /// (type, status, reason, message)
    pub(super) conditions: Vec<(&'static str, bool, &'static str, String)>,
}

pub(super) fn plan(found: &Found) -> Plan {
    let mut by_resource: BTreeMap<&str, usize> = BTreeMap::new();
    let mut by_finalizer: BTreeMap<&str, usize> = BTreeMap::new();
    for remaining in &found.remaining {
        *by_resource.entry(&remaining.resource).or_default() += 1;
        for finalizer in &remaining.finalizers {
            *by_finalizer.entry(finalizer).or_default() += 1;
        }
    }
    let count = |map: &BTreeMap<&str, usize>, words: &str| -> String {
        let parts: Vec<String> = map
            .iter()
            .map(|(name, count)| format!("{name} {words} {count} resource instances"))
            .collect();
        parts.join(", ")
    };
    let or = |bad: bool, yes: (&'static str, String), no: (&'static str, &str)| {
        if bad {
            (true, yes.0, yes.1)
        } else {
            (false, no.0, no.1.to_owned())
        }
    };
    let rows = [
        (
            "NamespaceDeletionDiscoveryFailure",
            or(
                !found.undiscovered.is_empty(),
                (
                    "DiscoveryFailed",
                    format!(
                        "Discovery failed for some groups, {} failing: {}",
                        found.undiscovered.len(),
                        found.undiscovered.join(", ")
                    ),
                ),
                (
                    "ResourcesDiscovered",
                    "All resources successfully discovered",
                ),
            ),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            (
                false,
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed".to_owned(),
            ),
        ),
        (
            "NamespaceDeletionContentFailure",
            or(
                !found.failures.is_empty(),
                (
                    "ContentDeletionFailed",
                    format!(
                        "Failed to delete all resource types, {} remaining: {}",
                        found.failures.len(),
                        found.failures.join(", ")
                    ),
                ),
                (
                    "ContentDeleted",
                    "All content successfully deleted, may be waiting on finalization",
                ),
            ),
        ),
        (
            "NamespaceContentRemaining",
            or(
                !by_resource.is_empty(),
                (
                    "SomeResourcesRemain",
                    format!(
                        "Some resources are remaining: {}",
                        count(&by_resource, "has")
                    ),
                ),
                ("ContentRemoved", "All content successfully removed"),
            ),
        ),
        (
            "NamespaceFinalizersRemaining",
            or(
                !by_finalizer.is_empty(),
                (
                    "SomeFinalizersRemain",
                    format!(
                        "Some content in the namespace has finalizers remaining: {}",
                        count(&by_finalizer, "in")
                    ),
                ),
                (
                    "ContentHasNoFinalizers",
                    "All content-preserving finalizers finished",
                ),
            ),
        ),
    ];
    Plan {
        finished: found.remaining.is_empty()
            && found.failures.is_empty()
            && found.undiscovered.is_empty(),
        conditions: rows
            .into_iter()
            .map(|(kind, (status, reason, message))| (kind, status, reason, message))
            .collect(),
    }
}

impl Plan {
    /// Puts the conditions into a status; true when something changed.
    pub(super) fn write_conditions(&self, dom: &mut Dom, status: Node, now: &str) -> bool {
        let list = dom.ensure_list(status, "conditions");
        let mut changed = false;
        for (kind, holds, reason, message) in &self.conditions {
            let text = if *holds { "True" } else { "False" };
            let existing = dom
                .items(list)
                .find(|item| dom.at_node(*item).str("type") == *kind);
            let node = match existing {
                Some(node) => node,
                None => {
                    let node = dom.new_map();
                    dom.set_str(node, "type", kind);
                    dom.push(list, node);
                    node
                }
            };
            let known = dom.at_node(node);
            if known.str("status") == text
                && known.str("reason") == *reason
                && known.str("message") == message
            {
                continue;
            }
            let moved = known.str("status") != text;
            dom.set_str(node, "status", text);
            if moved {
                dom.set_str(node, "lastTransitionTime", now);
            }
            dom.set_str(node, "reason", reason);
            dom.set_str(node, "message", message);
            changed = true;
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(found: &Found, expected: Expect) {
        let plan = plan(found);
        let lines: Vec<String> = plan
            .conditions
            .iter()
            .filter(|(_, holds, ..)| *holds)
            .map(|(kind, _, reason, message)| format!("{kind} {reason}: {message}"))
            .collect();
        expected.assert_eq(&format!("finished={} {}", plan.finished, lines.join("; ")));
    }

    #[test]
    fn an_empty_namespace_can_go() {
        check(&Found::default(), expect!["finished=true "]);
    }

    #[test]
    fn what_remains_is_counted() {
        let remaining = |resource: &str, finalizers: &[&str]| Remaining {
            resource: resource.into(),
            finalizers: finalizers.iter().map(|f| (*f).into()).collect(),
        };
        let found = Found {
            remaining: vec![remaining("pods.", &[]), remaining("pods.", &["a/b"])],
            ..Found::default()
        };
        check(
            &found,
            expect![
                "finished=false NamespaceContentRemaining SomeResourcesRemain: Some resources are remaining: pods. has 2 resource instances; NamespaceFinalizersRemaining SomeFinalizersRemain: Some content in the namespace has finalizers remaining: a/b in 1 resource instances"
            ],
        );
    }
}
