//! Sums, classes and ports of small pods.

use super::{RequestOptions, compute_qos, find_port, limits, ports, requests};
use expect_test::{Expect, expect};
use schema::Dom;
use std::fmt::Write;

fn pod(text: &str) -> Dom {
    Dom::parse_json(text.as_bytes()).unwrap()
}

#[track_caller]
fn check(text: &str, want: Expect) {
    let dom = pod(text);
    let mut out = String::new();
    for (title, amounts) in [
        (
            "requests",
            requests(dom.as_ref(), &RequestOptions::default()),
        ),
        ("limits", limits(dom.as_ref(), &RequestOptions::default())),
    ] {
        let all: Vec<_> = amounts
            .iter()
            .map(|(name, q)| format!("{name}={q}"))
            .collect();
        let _ = write!(out, "{title} {}; ", all.join(","));
    }
    out.push_str(compute_qos(dom.as_ref()).as_str());
    want.assert_eq(&out);
}

#[test]
fn sums() {
    check(
        r#"{"spec":{"containers":[{"name":"a"}]}}"#,
        expect!["requests ; limits ; BestEffort"],
    );
    check(
        r#"{"spec":{"containers":[{"resources":{"requests":{"cpu":"100m","memory":"1Gi"},"limits":{"cpu":"100m","memory":"1Gi"}}}]}}"#,
        expect!["requests cpu=100m,memory=1Gi; limits cpu=100m,memory=1Gi; Guaranteed"],
    );
    check(
        r#"{"spec":{"overhead":{"cpu":"10m"},"initContainers":[
            {"resources":{"requests":{"cpu":"2"}}},
            {"restartPolicy":"Always","resources":{"requests":{"cpu":"1"}}},
            {"resources":{"requests":{"cpu":"3"}}}],
          "containers":[{"resources":{"requests":{"cpu":1},"limits":{"memory":"1Mi"}}}]}}"#,
        expect!["requests cpu=4010m; limits memory=1Mi; Burstable"],
    );
    check(
        r#"{"spec":{"resources":{"requests":{"cpu":"5"},"limits":{"cpu":"5","memory":"1Gi"}},
          "containers":[{"resources":{"requests":{"cpu":"1","memory":"5Mi"}}}]}}"#,
        expect!["requests cpu=5,memory=5Mi; limits cpu=5,memory=1Gi; Burstable"],
    );
}

#[test]
fn resizing_pods_hold_the_larger_amount() {
    let dom = pod(
        r#"{"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}]},
        "status":{"containerStatuses":[{"name":"a","allocatedResources":{"cpu":"2"},"resources":{"requests":{"cpu":"3"}}}]}}"#,
    );
    let options = RequestOptions {
        use_status: true,
        ..RequestOptions::default()
    };
    assert_eq!(requests(dom.as_ref(), &options)["cpu"].to_string(), "3");
}

#[test]
fn ports_of_running_containers() {
    let dom = pod(
        r#"{"hostNetwork":true,"initContainers":[{"ports":[{"containerPort":1,"name":"i"}]},
        {"restartPolicy":"Always","ports":[{"containerPort":2,"name":"s"}]}],
        "containers":[{"ports":[{"containerPort":3,"name":"m","protocol":"UDP"}]}],"t":["m",9,"s"]}"#,
    );
    let spec = dom.as_ref();
    let all: Vec<_> = ports(spec).map(|p| (p.name, p.host_port)).collect();
    assert_eq!(all, [("s", 2), ("m", 3)]);
    let found: Vec<_> = spec.items("t").map(|t| find_port(spec, t, "TCP")).collect();
    assert_eq!(found, [None, Some(9), Some(2)]);
}
