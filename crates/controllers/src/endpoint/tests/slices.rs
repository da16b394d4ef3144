//! What [`slice_plan`] writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use expect_test::{Expect, expect};

use super::{pods, service};
use crate::endpoint::service::Service;
use crate::endpoint::slice::{Endpoint, Slice};
use crate::endpoint::slice_plan::{Plan, World, plan};

pub(super) fn zone_of(node: &str) -> Option<String> {
    match node {
        "gone" => None,
        "n1" => Some(String::new()),
        other => Some(format!("zone-{other}")),
    }
}

pub(super) fn plan_of(service: &Service, pods_text: &str, slices: &[Arc<Slice>]) -> Plan {
    plan(&World {
        service,
        pods: &pods(pods_text),
        zone_of: &zone_of,
        slices,
    })
}

/// What a server makes of a plan.
pub(super) fn apply(
    service: &Service,
    plan: &Plan,
    slices: &[Arc<Slice>],
    next: &mut u64,
) -> Vec<Arc<Slice>> {
    let mut all: BTreeMap<String, Arc<Slice>> = slices
        .iter()
        .map(|slice| (slice.name.clone(), slice.clone()))
        .collect();
    for slice in &plan.delete {
        all.remove(&slice.name);
    }
    for slice in &plan.update {
        all.insert(slice.name.clone(), Arc::new(slice.clone()));
    }
    for slice in &plan.create {
        *next += 1;
        let mut slice = slice.clone();
        slice.name = format!("s{next}");
        slice.uid = slice.name.clone();
        slice.owners = vec![("Service".into(), service.name.clone(), service.uid.clone())];
        all.insert(slice.name.clone(), Arc::new(slice));
    }
    all.into_values().collect()
}

fn show_endpoint(endpoint: &Endpoint) -> String {
    let mut text = endpoint.addresses.join(",");
    for (holds, word) in [
        (endpoint.ready, "ready"),
        (endpoint.serving, "serving"),
        (endpoint.terminating, "terminating"),
    ] {
        if holds == Some(true) {
            text.push(' ');
            text.push_str(word);
        }
    }
    for (word, value) in [
        ("host", &endpoint.hostname),
        ("node", &endpoint.node),
        ("zone", &endpoint.zone),
    ] {
        if let Some(value) = value {
            text.push_str(&format!(" {word}={value}"));
        }
    }
    if let Some(hints) = &endpoint.hints {
        text.push_str(&format!(" for={:?},{:?}", hints.zones, hints.nodes));
    }
    text
}

fn show_slice(verb: &str, slice: &Slice) -> String {
    let family = slice.family.map_or("-", |family| family.text());
    let ports: Vec<String> = slice
        .ports
        .iter()
        .map(|port| {
            let name = port.name.as_deref().unwrap_or("-");
            format!("{name}:{}", port.port.unwrap_or(0))
        })
        .collect();
    let mut text = format!("{verb} {} {family} [{}]\n", slice.name, ports.join(" "));
    for endpoint in &slice.endpoints {
        text.push_str(&format!("  {}\n", show_endpoint(endpoint)));
    }
    text
}

pub(super) fn show(plan: &Plan) -> String {
    let mut text = String::new();
    for (verb, slices) in [
        ("create", &plan.create),
        ("update", &plan.update),
        ("delete", &plan.delete),
    ] {
        for slice in slices {
            text.push_str(&show_slice(verb, slice));
        }
    }
    if !plan.missing_nodes.is_empty() {
        text.push_str(&format!("waits for {}\n", plan.missing_nodes.join(" ")));
    }
    text
}

#[track_caller]
fn check(json: &str, steps: &[&str], expected: Expect) {
    let service = service(json);
    let (mut slices, mut next, mut text) = (Vec::new(), 0, String::new());
    for step in steps {
        let plan = plan_of(&service, step, &slices);
        text.push_str(&show(&plan));
        text.push_str("--\n");
        slices = apply(&service, &plan, &slices, &mut next);
        let again = show(&plan_of(&service, step, &slices));
        assert!(
            plan.missing_nodes
                .is_empty()
                .then_some(again.as_str())
                .is_none_or(str::is_empty),
            "not settled:\n{again}"
        );
    }
    expected.assert_eq(&text);
}

const WEB: &str = r#"{"metadata":{"namespace":"default","name":"web","uid":"u","labels":{"app":"web"}},
  "spec":{"clusterIP":"10.96.0.10","ipFamilies":["IPv4"],"selector":{"app":"web"},
          "ports":[{"name":"http","port":80,"targetPort":8080,"protocol":"TCP"}]}}"#;

