//! The plan over worlds in words, and two nodes on one link in the kernel.

use std::net::IpAddr;
use std::os::fd::AsFd as _;

use expect_test::{Expect, expect};
use netlink::rt::{Prefix, Veth};
use netlink::{Handle, Namespace};

use crate::peers::{Hop, Peer, keep, plan};

/// A node a line: name, addresses, ranges, separated by `|`.
fn peers(world: &str) -> Vec<Peer> {
    let lines = world.lines().map(str::trim).filter(|line| !line.is_empty());
    let parse = |line: &str| {
        let mut parts = line.split('|');
        let mut words = || parts.next().unwrap_or_default().split_whitespace();
        Peer {
            name: words().next().unwrap().to_owned(),
            addresses: words().map(|word| word.parse().unwrap()).collect(),
            ranges: words().map(|word| word.parse().unwrap()).collect(),
        }
    };
    lines.map(parse).collect()
}

fn hop(text: &str) -> Hop {
    let (range, gateway) = text.split_once(" via ").unwrap();
    Hop {
        range: range.parse().unwrap(),
        gateway: gateway.parse().unwrap(),
    }
}

#[track_caller]
fn check(world: &str, links: &[&str], has: &[&str], expect: Expect) {
    let links: Vec<_> = links.iter().map(|link| link.parse().unwrap()).collect();
    let has: Vec<Hop> = has.iter().map(|text| hop(text)).collect();
    let plan = plan("a", &peers(world), &links, &has);
    let mut out = String::new();
    for (sign, hops) in [('-', &plan.remove), ('+', &plan.set)] {
        for hop in hops {
            out += &format!("{sign} {hop}\n");
        }
    }
    for line in plan.refused {
        out += &format!("! {line}\n");
    }
    expect.assert_eq(&out);
}

/// New nodes get routes, gone ones lose theirs, moved ones are turned, the rest stays.
#[test]
fn changes() {
    let world = "
        a | 192.0.2.2 | 10.244.0.0/24
        b | 192.0.2.3 | 10.244.1.0/24
        c | 192.0.2.4 2001:db8::4 | 10.244.2.0/24 fd00:2::/64
        d | 192.0.2.5 |";
    let links = ["192.0.2.0/24", "2001:db8::/64"];
    check(
        world,
        &links,
        &[],
        expect![[r#"
        + 10.244.1.0/24 via 192.0.2.3
        + 10.244.2.0/24 via 192.0.2.4
        + fd00:2::/64 via 2001:db8::4
    "#]],
    );
    let has = [
        "10.244.1.0/24 via 192.0.2.3",
        "10.244.2.0/24 via 192.0.2.9",
        "10.244.7.0/24 via 192.0.2.7",
    ];
    check(
        world,
        &links,
        &has,
        expect![[r#"
        - 10.244.7.0/24 via 192.0.2.7
        + 10.244.2.0/24 via 192.0.2.4
        + fd00:2::/64 via 2001:db8::4
    "#]],
    );
}

/// A node attracts nothing but its own pods.
#[test]
fn refusals() {
    let world = "
        a | 192.0.2.2 | 10.244.0.0/24
        b | 192.0.2.3 | 10.244.0.0/16
        c | 192.0.2.4 | 192.0.2.0/24
        d | 192.0.2.5 | 0.0.0.0/0
        e | 198.51.100.5 | 10.244.5.0/24
        f | 192.0.2.6 | 10.9.0.0/24 10.244.6.0/24
        g | 192.0.2.7 | 10.244.6.128/25";
    check(
        world,
        &["192.0.2.0/24", "10.9.0.0/16"],
        &[],
        expect![[r#"
        + 10.244.6.0/24 via 192.0.2.6
        ! pod range 10.244.0.0/16 of node b: meets a range of node a
        ! pod range 192.0.2.0/24 of node c: holds 192.0.2.2, an address of node a
        ! pod range 0.0.0.0/0 of node d: meets a range of node a
        ! pod range 10.244.5.0/24 of node e: none of its addresses is on a link of this node
        ! pod range 10.9.0.0/24 of node f: meets 10.9.0.0/16, which is on a link of this node
        ! pod range 10.244.6.128/25 of node g: meets a range of node f
    "#]],
    );
}

/// Two nodes with one link: routes come, survive a second look, and go with the node.
#[test]
fn in_the_kernel() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: not root");
        return;
    }
    let (a, b) = (
        Namespace::anonymous().unwrap(),
        Namespace::anonymous().unwrap(),
    );
    let mut handle = Handle::open_in(a.as_fd()).unwrap();
    let link = handle
        .add_veth(&Veth {
            name: "eth0",
            address: None,
            peer_name: "eth0",
            peer_address: None,
            peer_namespace: Some(b.as_fd()),
            mtu: None,
            alias: "",
        })
        .unwrap();
    handle.set_up(link, true).unwrap();
    let own: IpAddr = "192.0.2.2".parse().unwrap();
    handle.add_address(link, Prefix::new(own, 24)).unwrap();
    let ours = |handle: &mut Handle| -> Vec<String> {
        let routes = handle.routes().unwrap().into_iter();
        routes
            .filter(|route| route.protocol == super::PROTOCOL)
            .map(|route| route.to_string().replace(&format!(" dev {link}"), ""))
            .collect()
    };
    let all = peers(
        "a | 192.0.2.2 | 10.244.0.0/24
         b | 192.0.2.3 | 10.244.1.0/24",
    );
    for _ in 0..2 {
        assert!(keep(&a, "a", &all).unwrap().is_empty());
        assert_eq!(ours(&mut handle), ["10.244.1.0/24 via 192.0.2.3"]);
    }
    keep(&a, "a", &all[..1]).unwrap();
    assert_eq!(ours(&mut handle), Vec::<String>::new());
}
