//! Questions to a small cluster, answers in readable form; read by hickory-proto, not by our code.

use expect_test::{Expect, expect};
use hickory_proto::op::Message;
use hickory_proto::rr::RData;
use proptest::prelude::*;

use super::*;
use crate::corefile::Corefile;
use crate::manifests::default_corefile;
use crate::zone::tests::zone;

const CLUSTER: &str = "
    ns default
    ns kube-system
    ns a
    svc default/kubernetes 10.96.0.1 https/TCP/443
    svc kube-system/kube-dns 10.96.0.10 dns/UDP/53 dns-tcp/TCP/53
    slice default/kubernetes/k https/TCP/6443 : 172.31.0.1
    svc a/web 10.96.0.7,fd00::7 http/TCP/80 metrics/TCP/9090
    slice a/web/w http/TCP/8080 metrics/TCP/9091 : 10.1.0.1 10.1.0.2!
    headless a/db pg/TCP/5432
    slice a/db/d1 pg/TCP/5432 : 10.1.0.3=db-0 10.1.0.4=db-1 10.1.0.9=db-2!
    headless a/empty pg/TCP/5432
    headless a/six
    slice a/six/s : fd00::1
    external a/out www.Example.org
    external a/in web.a.svc.cluster.local
    external a/ip 10.9.9.9
    external a/ring ring2.a.svc.cluster.local
    external a/ring2 ring.a.svc.cluster.local
    external a/self self.a.svc.cluster.local
    external a/dangling nothing.a.svc.cluster.local
";

/// A question: `NAME TYPE`, with `+edns=SIZE`.
pub(crate) fn question(text: &str) -> Vec<u8> {
    let mut words = text.split_whitespace();
    let (name, kind) = (words.next().unwrap(), words.next().unwrap());
    let kind: u16 = match kind {
        "A" => 1,
        "NS" => 2,
        "CNAME" => 5,
        "SOA" => 6,
        "PTR" => 12,
        "HINFO" => 13,
        "MX" => 15,
        "TXT" => 16,
        "AAAA" => 28,
        "SRV" => 33,
        "ANY" => 255,
        "AXFR" => 252,
        other => other.parse().unwrap(),
    };
    let size = words
        .next()
        .map(|word| word.strip_prefix("+edns=").unwrap().parse::<u16>().unwrap());
    let mut packet = vec![
        0x12,
        0x34,
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        u8::from(size.is_some()),
    ];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        packet.push(u8::try_from(label.len()).unwrap());
        packet.extend_from_slice(label.as_bytes());
    }
    packet.push(0);
    packet.extend_from_slice(&kind.to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    if let Some(size) = size {
        let [high, low] = size.to_be_bytes();
        packet.extend_from_slice(&[0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]);
    }
    packet
}

/// A reply in readable form.
pub(crate) fn readable(packet: &[u8]) -> String {
    let message =
        Message::from_vec(packet).unwrap_or_else(|error| panic!("{error}: {packet:02x?}"));
    let flags = u16::from_be_bytes([packet[2], packet[3]]);
    let mut head = format!("{:?}", message.metadata.response_code);
    for (bit, name) in [(0x400, "aa"), (0x200, "tc"), (0x100, "rd"), (0x80, "ra")] {
        if flags & bit != 0 {
            head += &format!(" {name}");
        }
    }
    if message.edns.is_some() {
        head += " edns";
    }
    for query in &message.queries {
        head += &format!(" {} {}", query.name(), query.query_type());
    }
    let mut lines = vec![head];
    for (section, records) in [
        ("", &message.answers),
        ("authority ", &message.authorities),
        ("additional ", &message.additionals),
    ] {
        for record in records {
            let data = match &record.data {
                RData::SOA(soa) => format!("{} {} min {}", soa.mname, soa.rname, soa.minimum),
                data => data.to_string(),
            };
            lines.push(format!(
                "{section}{} {} {} {data}",
                record.name,
                record.ttl,
                record.record_type()
            ));
        }
    }
    lines.join("\n")
}

fn ask(zone: &Zone, question: &[u8], limit: Option<usize>) -> (Answer, Vec<u8>) {
    let corefile = Corefile::parse(&default_corefile("cluster.local")).unwrap();
    let rules = corefile.blocks[0].kubernetes.as_ref().unwrap();
    let query = Query::parse(question).unwrap();
    let place = Place {
        rules,
        own: &["172.31.0.10".parse().unwrap()],
        limit: limit.unwrap_or_else(|| query.udp_limit()),
        turn: 0,
    };
    let mut buffer = Vec::new();
    let outcome = answer(zone, place, &query, &mut buffer);
    (outcome, buffer)
}

