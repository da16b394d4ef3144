//! Zones from lines, and what they file.

use std::sync::Arc;

use client::{Change, Object};
use expect_test::expect;

use super::*;

/// A zone from lines:
/// `ns NAME`, `svc NS/NAME ADDRESS,… PORT/PROTO/NUMBER …`, `headless NS/NAME PORT/…`,
/// `external NS/NAME TARGET`, `slice NS/NAME/SLICE PORT/… : ADDRESS[=HOST][!] …` (`!`: not ready).
pub(crate) fn zone(text: &str) -> Zone {
    let mut zone = Zone::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        apply(&mut zone, line);
    }
    zone.mark_synced();
    zone
}

fn object(json: String) -> Arc<Object> {
    Arc::new(Object::new(json.into_bytes().into()).unwrap())
}

fn added(json: String) -> Change {
    Change {
        old: None,
        new: Some(object(json)),
    }
}

/// Carries out one line; `-` before it removes.
pub(crate) fn apply(zone: &mut Zone, line: &str) {
    let (line, gone) = match line.strip_prefix('-') {
        Some(line) => (line.trim(), true),
        None => (line, false),
    };
    let turn = |change: Change| match gone {
        true => Change {
            old: change.new,
            new: None,
        },
        false => change,
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut place = words[1].split('/');
    let (namespace, name) = (place.next().unwrap(), place.next().unwrap_or(""));
    let metadata = format!(r#""metadata":{{"namespace":"{namespace}","name":"{name}"}}"#);
    let ports = |words: &[&str]| -> String {
        let one = |word: &&str| {
            let mut parts = word.split('/');
            let (name, protocol) = (parts.next().unwrap(), parts.next().unwrap());
            let number = parts.next().unwrap();
            format!(r#"{{"name":"{name}","protocol":"{protocol}","port":{number}}}"#)
        };
        words.iter().map(one).collect::<Vec<_>>().join(",")
    };
    match words[0] {
        "ns" => zone.on_namespace(&turn(added(format!(r#"{{"metadata":{{"name":"{namespace}"}}}}"#)))),
        "svc" => {
            let addresses = words[2].replace(',', "\",\"");
            let first = words[2].split(',').next().unwrap();
            zone.on_service(&turn(added(format!(
                r#"{{{metadata},"spec":{{"type":"ClusterIP","clusterIP":"{first}","clusterIPs":["{addresses}"],"ports":[{}]}}}}"#,
                ports(&words[3..])
            ))));
        }
        "headless" => zone.on_service(&turn(added(format!(
            r#"{{{metadata},"spec":{{"type":"ClusterIP","clusterIP":"None","clusterIPs":["None"],"ports":[{}]}}}}"#,
            ports(&words[2..])
        )))),
        "external" => zone.on_service(&turn(added(format!(
            r#"{{{metadata},"spec":{{"type":"ExternalName","externalName":"{}"}}}}"#,
            words[2]
        )))),
        "slice" => {
            let colon = words.iter().position(|word| *word == ":").unwrap();
            let endpoint = |word: &&str| {
                let ready = !word.ends_with('!');
                let word = word.trim_end_matches('!');
                let (address, host) = word.split_once('=').unwrap_or((word, ""));
                let host = match host {
                    "" => String::new(),
                    host => format!(r#""hostname":"{host}","#),
                };
                format!(r#"{{"addresses":["{address}"],{host}"conditions":{{"ready":{ready}}}}}"#)
            };
            let endpoints: Vec<String> = words[colon + 1..].iter().map(endpoint).collect();
            let slice = place.next().unwrap();
            zone.on_slice(&turn(added(format!(
                r#"{{"metadata":{{"namespace":"{namespace}","name":"{slice}","labels":{{"kubernetes.io/service-name":"{name}"}}}},"addressType":"IPv4","endpoints":[{}],"ports":[{}]}}"#,
                endpoints.join(","),
                ports(&words[2..colon])
            ))));
        }
        other => panic!("{other}"),
    }
}

fn describe(zone: &Zone) -> String {
    let mut lines = Vec::new();
    let text = |wire: &[u8]| {
        crate::message::readable(wire)
            .trim_end_matches('.')
            .to_owned()
    };
    for group in zone.groups.values() {
        let mut hosts: Vec<String> = group
            .hosts
            .iter()
            .map(|(host, addresses)| format!("{}={addresses:?}", text(host)))
            .collect();
        hosts.sort();
        lines.push(format!(
            "{}: {:?} {:?} hosts {}",
            text(&group.key),
            group.v4,
            group.v6,
            hosts.join(" ")
        ));
    }
    for address in zone
        .reverse_services
        .keys()
        .chain(zone.reverse_hosts.keys())
    {
        let names: Vec<String> = zone
            .names_of(*address)
            .iter()
            .map(|name| text(name))
            .collect();
        lines.push(format!("{address} <- {}", names.join(" ")));
    }
    lines.sort();
    lines.dedup();
    lines.join("\n")
}

#[track_caller]
fn check(text: &str, expected: expect_test::Expect) {
    expected.assert_eq(&describe(&zone(text)));
}

#[test]
fn ready_endpoints_only_and_each_address_once() {
    check(
        "svc a/web 10.96.0.7 http/TCP/80
         headless a/db
         slice a/web/w1 http/TCP/8080 : 10.1.0.1 10.1.0.2!
         slice a/db/d1 : 10.1.0.3=db-0 10.1.0.4
         slice a/db/d2 : 10.1.0.4 fd00::1",
        expect![[r#"
            10.1.0.1 <- 10-1-0-1.web.a
            10.1.0.3 <- db-0.db.a
            10.1.0.4 <- 10-1-0-4.db.a
            10.96.0.7 <- web.a
            db.a: [10.1.0.3, 10.1.0.4] [fd00::1] hosts 10-1-0-4=[10.1.0.4] db-0=[10.1.0.3] fd00--1=[fd00::1]
            fd00::1 <- fd00--1.db.a
            web.a: [10.96.0.7] [] hosts 10-1-0-1=[10.1.0.1]"#]],
    );
}

#[test]
fn what_goes_leaves_nothing() {
    check(
        "ns a
         svc a/web 10.96.0.7 http/TCP/80
         slice a/web/w1 http/TCP/8080 : 10.1.0.1
         slice a/web/w2 http/TCP/8080 : 10.1.0.2
         -svc a/web 10.96.0.7 http/TCP/80
         -slice a/web/w1 http/TCP/8080 : 10.1.0.1
         -slice a/web/w2 http/TCP/8080 : 10.1.0.2
         -ns a",
        expect![""],
    );
}

/// A slice whose label changes moves with its endpoints.
#[test]
fn a_slice_can_change_its_service() {
    check(
        "headless a/x
         headless a/y
         slice a/x/s : 10.1.0.1
         slice a/y/s : 10.1.0.1",
        expect![[r#"
            10.1.0.1 <- 10-1-0-1.y.a
            x.a: [] [] hosts 
            y.a: [10.1.0.1] [] hosts 10-1-0-1=[10.1.0.1]"#]],
    );
}

/// Endpoints of a Service that is not known (yet) have no names.
#[test]
fn slices_without_a_service_are_kept_for_it() {
    check(
        "slice a/x/s : 10.1.0.1",
        expect!["x.a: [] [] hosts 10-1-0-1=[10.1.0.1]"],
    );
}
