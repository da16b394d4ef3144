//! Real packets through the kernel, between namespaces.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use netlink::nft::{Batch, Family, Monitor, Table};
use netlink::{Namespace, Nft};

use crate::Engine;
use crate::testing::net::{Net, ask, ask_udp, has_ipv6, serve, serve_udp, udp_client};
use crate::testing::{become_of, node};

struct Fixture {
    net: Net,
    engine: Engine,
    text: String,
}

impl Fixture {
    fn new() -> Option<Self> {
        let net = Net::new()?;
        let engine = Engine::open(Some(net.node.as_fd()), &node(), has_ipv6()).unwrap();
        Some(Self {
            net,
            engine,
            text: String::new(),
        })
    }

    /// Commits the world of `text` and gives how many elements changed.
    fn program(&mut self, text: &str) -> usize {
        become_of(self.engine.world(), &self.text, text);
        text.clone_into(&mut self.text);
        self.engine.commit().unwrap().elements
    }

    /// The kernel holds what the plan says.
    #[track_caller]
    fn check_kernel(&mut self) {
        self.engine.distrust();
        for (table, differences) in self.engine.commit().unwrap().synced {
            assert_eq!(differences, Some(0), "{table}");
        }
    }
}

fn answers(from: &Namespace, to: &str, times: usize) -> BTreeSet<String> {
    (0..times).map(|_| ask(from, to)).collect()
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Pods keep their address, the node and the outside use the node's; a pod reaches itself.
#[test]
fn cluster_address() {
    let Some(mut f) = Fixture::new() else { return };
    let (a, b) = (f.net.pod(5), f.net.pod(6));
    serve(&a, 8080);
    serve(&b, 8080);
    let client = f.net.pod(7);
    f.program(
        "service a/web 10.96.0.1 80
         endpoint a/web 10.1.0.5:8080 on=here
         endpoint a/web 10.1.0.6:8080 on=here",
    );
    let to = "10.96.0.1:80";
    let both = set(&["10.1.0.5 < 10.1.0.7", "10.1.0.6 < 10.1.0.7"]);
    assert_eq!(answers(&client, to, 24), both);
    let both = set(&["10.1.0.5 < 172.20.0.2", "10.1.0.6 < 172.20.0.2"]);
    assert_eq!(answers(&f.net.node, to, 24), both);
    assert_eq!(answers(&f.net.outside, to, 24), both);
    // From one of the endpoints: to itself under the node's address, to the other under its own.
    let both = set(&["10.1.0.5 < 172.20.0.2", "10.1.0.6 < 10.1.0.5"]);
    assert_eq!(answers(&a, to, 24), both);
    // A port that the Service does not have, and an address that no Service has.
    assert_eq!(ask(&client, "10.96.0.1:81"), "refused");
    assert_eq!(ask(&f.net.node, "10.96.0.1:81"), "refused");
    assert_eq!(ask(&client, "10.96.0.9:80"), "silence");
    f.check_kernel();

    f.program("service a/web 10.96.0.1 80");
    for from in [&client, &f.net.node, &f.net.outside, &a] {
        assert_eq!(ask(from, to), "refused");
    }
    f.program("");
    assert_eq!(ask(&client, to), "silence");
    f.check_kernel();
}

/// Terminating endpoints serve when no other is left.
#[test]
fn terminating_endpoints() {
    let Some(mut f) = Fixture::new() else { return };
    let (a, b) = (f.net.pod(5), f.net.pod(6));
    serve(&a, 80);
    serve(&b, 80);
    f.program(
        "service a/web 10.96.0.1 80
         endpoint a/web 10.1.0.5:80 terminating
         endpoint a/web 10.1.0.6:80",
    );
    let client = f.net.pod(7);
    let to = "10.96.0.1:80";
    assert_eq!(answers(&client, to, 16), set(&["10.1.0.6 < 10.1.0.7"]));
    f.program(
        "service a/web 10.96.0.1 80
         endpoint a/web 10.1.0.5:80 terminating
         endpoint a/web 10.1.0.6:80 notready",
    );
    assert_eq!(answers(&client, to, 16), set(&["10.1.0.5 < 10.1.0.7"]));
}

/// Node ports and external addresses under both policies, from everywhere.
#[test]
fn outside_traffic() {
    let Some(mut f) = Fixture::new() else { return };
    let (a, b) = (f.net.pod(5), f.net.pod(6));
    serve(&a, 80);
    serve(&b, 80);
    let client = f.net.pod(7);
    f.program(
        "service a/any 10.96.0.1 80 nodeport=30001 external=1.2.3.4
         endpoint a/any 10.1.0.5:80 on=here
         service a/own 10.96.0.2 80 nodeport=30002 lb=1.2.3.5 policy=Local
         endpoint a/own 10.1.0.5:80 on=here
         endpoint a/own 10.1.0.6:80 on=there
         service a/far 10.96.0.3 80 nodeport=30003 lb=1.2.3.6 policy=Local
         endpoint a/far 10.1.0.6:80 on=there
         service a/none 10.96.0.4 80 nodeport=30004 external=1.2.3.7",
    );
    let outside = &f.net.outside;
    for to in ["172.20.0.2:30001", "1.2.3.4:80"] {
        assert_eq!(ask(outside, to), "10.1.0.5 < 172.20.0.2", "{to}");
        assert_eq!(ask(&client, to), "10.1.0.5 < 172.20.0.2", "{to}");
        assert_eq!(ask(&f.net.node, to), "10.1.0.5 < 172.20.0.2", "{to}");
        assert_eq!(ask(&a, to), "10.1.0.5 < 172.20.0.2", "{to}");
    }
    for to in ["172.20.0.2:30002", "1.2.3.5:80"] {
        // The source address stays; from inside every endpoint is used.
        let one = set(&["10.1.0.5 < 172.20.0.1"]);
        assert_eq!(answers(outside, to, 16), one, "{to}");
        let both = set(&["10.1.0.5 < 10.1.0.7", "10.1.0.6 < 10.1.0.7"]);
        assert_eq!(answers(&client, to, 24), both, "{to}");
        let both = set(&["10.1.0.5 < 172.20.0.2", "10.1.0.6 < 172.20.0.2"]);
        assert_eq!(answers(&f.net.node, to, 24), both, "{to}");
    }
    for to in ["172.20.0.2:30003", "1.2.3.6:80"] {
        assert_eq!(ask(outside, to), "silence", "{to}");
        assert_eq!(ask(&client, to), "10.1.0.6 < 10.1.0.7", "{to}");
        assert_eq!(ask(&f.net.node, to), "10.1.0.6 < 172.20.0.2", "{to}");
    }
    for to in ["172.20.0.2:30004", "1.2.3.7:80"] {
        assert_eq!(ask(outside, to), "refused", "{to}");
        assert_eq!(ask(&client, to), "refused", "{to}");
        assert_eq!(ask(&f.net.node, to), "refused", "{to}");
    }
    // Not a node port of anyone.
    assert_eq!(ask(outside, "172.20.0.2:30005"), "refused");
    f.check_kernel();
}

#[test]
fn source_ranges() {
    let Some(mut f) = Fixture::new() else { return };
    let a = f.net.pod(5);
    serve(&a, 80);
    let client = f.net.pod(7);
    let world = |range: &str| {
        format!(
            "service a/lb 10.96.0.1 80 nodeport=30001 lb=1.2.3.4 from={range}
             endpoint a/lb 10.1.0.5:80"
        )
    };
    f.program(&world("172.20.0.1/32,9.0.0.0/8"));
    let outside = &f.net.outside;
    assert_eq!(ask(outside, "1.2.3.4:80"), "10.1.0.5 < 172.20.0.2");
    assert_eq!(ask(&client, "1.2.3.4:80"), "silence");
    f.program(&world("10.1.0.0/16"));
    let outside = &f.net.outside;
    assert_eq!(ask(outside, "1.2.3.4:80"), "silence");
    assert_eq!(ask(outside, "172.20.0.2:30001"), "10.1.0.5 < 172.20.0.2");
    assert_eq!(ask(&client, "1.2.3.4:80"), "10.1.0.5 < 172.20.0.2");
    f.check_kernel();
}

/// A client stays with its endpoint, also over a restart, until that goes or time passes.
#[test]
fn affinity() {
    let Some(mut f) = Fixture::new() else { return };
    let farm = f.net.farm(5);
    serve(&farm, 80);
    let clients: Vec<Namespace> = (10..16).map(|number| f.net.pod(number)).collect();
    let world = |hosts: std::ops::Range<u8>, seconds: u32| {
        let mut text = format!("service a/web 10.96.0.1 80 nodeport=30001 sticky={seconds}\n");
        for host in hosts {
            text.push_str(&format!("endpoint a/web 10.1.64.{host}:80\n"));
        }
        text
    };
    f.program(&world(1..9, 100));
    let to = "10.96.0.1:80";
    let stays = |clients: &[Namespace]| -> Vec<String> {
        let one = |client: &Namespace| {
            let seen = answers(client, to, 8);
            assert_eq!(seen.len(), 1, "{seen:?}");
            seen.into_iter().next().unwrap()
        };
        clients.iter().map(one).collect()
    };
    let first = stays(&clients);
    let different: BTreeSet<&str> = first
        .iter()
        .map(|answer| answer.split(' ').next().unwrap())
        .collect();
    assert!(different.len() > 1, "{first:?}");
    assert_eq!(answers(&f.net.outside, "172.20.0.2:30001", 8).len(), 1);
    // More endpoints change nothing for those who have one.
    f.program(&world(1..12, 100));
    assert_eq!(stays(&clients), first);
    // A new process adopts the table with its memory.
    let mut engine = Engine::open(Some(f.net.node.as_fd()), &node(), has_ipv6()).unwrap();
    become_of(engine.world(), "", &f.text);
    let synced = engine.commit().unwrap().synced;
    assert_eq!(synced[0].1, Some(0));
    f.engine = engine;
    assert_eq!(stays(&clients), first);
    // All endpoints go, others come.
    f.program(&world(20..24, 100));
    let second = stays(&clients);
    assert!(second.iter().all(|answer| answer.starts_with("10.1.64.2")));
    f.check_kernel();
    assert_eq!(stays(&clients), second);
    // A second without connections ends it.
    f.program(&world(20..60, 1));
    let mut seen = BTreeSet::new();
    for _ in 0..4 {
        seen.extend(answers(&clients[0], to, 2));
        std::thread::sleep(std::time::Duration::from_millis(1600));
    }
    assert!(seen.len() > 1, "{seen:?}");
}

/// A thousand endpoints; a change of one is a change of one.
#[test]
fn a_thousand_endpoints() {
    let Some(mut f) = Fixture::new() else { return };
    let farm = f.net.farm(5);
    serve(&farm, 80);
    let client = f.net.pod(7);
    let world = |hosts: std::ops::Range<u16>| {
        let mut text = "service a/web 10.96.0.1 80\n".to_owned();
        for host in hosts {
            let [high, low] = host.to_be_bytes();
            text.push_str(&format!("endpoint a/web 10.1.{}.{low}:80\n", 64 + high));
        }
        text
    };
    let all = f.program(&world(0..1000));
    assert!(all > 1000);
    let seen = answers(&client, "10.96.0.1:80", 100);
    assert!(seen.len() > 60, "{}", seen.len());
    assert!(seen.iter().all(|answer| answer.ends_with("< 10.1.0.7")));
    // One replaced: its element goes and another comes.
    assert_eq!(f.program(&world(1..1001)), 2);
    // One less: the frontend's count too.
    assert!(f.program(&world(2..1001)) <= 5);
    f.check_kernel();
    let seen = answers(&client, "10.96.0.1:80", 50);
    assert!(seen.iter().all(|answer| answer.ends_with("< 10.1.0.7")));
}

/// A client that keeps its socket is sent elsewhere when its endpoint goes, and when the first
/// one comes.
#[test]
fn stale_datagrams() {
    let Some(mut f) = Fixture::new() else { return };
    let (a, b) = (f.net.pod(5), f.net.pod(6));
    serve_udp(&a, "10.1.0.5:53".parse().unwrap());
    serve_udp(&b, "10.1.0.6:53".parse().unwrap());
    let client = f.net.pod(7);
    f.program("service a/dns 10.96.0.10 53/udp nodeport=30053");
    let socket = udp_client(&client, "10.96.0.10:53");
    let by_port = udp_client(&f.net.outside, "172.20.0.2:30053");
    assert_eq!(ask_udp(&socket), "refused");
    assert_eq!(ask_udp(&by_port), "refused");
    f.program(
        "service a/dns 10.96.0.10 53/udp nodeport=30053
         endpoint a/dns 10.1.0.5:53/udp on=here",
    );
    assert_eq!(ask_udp(&socket), "10.1.0.5 < 10.1.0.7");
    assert_eq!(ask_udp(&by_port), "10.1.0.5 < 172.20.0.2");
    become_of(
        f.engine.world(),
        &f.text,
        "service a/dns 10.96.0.10 53/udp nodeport=30053
         endpoint a/dns 10.1.0.6:53/udp on=here",
    );
    assert_eq!(f.engine.commit().unwrap().flows, 2);
    assert_eq!(ask_udp(&socket), "10.1.0.6 < 10.1.0.7");
    assert_eq!(ask_udp(&by_port), "10.1.0.6 < 172.20.0.2");
}

/// A table that someone flushed or changed is whole again with the next commit, and the
/// notification says whose change it was.
#[test]
fn repair() {
    let Some(mut f) = Fixture::new() else { return };
    let a = f.net.pod(5);
    serve(&a, 80);
    let client = f.net.pod(7);
    let one = "service a/web 10.96.0.1 80
               endpoint a/web 10.1.0.5:80";
    f.program(one);
    let mut monitor = Monitor::open_in(f.net.node.as_fd()).unwrap();
    let (table, port) = f.engine.watched().unwrap().swap_remove(0);
    assert_eq!(table, Table::new(Family::Ip, "transom-services"));
    let mut other = Nft::open_in(f.net.node.as_fd()).unwrap();

    let mut batch = Batch::new();
    batch.flush_set(&table, "endpoints");
    batch.flush_chain(&table, "services");
    other.commit(batch).unwrap();
    let seen = monitor.read().unwrap().unwrap();
    assert!(seen.iter().all(|seen| seen.port != port && !seen.removed));
    assert_eq!(seen[0].table, table);
    assert_ne!(ask(&client, "10.96.0.1:80"), "10.1.0.5 < 10.1.0.7");
    f.engine.distrust();
    assert_eq!(f.engine.commit().unwrap().synced[0].1, Some(1));
    assert_eq!(ask(&client, "10.96.0.1:80"), "10.1.0.5 < 10.1.0.7");

    let mut batch = Batch::new();
    batch.delete_table(&table);
    other.commit(batch).unwrap();
    assert!(monitor.read().unwrap().unwrap().iter().any(|s| s.removed));
    // Without being told: the difference does not fit, so the whole is made.
    f.program(
        "service a/web 10.96.0.1 80
         endpoint a/web 10.1.0.5:80
         endpoint a/web 10.1.0.6:80 notready
         service a/two 10.96.0.2 80",
    );
    assert_eq!(ask(&client, "10.96.0.1:80"), "10.1.0.5 < 10.1.0.7");
    f.check_kernel();

    // A table of the same name that is not ours is replaced.
    let mut batch = Batch::new();
    batch.destroy_table(&table);
    batch.add_table(&table);
    other.commit(batch).unwrap();
    f.engine.distrust();
    assert_eq!(f.engine.commit().unwrap().synced[0].1, None);
    assert_eq!(ask(&client, "10.96.0.1:80"), "10.1.0.5 < 10.1.0.7");
}

#[test]
fn ipv6() {
    if !has_ipv6() {
        eprintln!("skipped: no IPv6");
        return;
    }
    let Some(mut f) = Fixture::new() else { return };
    let (a, b) = (f.net.pod(5), f.net.pod(6));
    serve(&a, 80);
    serve(&b, 80);
    let client = f.net.pod(7);
    f.program(
        "service a/web 10.96.0.1,fd96::1 80
         endpoint a/web [fd01::5]:80 on=here
         endpoint a/web [fd01::6]:80 on=here
         endpoint a/web 10.1.0.5:80 on=here
         service a/sticky fd96::2 80 sticky=100
         endpoint a/sticky [fd01::5]:80 on=here
         endpoint a/sticky [fd01::6]:80 on=here
         service a/none fd96::3 80",
    );
    let both = set(&["fd01::5 < fd01::7", "fd01::6 < fd01::7"]);
    assert_eq!(answers(&client, "[fd96::1]:80", 24), both);
    assert_eq!(ask(&client, "10.96.0.1:80"), "10.1.0.5 < 10.1.0.7");
    assert_eq!(answers(&client, "[fd96::2]:80", 8).len(), 1);
    assert_eq!(ask(&client, "[fd96::3]:80"), "refused");
    assert_eq!(ask(&client, "[fd96::1]:81"), "refused");
    f.check_kernel();
}
