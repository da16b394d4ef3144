//! Packets of DNS from clients and from other resolvers, the Corefile, resolver files.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use client::{Change, Object};
use dns::{Corefile, Server, Verdict};

use crate::{Heap, Target};

/// What is here.
pub const TARGETS: &[Target] = &[
    Target::new("dns-query", query, 600, Heap::CONNECTION),
    Target::new("dns-reply", reply, 1300, Heap::CONNECTION),
    Target::new("corefile", corefile, 2048, Heap::CONNECTION),
    Target::new("resolv-conf", resolv_conf, 512, Heap::SMALL),
];

const COREFILE: &str = ".:53 {\n kubernetes cluster.local in-addr.arpa ip6.arpa {\n pods insecure\n fallthrough in-addr.arpa ip6.arpa\n ttl 30\n }\n forward . 192.0.2.1\n cache 30\n}\n";

fn change(json: &'static str) -> Change {
    let object = Object::new(Bytes::from_static(json.as_bytes())).expect("an object");
    Change {
        old: None,
        new: Some(Arc::new(object)),
    }
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let corefile = Corefile::parse(COREFILE).expect("a Corefile");
        let server = Server::open(corefile, PathBuf::from("/nonexistent"));
        let mut zone = server.zone();
        zone.on_namespace(&change(
            r#"{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"default"}}"#,
        ));
        zone.on_service(&change(r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"default"},"spec":{"clusterIP":"10.96.0.7","clusterIPs":["10.96.0.7","fd00::7"],"ports":[{"name":"http","port":80,"protocol":"TCP"}]}}"#));
        zone.on_service(&change(r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"db","namespace":"default"},"spec":{"clusterIP":"None","ports":[{"name":"sql","port":5432}]}}"#));
        zone.on_service(&change(r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"out","namespace":"default"},"spec":{"type":"ExternalName","externalName":"web.default.svc.cluster.local"}}"#));
        zone.on_slice(&change(r#"{"apiVersion":"discovery.k8s.io/v1","kind":"EndpointSlice","metadata":{"name":"db-1","namespace":"default","labels":{"kubernetes.io/service-name":"db"}},"addressType":"IPv4","ports":[{"name":"sql","port":5432}],"endpoints":[{"addresses":["10.244.0.5"],"hostname":"db-0"},{"addresses":["10.244.0.6"]}]}"#));
        zone.mark_synced();
        drop(zone);
        server
    })
}

pub(crate) fn query(data: &[u8]) {
    let peer = IpAddr::V4(Ipv4Addr::new(10, 244, 0, 9));
    let mut buffer = Vec::new();
    for tcp in [false, true] {
        match server().handle(data, peer, tcp, &mut buffer) {
            Verdict::Reply => {
                let limit = if tcp { 65_535 } else { 4096 };
                assert!(buffer.len() <= limit, "a reply of {} bytes", buffer.len());
                assert_eq!(buffer.get(..2), data.get(..2), "another number");
                assert!(buffer[2] & 0x80 != 0, "a reply that is a question");
                // A reply to a reply is how two servers talk for ever.
                assert!(data[2] & 0x80 == 0, "an answer to an answer");
            }
            Verdict::Silent | Verdict::Later(_) => {}
        }
    }
}

/// What another resolver sends back to a question of ours.
pub(crate) fn reply(data: &[u8]) {
    dns::fuzz::reply(data);
}

pub(crate) fn corefile(data: &[u8]) {
    if let Ok(corefile) = Corefile::parse(&crate::text(data)) {
        let _ = Server::open(corefile, PathBuf::from("/nonexistent"));
    }
}

pub(crate) fn resolv_conf(data: &[u8]) {
    dns::fuzz::resolv_conf(&crate::text(data));
}
