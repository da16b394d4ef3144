//! Nodes in, slices out.

use expect_test::expect;

use super::*;

fn node(name: &str, ready: &str, addresses: &[&str]) -> Object {
    let addresses: Vec<String> = addresses
        .iter()
        .map(|address| format!(r#"{{"type":"InternalIP","address":"{address}"}}"#))
        .collect();
    let json = format!(
        r#"{{"metadata":{{"name":"{name}","labels":{{"topology.kubernetes.io/zone":"z1"}}}},"status":{{"addresses":[{{"type":"Hostname","address":"{name}"}},{}],"conditions":[{{"type":"Ready","status":"{ready}"}}]}}}}"#,
        addresses.join(",")
    );
    Object::new(json.into_bytes().into()).unwrap()
}

#[test]
fn every_node_is_an_endpoint_with_a_hint_for_itself() {
    let nodes = [
        node("n1", "True", &["172.31.0.10", "fd00::10"]),
        node("n2", "Unknown", &["172.31.0.11", "172.31.0.99"]),
    ];
    let mut all: Vec<Endpoint> = nodes.iter().flat_map(endpoints_of).collect();
    all.sort();
    let slices = plan(&all);
    let mut lines = Vec::new();
    for slice in &slices {
        let object = Object::new(slice.to_json().into()).unwrap();
        assert_eq!(read(&object).as_ref(), Some(slice), "read back as written");
        for one in &slice.endpoints {
            lines.push(format!(
                "{}: {} {} {} {}",
                slice.name, one.address, one.node, one.zone, one.ready
            ));
        }
    }
    expect![[r#"
        kube-dns-ipv4-0: 172.31.0.10 n1 z1 true
        kube-dns-ipv4-0: 172.31.0.11 n2 z1 false
        kube-dns-ipv6-0: fd00::10 n1 z1 true"#]]
    .assert_eq(&lines.join("\n"));
    let json = String::from_utf8(endpoints_json(&all)).unwrap();
    expect![[r#"{"apiVersion":"v1","kind":"Endpoints","metadata":{"name":"kube-dns","namespace":"kube-system","labels":{"k8s-app":"kube-dns","endpointslice.kubernetes.io/skip-mirror":"true"}},"subsets":[{"addresses":[{"ip":"172.31.0.10","nodeName":"n1"}],"notReadyAddresses":[{"ip":"172.31.0.11","nodeName":"n2"}],"ports":[{"name":"dns","port":53,"protocol":"UDP"},{"name":"dns-tcp","port":53,"protocol":"TCP"}]}]}"#]].assert_eq(&json);
    let object = Object::new(json.clone().into_bytes().into()).unwrap();
    assert!(same_subsets(&object, json.as_bytes()));
    assert!(!same_subsets(&object, &endpoints_json(&all[..1])));
}

#[test]
fn many_nodes_fill_several_slices() {
    let nodes: Vec<Object> = (0..250)
        .map(|n| node(&format!("n{n}"), "True", &[&format!("172.31.1.{n}")]))
        .collect();
    let all: Vec<Endpoint> = nodes.iter().flat_map(endpoints_of).collect();
    let sizes: Vec<usize> = plan(&all)
        .iter()
        .map(|slice| slice.endpoints.len())
        .collect();
    assert_eq!(sizes, [100, 100, 50]);
    assert!(plan(&[]).is_empty());
}

#[test]
fn a_service_with_a_selector_is_somebody_elses() {
    let service = |spec: &str| {
        let json = format!(r#"{{"metadata":{{"name":"kube-dns"}},"spec":{spec}}}"#);
        is_ours(&Object::new(json.into_bytes().into()).unwrap())
    };
    assert!(service("{}"));
    assert!(service(r#"{"selector":{}}"#));
    assert!(!service(r#"{"selector":{"k8s-app":"kube-dns"}}"#));
}
