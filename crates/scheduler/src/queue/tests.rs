use super::*;
use crate::plugins::row;
use crate::testing::{node, pod};

const FIT: u32 = 1 << row::FIT;

fn key(name: &str) -> Key {
    Key::new("default", name)
}

fn pop(queue: &mut Queue, now: Millis) -> String {
    let pod = queue.pop(now);
    pod.map(|pod| pod.key.name.clone()).unwrap_or_default()
}

fn queue(lines: &[&str]) -> Queue {
    let mut queue = Queue::default();
    for line in lines {
        queue.set(pod(line, ""), 0);
    }
    queue
}

#[test]
fn priority_first_then_arrival() {
    let mut queue = queue(&["a prio=0", "b prio=10", "c prio=10"]);
    let order: Vec<String> = (0..4).map(|_| pop(&mut queue, 0)).collect();
    assert_eq!(order, ["b", "c", "a", ""]);
}

/// A pod that did not fit comes back when something helps, and at last after five minutes.
#[test]
fn only_what_helps_brings_a_pod_back() {
    let mut queue = queue(&["a cpu=2"]);
    assert_eq!(pop(&mut queue, 0), "a");
    queue.failed(&key("a"), 0, FIT);
    assert_eq!(queue.wakes_at(), Some(300_000));
    assert_eq!(pop(&mut queue, 60_000), "", "nothing changed");
    queue.on_event(&Event::NodeAdded(&node("n cpu=1 mem=1")), 60_000);
    assert_eq!(pop(&mut queue, 60_000), "", "too small a node");
    let (old, new) = (node("n cpu=4 mem=4"), node("n cpu=4 mem=4 label=a=b"));
    queue.on_event(&Event::NodeUpdated(&old, &new), 60_000);
    assert_eq!(pop(&mut queue, 60_000), "", "a label gives no room");
    queue.on_event(&Event::PodAdded(&pod("x", "n")), 60_000);
    assert_eq!(pop(&mut queue, 60_000), "", "one more pod gives no room");
    queue.on_event(&Event::PodRemoved(&pod("x", "n")), 60_000);
    assert_eq!(pop(&mut queue, 60_000), "a");
    queue.failed(&key("a"), 60_000, FIT);
    assert_eq!(pop(&mut queue, 359_000), "");
    assert_eq!(pop(&mut queue, 360_000), "a", "the last resort");
}

/// What backs off goes after everything else, but not later than needed.
#[test]
fn back_off_yields_to_others() {
    let mut queue = queue(&["a prio=10"]);
    assert_eq!(pop(&mut queue, 0), "a");
    queue.failed(&key("a"), 0, FIT);
    queue.set(pod("b", ""), 0);
    queue.on_event(&Event::PodRemoved(&pod("x", "n")), 100);
    assert_eq!(pop(&mut queue, 100), "b", "a backs off");
    assert_eq!(pop(&mut queue, 100), "a", "nothing else to do");
}

/// Errors are not hurried by anything.
#[test]
fn errors_back_off() {
    let mut queue = queue(&["a"]);
    for (now, until) in [
        (0, 1_000),
        (1_000, 3_000),
        (3_000, 7_000),
        (7_000, 15_000),
        (15_000, 25_000),
    ] {
        assert_eq!(pop(&mut queue, now), "a");
        queue.errored(&key("a"), now);
        assert_eq!(queue.wakes_at(), Some(until));
        assert_eq!(pop(&mut queue, until - 1), "");
    }
}

#[test]
fn a_gated_pod_waits_for_its_gates() {
    let mut queue = queue(&["a schedulingGates: [{name: hold}]"]);
    assert_eq!(pop(&mut queue, 0), "");
    queue.set(pod("a", ""), 0);
    assert_eq!(pop(&mut queue, 0), "a");
}

/// The pod's own changes count when they touch what refused it.
#[test]
fn a_new_toleration_helps() {
    let mut queue = queue(&["a"]);
    assert_eq!(pop(&mut queue, 0), "a");
    queue.failed(&key("a"), 0, 1 << row::TAINT_TOLERATION);
    queue.set(pod("a changed=yes", ""), 5_000);
    assert_eq!(pop(&mut queue, 5_000), "");
    queue.set(pod("a tolerations: [{operator: Exists}]", ""), 5_000);
    assert_eq!(pop(&mut queue, 5_000), "a");
}

#[test]
fn a_pod_of_the_same_name_is_another() {
    let mut queue = queue(&["a"]);
    assert_eq!(pop(&mut queue, 0), "a");
    let mut again = pod("a", "");
    again.uid = "other".to_owned();
    queue.set(again, 0);
    assert_eq!(pop(&mut queue, 0), "a");
}