#[track_caller]
fn check(text: &str, expected: Expect) {
    let (outcome, buffer) = ask(&zone(CLUSTER), &question(text), None);
    let text = match outcome {
        Answer::Done => readable(&buffer),
        Answer::Elsewhere => "elsewhere".to_owned(),
        Answer::Chase(chase) => {
            let targets: Vec<String> = chase
                .targets
                .iter()
                .map(|name| crate::message::readable(name))
                .collect();
            format!("chase {}", targets.join(" -> "))
        }
    };
    expected.assert_eq(&text);
}

#[test]
fn a_service_has_its_address_in_the_spelling_of_the_client() {
    check(
        "KuberNetes.default.SVC.cluster.local A",
        expect![[r#"
        NoError aa rd KuberNetes.default.SVC.cluster.local. A
        KuberNetes.default.SVC.cluster.local. 30 A 10.96.0.1"#]],
    );
    check(
        "web.a.svc.cluster.local AAAA +edns=4096",
        expect![[r#"
        NoError aa rd edns web.a.svc.cluster.local. AAAA
        web.a.svc.cluster.local. 30 AAAA fd00::7"#]],
    );
}

#[test]
fn a_type_that_a_name_lacks_is_no_error() {
    check(
        "kubernetes.default.svc.cluster.local AAAA",
        expect![[r#"
        NoError aa rd kubernetes.default.svc.cluster.local. AAAA
        authority cluster.local. 30 SOA ns.dns.cluster.local. hostmaster.cluster.local. min 30"#]],
    );
    for text in [
        "web.a.svc.cluster.local MX",
        "web.a.svc.cluster.local TXT",
        "web.a.svc.cluster.local ANY",
        "cluster.local A",
        "svc.cluster.local A",
        "a.svc.cluster.local A",
        "a.pod.cluster.local A",
    ] {
        let (_, buffer) = ask(&zone(CLUSTER), &question(text), None);
        let line = readable(&buffer);
        assert!(
            line.starts_with("NoError aa rd ") && line.contains("\nauthority "),
            "{text}: {line}"
        );
    }
}

#[test]
fn what_does_not_exist_is_nxdomain() {
    check(
        "nothing.a.svc.cluster.local A",
        expect![[r#"
        NXDomain aa rd nothing.a.svc.cluster.local. A
        authority cluster.local. 30 SOA ns.dns.cluster.local. hostmaster.cluster.local. min 30"#]],
    );
    for text in [
        "web.nowhere.svc.cluster.local A",
        "nowhere.svc.cluster.local A",
        "other.cluster.local A",
        "x.y.z.web.a.svc.cluster.local A",
        "nohost.web.a.svc.cluster.local A",
        "_nope._tcp.web.a.svc.cluster.local SRV",
        "empty.a.svc.cluster.local A",
        "ip.a.svc.cluster.local A",
        "1-2-3.a.pod.cluster.local A",
        "1-2-3-4.nowhere.pod.cluster.local A",
        "_http._tcp.out.a.svc.cluster.local SRV",
    ] {
        let (_, buffer) = ask(&zone(CLUSTER), &question(text), None);
        assert!(
            readable(&buffer).starts_with("NXDomain aa"),
            "{text}: {}",
            readable(&buffer)
        );
    }
}

#[test]
fn a_zone_that_is_not_complete_says_so() {
    let (_, buffer) = ask(&Zone::new(), &question("web.a.svc.cluster.local A"), None);
    assert!(
        readable(&buffer).starts_with("ServFail"),
        "{}",
        readable(&buffer)
    );
}

#[test]
fn headless_services_have_their_ready_endpoints() {
    check(
        "db.a.svc.cluster.local A",
        expect![[r#"
        NoError aa rd db.a.svc.cluster.local. A
        db.a.svc.cluster.local. 30 A 10.1.0.3
        db.a.svc.cluster.local. 30 A 10.1.0.4"#]],
    );
    check(
        "db-1.db.a.svc.cluster.local A",
        expect![[r#"
        NoError aa rd db-1.db.a.svc.cluster.local. A
        db-1.db.a.svc.cluster.local. 30 A 10.1.0.4"#]],
    );
    check(
        "10-1-0-1.web.a.svc.cluster.local A",
        expect![[r#"
        NoError aa rd 10-1-0-1.web.a.svc.cluster.local. A
        10-1-0-1.web.a.svc.cluster.local. 30 A 10.1.0.1"#]],
    );
    check(
        "six.a.svc.cluster.local AAAA",
        expect![[r#"
        NoError aa rd six.a.svc.cluster.local. AAAA
        six.a.svc.cluster.local. 30 AAAA fd00::1"#]],
    );
}

#[test]
fn ports_have_targets_and_their_addresses() {
    check(
        "_http._tcp.web.a.svc.cluster.local SRV",
        expect![[r#"
        NoError aa rd _http._tcp.web.a.svc.cluster.local. SRV
        _http._tcp.web.a.svc.cluster.local. 30 SRV 0 50 80 web.a.svc.cluster.local.
        additional web.a.svc.cluster.local. 30 A 10.96.0.7
        additional web.a.svc.cluster.local. 30 AAAA fd00::7"#]],
    );
    check(
        "_PG._TCP.db.a.svc.cluster.local SRV",
        expect![[r#"
        NoError aa rd _PG._TCP.db.a.svc.cluster.local. SRV
        _PG._TCP.db.a.svc.cluster.local. 30 SRV 0 50 5432 db-0.db.a.svc.cluster.local.
        _PG._TCP.db.a.svc.cluster.local. 30 SRV 0 50 5432 db-1.db.a.svc.cluster.local.
        additional db-0.db.a.svc.cluster.local. 30 A 10.1.0.3
        additional db-1.db.a.svc.cluster.local. 30 A 10.1.0.4"#]],
    );
    check(
        "web.a.svc.cluster.local SRV",
        expect![[r#"
        NoError aa rd web.a.svc.cluster.local. SRV
        web.a.svc.cluster.local. 30 SRV 0 25 80 web.a.svc.cluster.local.
        web.a.svc.cluster.local. 30 SRV 0 25 9090 web.a.svc.cluster.local.
        additional web.a.svc.cluster.local. 30 A 10.96.0.7
        additional web.a.svc.cluster.local. 30 AAAA fd00::7"#]],
    );
    check(
        "six.a.svc.cluster.local SRV",
        expect![[r#"
        NoError aa rd six.a.svc.cluster.local. SRV
        authority cluster.local. 30 SOA ns.dns.cluster.local. hostmaster.cluster.local. min 30"#]],
    );
}

#[test]
fn addresses_of_pods_are_believed() {
    check(
        "1-2-3-4.a.pod.cluster.local A",
        expect![[r#"
        NoError aa rd 1-2-3-4.a.pod.cluster.local. A
        1-2-3-4.a.pod.cluster.local. 30 A 1.2.3.4"#]],
    );
    check(
        "fd00--1.a.pod.cluster.local AAAA",
        expect![[r#"
        NoError aa rd fd00--1.a.pod.cluster.local. AAAA
        fd00--1.a.pod.cluster.local. 30 AAAA fd00::1"#]],
    );
}

#[test]
fn names_of_addresses() {
    check(
        "7.0.96.10.in-addr.arpa PTR",
        expect![[r#"
        NoError aa rd 7.0.96.10.in-addr.arpa. PTR
        7.0.96.10.in-addr.arpa. 30 PTR web.a.svc.cluster.local."#]],
    );
    check(
        "3.0.1.10.in-addr.arpa PTR",
        expect![[r#"
        NoError aa rd 3.0.1.10.in-addr.arpa. PTR
        3.0.1.10.in-addr.arpa. 30 PTR db-0.db.a.svc.cluster.local."#]],
    );
    check(
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa PTR",
        expect![[r#"
        NoError aa rd 1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. PTR
        1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa. 30 PTR fd00--1.six.a.svc.cluster.local."#]],
    );
    check("8.8.8.8.in-addr.arpa PTR", expect!["elsewhere"]);
    check("x.8.8.8.in-addr.arpa PTR", expect!["elsewhere"]);
    check("5.4.3.2.1.in-addr.arpa PTR", expect!["elsewhere"]);
}

#[test]
fn aliases_are_followed_as_far_as_we_know() {
    check(
        "out.a.svc.cluster.local A",
        expect!["chase www.example.org."],
    );
    check(
        "out.a.svc.cluster.local CNAME",
        expect![[r#"
        NoError aa rd out.a.svc.cluster.local. CNAME
        out.a.svc.cluster.local. 30 CNAME www.example.org."#]],
    );
    check(
        "in.a.svc.cluster.local A",
        expect![[r#"
        NoError aa rd in.a.svc.cluster.local. A
        in.a.svc.cluster.local. 30 CNAME web.a.svc.cluster.local.
        web.a.svc.cluster.local. 30 A 10.96.0.7"#]],
    );
    for text in [
        "ring.a.svc.cluster.local A",
        "self.a.svc.cluster.local A",
        "dangling.a.svc.cluster.local A",
    ] {
        let (_, buffer) = ask(&zone(CLUSTER), &question(text), None);
        assert!(
            readable(&buffer).starts_with("NoError aa rd"),
            "{text}: {}",
            readable(&buffer)
        );
        assert!(readable(&buffer).contains("authority"), "{text}");
    }
}

#[test]
fn the_zone_speaks_for_itself() {
    check(
        "dns-version.cluster.local TXT",
        expect![[r#"
        NoError aa rd dns-version.cluster.local. TXT
        dns-version.cluster.local. 28800 TXT 1.1.0"#]],
    );
    check(
        "cluster.local NS",
        expect![[r#"
        NoError aa rd cluster.local. NS
        cluster.local. 30 NS kube-dns.kube-system.svc.cluster.local.
        additional kube-dns.kube-system.svc.cluster.local. 30 A 10.96.0.10"#]],
    );
    check(
        "cluster.local SOA",
        expect![[r#"
        NoError aa rd cluster.local. SOA
        cluster.local. 30 SOA ns.dns.cluster.local. hostmaster.cluster.local. min 30"#]],
    );
    check(
        "ns.dns.cluster.local A",
        expect![[r#"
        NoError aa rd ns.dns.cluster.local. A
        ns.dns.cluster.local. 30 A 10.96.0.10"#]],
    );
    check(
        "cluster.local AXFR",
        expect!["Refused rd cluster.local. AXFR"],
    );
    check("example.org A", expect!["elsewhere"]);
    check("notcluster.local A", expect!["elsewhere"]);
}

fn large() -> Zone {
    let endpoints: Vec<String> = (0..1000)
        .map(|n| format!("10.2.{}.{}=host-{n}", n / 250, n % 250))
        .collect();
    zone(&format!(
        "ns a\nheadless a/big pg/TCP/5432\nslice a/big/s pg/TCP/5432 : {}",
        endpoints.join(" ")
    ))
}

/// Every reply fits, says when it was cut, and still reads.
#[test]
fn large_answers_are_cut_to_what_the_client_takes() {
    let zone = large();
    let mut lines = Vec::new();
    for (text, limit) in [
        ("big.a.svc.cluster.local A", None),
        ("big.a.svc.cluster.local A +edns=1232", None),
        ("big.a.svc.cluster.local A +edns=65535", None),
        ("big.a.svc.cluster.local A", Some(65535)),
        ("_pg._tcp.big.a.svc.cluster.local SRV", None),
        ("_pg._tcp.big.a.svc.cluster.local SRV", Some(65535)),
    ] {
        let (_, buffer) = ask(&zone, &question(text), limit);
        let message = Message::from_vec(&buffer).unwrap();
        assert!(buffer.len() <= limit.unwrap_or(1232));
        lines.push(format!(
            "{text} {limit:?}: {} bytes, {} answers, {} additional{}",
            buffer.len(),
            message.answers.len(),
            message.additionals.len(),
            if buffer[2] & 2 != 0 { ", tc" } else { "" }
        ));
    }
    expect![[r#"
        big.a.svc.cluster.local A None: 505 bytes, 29 answers, 0 additional, tc
        big.a.svc.cluster.local A +edns=1232 None: 1220 bytes, 73 answers, 0 additional, tc
        big.a.svc.cluster.local A +edns=65535 None: 1220 bytes, 73 answers, 0 additional, tc
        big.a.svc.cluster.local A Some(65535): 16041 bytes, 1000 answers, 0 additional
        _pg._tcp.big.a.svc.cluster.local SRV None: 500 bytes, 9 answers, 0 additional, tc
        _pg._tcp.big.a.svc.cluster.local SRV Some(65535): 56996 bytes, 1000 answers, 316 additional"#]].assert_eq(&lines.join("\n"));
}

/// Clients are spread: each address comes first once in a round.
#[test]
fn addresses_take_turns() {
    let zone = zone("ns a\nheadless a/db\nslice a/db/s : 10.1.0.1 10.1.0.2 10.1.0.3");
    let corefile = Corefile::parse(&default_corefile("cluster.local")).unwrap();
    let packet = question("db.a.svc.cluster.local A");
    let query = Query::parse(&packet).unwrap();
    let mut first = Vec::new();
    for turn in 0..4 {
        let place = Place {
            rules: corefile.blocks[0].kubernetes.as_ref().unwrap(),
            own: &[],
            limit: 512,
            turn,
        };
        let mut buffer = Vec::new();
        answer(&zone, place, &query, &mut buffer);
        first.push(
            Message::from_vec(&buffer).unwrap().answers[0]
                .data
                .to_string(),
        );
    }
    expect!["10.1.0.1 10.1.0.2 10.1.0.3 10.1.0.1"].assert_eq(&first.join(" "));
}

#[test]
fn a_chase_ends_with_what_the_other_server_had() {
    let packet = question("out.a.svc.cluster.local A");
    let query = Query::parse(&packet).unwrap();
    let chase = Chase {
        targets: vec![wire("www.example.org").unwrap()],
        ttl: 30,
    };
    // www.example.org CNAME web.example.org (compressed), web.example.org A 192.0.2.1
    let mut found = question("www.example.org A");
    found[2] |= 0x80;
    found[7] = 2;
    found.extend_from_slice(&[
        0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 6, 3, b'w', b'e', b'b', 0xc0, 16,
    ]);
    let web = u8::try_from(found.len() - 6).unwrap();
    found.extend_from_slice(&[0xc0, web, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    let mut buffer = Vec::new();
    finish_chase(&query, &chase, Some(&found), 512, &mut buffer);
    expect![[r#"
        NoError aa rd out.a.svc.cluster.local. A
        out.a.svc.cluster.local. 30 CNAME www.example.org.
        www.example.org. 60 CNAME web.example.org.
        web.example.org. 60 A 192.0.2.1"#]]
    .assert_eq(&readable(&buffer));
    finish_chase(&query, &chase, None, 512, &mut buffer);
    expect!["ServFail aa rd out.a.svc.cluster.local. A"].assert_eq(&readable(&buffer));
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    let label = prop_oneof![
        proptest::sample::select(vec![
            "svc",
            "pod",
            "a",
            "web",
            "db",
            "db-0",
            "cluster",
            "local",
            "_http",
            "_tcp",
            "out",
            "in",
            "ring",
            "kube-dns",
            "kube-system",
            "in-addr",
            "arpa",
            "ip6",
            "10",
            "7",
            "0",
            "96",
            "1-2-3-4",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        proptest::collection::vec(any::<u8>(), 1..64),
    ];
    proptest::collection::vec(label, 0..8).prop_map(|labels| {
        let mut wire = Vec::new();
        for label in labels {
            wire.push(u8::try_from(label.len()).unwrap());
            wire.extend_from_slice(&label);
        }
        wire.push(0);
        wire
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the name and type: an answer that another implementation reads, within its limit.
    #[test]
    fn every_answer_reads(name in names(), in_zone in any::<bool>(), kind in proptest::sample::select(vec![1_u16, 2, 5, 6, 12, 15, 16, 28, 33, 64, 255]), size in any::<u16>()) {
        let mut packet = vec![9, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        let mut name = name;
        if in_zone {
            name.pop();
            name.extend_from_slice(b"\x03svc\x07cluster\x05local\0");
        }
        packet.extend_from_slice(&name);
        packet.extend_from_slice(&kind.to_be_bytes());
        packet.extend_from_slice(&[0, 1, 0, 0, 41]);
        packet.extend_from_slice(&size.to_be_bytes());
        packet.extend_from_slice(&[0; 6]);
        prop_assume!(name.len() <= 255);
        let (outcome, buffer) = ask(&zone(CLUSTER), &packet, None);
        if outcome == Answer::Done {
            prop_assert!(buffer.len() <= 1232);
            prop_assert!(Message::from_vec(&buffer).is_ok(), "{buffer:02x?}");
        }
    }
}
