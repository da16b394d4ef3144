//! Names of a real cluster, asked from the host as a node asks: Services, other names, names that
//! a resolver on the host's loopback has, a Corefile that changes, an agent that is killed.
//!
//! Needs root and `TRANSOM_BIN`. What pods see is in `scenarios/node/dns.md`.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use api::Gvr;
use client::{Object, Patch};
use expect_test::expect;

use crate::fixture::Fixture;
use crate::until::until;

/// Answers every question with 192.0.2.77, on the host's loopback.
fn resolver() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let question = buffer[12..length]
                .windows(1)
                .position(|byte| byte == [0])
                .unwrap();
            let end = 12 + question + 5;
            let mut reply = buffer[..end].to_vec();
            reply[2] |= 0x80;
            reply[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
            reply.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 192, 0, 2, 77]);
            socket.send_to(&reply, peer).unwrap();
        }
    });
    address
}

/// Asks until the answer has `wanted`: what was written takes a moment to be known.
async fn ask(server: SocketAddr, name: &str, kind: &str, wanted: &str) -> String {
    let mut last = String::new();
    for _ in 0..100 {
        last = match dns::lookup(name, kind, "", Some(server)).await {
            Ok(looked) => looked.text,
            Err(error) => base::Chain(&error).to_string(),
        };
        if last.contains(wanted) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{name} {kind}: no {wanted} in {last}");
}

const OBJECTS: [(&str, &str, &str); 5] = [
    (
        "",
        "services",
        r#"{"metadata":{"name":"web"},"spec":{"clusterIP":"None","ports":[{"name":"http","port":80}]}}"#,
    ),
    (
        "discovery.k8s.io",
        "endpointslices",
        r#"{"metadata":{"name":"web-1","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"],"hostname":"first","conditions":{"ready":true}},{"addresses":["10.0.0.2"],"conditions":{"ready":false}}],"ports":[{"name":"http","port":8080,"protocol":"TCP"}]}"#,
    ),
    (
        "",
        "services",
        r#"{"metadata":{"name":"inside"},"spec":{"type":"ExternalName","externalName":"web.default.svc.cluster.local"}}"#,
    ),
    (
        "",
        "services",
        r#"{"metadata":{"name":"outside"},"spec":{"type":"ExternalName","externalName":"www.acme.test"}}"#,
    ),
    (
        "",
        "services",
        r#"{"metadata":{"name":"1lonely"},"spec":{"clusterIP":"None","ports":[{"name":"http","port":80}]}}"#,
    ),
];

#[test]
fn names_of_a_cluster() {
    let Some(fixture) = Fixture::new("d") else {
        return;
    };
    fixture.must(&["up", "--name", &fixture.name]);
    let cluster = fixture.cluster();
    let server = SocketAddr::from((cluster.nodes[0].address, 53));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = fixture.client();
        for (group, resource, json) in OBJECTS {
            let api = client.namespaced(&Gvr::new(group, "v1", resource), "default");
            api.create(json).await.unwrap();
        }
        let mut lines = Vec::new();
        for (name, kind, wanted) in [
            ("first.web.default.svc.cluster.local.", "A", "10.0.0.1"),
            ("_http._tcp.web.default.svc.cluster.local.", "SRV", "8080"),
            ("10.0.0.1", "PTR", "first.web"),
            ("inside.default.svc.cluster.local.", "A", "10.0.0.1"),
            ("1lonely.default.svc.cluster.local.", "A", "NXDOMAIN"),
            ("1-2-3-4.default.pod.cluster.local.", "A", "1.2.3.4"),
            ("dns-version.cluster.local.", "TXT", "1.1.0"),
        ] {
            lines.push(ask(server, name, kind, wanted).await);
        }
        expect![[r#"
            first.web.default.svc.cluster.local. 30 A 10.0.0.1
            _http._tcp.web.default.svc.cluster.local. 30 SRV 0 100 8080 first.web.default.svc.cluster.local.
            1.0.0.10.in-addr.arpa. 30 PTR first.web.default.svc.cluster.local.
            inside.default.svc.cluster.local. 30 CNAME web.default.svc.cluster.local.
            web.default.svc.cluster.local. 30 A 10.0.0.1
            1lonely.default.svc.cluster.local. NXDOMAIN
            1-2-3-4.default.pod.cluster.local. 30 A 1.2.3.4
            dns-version.cluster.local. 28800 TXT 1.1.0
        "#]].assert_eq(&lines.concat());

        // A stub domain, and a directive that is not supported.
        let maps = client.namespaced(&Gvr::new("", "v1", "configmaps"), "kube-system");
        let text = dns::default_corefile("cluster.local");
        let more = format!("acme.test:53 {{\\n    forward . {}\\n    hosts\\n}}\\n", resolver());
        let text = text.replace('\n', "\\n") + &more;
        let patch = format!(r#"{{"data":{{"Corefile":"{text}"}}}}"#);
        maps.patch("coredns", "", Patch::Merge(patch.into())).await.unwrap();
        let found = ask(server, "www.acme.test.", "A", "192.0.2.77").await;
        expect!["www.acme.test. 9 A 192.0.2.77\n"].assert_eq(&found);
        let found = ask(server, "outside.default.svc.cluster.local.", "A", "192.0.2.77").await;
        expect![[r#"
            outside.default.svc.cluster.local. 30 CNAME www.acme.test.
            www.acme.test. 9 A 192.0.2.77
        "#]].assert_eq(&found);
        let events = client.namespaced(&Gvr::new("", "v1", "events"), "kube-system");
        let told = |event: &Object| {
            let text = String::from_utf8_lossy(event.bytes());
            text.contains("CorefileNotSupported") && text.contains("hosts is not supported")
        };
        until(&events, "say what the Corefile asks in vain", |events| {
            events.values().any(told).then_some(())
        })
        .await;

        // The Service's endpoints are the nodes.
        let slices = client.namespaced(&Gvr::new("discovery.k8s.io", "v1", "endpointslices"), "kube-system");
        let slice = slices.get("kube-dns-ipv4-0").await.unwrap();
        assert!(String::from_utf8_lossy(slice.bytes()).contains(&server.ip().to_string()));
        slices.delete("kube-dns-ipv4-0", &client::DeleteOptions::default()).await.unwrap();
        until(&slices, "come back when somebody deletes one", |slices| {
            slices.contains_key("kube-dns-ipv4-0").then_some(())
        })
        .await;
    });
}