#[test]
fn no_pods_is_one_empty_slice() {
    check(
        WEB,
        &["", ""],
        expect![[r#"
        create  IPv4 []
        --
        --
    "#]],
    );
}

/// Conditions: a pod that is told to end is not ready any more although it serves.
#[test]
fn conditions_follow_pods() {
    check(
        WEB,
        &[
            "a 10.0.0.1 unready\nb 10.0.0.2 node=n2",
            "a 10.0.0.1\nb 10.0.0.2 node=n2 ending",
            "a 10.0.0.1\nb 10.0.0.2 node=n2 ended",
            "",
        ],
        expect![[r#"
            create  IPv4 [http:8080]
              10.0.0.1 node=n1
              10.0.0.2 ready serving node=n2 zone=zone-n2
            --
            update s1 IPv4 [http:8080]
              10.0.0.1 ready serving node=n1
              10.0.0.2 serving terminating node=n2 zone=zone-n2
            --
            update s1 IPv4 [http:8080]
              10.0.0.1 ready serving node=n1
            --
            update s1 IPv4 []
            --
        "#]],
    );
}

#[test]
fn named_ports_make_groups() {
    let service = WEB.replace("8080", "\"web\"");
    check(
        &service,
        &[
            "a 10.0.0.1 port=web:80\nb 10.0.0.2 port=web:81\nc 10.0.0.3",
            "a 10.0.0.1 port=web:81\nb 10.0.0.2 port=web:81",
        ],
        expect![[r#"
            create  IPv4 []
              10.0.0.3 ready serving node=n1
            create  IPv4 [http:80]
              10.0.0.1 ready serving node=n1
            create  IPv4 [http:81]
              10.0.0.2 ready serving node=n1
            --
            update s3 IPv4 [http:81]
              10.0.0.2 ready serving node=n1
              10.0.0.1 ready serving node=n1
            delete s1 IPv4 []
              10.0.0.3 ready serving node=n1
            delete s2 IPv4 [http:80]
              10.0.0.1 ready serving node=n1
            --
        "#]],
    );
}

#[test]
fn headless_two_families_and_names() {
    let service = r#"{"metadata":{"namespace":"default","name":"db","uid":"u"},
      "spec":{"clusterIP":"None","ipFamilies":["IPv4","IPv6"],"selector":{"app":"db"},"publishNotReadyAddresses":true}}"#;
    check(
        service,
        &["a 10.0.0.1,fd00::1 host=db-0.db unready\nb 10.0.0.2 host=x.other node=gone"],
        expect![[r#"
            create  IPv4 []
              10.0.0.1 ready host=db-0 node=n1
              10.0.0.2 ready serving node=gone
            create  IPv6 []
              fd00::1 ready host=db-0 node=n1
            --
        "#]],
    );
}

#[test]
fn pods_of_unknown_nodes_wait() {
    check(
        WEB,
        &["a 10.0.0.1 node=gone"],
        expect![[r#"
        create  IPv4 []
        waits for gone
        --
    "#]],
    );
}

#[test]
fn traffic_distribution_gives_hints() {
    let service = WEB.replace(
        "\"selector\"",
        "\"trafficDistribution\":\"PreferSameNode\",\"selector\"",
    );
    check(
        &service,
        &["a 10.0.0.1 node=n2\nb 10.0.0.2\nc 10.0.0.3 node=n3 unready"],
        expect![[r#"
            create  IPv4 [http:8080]
              10.0.0.1 ready serving node=n2 zone=zone-n2 for=["zone-n2"],["n2"]
              10.0.0.2 ready serving node=n1 for=[],["n1"]
              10.0.0.3 node=n3 zone=zone-n3
            --
        "#]],
    );
}

/// Labels of the Service are those of the slices, besides the reserved ones.
#[test]
fn labels_follow_the_service() {
    let old = service(WEB);
    let plan = plan_of(&old, "a 10.0.0.1", &[]);
    let slices = apply(&old, &plan, &[], &mut 0);
    let mut new = old.clone();
    new.labels.insert("tier".into(), "front".into());
    new.labels
        .insert("kubernetes.io/service-name".into(), "liar".into());
    let plan = plan_of(&new, "a 10.0.0.1", &slices);
    let labels = &plan.update[0].labels;
    let text: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    expect!["app=web endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io kubernetes.io/service-name=web tier=front"]
        .assert_eq(&text.join(" "));
}

/// A slice of an earlier Service of the same name is left to the garbage collector's like.
#[test]
fn slices_of_another_uid_go() {
    let service = service(WEB);
    let plan = plan_of(&service, "a 10.0.0.1", &[]);
    let mut slices = apply(&service, &plan, &[], &mut 0);
    Arc::make_mut(&mut slices[0]).owners[0].2 = "older".into();
    expect![[r#"
        create  IPv4 [http:8080]
          10.0.0.1 ready serving node=n1
        delete s1 IPv4 [http:8080]
          10.0.0.1 ready serving node=n1
    "#]]
    .assert_eq(&show(&plan_of(&service, "a 10.0.0.1", &slices)));
}
