//! Choice and check of ranges.

use expect_test::{Expect, expect};

use crate::ranges::{InUse, Wanted, choose};

#[track_caller]
fn check(wanted: [&str; 3], in_use: &[&str], expect: Expect) {
    let wish = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let [pods, services, nodes] = wanted;
    let wanted = Wanted {
        pods: wish(pods),
        services: wish(services),
        nodes: wish(nodes),
    };
    let in_use: Vec<InUse> = in_use
        .iter()
        .map(|range| InUse {
            range: range.parse().unwrap(),
            by: "a route over x0".to_owned(),
        })
        .collect();
    let out = match choose(&wanted, &in_use) {
        Ok(r) => format!(
            "pods {} services {} nodes {}\napi {} node 1 {} pods of node 1 {} kubernetes {} dns {}",
            r.pods,
            r.services,
            r.nodes,
            r.api_address(),
            r.node_address(1),
            r.node_pods(1),
            r.kubernetes_service(),
            r.dns_service()
        ),
        Err(findings) => findings
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n"),
    };
    expect.assert_eq(&out);
}

/// An empty host gets the usual ranges; busy ones are stepped over.
#[test]
fn choice() {
    check(
        ["", "", ""],
        &[],
        expect![[r#"
        pods 10.244.0.0/16 services 10.96.0.0/16 nodes 172.31.0.0/24
        api 172.31.0.1 node 1 172.31.0.11 pods of node 1 10.244.1.0/24 kubernetes 10.96.0.1 dns 10.96.0.10"#]],
    );
    check(
        ["", "", ""],
        &["10.244.0.0/17", "10.96.0.0/12", "172.31.0.0/16"],
        expect![[r#"
            pods 10.245.0.0/16 services 10.112.0.0/16 nodes 172.30.0.0/24
            api 172.30.0.1 node 1 172.30.0.11 pods of node 1 10.245.1.0/24 kubernetes 10.112.0.1 dns 10.112.0.10"#]],
    );
    check(
        ["", "", ""],
        &["10.0.0.0/8"],
        expect![[r#"
        pod range: no private range is free of the host's routes; give one that no route of the host meets with --pod-range
        service range: no private range is free of the host's routes; give one that no route of the host meets with --service-range"#]],
    );
}

/// What the user gives is taken or refused with cause and next step, all at once.
#[test]
fn refusals() {
    check(
        ["10.0.0.7/16", "x", "fd00::/64"],
        &[],
        expect![[r#"
        pod range 10.0.0.7/16: has host bits set; did you mean 10.0.0.0/16?
        service range x: is not an address range; write it as in 10.244.0.0/16
        node range fd00::/64: is not an IPv4 range; write it as in 10.244.0.0/16"#]],
    );
    check(
        ["10.0.0.0/16", "10.0.1.0/24", "192.168.0.0/24"],
        &["192.168.0.1/32"],
        expect![[r#"
            pod range 10.0.0.0/16: meets the service range 10.0.1.0/24; --pod-range 10.244.0.0/16 is free
            node range 192.168.0.0/24: meets 192.168.0.1/32, which is a route over x0; --node-range 172.31.0.0/24 is free, or remove what uses it"#]],
    );
    check(
        ["10.1.0.0/25", "127.0.0.0/16", "10.0.0.0/4"],
        &[],
        expect![[r#"
            pod range 10.1.0.0/25: is too small; give at least a /24
            service range 127.0.0.0/16: is loopback, link-local or multicast; take one of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16
            node range 10.0.0.0/4: has host bits set; did you mean 0.0.0.0/4?"#]],
    );
}
