//! Which pods have nobody to end them. Pure.

use std::sync::Arc;

use crate::nodes::{Node, Placed};

/// So many ended pods may stay (upstream's --terminated-pod-gc-threshold).
pub(super) const THRESHOLD: usize = 12_500;

/// Somebody vouches that the node's processes are dead.
pub(super) const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// A pod that ends: is there no kubelet to end it?
pub(super) fn ends_at_once(pod: &Placed, node: Option<&Node>) -> bool {
    let out_of_service =
        node.is_some_and(|node| !node.is_ready() && node.has_taint(OUT_OF_SERVICE));
    pod.terminating && (pod.node.is_empty() || out_of_service)
}

/// The ended pods over `threshold`: evicted ones first, then the oldest.
pub(super) fn oldest(mut pods: Vec<Arc<Placed>>, threshold: usize) -> Vec<Arc<Placed>> {
    pods.retain(|pod| pod.ended);
    let count = pods.len().saturating_sub(threshold);
    pods.sort_by(|a, b| {
        let order = |pod: &Placed| (!pod.evicted, pod.created);
        order(a)
            .cmp(&order(b))
            .then_with(|| a.key.name.cmp(&b.key.name))
    });
    pods.truncate(count);
    pods
}

#[cfg(test)]
mod tests {
    use client::Key;
    use jiff::Timestamp;

    use super::*;
    use crate::nodes::Taint;

    #[test]
    fn evicted_then_oldest() {
        let pod = |name: &str, second: i64, evicted: bool| {
            Arc::new(Placed {
                key: Key::new("d", name),
                ended: true,
                evicted,
                created: Timestamp::from_second(second).ok(),
                ..Placed::default()
            })
        };
        let mut running = Placed::clone(&pod("runs", 0, false));
        running.ended = false;
        let pods = vec![
            pod("c", 3, false),
            pod("b", 2, false),
            pod("e", 9, true),
            pod("a", 2, false),
            Arc::new(running),
        ];
        let names: Vec<String> = oldest(pods, 1)
            .iter()
            .map(|pod| pod.key.name.clone())
            .collect();
        assert_eq!(names, ["e", "a", "b"]);
    }

    #[test]
    fn who_has_no_kubelet() {
        let mut pod = Placed {
            terminating: true,
            ..Placed::default()
        };
        assert!(ends_at_once(&pod, None));
        pod.node = "n".into();
        assert!(!ends_at_once(&pod, None));
        let mut node = Node {
            taints: vec![Taint {
                key: OUT_OF_SERVICE.into(),
                ..Taint::default()
            }],
            ..Node::default()
        };
        assert!(ends_at_once(&pod, Some(&node)));
        node.ready = "True".into();
        assert!(!ends_at_once(&pod, Some(&node)));
    }
}
