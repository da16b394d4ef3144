//! Which pods go first.

use expect_test::{Expect, expect};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// Words: name, then `node=`, `phase=`, `ready=AGE`, `cost=`, `age=`, `restarts=`.
fn pod(text: &str) -> Pod {
    let mut words = text.split(' ');
    let name = words.next().unwrap().to_owned();
    let mut pod = Pod {
        uid: name.clone(),
        name,
        node: "n".to_owned(),
        phase: Phase::Running,
        created: Some(at(0)),
        ..Pod::default()
    };
    for word in words {
        let (key, value) = word.split_once('=').unwrap();
        match key {
            "node" => pod.node = value.to_owned(),
            "phase" => {
                pod.phase = if value == "Pending" {
                    Phase::Pending
                } else {
                    Phase::Unknown
                }
            }
            "ready" => {
                pod.ready = true;
                pod.ready_since = Some(at(1000 - value.parse::<i64>().unwrap()));
            }
            "cost" => pod.deletion_cost = value.parse().unwrap(),
            "age" => pod.created = Some(at(1000 - value.parse::<i64>().unwrap())),
            "restarts" => pod.restarts = (value.parse().unwrap(), 0),
            other => panic!("{other}"),
        }
    }
    pod
}

#[track_caller]
fn check(pods: &[&str], count: usize, expected: Expect) {
    let pods: Vec<Pod> = pods.iter().map(|text| pod(text)).collect();
    let all: Vec<&Pod> = pods.iter().collect();
    let mut on_node: HashMap<String, usize> = HashMap::new();
    for pod in &pods {
        *on_node.entry(pod.node.clone()).or_default() += 1;
    }
    let gone = first_to_go(&all, &on_node, count, at(1000));
    let names: Vec<&str> = gone.iter().map(|pod| pod.name.as_str()).collect();
    expected.assert_eq(&names.join(" "));
}

#[test]
fn unassigned_then_phase_then_readiness() {
    check(
        &[
            "a ready=9",
            "b",
            "c phase=Pending",
            "d node=",
            "e phase=Unknown",
        ],
        4,
        expect!["d c e b"],
    );
}

#[test]
fn cost_then_crowd_then_youth_then_restarts() {
    check(
        &["a ready=9", "b ready=9 cost=-1", "c ready=9 cost=7"],
        2,
        expect!["b a"],
    );
    check(
        &["a ready=9 node=x", "b ready=9 node=y", "c ready=9 node=y"],
        1,
        expect!["b"],
    );
    check(
        &["a ready=900", "b ready=3", "c ready=60"],
        2,
        expect!["b c"],
    );
    check(&["a ready=9", "b ready=9 restarts=2"], 1, expect!["b"]);
    check(&["a ready=9 age=900", "b ready=9 age=10"], 1, expect!["b"]);
}

#[test]
fn costs_are_plain_integers() {
    for (text, cost) in [
        ("7", Some(7)),
        ("-3", Some(-3)),
        ("+7", None),
        ("07", None),
        ("x", None),
        ("3000000000", None),
    ] {
        assert_eq!(deletion_cost(text), cost, "{text}");
    }
}

#[test]
fn available_after_a_while() {
    let pod = pod("a ready=7");
    assert!(pod.is_available(0, at(1000)));
    assert!(pod.is_available(7, at(1000)));
    assert_eq!(pod.available_in(10, at(1000)), Some(Duration::from_secs(3)));
}
