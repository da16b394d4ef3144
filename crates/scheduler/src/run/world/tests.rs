use crate::testing::{node, pod};

use super::*;

fn world(nodes: &[&str]) -> World {
    let world = World::new(String::new());
    for line in nodes {
        let node = node(line);
        world.on_node(&node.name.clone(), Some(node));
    }
    world
}

fn set(world: &World, line: &str, on: &str) {
    let pod = pod(line, on);
    world.on_pod(&pod.key.clone(), Some(pod));
}

fn next(world: &World) -> String {
    match world.decide_next(&mut Rng::new(1)) {
        Next::Bind(pod, node) => format!("{} on {node}", pod.key.name),
        Next::Failed(failed) => match failed.preemption {
            Some(preemption) => {
                let victims = preemption.victims.iter().map(|v| v.key.name.as_str());
                format!(
                    "{} ends {}",
                    failed.report.pod.key.name,
                    victims.collect::<String>()
                )
            }
            None => format!("{} waits", failed.report.pod.key.name),
        },
        Next::Wait(_) => "nothing".to_owned(),
    }
}

fn gone(world: &World, name: &str) {
    world.on_pod(&Key::new("default", name), None);
}

/// An assumed pod counts until its binding failed; then others get its room.
#[tokio::test]
async fn assumed_pods_count() {
    let world = world(&["a cpu=2"]);
    set(&world, "p cpu=2", "");
    assert_eq!(next(&world), "p on a");
    set(&world, "q cpu=2", "");
    assert_eq!(next(&world), "q waits");
    // News about the pod before the binding is seen change nothing.
    set(&world, "p changed=yes cpu=2", "");
    assert_eq!(next(&world), "nothing");
    world.binding_failed(&pod("p cpu=2", ""));
    assert_eq!(next(&world), "q on a");
}

/// Preemption: the pod keeps its claim on the node while its victims end, then gets it.
#[tokio::test]
async fn a_preemptor_gets_its_node() {
    let world = world(&["a cpu=2"]);
    set(&world, "low prio=1 cpu=2", "a");
    set(&world, "high prio=10 cpu=2", "");
    assert_eq!(next(&world), "high ends low");
    set(&world, "low prio=1 cpu=2 terminating preempted", "a");
    set(&world, "middle prio=5 cpu=2", "");
    assert_eq!(next(&world), "middle waits");
    assert_eq!(next(&world), "nothing");
    gone(&world, "low");
    assert_eq!(next(&world), "high on a");
    assert_eq!(next(&world), "middle waits");
}

/// A more important pod takes over the room that a less important one waited for.
#[tokio::test]
async fn nominations_yield_to_priority() {
    let world = world(&["a cpu=2"]);
    set(&world, "low prio=1 cpu=2", "a");
    set(&world, "middle prio=5 cpu=2", "");
    assert_eq!(next(&world), "middle ends low");
    set(&world, "high prio=10 cpu=2", "");
    assert_eq!(next(&world), "high ends low");
    assert_eq!(next(&world), "middle waits");
    gone(&world, "low");
    assert_eq!(next(&world), "high on a");
}

/// A pod that is deleted while it waits frees what was kept for it.
#[tokio::test]
async fn a_waiting_pod_that_goes_frees_its_room() {
    let world = world(&["a cpu=2"]);
    set(&world, "high prio=10 cpu=2 waits=a", "");
    set(&world, "low prio=1 cpu=2", "");
    gone(&world, "high");
    assert_eq!(next(&world), "low on a");
}

#[tokio::test]
async fn pods_of_others_are_left_alone() {
    let world = world(&["a cpu=2"]);
    set(&world, "p schedulerName: other", "");
    set(&world, "q terminating", "");
    assert_eq!(next(&world), "nothing");
}
