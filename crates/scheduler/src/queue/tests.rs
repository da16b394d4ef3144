use super::*;

fn pod(name: &str, priority: i64) -> PodInfo {
    PodInfo {
        key: Key::new("default", name),
        priority,
        ..PodInfo::default()
    }
}

fn pop(queue: &mut Queue, now: Millis) -> String {
    queue.pop(now).map(|pod| pod.key.name).unwrap_or_default()
}

#[test]
fn priority_first_then_arrival() {
    let mut queue = Queue::default();
    for (name, priority) in [("a", 0), ("b", 10), ("c", 10)] {
        queue.set(pod(name, priority));
    }
    let order: Vec<String> = (0..4).map(|_| pop(&mut queue, 0)).collect();
    assert_eq!(order, ["b", "c", "a", ""]);
}

/// A pod that did not fit comes back after an event, but not before its back-off is over.
#[test]
fn an_event_brings_back_what_did_not_fit() {
    let mut queue = Queue::default();
    queue.set(pod("a", 0));
    assert_eq!(pop(&mut queue, 0), "a");
    queue.failed(&Key::new("default", "a"), 0, false);
    assert_eq!(pop(&mut queue, 60_000), "", "nothing changed");
    queue.on_event(Event::Node);
    assert_eq!(pop(&mut queue, 60_000), "a");
    queue.failed(&Key::new("default", "a"), 60_000, false);
    queue.on_event(Event::Node);
    assert_eq!(
        pop(&mut queue, 61_000),
        "",
        "the second back-off is two seconds"
    );
    assert_eq!(queue.wakes_at(), Some(62_000));
    assert_eq!(pop(&mut queue, 62_000), "a");
}

/// An event during the decision must not be lost.
#[test]
fn an_event_during_the_decision_counts() {
    let mut queue = Queue::default();
    queue.set(pod("a", 0));
    assert_eq!(pop(&mut queue, 0), "a");
    queue.on_event(Event::PodGone);
    queue.failed(&Key::new("default", "a"), 0, false);
    assert_eq!(pop(&mut queue, 1000), "a");
}

#[test]
fn a_gated_pod_waits_for_its_gates() {
    let mut queue = Queue::default();
    queue.set(PodInfo {
        gates: vec!["hold".into()],
        ..pod("a", 0)
    });
    assert_eq!(pop(&mut queue, 0), "");
    queue.set(pod("a", 0));
    assert_eq!(pop(&mut queue, 0), "a");
}
