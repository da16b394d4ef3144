//! The table's sets, chains and rules, and the kernel's form of elements.
//!
//! `nat-prerouting`, `nat-output` → `services`: the packet's (address, protocol, port) is looked
//! up in `inside-ips` (for pods and the node itself), then `service-ips`; a packet to one of the
//! node's own addresses in the two maps of ports. The answer (count, stickiness, pool) leads by
//! a verdict map of classes to the chain `service-ips-3`, which draws a number below 3 and
//! translates to `endpoints[pool, number]`. A sticky class remembers the endpoint in `affinity`
//! and believes it as long as `members` has it.
//! `nat-postrouting` masquerades by the connection's first destination, so that no mark is needed
//! between the hooks. `filter-*` refuse or drop what no translation took, `firewall-*` check
//! source ranges before it.
//! Words 0 to 6 hold keys and endpoints, 7 to 10 a frontend's value, 10 on the key of an endpoint
//! or of a remembered client. Source: kubernetes v1.36 pkg/proxy/nftables/proxier.go
//! (setupNFTables: hooks, priorities, order).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink::nft::{
    Batch, Chain, ChainKind, CmpOp, CtKey, Data, DynsetOp, Element, Expr, Family, FibFlags,
    FibResult, Field, Hook, MetaKey, NatKind, PayloadBase, Register, RejectKind, Set, Table,
    Verdict, expr,
};

use crate::NodeFacts;
use crate::plan::{Class, Source};
use crate::rules::{Frontend, IpSet, Key, PortSet, Protocol, Value};

/// An empty chain whose name tells the layout's version: another one is not adopted.
pub(super) const MARKER: &str = "layout-1";
const TABLE: &str = "transom-services";
/// Clients that stay with an endpoint, at most: more are balanced without memory.
const AFFINITY_LIMIT: u32 = 1 << 18;
const PRIORITY_FIREWALL: i32 = -110;
const PRIORITY_DSTNAT: i32 = -100;
const PRIORITY_SRCNAT: i32 = 100;

const SERVICES: &str = "services";
const POSTROUTING: &str = "nat-postrouting";
const FIREWALL: &str = "firewall";
const PORT_CHECK: &str = "node-port-check";
const IP_CHECK: &str = "service-ip-check";
const CLUSTER_IP_CHECK: &str = "cluster-ip-check";
const AFFINITY: &str = "affinity";
const ENDPOINTS: &str = "endpoints";
const MEMBERS: &str = "members";
const POD_RANGES: &str = "pod-ranges";
const SERVICE_RANGES: &str = "service-ranges";

const SOURCES: [Source; 4] = [
    Source::ServiceIps,
    Source::InsideIps,
    Source::NodePorts,
    Source::InsidePorts,
];

/// Where a frontend's value is loaded: nothing, count, stickiness, pool. Of a map's value nft(8)
/// follows the first word only, and before 1.1 it aborts when a key begins with that: so the
/// first word of values that become keys is empty, and `nft list ruleset` merely leaves out what
/// it cannot say.
const VALUE: u32 = 7;
const COUNT: u32 = 8;
const POOL: u32 = 10;
/// Beside the pool: number of an endpoint, or address of a client.
const BESIDE: u32 = 11;

#[derive(Debug)]
pub(super) struct Layout {
    ipv4: bool,
    table: Table,
    /// Those whose elements the plan knows.
    sets: Vec<Set>,
    picks: Vec<Set>,
    affinity: Set,
    pod_ranges: Set,
    service_ranges: Set,
}

fn source_map(source: Source) -> &'static str {
    match source {
        Source::ServiceIps => "service-ips",
        Source::InsideIps => "inside-ips",
        Source::NodePorts => "node-ports",
        Source::InsidePorts => "inside-ports",
    }
}

fn picks_name(source: Source) -> String {
    format!("{}-picks", source_map(source))
}

fn class_chain(class: &Class) -> String {
    let map = source_map(class.source);
    match class.sticky_seconds {
        0 => format!("{map}-{}", class.count),
        seconds => format!("{map}-{}-sticky-{seconds}", class.count),
    }
}

