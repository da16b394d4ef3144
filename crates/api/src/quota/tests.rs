//! Usage and scopes, on small objects.

use expect_test::{Expect, expect};
use schema::Dom;

use super::{selects, usage};
use crate::Gr;

#[track_caller]
fn check(resource: &str, object: &str, expect: Expect) {
    let dom = Dom::parse_json(object.as_bytes()).unwrap();
    let used = usage(&Gr::new("", resource), dom.as_ref());
    let parts: Vec<String> = used
        .iter()
        .map(|(name, amount)| format!("{name}={amount}"))
        .collect();
    expect.assert_eq(&parts.join(" "));
}

#[test]
fn load_balancers_take_node_ports_unless_told() {
    check(
        "services",
        r#"{"spec":{"type":"LoadBalancer","ports":[{"port":1},{"port":2}]}}"#,
        expect!["count/services=1 services=1 services.loadbalancers=1 services.nodeports=2"],
    );
    check(
        "services",
        r#"{"spec":{"type":"LoadBalancer","allocateLoadBalancerNodePorts":false,"ports":[{"port":1}]}}"#,
        expect!["count/services=1 services=1 services.loadbalancers=1 services.nodeports=0"],
    );
}

#[test]
fn a_pod_that_ended_is_only_an_object() {
    let pod = |phase: &str| {
        format!(
            r#"{{"spec":{{"containers":[{{"resources":{{"requests":{{"cpu":"1"}}}}}}]}},"status":{{"phase":"{phase}"}}}}"#
        )
    };
    check(
        "pods",
        &pod("Running"),
        expect!["count/pods=1 cpu=1 pods=1 requests.cpu=1"],
    );
    check("pods", &pod("Failed"), expect!["count/pods=1"]);
}

#[test]
fn scopes_select_pods() {
    let quota = Dom::parse_json(br#"{"spec":{"scopes":["Terminating"]}}"#).unwrap();
    let pod = Dom::parse_json(br#"{"spec":{"activeDeadlineSeconds":5}}"#).unwrap();
    let other = Dom::parse_json(br#"{"spec":{}}"#).unwrap();
    assert!(selects(quota.as_ref(), "Pod", pod.as_ref()));
    assert!(!selects(quota.as_ref(), "Pod", other.as_ref()));
    assert!(!selects(quota.as_ref(), "Service", other.as_ref()));
}
