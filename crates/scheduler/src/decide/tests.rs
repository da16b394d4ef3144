use expect_test::{Expect, expect};

use super::*;
use crate::testing::{decided, pod, world};

#[track_caller]
fn check(world: &str, expected: Expect) {
    expected.assert_eq(&decided(world));
}

#[test]
fn nothing_to_choose_from() {
    check(
        "pod a cpu=1",
        expect!["no nodes available to schedule pods"],
    );
}

/// The emptier node wins, so that pods spread.
#[test]
fn the_emptier_node_wins() {
    check(
        "node a cpu=4 mem=8
         node b cpu=4 mem=8
         on a x cpu=2 mem=2
         pod p cpu=1 mem=1",
        expect!["b"],
    );
}

/// Each node counts once for each of its reasons; the words are upstream's.
#[test]
fn every_node_says_why_not() {
    check(
        "node a cpu=1 mem=1
         node b cpu=8 mem=8 taint=dedicated:NoSchedule
         node c cpu=8 mem=8 cordoned
         node d cpu=8 mem=8 pods=0
         pod p cpu=2 mem=2",
        expect![
            "0/4 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 Too many pods, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/4 nodes are available: 1 No preemption victims found for incoming pod, 3 Preemption is not helpful for scheduling."
        ],
    );
}

/// A node that is named needs no search; the others are counted in one reason.
#[test]
fn a_named_node_is_the_only_one_looked_at() {
    let named = "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchFields: [{key: metadata.name, operator: In, values: [b]}]}]}}}";
    check(
        &format!("node a cpu=4\n node b cpu=4\n on b x cpu=3\n pod p cpu=1 {named}"),
        expect!["b"],
    );
    check(
        &format!("node a cpu=4\n node b cpu=1\n node c cpu=4\n pod p cpu=2 {named}"),
        expect![
            "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        ],
    );
}

/// The node with the lowest priorities loses; of its pods as few as possible.
#[test]
fn the_cheapest_victims_go() {
    check(
        "node a cpu=4
         node b cpu=4
         on a important prio=5 cpu=4
         on b small prio=1 cpu=1
         on b large prio=1 cpu=3
         pod p prio=10 cpu=3",
        expect!["0/2 nodes are available: 2 Insufficient cpu. → b without large"],
    );
}

/// Equal priorities: the pods that run longer stay.
#[test]
fn the_youngest_go_first() {
    check(
        "node a cpu=2
         on a old prio=1 cpu=1 start=01
         on a young prio=1 cpu=1 start=09
         pod p prio=10 cpu=1",
        expect!["0/1 nodes are available: 1 Insufficient cpu. → a without young"],
    );
}

#[test]
fn priority_does_not_help_where_nothing_would() {
    check(
        "node a cpu=4
         on a x prio=1 cpu=4
         pod p prio=10 cpu=5",
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        ],
    );
    check(
        "node a cpu=4
         on a x prio=1 cpu=4
         pod p prio=10 cpu=1 preemptionPolicy: Never",
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never."
        ],
    );
}

/// While victims end, no others are chosen.
#[test]
fn victims_are_given_time() {
    check(
        "node a cpu=4
         node b cpu=4
         on a x prio=1 cpu=4 terminating preempted
         on b y prio=1 cpu=4
         pod p prio=10 cpu=1 waits=a",
        expect![
            "0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: not eligible due to a terminating pod on the nominated node."
        ],
    );
}

/// Room that a pod waits for is not given to less important ones.
#[test]
fn room_is_kept_for_those_who_wait() {
    let nodes = "node a cpu=2\n waiting w prio=10 cpu=2 waits=a\n";
    check(
        &format!("{nodes} pod p prio=1 cpu=1"),
        expect![
            "0/1 nodes are available: 1 Insufficient cpu. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod."
        ],
    );
    check(&format!("{nodes} pod p prio=11 cpu=1"), expect!["a"]);
}

/// Anti-affinity is a reason to preempt, too, and budgets choose the node.
#[test]
fn budgets_protect() {
    let anti = "affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: web}}, topologyKey: kubernetes.io/hostname}]}}";
    let text = format!(
        "node a cpu=4
         node b cpu=4
         on a x app=web tier=one prio=1 cpu=1
         on b y app=web tier=two prio=2 cpu=1
         pod p prio=10 cpu=1 {anti}"
    );
    check(
        &text,
        expect![
            "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules. → a without x"
        ],
    );
    let (mut snapshot, pods) = world(&text);
    let budget = crate::Budget {
        selector: api::LabelSelector::parse("tier=one").unwrap(),
        allowed: 0,
        disrupted: Default::default(),
    };
    let key = client::Key::new("default", "budget");
    snapshot.objects.budgets.insert(key, budget);
    expect![
        "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules. → b without y"
    ]
    .assert_eq(&crate::testing::run(&mut snapshot, pods));
}

/// With many nodes the search ends early, and the next one begins where it ended.
#[test]
fn many_nodes_are_sampled_in_turn() {
    let mut snapshot = Snapshot::default();
    for n in 0..1000 {
        let node = crate::testing::node(&format!("n{n:04} cpu=4 mem=8"));
        snapshot.set_node(node);
    }
    let mut rng = Rng::new(1);
    decide(&mut snapshot, &pod("p cpu=1", ""), &mut rng);
    assert_eq!(snapshot.cursor, 420);
    assert_eq!(
        (enough(99), enough(150), enough(5000), enough(20_000)),
        (99, 100, 500, 1000)
    );
}

mod model;
