//! Worlds in, elements and changes out.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use proptest::prelude::{Just, Strategy, prop, proptest};

use crate::rules::{Key, Value};
use crate::testing::{become_of, node};
use crate::{Changes, Plan, World};

fn update(plan: &mut Plan, world: &mut World) -> Changes {
    for key in world.take_dirty() {
        plan.set(&key, world.service(&key), &world.slices(&key));
    }
    plan.take()
}

#[track_caller]
fn check(text: &str, expect: Expect) {
    let (mut world, mut plan) = (World::default(), Plan::new(true, node()));
    become_of(&mut world, "", text);
    update(&mut plan, &mut world);
    expect.assert_eq(&plan.to_string());
}

#[track_caller]
fn check_change(before: &str, after: &str, expect: Expect) {
    let (mut world, mut plan) = (World::default(), Plan::new(true, node()));
    become_of(&mut world, "", before);
    update(&mut plan, &mut world);
    become_of(&mut world, before, after);
    expect.assert_eq(&update(&mut plan, &mut world).to_string());
}

/// Ready endpoints only; of this node's ones a pod may reach itself.
#[test]
fn cluster_address() {
    check(
        "service a/web 10.96.0.1 80
         endpoint a/web 10.1.0.5:8080 on=here
         endpoint a/web 10.1.1.6:8080 on=there
         endpoint a/web 10.1.1.7:8080 notready",
        expect![[r#"
            service-ips 10.96.0.1:80/tcp → pool c2ce21c5 of 2
            cluster-ips 10.96.0.1
            hairpin 10.1.0.5
            endpoints c2ce21c5.0 → 10.1.0.5:8080
            endpoints c2ce21c5.1 → 10.1.1.6:8080
        "#]],
    );
}

/// Each port by itself, by name and protocol.
#[test]
fn ports_and_protocols() {
    check(
        "service a/dns 10.96.0.10 53/udp=dns,53/tcp=dns-tcp,9/sctp
         endpoint a/dns 10.1.0.5:53/udp=dns
         endpoint a/dns 10.1.0.5:5353/tcp=dns-tcp
         endpoint a/dns 10.1.0.5:9/sctp",
        expect![[r#"
            service-ips 10.96.0.10:53/tcp → pool 94beda17 of 1
            service-ips 10.96.0.10:53/udp → pool dff420d1 of 1
            service-ips 10.96.0.10:9/sctp → pool f94aeb3b of 1
            cluster-ips 10.96.0.10
            endpoints 94beda17.0 → 10.1.0.5:5353
            endpoints dff420d1.0 → 10.1.0.5:53
            endpoints f94aeb3b.0 → 10.1.0.5:9
        "#]],
    );
}

/// No endpoint at all is refused; none on this node is silence.
#[test]
fn no_endpoints() {
    check(
        "service a/none 10.96.0.1 80 nodeport=30001 external=1.2.3.4
         endpoint a/none 10.1.0.5:80 notready
         service a/far 10.96.0.2 80 nodeport=30002 lb=1.2.3.5 internal=Local policy=Local
         endpoint a/far 10.1.1.5:80 on=there",
        expect![[r#"
            inside-ips 1.2.3.5:80/tcp → pool a35448a0 of 1
            reject-ips 1.2.3.4:80/tcp
            reject-ips 10.96.0.1:80/tcp
            drop-ips 1.2.3.5:80/tcp
            drop-ips 10.96.0.2:80/tcp
            inside-ports 30002/tcp → pool a35448a0 of 1
            reject-ports 30001/tcp
            drop-ports 30002/tcp
            cluster-ips 10.96.0.1
            cluster-ips 10.96.0.2
            endpoints a35448a0.0 → 10.1.1.5:80
        "#]],
    );
}

/// Endpoints that terminate serve when no other is left, and only then.
#[test]
fn terminating_endpoints() {
    check(
        "service a/one 10.96.0.1 80
         endpoint a/one 10.1.0.5:80
         endpoint a/one 10.1.0.6:80 terminating
         service a/two 10.96.0.2 80
         endpoint a/two 10.1.0.7:80 terminating
         endpoint a/two 10.1.0.8:80 notready",
        expect![[r#"
            service-ips 10.96.0.1:80/tcp → pool 73f05f47 of 1
            service-ips 10.96.0.2:80/tcp → pool a6b22c55 of 1
            cluster-ips 10.96.0.1
            cluster-ips 10.96.0.2
            endpoints 73f05f47.0 → 10.1.0.5:80
            endpoints a6b22c55.0 → 10.1.0.7:80
        "#]],
    );
}

/// Outside addresses lead to any endpoint and are masqueraded, or with policy Local to those of
/// this node, while pods keep going everywhere.
#[test]
fn external_traffic() {
    check(
        "service a/any 10.96.0.1 80 nodeport=30001 external=1.2.3.4
         endpoint a/any 10.1.0.5:80 on=here
         service a/own 10.96.0.2 80 nodeport=30002 lb=1.2.3.5 policy=Local
         endpoint a/own 10.1.0.6:80 on=here
         endpoint a/own 10.1.1.7:80 on=there",
        expect![[r#"
            service-ips 1.2.3.4:80/tcp → pool f3de16b1 of 1
            service-ips 1.2.3.5:80/tcp → pool 5ed99f74 of 1
            service-ips 10.96.0.1:80/tcp → pool f3de16b1 of 1
            service-ips 10.96.0.2:80/tcp → pool 225d8967 of 2
            inside-ips 1.2.3.5:80/tcp → pool 225d8967 of 2
            masquerade-ips 1.2.3.4:80/tcp
            node-ports 30001/tcp → pool f3de16b1 of 1
            node-ports 30002/tcp → pool 5ed99f74 of 1
            inside-ports 30002/tcp → pool 225d8967 of 2
            masquerade-ports 30001/tcp
            cluster-ips 10.96.0.1
            cluster-ips 10.96.0.2
            hairpin 10.1.0.5
            hairpin 10.1.0.6
            endpoints 225d8967.0 → 10.1.0.6:80
            endpoints 225d8967.1 → 10.1.1.7:80
            endpoints 5ed99f74.0 → 10.1.0.6:80
            endpoints f3de16b1.0 → 10.1.0.5:80
        "#]],
    );
}

#[test]
fn source_ranges() {
    check(
        "service a/lb 10.96.0.1 80 lb=1.2.3.4 from=10.0.0.0/8,10.1.0.0/16,172.20.0.0/24,fd00::/8
         endpoint a/lb 10.1.0.5:80
         service a/all 10.96.0.2 80 lb=1.2.3.5 from=0.0.0.0/0
         endpoint a/all 10.1.0.5:80",
        expect![[r#"
            service-ips 1.2.3.4:80/tcp → pool 495fd503 of 1
            service-ips 1.2.3.5:80/tcp → pool 9c08601a of 1
            service-ips 10.96.0.1:80/tcp → pool 495fd503 of 1
            service-ips 10.96.0.2:80/tcp → pool 9c08601a of 1
            masquerade-ips 1.2.3.4:80/tcp
            masquerade-ips 1.2.3.5:80/tcp
            firewalled 1.2.3.4:80/tcp
            cluster-ips 10.96.0.1
            cluster-ips 10.96.0.2
            allowed 1.2.3.4:80/tcp from 1.2.3.4/32
            allowed 1.2.3.4:80/tcp from 10.0.0.0/8
            allowed 1.2.3.4:80/tcp from 172.20.0.0/24
            endpoints 495fd503.0 → 10.1.0.5:80
            endpoints 9c08601a.0 → 10.1.0.5:80
        "#]],
    );
}

#[test]
fn affinity() {
    check(
        "service a/web 10.96.0.1 80 sticky=60
         endpoint a/web 10.1.0.5:80",
        expect![[r#"
            service-ips 10.96.0.1:80/tcp → pool c2ce21c5 of 1, sticky 60 s
            cluster-ips 10.96.0.1
            endpoints c2ce21c5.0 → 10.1.0.5:80
            members c2ce21c5 10.1.0.5:80
        "#]],
    );
}

/// Hints count when all ready endpoints have them and one is for us.
#[test]
fn topology_hints() {
    check(
        "service a/zone 10.96.0.1 80
         endpoint a/zone 10.1.0.5:80 zones=z1
         endpoint a/zone 10.1.0.6:80 zones=z2
         service a/node 10.96.0.2 80
         endpoint a/node 10.1.0.5:80 nodes=here
         endpoint a/node 10.1.0.6:80 nodes=there
         service a/partly 10.96.0.3 80
         endpoint a/partly 10.1.0.5:80 zones=z1
         endpoint a/partly 10.1.0.6:80",
        expect![[r#"
            service-ips 10.96.0.1:80/tcp → pool 33b7e607 of 1
            service-ips 10.96.0.2:80/tcp → pool bffd3461 of 1
            service-ips 10.96.0.3:80/tcp → pool 69d32ac3 of 2
            cluster-ips 10.96.0.1
            cluster-ips 10.96.0.2
            cluster-ips 10.96.0.3
            endpoints 33b7e607.0 → 10.1.0.5:80
            endpoints 69d32ac3.0 → 10.1.0.5:80
            endpoints 69d32ac3.1 → 10.1.0.6:80
            endpoints bffd3461.0 → 10.1.0.5:80
        "#]],
    );
}

/// One endpoint for another: one element goes and comes.
#[test]
fn an_endpoint_is_replaced() {
    check_change(
        "service a/web 10.96.0.1 80
         endpoint a/web 10.1.1.5:80
         endpoint a/web 10.1.1.6:80
         endpoint a/web 10.1.1.7:80",
        "service a/web 10.96.0.1 80
         endpoint a/web 10.1.1.5:80
         endpoint a/web 10.1.1.8:80
         endpoint a/web 10.1.1.7:80",
        expect![[r#"
            - endpoints c2ce21c5.1
            + endpoints c2ce21c5.1 → 10.1.1.8:80
        "#]],
    );
}

/// One less: the last takes its number, the frontend the new count.
#[test]
fn an_endpoint_goes() {
    check_change(
        "service a/web 10.96.0.1 80
         endpoint a/web 10.1.1.5:80
         endpoint a/web 10.1.1.6:80
         endpoint a/web 10.1.1.7:80",
        "service a/web 10.96.0.1 80
         endpoint a/web 10.1.1.6:80
         endpoint a/web 10.1.1.7:80",
        expect![[r#"
            class ServiceIps of 2 sticky 0
            - service-ips 10.96.0.1:80/tcp
            - endpoints c2ce21c5.0
            - endpoints c2ce21c5.2
            + service-ips 10.96.0.1:80/tcp → pool c2ce21c5 of 2
            + endpoints c2ce21c5.0 → 10.1.1.7:80
        "#]],
    );
}

/// The first by name has an address that two claim, then the other.
#[test]
fn two_claim_an_address() {
    let both = "service a/one 10.96.0.1 80 external=1.2.3.4
         endpoint a/one 10.1.1.5:80
         service a/two 10.96.0.2 80 external=1.2.3.4
         endpoint a/two 10.1.1.6:80";
    check(
        both,
        expect![[r#"
        service-ips 1.2.3.4:80/tcp → pool 73f05f47 of 1
        service-ips 10.96.0.1:80/tcp → pool 73f05f47 of 1
        service-ips 10.96.0.2:80/tcp → pool a6b22c55 of 1
        masquerade-ips 1.2.3.4:80/tcp
        cluster-ips 10.96.0.1
        cluster-ips 10.96.0.2
        endpoints 73f05f47.0 → 10.1.1.5:80
        endpoints a6b22c55.0 → 10.1.1.6:80
    "#]],
    );
    check_change(
        both,
        "service a/two 10.96.0.2 80 external=1.2.3.4
         endpoint a/two 10.1.1.6:80",
        expect![[r#"
            - service-ips 1.2.3.4:80/tcp
            - service-ips 10.96.0.1:80/tcp
            - cluster-ips 10.96.0.1
            - endpoints 73f05f47.0
            + service-ips 1.2.3.4:80/tcp → pool a6b22c55 of 1
        "#]],
    );
}

/// A kernel that refuses what the real one refuses.
#[derive(Default)]
struct Model(BTreeMap<Key, Value>);

impl Model {
    fn apply(&mut self, changes: &Changes) {
        for key in &changes.remove {
            assert!(self.0.remove(key).is_some(), "{key} was not there");
        }
        for (key, value) in &changes.add {
            assert!(self.0.insert(*key, *value).is_none(), "{key} was there");
        }
    }
}

/// Random worlds out of few names and addresses, so that they meet often.
fn worlds() -> impl Strategy<Value = Vec<String>> {
    let options = prop::sample::select(vec![
        "",
        "sticky=5",
        "policy=Local nodeport=30001",
        "nodeport=30002",
        "internal=Local",
        "external=1.2.3.4",
        "lb=1.2.3.5 from=10.0.0.0/8,10.2.0.0/16 policy=Local",
    ]);
    let service = (0..4_u8, options, prop::bool::ANY).prop_map(|(n, options, udp)| {
        let port = if udp { "80/udp=" } else { "80" };
        format!("service a/{n} 10.96.0.{n} {port} {options}")
    });
    let state = prop::sample::select(vec!["", "notready", "terminating", "on=here", "zones=z1"]);
    let endpoint = (0..4_u8, 0..12_u8, state)
        .prop_map(|(n, e, s)| format!("endpoint a/{n} 10.1.0.{e}:80 {s}"));
    let lines = (
        prop::collection::vec(service, 0..5),
        prop::collection::vec(endpoint, 0..24),
    );
    let world = lines.prop_map(|(services, endpoints)| {
        let mut lines = services;
        lines.extend(endpoints);
        lines.join("\n")
    });
    (prop::collection::vec(world, 1..6), Just(())).prop_map(|(worlds, ())| worlds)
}

/// What a pool holds, whatever its numbers.
fn meaning(elements: &BTreeMap<Key, Value>) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in elements {
        let (name, word) = match (key, value) {
            (Key::Slot { pool, .. }, value) => (format!("pool {pool}"), value.to_string()),
            (key, value) => (key.to_string(), value.to_string()),
        };
        found.entry(name).or_default().push(word);
    }
    found.values_mut().for_each(|words| words.sort());
    found
}

proptest! {
    /// Differences, one after the other, give what a plan from nothing gives, and every
    /// difference is one that the kernel accepts.
    #[test]
    fn differences_add_up(worlds in worlds()) {
        let (mut world, mut plan) = (World::default(), Plan::new(true, node()));
        let mut kernel = Model::default();
        let mut before = String::new();
        for text in worlds {
            become_of(&mut world, &before, &text);
            kernel.apply(&update(&mut plan, &mut world));
            assert_eq!(kernel.0, plan.elements().collect());
            let (mut again, mut fresh) = (World::default(), Plan::new(true, node()));
            become_of(&mut again, "", &text);
            let all = update(&mut fresh, &mut again);
            let mut whole = Model::default();
            whole.apply(&all);
            assert_eq!(meaning(&kernel.0), meaning(&whole.0));
            // Every frontend finds a pool without gaps, and rules that draw below its count.
            for (_, value) in plan.elements() {
                let Value::Pool(pool) = value else { continue };
                for index in 0..pool.count {
                    assert!(plan.get(&Key::Slot { pool: pool.pool, index }).is_some());
                }
                assert!(plan.get(&Key::Slot { pool: pool.pool, index: pool.count }).is_none());
                let known = |class: crate::Class| {
                    (class.count, class.sticky_seconds) == (pool.count, pool.sticky_seconds)
                };
                assert!(plan.classes().any(known));
            }
            before = text;
        }
    }
}
