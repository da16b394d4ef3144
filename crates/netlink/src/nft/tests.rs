//! Transactions against the kernel, with `nft list ruleset` as oracle.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsFd;

use expect_test::{Expect, expect};

use crate::Nft;
use crate::nft::{
    Batch, Chain, ChainKind, CmpOp, CtKey, Data, DynsetOp, Element, Expr, Family, FibFlags,
    FibResult, Field, Hook, MetaKey, NatKind, Policy, Register, RejectKind, Set, Table, Verdict,
    expr,
};
use crate::testing::{namespace, nft_list};

fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    Ipv4Addr::new(a, b, c, d).into()
}

fn key(address: [u8; 4], port: u16) -> Vec<u8> {
    Element::concat(&[&address, &[6], &port.to_be_bytes()])
}

#[track_caller]
fn check(fill: impl FnOnce(&mut Batch, &Table), expect: Expect) {
    let Some(namespace) = namespace() else { return };
    let mut nft = Nft::open_in(namespace.as_fd()).unwrap();
    let table = Table::new(Family::Inet, "t");
    let mut batch = Batch::new();
    batch.add_table(&table);
    fill(&mut batch, &table);
    nft.commit(batch).unwrap();
    if let Some(listing) = nft_list(&namespace) {
        expect.assert_eq(&listing);
    }
}

fn rule(steps: &[&[Expr]]) -> Vec<Expr> {
    steps.concat()
}

