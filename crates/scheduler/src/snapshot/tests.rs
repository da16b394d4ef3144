use crate::testing::{node, pod};

use super::*;

/// What a node has been charged is given back, whatever order things come in.
#[test]
fn sums_return_to_zero() {
    let mut snapshot = Snapshot::default();
    snapshot.set_pod(pod("p cpu=1 gpu=2", "late"));
    assert!(snapshot.pods_on("late").is_empty());
    snapshot.set_node(node("late cpu=4 gpu=4"));
    let slot = snapshot.slot("late").unwrap();
    assert_eq!(snapshot.hot(slot).used_millicores, 1000);
    assert_eq!(snapshot.load(slot).uses.scalars["example.com/gpu"], 2);
    snapshot.remove_node("late");
    snapshot.set_node(node("other cpu=4"));
    let slot = snapshot.slot("other").unwrap();
    assert_eq!(snapshot.hot(slot).used_millicores, 0);
    snapshot.set_node(node("late cpu=4 gpu=4"));
    let slot = snapshot.slot("late").unwrap();
    assert_eq!(
        snapshot.hot(slot).used_millicores,
        1000,
        "the pod was not forgotten"
    );
    snapshot.remove_pod(&Key::new("default", "p"));
    assert_eq!(snapshot.hot(slot).used_millicores, 0);
    assert_eq!(snapshot.hot(slot).pods, 0);
    assert!(snapshot.load(slot).uses.scalars.is_empty());
}

/// A search that stops early has seen all zones.
#[test]
fn zones_take_turns() {
    let mut snapshot = Snapshot::default();
    for line in ["a zone=x", "b zone=x", "c zone=y", "d", "e zone=y"] {
        snapshot.set_node(node(line));
    }
    snapshot.prepare();
    let names = snapshot.order().iter();
    let names = names.map(|slot| snapshot.facts(*slot as usize).name.as_str());
    assert_eq!(names.collect::<String>(), "dacbe");
}

/// A column follows the labels of nodes that change, go and come.
#[test]
fn columns_follow_nodes() {
    let mut snapshot = Snapshot::default();
    snapshot.set_node(node("a zone=x"));
    snapshot.set_node(node("b zone=y"));
    let key = "topology.kubernetes.io/zone";
    let at = |snapshot: &mut Snapshot, name: &str| {
        let slot = snapshot.slot(name).unwrap();
        let column = snapshot.column(key);
        column
            .values()
            .find(|(_, id)| *id == column.at(slot))
            .map(|(v, _)| v.to_owned())
    };
    assert_eq!(at(&mut snapshot, "b").as_deref(), Some("y"));
    snapshot.set_node(node("b zone=x"));
    assert_eq!(at(&mut snapshot, "b").as_deref(), Some("x"));
    snapshot.remove_node("b");
    snapshot.set_node(node("c"));
    assert_eq!(at(&mut snapshot, "c"), None);
}
