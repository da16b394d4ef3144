use expect_test::{Expect, expect};
use schema::Dom;

use super::*;

/// `cpu` in millicores, `memory` in MiB, `ports` as `[address:]port`.
fn share(cpu: i64, memory: i64, ports: &[(&str, u16)]) -> Share {
    let ports: Vec<String> = ports
        .iter()
        .map(|(address, port)| {
            format!(r#"{{"containerPort":80,"hostPort":{port},"hostIP":"{address}"}}"#)
        })
        .collect();
    let pod = format!(
        r#"{{"spec":{{"containers":[{{"name":"c","ports":[{}],"resources":{{"requests":{{"cpu":"{cpu}m","memory":"{memory}Mi"}}}}}}]}}}}"#,
        ports.join(",")
    );
    Share::of(Dom::parse_json(pod.as_bytes()).unwrap().as_ref())
}

const NODE: Room = Room {
    pods: 3,
    millicores: 2000,
    memory_bytes: 1000 << 20,
};

#[track_caller]
fn check(before: &[Share], new: Share, expected: Expect) {
    let taken = Taken::default();
    for (number, share) in before.iter().enumerate() {
        taken.keep(&number.to_string(), share.clone());
    }
    let found = match taken.take("new", new, NODE) {
        Ok(()) => "taken".to_owned(),
        Err(refusal) => format!("{}: {}", refusal.reason, refusal.message),
    };
    expected.assert_eq(&found);
}

#[test]
fn what_a_node_has_room_for() {
    let small = || share(100, 10, &[]);
    check(&[small(), small()], small(), expect!["taken"]);
    check(
        &[small(), small(), small()],
        small(),
        expect![
            "OutOfpods: Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"
        ],
    );
    check(
        &[small()],
        share(1950, 0, &[]),
        expect![
            "OutOfcpu: Node didn't have enough resource: cpu, requested: 1950, used: 100, capacity: 2000"
        ],
    );
    check(
        &[],
        share(0, 1024, &[]),
        expect![
            "OutOfmemory: Node didn't have enough resource: memory, requested: 1073741824, used: 0, capacity: 1048576000"
        ],
    );
    // Who asks for nothing is taken beside those that fill the node.
    check(
        &[share(2000, 1000, &[])],
        share(0, 0, &[]),
        expect!["taken"],
    );
}

#[test]
fn ports_of_the_node() {
    let web = || share(0, 0, &[("", 80)]);
    for new in [web(), share(0, 0, &[("127.0.0.1", 80)])] {
        check(
            &[web()],
            new,
            expect![
                "NodePorts: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"
            ],
        );
    }
    check(&[web()], share(0, 0, &[("", 81)]), expect!["taken"]);
    let one = share(0, 0, &[("127.0.0.1", 80)]);
    check(&[one], share(0, 0, &[("127.0.0.2", 80)]), expect!["taken"]);
}

/// A pod that changed, or ended, counts as it is now.
#[test]
fn shares_change() {
    let taken = Taken::default();
    taken.keep("a", share(1500, 0, &[]));
    assert!(taken.take("b", share(1000, 0, &[]), NODE).is_err());
    taken.keep("a", share(500, 0, &[]));
    assert!(taken.take("b", share(1000, 0, &[]), NODE).is_ok());
    taken.release("a");
    assert!(taken.take("c", share(1000, 0, &[]), NODE).is_ok());
}