fn ip_set(set: IpSet) -> &'static str {
    match set {
        IpSet::Service => "service-ips",
        IpSet::Inside => "inside-ips",
        IpSet::Masquerade => "masquerade-ips",
        IpSet::Reject => "reject-ips",
        IpSet::Drop => "drop-ips",
        IpSet::Firewalled => "firewalled",
    }
}

fn port_set(set: PortSet) -> &'static str {
    match set {
        PortSet::Node => "node-ports",
        PortSet::Inside => "inside-ports",
        PortSet::Masquerade => "masquerade-ports",
        PortSet::Reject => "reject-ports",
        PortSet::Drop => "drop-ports",
    }
}

impl Layout {
    pub(super) fn new(ipv4: bool) -> Self {
        let (family, address) = match ipv4 {
            true => (Family::Ip, Field::Ipv4),
            false => (Family::Ip6, Field::Ipv6),
        };
        let table = Table::new(family, TABLE);
        let frontend = [address, Field::Protocol, Field::Port];
        let port = [Field::Protocol, Field::Port];
        let pool = [Field::Mark; 4];
        let remembered = [Field::Mark, address, Field::Port, Field::Mark];
        let endpoint = [address, Field::Port];
        let set = |name, key: &[Field]| Set::new(&table, name, key);
        let map = |name, key: &[Field], value: &[Field]| Set::map(&table, name, key, value);
        let sets = vec![
            map("service-ips", &frontend, &pool),
            map("inside-ips", &frontend, &pool),
            set("masquerade-ips", &frontend),
            set("reject-ips", &frontend),
            set("drop-ips", &frontend),
            set("firewalled", &frontend),
            set("allowed", &[address, Field::Protocol, Field::Port, address]).with_intervals(),
            map("node-ports", &port, &pool),
            map("inside-ports", &port, &pool),
            set("masquerade-ports", &port),
            set("reject-ports", &port),
            set("drop-ports", &port),
            set("cluster-ips", &[address]),
            set("hairpin", &[address, address]),
            map(ENDPOINTS, &[Field::Mark, Field::Mark], &endpoint),
            set(MEMBERS, &[address, Field::Port, Field::Mark]),
        ];
        let pick = |source| {
            let key = [Field::Mark, Field::Mark];
            Set::verdict_map(&table, picks_name(source), &key)
        };
        Self {
            ipv4,
            sets,
            picks: SOURCES.map(pick).to_vec(),
            affinity: Set {
                dynamic: true,
                timeout_ms: 10_800_000,
                size: AFFINITY_LIMIT,
                ..Set::map(&table, AFFINITY, &[Field::Mark, address], &remembered)
            },
            pod_ranges: Set::new(&table, POD_RANGES, &[address]).with_intervals(),
            service_ranges: Set::new(&table, SERVICE_RANGES, &[address]).with_intervals(),
            table,
        }
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    pub(super) fn element_sets(&self) -> impl Iterator<Item = &Set> {
        self.sets.iter()
    }

    pub(super) fn picks(&self) -> &[Set] {
        &self.picks
    }

    pub(super) fn set(&self, name: &str) -> &Set {
        let found = self.sets.iter().find(|set| set.name == name);
        found.expect("keys name only sets of the layout")
    }

    /// Words of an address.
    fn words(&self) -> u32 {
        if self.ipv4 { 1 } else { 4 }
    }

    // Elements.

    /// The set of a key and its element without value.
    pub(super) fn key(&self, key: &Key) -> (&'static str, Element) {
        match key {
            Key::Ip(set, frontend) => (ip_set(*set), Element::new(frontend_key(frontend))),
            Key::Port(set, protocol, port) => {
                (port_set(*set), Element::new(port_key(*protocol, *port)))
            }
            Key::ClusterIp(address) => ("cluster-ips", Element::new(octets(*address))),
            Key::Hairpin(address) => {
                let one = octets(*address);
                ("hairpin", Element::new(Element::concat(&[&one, &one])))
            }
            Key::Allowed(frontend, range) => {
                let of = |address| {
                    let mut key = frontend_key(frontend);
                    key.extend(octets(address));
                    key
                };
                let element = Element::range(of(range.network()), of(range.broadcast()));
                ("allowed", element)
            }
            Key::Slot { pool, index } => {
                let key = Element::concat(&[&pool.to_ne_bytes(), &index.to_ne_bytes()]);
                (ENDPOINTS, Element::new(key))
            }
            Key::Member { pool, endpoint } => {
                let key = Element::concat(&[
                    &octets(endpoint.ip()),
                    &endpoint.port().to_be_bytes(),
                    &pool.to_ne_bytes(),
                ]);
                (MEMBERS, Element::new(key))
            }
        }
    }

    /// The set of a key and its element.
    pub(super) fn element(&self, key: &Key, value: &Value) -> (&'static str, Element) {
        let (set, element) = self.key(key);
        let data = match value {
            Value::Present => return (set, element),
            Value::Pool(pool) => Element::concat(&[
                &[0; 4],
                &pool.count.to_ne_bytes(),
                &pool.sticky_seconds.to_ne_bytes(),
                &pool.pool.to_ne_bytes(),
            ]),
            Value::Endpoint(endpoint) => {
                Element::concat(&[&octets(endpoint.ip()), &endpoint.port().to_be_bytes()])
            }
        };
        (set, element.to(Data::Value(data)))
    }

    // Chains.

    /// Table, sets and all rules but those of classes.
    pub(super) fn add_frame(&self, batch: &mut Batch, node: &NodeFacts) {
        batch.add_table(&self.table);
        batch.add_chain(&Chain::regular(&self.table, MARKER));
        for set in self.sets.iter().chain(&self.picks) {
            batch.add_set(set);
        }
        batch.add_set(&self.affinity);
        for (set, ranges) in [
            (&self.pod_ranges, &node.pod_ranges),
            (&self.service_ranges, &node.service_ranges),
        ] {
            batch.add_set(set);
            batch.flush_set(&self.table, &set.name);
            let ours = ranges
                .iter()
                .filter(|range| range.addr().is_ipv4() == self.ipv4)
                .map(|range| Element::prefix(range.network(), range.prefix_len()));
            batch.add_elements(set, &ours.collect::<Vec<_>>());
        }
        self.add_service_rules(batch, node);
        self.add_masquerading(batch);
        self.add_refusals(batch);
        self.add_firewall(batch);
        let base =
            |name: &str, kind, hook, priority| Chain::base(&self.table, name, kind, hook, priority);
        let (nat, filter) = (ChainKind::Nat, ChainKind::Filter);
        let hooks: [(Chain, &[&str]); 7] = [
            (
                base(
                    "firewall-prerouting",
                    filter,
                    Hook::Prerouting,
                    PRIORITY_FIREWALL,
                ),
                &[FIREWALL],
            ),
            (
                base("firewall-output", filter, Hook::Output, PRIORITY_FIREWALL),
                &[FIREWALL],
            ),
            (
                base("nat-prerouting", nat, Hook::Prerouting, PRIORITY_DSTNAT),
                &[SERVICES],
            ),
            (
                base("nat-output", nat, Hook::Output, PRIORITY_DSTNAT),
                &[SERVICES],
            ),
            (
                base("filter-input", filter, Hook::Input, 0),
                &[PORT_CHECK, IP_CHECK],
            ),
            (
                base("filter-forward", filter, Hook::Forward, 0),
                &[IP_CHECK, CLUSTER_IP_CHECK],
            ),
            (
                base("filter-output", filter, Hook::Output, 0),
                &[IP_CHECK, CLUSTER_IP_CHECK],
            ),
        ];
        for (chain, targets) in hooks {
            batch.add_chain(&chain);
            batch.flush_chain(&self.table, &chain.name);
            for target in targets {
                let mut steps = Vec::new();
                if *target != SERVICES {
                    steps.extend(Expr::ct_state(CtKey::NEW));
                }
                steps.push(Expr::verdict(Verdict::Jump((*target).to_owned())));
                batch.add_rule(&self.table, &chain.name, &steps);
            }
        }
    }

    /// A chain without rules of before.
    fn fresh(&self, batch: &mut Batch, chain: &str) {
        batch.add_chain(&Chain::regular(&self.table, chain));
        batch.flush_chain(&self.table, chain);
    }

    fn add_service_rules(&self, batch: &mut Batch, node: &NodeFacts) {
        self.fresh(batch, SERVICES);
        let mut rule = |parts: &[&[Expr]], note: &str| {
            batch.add_commented_rule(&self.table, SERVICES, &parts.concat(), note);
        };
        let from_pod = [
            self.source(Register::R1),
            lookup(POD_RANGES, 0, None, false),
        ];
        let from_node = fib_is_local(FibFlags::SOURCE);
        let frontend = self.load_frontend(false);
        let dispatch = |source: Source| {
            [
                lookup(source_map(source), 0, Some(VALUE), false),
                lookup_verdict(&picks_name(source), COUNT),
            ]
        };
        let note = |source: Source, from: &str| {
            let map = source_map(source);
            format!("@{map} gives count, stickiness, pool{from}; on by @{map}-picks")
        };
        let has_pods = node
            .pod_ranges
            .iter()
            .any(|range| range.addr().is_ipv4() == self.ipv4);
        // Ordered so that what is rare ends the rule: hardly any Service is in the inside maps.
        let inside = |source: Source, from: &[Expr], key: &[Expr]| {
            let [value, verdict] = dispatch(source);
            [key, &[value], from, &[verdict]].concat()
        };
        if has_pods {
            rule(
                &[&inside(Source::InsideIps, &from_pod, &frontend)],
                &note(Source::InsideIps, " from pods"),
            );
        }
        rule(
            &[&inside(Source::InsideIps, &from_node, &frontend)],
            &note(Source::InsideIps, " from this node"),
        );
        rule(
            &[&frontend, &dispatch(Source::ServiceIps)],
            &note(Source::ServiceIps, ""),
        );
        let port = self.load_port(false);
        let mut to_node = fib_is_local(FibFlags::DESTINATION).to_vec();
        to_node.extend(self.not_loopback());
        let own = [to_node.as_slice(), &port].concat();
        if has_pods {
            rule(
                &[&inside(Source::InsidePorts, &from_pod, &own)],
                &note(Source::InsidePorts, " from pods"),
            );
        }
        rule(
            &[&inside(Source::InsidePorts, &from_node, &own)],
            &note(Source::InsidePorts, " from this node"),
        );
        rule(
            &[&own, &dispatch(Source::NodePorts)],
            &note(Source::NodePorts, ""),
        );
    }

    /// By the connection's first destination. Runs for the first packet of a connection only.
    fn add_masquerading(&self, batch: &mut Batch) {
        let base = Chain::base(
            &self.table,
            POSTROUTING,
            ChainKind::Nat,
            Hook::Postrouting,
            PRIORITY_SRCNAT,
        );
        batch.add_chain(&base);
        batch.flush_chain(&self.table, POSTROUTING);
        let mut rule = |steps: &[&[Expr]], note: &str| {
            batch.add_commented_rule(&self.table, POSTROUTING, &steps.concat(), note);
        };
        let masquerade = [Expr::Masquerade {
            flags: expr::nat_flags::FULLY_RANDOM,
        }];
        let not_translated = {
            let to = Register::R1;
            let mask = CtKey::STATUS_DNAT.to_ne_bytes().to_vec();
            [
                Expr::Ct {
                    key: CtKey::Status,
                    to,
                    original: None,
                },
                Expr::Bitwise {
                    from: to,
                    to,
                    mask,
                    xor: vec![0; 4],
                },
                Expr::Cmp {
                    register: to,
                    op: CmpOp::Eq,
                    data: Data::Value(vec![0; 4]),
                },
            ]
        };
        let back = [Expr::verdict(Verdict::Return)];
        rule(&[&not_translated, &back], "not to a Service");
        let pair = [
            self.source(Register::word(0)),
            Expr::destination_address(self.ipv4, Register::word(self.words())),
            lookup("hairpin", 0, None, false),
        ];
        rule(&[&pair, &masquerade], "a pod reaches itself");
        let from_node = fib_is_local(FibFlags::SOURCE);
        rule(&[&from_node, &masquerade], "from the node itself");
        let outside = [
            self.original_address(),
            lookup("cluster-ips", 0, None, false),
            self.source(Register::R1),
            lookup(POD_RANGES, 0, None, true),
        ];
        rule(
            &[&outside, &masquerade],
            "to a cluster address from outside",
        );
        let frontend = self.load_frontend(true);
        let external = [lookup("masquerade-ips", 0, None, false)];
        rule(
            &[&frontend, &external, &masquerade],
            "external address, any endpoint",
        );
        // What remains with a frontend's address is not meant for a port of the node.
        for map in ["service-ips", "inside-ips"] {
            let there = [lookup(map, 0, Some(VALUE), false)];
            rule(&[&frontend, &there, &back], &format!("of @{map}"));
        }
        let port = self.load_port(true);
        let node_port = [lookup("masquerade-ports", 0, None, false)];
        rule(&[&port, &node_port, &masquerade], "node port, any endpoint");
    }

    fn add_refusals(&self, batch: &mut Batch) {
        for chain in [PORT_CHECK, IP_CHECK, CLUSTER_IP_CHECK] {
            self.fresh(batch, chain);
        }
        let code = if self.ipv4 { 3 } else { 4 };
        let answers = [
            (
                Expr::l4_proto(Protocol::Tcp.number()).to_vec(),
                RejectKind::TcpReset,
            ),
            (Vec::new(), RejectKind::Icmp(code)),
        ];
        let mut refuse = |chain: &str, what: &[Expr], rejected: &str, dropped: &str, note: &str| {
            for (proto, kind) in &answers {
                let of = [lookup(rejected, 0, None, false)];
                let steps = [what, &of, proto.as_slice(), &[Expr::Reject(*kind)]].concat();
                batch.add_commented_rule(&self.table, chain, &steps, note);
            }
            let of = [lookup(dropped, 0, None, false)];
            let steps = [what, &of, &[Expr::verdict(Verdict::Drop)]].concat();
            batch.add_commented_rule(&self.table, chain, &steps, "nobody here");
        };
        let mut own = fib_is_local(FibFlags::DESTINATION).to_vec();
        own.extend(self.not_loopback());
        own.extend(self.load_port(false));
        let none = "no endpoint";
        refuse(PORT_CHECK, &own, "reject-ports", "drop-ports", none);
        let frontend = self.load_frontend(false);
        refuse(IP_CHECK, &frontend, "reject-ips", "drop-ips", none);
        let address = [Expr::destination_address(self.ipv4, Register::word(0))];
        let cluster = "cluster-ips";
        refuse(
            CLUSTER_IP_CHECK,
            &address,
            cluster,
            SERVICE_RANGES,
            "no such port",
        );
    }

    fn add_firewall(&self, batch: &mut Batch) {
        self.fresh(batch, FIREWALL);
        let frontend = self.load_frontend(false);
        let steps = [
            frontend.as_slice(),
            &[
                lookup("firewalled", 0, None, false),
                // After the frontend's words.
                self.source(Register::word(self.words() + 2)),
                lookup("allowed", 0, None, true),
                Expr::verdict(Verdict::Drop),
            ],
        ]
        .concat();
        let note = "not from the load balancer's source ranges";
        batch.add_commented_rule(&self.table, FIREWALL, &steps, note);
    }

    // Classes.

    pub(super) fn add_classes(&self, batch: &mut Batch, classes: &[Class]) {
        self.add_known_classes(batch, classes, &[]);
    }

    /// Chains of classes, and the verdicts that lead to those not in `known`.
    pub(super) fn add_known_classes(&self, batch: &mut Batch, classes: &[Class], known: &[String]) {
        for class in classes {
            let chain = class_chain(class);
            self.fresh(batch, &chain);
            if class.sticky_seconds > 0 {
                self.add_sticky_rules(batch, class, &chain);
            }
            // The second rule takes what met the first while the pool shrank: the number was
            // drawn by the old count, the endpoint looked up among the new ones.
            let balance = format!(
                "to @endpoints of the pool and a number below {}",
                class.count
            );
            let rest = "to @endpoints of the pool and 0".to_owned();
            for (number, note) in [(numgen(class.count), balance), (number_zero(), rest)] {
                let steps = [
                    self.load_pool(class.source).as_slice(),
                    &[number, lookup(ENDPOINTS, POOL, Some(0), false)],
                    &[self.translate(0)],
                ]
                .concat();
                batch.add_commented_rule(&self.table, &chain, &steps, &note);
            }
            if known.contains(&chain) {
                continue;
            }
            let name = picks_name(class.source);
            let Some(set) = self.picks.iter().find(|set| set.name == name) else {
                continue;
            };
            let key = Element::concat(&[
                &class.count.to_ne_bytes(),
                &class.sticky_seconds.to_ne_bytes(),
            ]);
            let verdict = Data::Verdict(Verdict::Goto(chain));
            batch.add_elements(set, &[Element::new(key).to(verdict)]);
        }
    }

    /// Known client: same endpoint if it is a member still. Else the memory is lost, an endpoint
    /// is drawn and remembered. A full memory falls through to the rules without it.
    fn add_sticky_rules(&self, batch: &mut Batch, class: &Class, chain: &str) {
        let timeout_ms = u64::from(class.sticky_seconds) * 1000;
        let client = [
            self.load_pool(class.source).as_slice(),
            &[self.source(Register::word(BESIDE))],
        ]
        .concat();
        let remember = |op| Expr::Dynset {
            set: AFFINITY.to_owned(),
            op,
            key: Register::word(POOL),
            data: Some(Register::word(0)),
            timeout_ms: if op == DynsetOp::Delete {
                0
            } else {
                timeout_ms
            },
        };
        let words = self.words();
        // nothing, address, port, pool
        let known = [
            client.as_slice(),
            &[
                lookup(AFFINITY, POOL, Some(0), false),
                lookup(MEMBERS, 1, None, false),
                remember(DynsetOp::Update),
                self.translate(1),
            ],
        ]
        .concat();
        batch.add_commented_rule(
            &self.table,
            chain,
            &known,
            "as in @affinity, if still in @members",
        );
        // The data of a deletion is not looked at, but must be there.
        let mut forget = client.clone();
        forget.extend((0..words + 3).map(|word| copy_word(POOL, word)));
        forget.push(remember(DynsetOp::Delete));
        batch.add_commented_rule(&self.table, chain, &forget, "out of @affinity");
        let new = [
            self.load_pool(class.source).as_slice(),
            &[
                numgen(class.count),
                lookup(ENDPOINTS, POOL, Some(1), false),
                copy_word(POOL, words + 2),
                copy_word(POOL, 0),
                self.source(Register::word(BESIDE)),
                remember(DynsetOp::Add),
                self.translate(1),
            ],
        ]
        .concat();
        batch.add_commented_rule(&self.table, chain, &new, "as below, into @affinity");
    }

    // Steps.

    fn source(&self, to: Register) -> Expr {
        Expr::source_address(self.ipv4, to)
    }

    /// The packet's frontend, or the connection's first one, in words 0 on.
    fn load_frontend(&self, original: bool) -> Vec<Expr> {
        let address = match original {
            true => self.original_address(),
            false => Expr::destination_address(self.ipv4, Register::word(0)),
        };
        let mut steps = vec![address];
        steps.extend(load_port_at(self.words(), original));
        steps
    }

    /// The packet's protocol and port, or the connection's first ones, in words 0 and 1.
    #[expect(clippy::unused_self, reason = "beside load_frontend")]
    fn load_port(&self, original: bool) -> Vec<Expr> {
        load_port_at(0, original).to_vec()
    }

    fn original_address(&self) -> Expr {
        Expr::Ct {
            key: match self.ipv4 {
                true => CtKey::DestinationIp,
                false => CtKey::DestinationIp6,
            },
            to: Register::word(0),
            original: Some(true),
        }
    }

    fn load_pool(&self, source: Source) -> Vec<Expr> {
        let mut steps = match source {
            Source::ServiceIps | Source::InsideIps => self.load_frontend(false),
            Source::NodePorts | Source::InsidePorts => self.load_port(false),
        };
        steps.push(lookup(source_map(source), 0, Some(VALUE), false));
        steps
    }

    /// To the address and port in words `at` on.
    fn translate(&self, at: u32) -> Expr {
        Expr::Nat {
            kind: NatKind::Destination,
            family: if self.ipv4 { 2 } else { 10 },
            address: Some(Register::word(at)),
            address_max: None,
            port: Some(Register::word(at + self.words())),
            port_max: None,
            flags: 0,
        }
    }

    /// A node port on loopback would need the kernel to route loopback addresses.
    fn not_loopback(&self) -> Vec<Expr> {
        match self.ipv4 {
            true => Expr::in_prefix(false, Ipv4Addr::new(127, 0, 0, 0).into(), 8, CmpOp::Neq),
            false => Expr::in_prefix(false, Ipv6Addr::LOCALHOST.into(), 128, CmpOp::Neq),
        }
    }
}

fn load_port_at(at: u32, original: bool) -> [Expr; 2] {
    let protocol = Expr::Meta {
        key: MetaKey::L4Proto,
        to: Register::word(at),
    };
    let to = Register::word(at + 1);
    let port = match original {
        true => Expr::Ct {
            key: CtKey::DestinationPort,
            to,
            original: Some(true),
        },
        false => Expr::Payload {
            base: PayloadBase::Transport,
            offset: 2,
            length: 2,
            to,
        },
    };
    [protocol, port]
}

fn lookup(set: &str, key: u32, to: Option<u32>, invert: bool) -> Expr {
    Expr::Lookup {
        set: set.to_owned(),
        key: Register::word(key),
        to: to.map(Register::word),
        invert,
    }
}

fn lookup_verdict(set: &str, key: u32) -> Expr {
    Expr::Lookup {
        set: set.to_owned(),
        key: Register::word(key),
        to: Some(Register::VERDICT),
        invert: false,
    }
}

fn numgen(count: u32) -> Expr {
    Expr::Numgen {
        to: Register::word(BESIDE),
        modulus: count.max(1),
        random: true,
        offset: 0,
    }
}

fn number_zero() -> Expr {
    Expr::Immediate {
        to: Register::word(BESIDE),
        data: Data::host32(0),
    }
}

fn copy_word(from: u32, to: u32) -> Expr {
    Expr::Bitwise {
        from: Register::word(from),
        to: Register::word(to),
        mask: vec![0xff; 4],
        xor: vec![0; 4],
    }
}

fn fib_is_local(flags: FibFlags) -> [Expr; 2] {
    let to = Register::R1;
    [
        Expr::Fib {
            to,
            result: FibResult::AddressType,
            flags,
        },
        Expr::Cmp {
            register: to,
            op: CmpOp::Eq,
            data: Data::host32(expr::ADDRESS_TYPE_LOCAL),
        },
    ]
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn frontend_key(frontend: &Frontend) -> Vec<u8> {
    Element::concat(&[
        &octets(frontend.address),
        &[frontend.protocol.number()],
        &frontend.port.to_be_bytes(),
    ])
}

fn port_key(protocol: Protocol, port: u16) -> Vec<u8> {
    Element::concat(&[&[protocol.number()], &port.to_be_bytes()])
}
