//! Counts and conditions of a set.

use expect_test::{Expect, expect};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// Pods as words: `name[:ready-for-seconds]`.
fn pods(text: &str) -> Vec<Pod> {
    let pod = |word: &str| {
        let (name, ready) = word.split_once(':').unwrap_or((word, ""));
        Pod {
            name: name.to_owned(),
            ready: !ready.is_empty(),
            ready_since: ready.parse().ok().map(|age: i64| at(1000 - age)),
            labels: vec![("app".to_owned(), name[..1].to_owned())],
            ..Pod::default()
        }
    };
    text.split_whitespace().map(pod).collect()
}

#[track_caller]
fn check(replicas: usize, min_ready_seconds: i64, world: &str, expected: Expect) {
    let set = Set {
        replicas,
        min_ready_seconds,
        template_labels: vec![("app".to_owned(), "a".to_owned())],
    };
    let pods = pods(world);
    let status = Status::of(&set, &pods, at(1000));
    let change = change(replicas, pods.len());
    let next = next_look(&set, &pods, at(1000));
    expected.assert_eq(&format!(
        "{change:?}, labeled {}, ready {}, available {}, next {next:?}",
        status.fully_labeled, status.ready, status.available
    ));
}

#[test]
fn counts() {
    check(
        2,
        0,
        "",
        expect!["Create(2), labeled 0, ready 0, available 0, next None"],
    );
    check(
        2,
        10,
        "a1:3 a2:20 b3",
        expect!["Delete(1), labeled 2, ready 2, available 1, next Some(7s)"],
    );
    check(
        1,
        0,
        "a1:0",
        expect!["None, labeled 1, ready 1, available 1, next None"],
    );
}

#[test]
fn a_failure_comes_and_goes_and_nothing_is_written_twice() {
    let json = r#"{"metadata":{"generation":2},"status":{"replicas":1,"observedGeneration":1}}"#;
    let mut dom = Dom::parse_json(json.as_bytes()).unwrap();
    let status = Status {
        wanted: 2,
        replicas: 1,
        ..Status::default()
    };
    assert!(write(&mut dom, &status, Some(0), Some("quota"), at(0)));
    expect![[r#"{"metadata":{"generation":2},"status":{"replicas":1,"observedGeneration":2,"fullyLabeledReplicas":0,"readyReplicas":0,"availableReplicas":0,"terminatingReplicas":0,"conditions":[{"type":"ReplicaFailure","status":"True","reason":"FailedCreate","message":"quota","lastTransitionTime":"1970-01-01T00:00:00Z"}]}}"#]]
    .assert_eq(&String::from_utf8(dom.to_json(dom.root())).unwrap());
    assert!(!write(&mut dom, &status, Some(0), Some("quota"), at(9)));
    assert!(write(&mut dom, &status, Some(0), None, at(9)));
    assert!(!write(&mut dom, &status, Some(0), None, at(9)));
}
