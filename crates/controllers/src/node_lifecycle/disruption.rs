//! How fast nodes that fall silent may lose their pods. Pure.
//!
//! When all nodes seem dead it is this side of the network that is: nobody is evicted. When most
//! of a small zone is dead, evicting would only crowd the rest.
//! Source: kubernetes v1.36.3 pkg/controller/nodelifecycle/node_lifecycle_controller.go
//! (ComputeZoneState, handleDisruption, setLimiterInZone).

use std::time::Duration;

use crate::nodes::Node;

/// Upstream's --node-eviction-rate, 0.1 a second.
const USUAL: Duration = Duration::from_secs(10);
/// Upstream's --secondary-node-eviction-rate, 0.01 a second.
const CAREFUL: Duration = Duration::from_secs(100);
/// Upstream's --large-cluster-size-threshold.
const LARGE: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// One node of the zone in so much time.
    One(Duration),
    /// No further node; those that lose their pods go on.
    Halt,
    /// None at all, and no pods are lost any more.
    Stop,
}

/// For the zone of a node that is not ready. `is_ready` judges the nodes that have told how they
/// are.
pub(super) fn pace<'a>(
    nodes: impl Iterator<Item = &'a Node> + Clone,
    zone: &str,
    is_ready: impl Fn(&Node) -> bool,
) -> Pace {
    let counted = nodes.filter(|node| node.counts);
    if counted.clone().next().is_some() && !counted.clone().any(&is_ready) {
        return Pace::Stop;
    }
    let here = counted.filter(|node| node.zone == zone);
    let all = here.clone().count();
    let dead = here.filter(|node| !is_ready(node)).count();
    let partial = dead > 2 && dead < all && dead * 100 >= all * 55;
    match partial {
        true if all > LARGE => Pace::One(CAREFUL),
        true => Pace::Halt,
        false => Pace::One(USUAL),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Zones as letters, capital ones are dead nodes.
    #[track_caller]
    fn check(nodes: &str, zone: &str, expected: Expect) {
        let nodes: Vec<Node> = nodes
            .chars()
            .map(|letter| Node {
                zone: letter.to_ascii_lowercase().to_string(),
                ready: (if letter.is_lowercase() {
                    "True"
                } else {
                    "Unknown"
                })
                .into(),
                counts: true,
                ..Node::default()
            })
            .collect();
        expected.assert_eq(&format!("{:?}", pace(nodes.iter(), zone, Node::is_ready)));
    }

    #[test]
    fn paces() {
        check("A", "a", expect!["Stop"]);
        check("ABB", "a", expect!["Stop"]);
        check("Aaa", "a", expect!["One(10s)"]);
        check("AAAaa", "a", expect!["Halt"]);
        check("AAAaaaa", "a", expect!["One(10s)"]);
        check("AAAb", "a", expect!["One(10s)"]);
        let large = "A".repeat(40) + &"a".repeat(20);
        check(&large, "a", expect!["One(100s)"]);
    }
}
