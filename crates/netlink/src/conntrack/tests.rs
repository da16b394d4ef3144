//! Connections of a namespace of its own: seen, forgotten.

use std::net::UdpSocket;
use std::os::fd::AsFd;

use crate::nft::{Batch, Chain, ChainKind, CtKey, Expr, Family, Hook, Monitor, Table, Verdict};
use crate::testing::namespace;
use crate::{Conntrack, Handle, Nft};

/// A datagram over the loopback link is tracked, since a rule asks for the connection's state.
#[test]
fn a_flow_is_listed_and_forgotten() {
    let Some(namespace) = namespace() else { return };
    let mut handle = Handle::open_in(namespace.as_fd()).unwrap();
    let lo = handle.link_by_name("lo").unwrap().unwrap().index;
    handle.set_up(lo, true).unwrap();
    let table = Table::new(Family::Ip, "t");
    let mut batch = Batch::new();
    batch.add_table(&table);
    let kind = ChainKind::Filter;
    batch.add_chain(&Chain::base(&table, "out", kind, Hook::Output, 0));
    let mut steps = Expr::ct_state(CtKey::NEW).to_vec();
    steps.push(Expr::verdict(Verdict::Accept));
    batch.add_rule(&table, "out", &steps);
    Nft::open_in(namespace.as_fd())
        .unwrap()
        .commit(batch)
        .unwrap();
    let (from, to) = namespace
        .run(|| {
            let to = UdpSocket::bind("127.0.0.1:0").unwrap();
            let from = UdpSocket::bind("127.0.0.1:0").unwrap();
            let target = to.local_addr().unwrap();
            from.send_to(b"x", target).unwrap();
            (from.local_addr().unwrap(), target)
        })
        .unwrap();
    let mut tracking = Conntrack::open_in(namespace.as_fd()).unwrap();
    let flows = tracking.flows(true, 17).unwrap();
    assert_eq!(flows.len(), 1);
    let flow = &flows[0];
    assert_eq!(
        (flow.source, flow.destination, flow.reply_source),
        (from, to, to)
    );
    assert!(tracking.flows(true, 6).unwrap().is_empty());
    assert!(tracking.flows(false, 17).unwrap().is_empty());
    tracking.forget(flow).unwrap();
    tracking.forget(flow).unwrap();
    assert!(tracking.flows(true, 17).unwrap().is_empty());
}

/// A listener tells its own changes from other people's.
#[test]
fn notifications_name_the_table_and_the_socket() {
    let Some(namespace) = namespace() else { return };
    let mut monitor = Monitor::open_in(namespace.as_fd()).unwrap();
    let mut ours = Nft::open_in(namespace.as_fd()).unwrap();
    let mut others = Nft::open_in(namespace.as_fd()).unwrap();
    assert_eq!(monitor.read().unwrap(), Some(Vec::new()));
    let table = Table::new(Family::Ip, "t");
    let mut batch = Batch::new();
    batch.add_table(&table);
    batch.add_chain(&Chain::regular(&table, "c"));
    ours.commit(batch).unwrap();
    let seen = monitor.read().unwrap().unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (&seen[0].table, seen[0].port, seen[0].removed),
        (&table, ours.port().unwrap(), false)
    );
    let mut batch = Batch::new();
    batch.delete_table(&table);
    others.commit(batch).unwrap();
    let seen = monitor.read().unwrap().unwrap();
    assert_eq!((seen.len(), seen[0].removed), (1, true));
    assert_eq!(seen[0].port, others.port().unwrap());
    // The number is the thread's.
    assert!(seen[0].process.ends_with(')'), "{}", seen[0].process);
}