/// The rules of a local cluster: masquerade and forward.
#[test]
fn masquerade_and_forward() {
    check(
        |batch, table| {
            batch.add_chain(&Chain::base(
                table,
                "post",
                ChainKind::Nat,
                Hook::Postrouting,
                100,
            ));
            let steps = rule(&[
                &Expr::nf_proto(2),
                &Expr::in_prefix(true, v4(10, 200, 0, 0), 16, CmpOp::Eq),
                &Expr::in_prefix(false, v4(10, 200, 0, 0), 16, CmpOp::Neq),
                &Expr::interface(MetaKey::OutputName, "hub0", CmpOp::Neq),
                &[
                    Expr::Counter,
                    Expr::Masquerade {
                        flags: expr::nat_flags::FULLY_RANDOM,
                    },
                ],
            ]);
            batch.add_commented_rule(table, "post", &steps, "pods leave the cluster");
            let mut forward = Chain::base(table, "forward", ChainKind::Filter, Hook::Forward, -10);
            forward.base = Some((ChainKind::Filter, Hook::Forward, -10, Policy::Drop));
            batch.add_chain(&forward);
            let steps = rule(&[
                &Expr::ct_state(CtKey::ESTABLISHED | CtKey::RELATED),
                &[Expr::verdict(Verdict::Accept)],
            ]);
            batch.add_rule(table, "forward", &steps);
            let local = Expr::Fib {
                to: Register::R1,
                result: FibResult::AddressType,
                flags: FibFlags::DESTINATION,
            };
            let steps = [
                local,
                Expr::Cmp {
                    register: Register::R1,
                    op: CmpOp::Eq,
                    data: Data::host32(expr::ADDRESS_TYPE_LOCAL),
                },
                Expr::Reject(RejectKind::IcmpX(1)),
            ];
            batch.add_rule(table, "forward", &steps);
        },
        expect![[r#"
            table inet t {
            	chain post {
            		type nat hook postrouting priority srcnat; policy accept;
            		ip saddr 10.200.0.0/16 ip daddr != 10.200.0.0/16 oifname != "hub0" counter masquerade fully-random comment "pods leave the cluster"
            	}

            	chain forward {
            		type filter hook forward priority filter - 10; policy drop;
            		ct state established,related accept
            		fib daddr type local reject
            	}
            }
        "#]],
    );
}

/// The shape of Services: a verdict map over a concatenation, chains that pick an endpoint.
#[test]
fn services() {
    check(
        |batch, table| {
            batch.add_chain(&Chain::base(
                table,
                "services",
                ChainKind::Nat,
                Hook::Prerouting,
                -100,
            ));
            batch.add_chain(&Chain::regular(table, "svc"));
            let map = Set::verdict_map(
                table,
                "by-address",
                &[Field::Ipv4, Field::Protocol, Field::Port],
            );
            batch.add_set(&map);
            let goto = Data::Verdict(Verdict::Goto("svc".to_owned()));
            batch.add_elements(&map, &[Element::new(key([10, 96, 0, 1], 443)).to(goto)]);
            let steps = rule(&[
                &Expr::nf_proto(2),
                &[
                    Expr::destination_address(true, Register::word(0)),
                    Expr::Meta {
                        key: MetaKey::L4Proto,
                        to: Register::word(1),
                    },
                    Expr::destination_port(Register::word(2)),
                    Expr::Lookup {
                        set: "by-address".to_owned(),
                        key: Register::word(0),
                        to: Some(Register::VERDICT),
                        invert: false,
                    },
                ],
            ]);
            batch.add_rule(table, "services", &steps);

            let endpoints = Set::map(
                table,
                "endpoints",
                &[Field::Mark],
                &[Field::Ipv4, Field::Port],
            );
            batch.add_set(&endpoints);
            let value = |n: u8| Data::Value(Element::concat(&[&[10, 1, 0, n], &[0x1f, 0x90]]));
            batch.add_elements(
                &endpoints,
                &[
                    Element::new(0_u32.to_ne_bytes().to_vec()).to(value(5)),
                    Element::new(1_u32.to_ne_bytes().to_vec()).to(value(6)),
                ],
            );
            let steps = rule(&[
                &Expr::nf_proto(2),
                &Expr::l4_proto(6),
                &[
                    Expr::Numgen {
                        to: Register::R1,
                        modulus: 2,
                        random: true,
                        offset: 0,
                    },
                    Expr::Lookup {
                        set: "endpoints".to_owned(),
                        key: Register::R1,
                        to: Some(Register::word(0)),
                        invert: false,
                    },
                    Expr::Nat {
                        kind: NatKind::Destination,
                        family: 2,
                        address: Some(Register::word(0)),
                        address_max: None,
                        port: Some(Register::word(1)),
                        port_max: None,
                        flags: 0,
                    },
                ],
            ]);
            batch.add_rule(table, "svc", &steps);
        },
        expect![[r#"
            table inet t {
            	map by-address {
            		type ipv4_addr . inet_proto . inet_service : verdict
            		elements = { 10.96.0.1 . tcp . 443 : goto svc }
            	}

            	map endpoints {
            		type mark : ipv4_addr . inet_service
            		elements = { 0x00000000 : 10.1.0.5 . 8080, 0x01000000 : 10.1.0.6 . 8080 }
            	}

            	chain services {
            		type nat hook prerouting priority dstnat; policy accept;
            		ip daddr . meta l4proto . th dport vmap @by-address
            	}

            	chain svc {
            		meta nfproto ipv4 meta l4proto tcp dnat ip to numgen random mod 2 map @endpoints
            	}
            }
        "#]],
    );
}

/// Ranges in sets of one field and in concatenations; marks; dynamic sets with a timeout.
#[test]
fn ranges_and_dynamic_sets() {
    check(
        |batch, table| {
            let blocks = Set::new(table, "blocks", &[Field::Ipv4]).with_intervals();
            batch.add_set(&blocks);
            batch.add_elements(
                &blocks,
                &[
                    Element::prefix(v4(10, 0, 0, 0), 24),
                    Element::range(vec![10, 0, 1, 7], vec![10, 0, 1, 9]),
                    Element::new(vec![10, 0, 2, 1]),
                    Element::range(vec![255, 0, 0, 0], vec![255, 255, 255, 255]),
                ],
            );
            let both = Set::new(table, "both", &[Field::Ipv4, Field::Port]).with_intervals();
            batch.add_set(&both);
            let range = Element::range(
                Element::concat(&[&[10, 0, 0, 0], &80_u16.to_be_bytes()]),
                Element::concat(&[&[10, 0, 0, 255], &90_u16.to_be_bytes()]),
            );
            batch.add_elements(&both, &[range]);
            let mut seen = Set::map(table, "seen", &[Field::Ipv4], &[Field::Mark]);
            (seen.dynamic, seen.timeout_ms, seen.size) = (true, 10_000, 1000);
            batch.add_set(&seen);
            batch.add_chain(&Chain::base(table, "in", ChainKind::Filter, Hook::Input, 0));
            let steps = rule(&[
                &Expr::nf_proto(2),
                &[
                    Expr::source_address(true, Register::R1),
                    Expr::Lookup {
                        set: "blocks".to_owned(),
                        key: Register::R1,
                        to: None,
                        invert: true,
                    },
                    Expr::Immediate {
                        to: Register::R2,
                        data: Data::host32(0x4000),
                    },
                    Expr::MetaSet {
                        key: MetaKey::Mark,
                        from: Register::R2,
                    },
                    Expr::Dynset {
                        set: "seen".to_owned(),
                        op: DynsetOp::Update,
                        key: Register::R1,
                        data: Some(Register::R2),
                        timeout_ms: 0,
                    },
                    Expr::Limit {
                        rate: 10,
                        per_seconds: 1,
                        burst: 5,
                        invert: true,
                    },
                    Expr::verdict(Verdict::Drop),
                ],
            ]);
            batch.add_rule(table, "in", &steps);
        },
        expect![[r#"
            table inet t {
            	set blocks {
            		type ipv4_addr
            		flags interval
            		elements = { 10.0.0.0/24, 10.0.1.7-10.0.1.9,
            			     10.0.2.1, 255.0.0.0/8 }
            	}

            	set both {
            		type ipv4_addr . inet_service
            		flags interval
            		elements = { 10.0.0.0/24 . 80-90 }
            	}

            	map seen {
            		type ipv4_addr : mark
            		size 1000
            		flags dynamic,timeout
            		timeout 10s
            	}

            	chain in {
            		type filter hook input priority filter; policy accept;
            		ip saddr != @blocks meta mark set 0x00004000 update @seen { ip saddr : 0x00400000 } limit rate over 10/second drop
            	}
            }
        "#]],
    );
}

/// All or nothing, and the error names the part that failed.
#[test]
fn a_failed_part_undoes_the_whole() {
    let Some(namespace) = namespace() else { return };
    let mut nft = Nft::open_in(namespace.as_fd()).unwrap();
    let table = Table::new(Family::Inet, "t");
    let mut batch = Batch::new();
    batch.add_table(&table);
    batch.add_chain(&Chain::regular(&table, "a"));
    batch.add_rule(
        &table,
        "a",
        &[Expr::verdict(Verdict::Jump("absent".to_owned()))],
    );
    batch.add_chain(&Chain::regular(&table, "b"));
    let error = nft.commit(batch).unwrap_err();
    assert_eq!(error.to_string(), "add nft rule inet t a");
    assert!(error.is_not_found());
    assert!(nft.tables().unwrap().is_empty());

    let mut batch = Batch::new();
    batch.delete_table(&table);
    let error = nft.commit(batch).unwrap_err();
    assert_eq!(error.to_string(), "delete nft table inet t");
    let mut batch = Batch::new();
    batch.destroy_table(&table);
    nft.commit(batch).unwrap();
    nft.commit(Batch::new()).unwrap();
}

/// 30,000 map entries in one transaction; incremental change; reads; a stale generation.
#[test]
fn large_and_incremental() {
    let Some(namespace) = namespace() else { return };
    let mut nft = Nft::open_in(namespace.as_fd()).unwrap();
    let table = Table::new(Family::Ip, "big");
    let map = Set::verdict_map(&table, "m", &[Field::Ipv4, Field::Protocol, Field::Port]);
    let element = |n: u32| {
        let [_, b, c, d] = n.to_be_bytes();
        Element::new(key([10, b, c, d], 80)).to(Data::Verdict(Verdict::Goto("c".to_owned())))
    };
    let all: Vec<Element> = (0..30_000).map(element).collect();
    let mut batch = Batch::new();
    batch.add_table(&table);
    batch.add_chain(&Chain::regular(&table, "c"));
    batch.add_set(&map);
    batch.add_elements(&map, &all);
    batch.add_commented_rule(&table, "c", &[Expr::verdict(Verdict::Accept)], "note");
    let mut base = Chain::base(&table, "f", ChainKind::Filter, Hook::Forward, -10);
    base.base = Some((ChainKind::Filter, Hook::Forward, -10, Policy::Drop));
    batch.add_chain(&base);
    nft.commit(batch).unwrap();
    let bases = nft.base_chains().unwrap();
    assert_eq!(
        (bases[0].name.as_str(), bases[0].priority, bases[0].drops),
        ("f", -10, true)
    );
    let mut batch = Batch::new();
    batch.delete_chain(&table, "f");
    nft.commit(batch).unwrap();
    assert_eq!(nft.elements(&table, "m").unwrap().len(), 30_000);
    let rules = nft.rules(&table).unwrap();
    assert_eq!((rules.len(), rules[0].comment.as_str()), (1, "note"));
    assert_eq!(nft.chains(&table).unwrap(), ["c"]);
    assert_eq!(nft.sets(&table).unwrap(), ["m"]);

    let generation = nft.generation().unwrap();
    let mut batch = Batch::new();
    batch.delete_elements(&map, &all[..10]);
    batch.insert_elements(&map, &[element(40_000)]);
    nft.commit_at(batch, generation).unwrap();
    let stored = nft.elements(&table, "m").unwrap();
    assert_eq!(stored.len(), 29_991);
    assert_eq!(stored[0].chain.as_deref(), Some("c"));
    let mut batch = Batch::new();
    batch.flush_set(&table, "m");
    let error = nft.commit_at(batch, generation).unwrap_err();
    assert!(error.is_stale(), "{error:?}");
    assert!(nft.elements(&table, "absent").unwrap().is_empty());
}
