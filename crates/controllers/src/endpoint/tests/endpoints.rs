//! What an Endpoints object says.

use std::sync::Arc;

use expect_test::{Expect, expect};

use super::{pods, service};
use crate::endpoint::endpoints_plan::{Endpoints, plan};
use crate::endpoint::pod::Pod;
use crate::endpoint::subsets::{Address, Subset, count, pack, truncate};

fn show_subsets(subsets: &[Subset]) -> String {
    let addresses = |list: &[Address]| {
        let words = list.iter().map(|address| match address.hostname.as_str() {
            "" => address.ip.clone(),
            name => format!("{}({name})", address.ip),
        });
        words.collect::<Vec<_>>().join(",")
    };
    let lines = subsets.iter().map(|subset| {
        let ports: Vec<String> = subset
            .ports
            .iter()
            .map(|port| format!("{}:{}", port.name, port.port))
            .collect();
        let (ready, not_ready) = (addresses(&subset.ready), addresses(&subset.not_ready));
        format!(
            "[{}] ready {ready}; not ready {not_ready}\n",
            ports.join(" ")
        )
    });
    lines.collect()
}

fn show(wanted: Option<&Endpoints>) -> String {
    let Some(wanted) = wanted else {
        return "nothing\n".to_owned();
    };
    let labels: Vec<String> = wanted
        .labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("{}\n{}", labels.join(" "), show_subsets(&wanted.subsets))
}

#[track_caller]
fn check(json: &str, world: &str, expected: Expect) {
    let service = service(json);
    let first = plan(&service, &pods(world), None);
    expected.assert_eq(&show(first.as_ref()));
    let again = plan(&service, &pods(world), first.as_ref());
    assert_eq!(again, None, "a second sync writes nothing");
}

const WEB: &str = r#"{"metadata":{"namespace":"default","name":"web","uid":"u","labels":{"app":"web"}},
  "spec":{"clusterIP":"10.96.0.10","ipFamilies":["IPv4"],"selector":{"app":"web"},
          "ports":[{"name":"http","port":80,"targetPort":8080},{"name":"mgmt","port":81,"targetPort":"mgmt"}]}}"#;

#[test]
fn addresses_are_packed_by_ports() {
    check(
        WEB,
        "a 10.0.0.2 port=mgmt:9\nb 10.0.0.1\nc 10.0.0.3 unready port=mgmt:9\nd 10.0.0.4 ending\ne 10.0.0.5 ended",
        expect![[r#"
            app=web endpoints.kubernetes.io/managed-by=endpoint-controller
            [http:8080] ready 10.0.0.1,10.0.0.2; not ready 10.0.0.3
            [mgmt:9] ready 10.0.0.2; not ready 10.0.0.3
        "#]],
    );
}

#[test]
fn a_service_without_pods_has_an_empty_object() {
    check(
        WEB,
        "",
        expect![[r#"
        app=web endpoints.kubernetes.io/managed-by=endpoint-controller
    "#]],
    );
}

#[test]
fn headless_without_ports() {
    let service = r#"{"metadata":{"namespace":"default","name":"db","uid":"u"},
      "spec":{"clusterIP":"None","ipFamilies":["IPv4"],"selector":{"app":"db"},"publishNotReadyAddresses":true}}"#;
    check(
        service,
        "a 10.0.0.1 unready ending host=db-0.db",
        expect![[r#"
            endpoints.kubernetes.io/managed-by=endpoint-controller service.kubernetes.io/headless=
            [] ready 10.0.0.1(db-0); not ready 
        "#]],
    );
}

#[test]
fn what_is_over_capacity_is_cut_once() {
    let all: Vec<Arc<Pod>> = (0..1200u32)
        .map(|n| {
            let [.., c, d] = n.to_be_bytes();
            let name = format!("p{n}");
            Arc::new(Pod {
                uid: name.clone(),
                name,
                addresses: vec![[10, 0, c, d].into()],
                ready: n % 2 == 0,
                ..Pod::default()
            })
        })
        .collect();
    let service = service(&WEB.replace(
        ",{\"name\":\"mgmt\",\"port\":81,\"targetPort\":\"mgmt\"}",
        "",
    ));
    let first = plan(&service, &all, None).unwrap();
    assert_eq!(count(&first.subsets), 1000);
    assert_eq!(first.subsets[0].ready.len(), 600);
    assert_eq!(
        first.annotations["endpoints.kubernetes.io/over-capacity"],
        "truncated"
    );
    assert_eq!(plan(&service, &all, Some(&first)), None);
}

/// Packing is idempotent, and not ready wins.
#[test]
fn packing() {
    let address = |ip: &str| Address {
        ip: ip.into(),
        ..Address::default()
    };
    let subset = Subset {
        ready: vec![address("10.0.0.2"), address("10.0.0.1")],
        not_ready: vec![address("10.0.0.2")],
        ports: Vec::new(),
    };
    let mut packed = pack(&[subset]);
    expect![[r#"
        [] ready 10.0.0.1; not ready 10.0.0.2
    "#]]
    .assert_eq(&show_subsets(&packed));
    assert_eq!(pack(&packed), packed);
    assert!(!truncate(&mut packed));
}
