//! Expressions of rules: what a rule loads into registers, compares and does.
//!
//! A rule is a straight program. Example, `tcp dport 80 accept`: `Meta{L4PROTO → R1}`,
//! `Cmp{R1 == 6}`, `Payload{transport+2, 2 bytes → R1}`, `Cmp{R1 == 0050}`, `Immediate accept`.
//! Registers are four of 16 bytes or sixteen of 4: a concatenated key is loaded into consecutive
//! 4-byte words. Source: Linux UAPI `linux/netfilter/nf_tables.h`, `enum nft_*_attributes`.

use std::net::IpAddr;

use crate::wire::Message;

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;

/// A register number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Register(pub u32);

impl Register {
    /// Where verdicts go.
    pub const VERDICT: Self = Self(0);
    /// First 16 bytes; the same storage as words 0 to 3.
    pub const R1: Self = Self(1);
    /// Second 16 bytes; words 4 to 7.
    pub const R2: Self = Self(2);
    /// Third 16 bytes; words 8 to 11.
    pub const R3: Self = Self(3);
    /// Fourth 16 bytes; words 12 to 15.
    pub const R4: Self = Self(4);

    /// The 4-byte word `n`, 0 to 15.
    #[must_use]
    pub const fn word(n: u32) -> Self {
        Self(8 + n)
    }
}

/// What happens to a packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// This hook is done with it.
    Accept,
    /// Gone.
    Drop,
    /// On with the next rule.
    Continue,
    /// Back to the calling chain.
    Return,
    /// On in a chain, without coming back.
    Goto(String),
    /// On in a chain, and back after it.
    Jump(String),
}

impl Verdict {
    fn encode(&self, m: &mut Message) {
        let (code, chain) = match self {
            Self::Drop => (0_i32, None),
            Self::Accept => (1, None),
            Self::Continue => (-1, None),
            Self::Jump(chain) => (-3, Some(chain)),
            Self::Goto(chain) => (-4, Some(chain)),
            Self::Return => (-5, None),
        };
        m.nest(NFTA_DATA_VERDICT, |m| {
            m.attr(NFTA_VERDICT_CODE, &code.to_be_bytes());
            if let Some(chain) = chain {
                m.attr_str(NFTA_VERDICT_CHAIN, chain);
            }
        });
    }
}

/// A constant: bytes as they stand in the packet, or a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Data {
    /// Bytes in network order (host order for meta and ct integers such as marks).
    Value(Vec<u8>),
    /// A verdict, for immediates and verdict maps.
    Verdict(Verdict),
}

impl Data {
    /// The octets of an address.
    #[must_use]
    pub fn address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::Value(v4.octets().to_vec()),
            IpAddr::V6(v6) => Self::Value(v6.octets().to_vec()),
        }
    }

    /// A port or another 16-bit value in network order.
    #[must_use]
    pub fn be16(value: u16) -> Self {
        Self::Value(value.to_be_bytes().to_vec())
    }

    /// A mark or another 32-bit value in host order.
    #[must_use]
    pub fn host32(value: u32) -> Self {
        Self::Value(value.to_ne_bytes().to_vec())
    }

    /// An interface name, padded to the 16 bytes that the kernel compares.
    #[must_use]
    pub fn interface(name: &str) -> Self {
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(16, 0);
        Self::Value(bytes)
    }

    /// The beginning of an interface name: `Cmp` compares only these bytes.
    #[must_use]
    pub fn interface_prefix(prefix: &str) -> Self {
        Self::Value(prefix.as_bytes().to_vec())
    }

    pub(crate) fn encode(&self, kind: u16, m: &mut Message) {
        m.nest(kind, |m| match self {
            Self::Value(bytes) => m.attr(NFTA_DATA_VALUE, bytes),
            Self::Verdict(verdict) => verdict.encode(m),
        });
    }
}

/// Packet metadata (`enum nft_meta_keys`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as in nft(8), section meta expressions")]
pub enum MetaKey {
    Length,
    Protocol,
    Mark,
    InputIndex,
    OutputIndex,
    InputName,
    OutputName,
    PacketType,
    NfProto,
    L4Proto,
    Cgroup,
}

impl MetaKey {
    fn number(self) -> u32 {
        match self {
            Self::Length => 0,
            Self::Protocol => 1,
            Self::Mark => 3,
            Self::InputIndex => 4,
            Self::OutputIndex => 5,
            Self::InputName => 6,
            Self::OutputName => 7,
            Self::NfProto => 15,
            Self::L4Proto => 16,
            Self::PacketType => 19,
            Self::Cgroup => 23,
        }
    }
}

/// Where a payload offset counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of the headers")]
pub enum PayloadBase {
    Link,
    Network,
    Transport,
}

impl PayloadBase {
    fn number(self) -> u32 {
        match self {
            Self::Link => 0,
            Self::Network => 1,
            Self::Transport => 2,
        }
    }
}

/// Comparisons (`enum nft_cmp_ops`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the usual six")]
pub enum CmpOp {
    Eq,
    Neq,
    Lt,
    Lte,
    Gt,
    Gte,
}

/// Connection-tracking keys (`enum nft_ct_keys`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as in nft(8), section ct expressions")]
pub enum CtKey {
    State,
    Direction,
    Status,
    Mark,
    L3Protocol,
    Source,
    Destination,
    Protocol,
    SourcePort,
    DestinationPort,
    Zone,
    SourceIp,
    DestinationIp,
    SourceIp6,
    DestinationIp6,
}

impl CtKey {
    /// `ct status` bit: the destination was translated.
    pub const STATUS_DNAT: u32 = 1 << 5;
    /// `ct state` bits.
    pub const INVALID: u32 = 1;
    /// `ct state` bits.
    pub const ESTABLISHED: u32 = 2;
    /// `ct state` bits.
    pub const RELATED: u32 = 4;
    /// `ct state` bits.
    pub const NEW: u32 = 8;

    fn number(self) -> u32 {
        match self {
            Self::State => 0,
            Self::Direction => 1,
            Self::Status => 2,
            Self::Mark => 3,
            Self::L3Protocol => 7,
            Self::Source => 8,
            Self::Destination => 9,
            Self::Protocol => 10,
            Self::SourcePort => 11,
            Self::DestinationPort => 12,
            Self::Zone => 17,
            Self::SourceIp => 19,
            Self::DestinationIp => 20,
            Self::SourceIp6 => 21,
            Self::DestinationIp6 => 22,
        }
    }
}

/// Which address a NAT rewrites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the usual two")]
pub enum NatKind {
    Source,
    Destination,
}

/// What a routing lookup returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as in nft(8), section fib expressions")]
pub enum FibResult {
    OutputIndex,
    OutputName,
    AddressType,
}

/// What a routing lookup looks at (`enum nft_fib_flags`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FibFlags(pub u32);

impl FibFlags {
    /// The source address.
    pub const SOURCE: Self = Self(1);
    /// The destination address.
    pub const DESTINATION: Self = Self(2);
    /// The packet's mark.
    pub const MARK: Self = Self(4);
    /// The incoming link.
    pub const INPUT: Self = Self(8);
    /// The outgoing link.
    pub const OUTPUT: Self = Self(16);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// `fib … type local` compares with this (`RTN_LOCAL`, host order).
pub const ADDRESS_TYPE_LOCAL: u32 = 2;

/// How a packet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectKind {
    /// The ICMP code of the table's family, in a table of one family: port unreachable is 3 in
    /// IPv4 and 4 in IPv6.
    Icmp(u8),
    /// ICMP of the packet's own family, in an inet or bridge table (`enum
    /// nft_reject_inet_code`): 0 no route, 1 port
    /// unreachable, 2 host unreachable, 3 administratively prohibited.
    IcmpX(u8),
    /// A TCP reset.
    TcpReset,
}

/// NAT flags (`NF_NAT_RANGE_*`).
pub mod nat_flags {
    /// Choose the port at random.
    pub const RANDOM: u32 = 1 << 2;
    /// The same address for the same client.
    pub const PERSISTENT: u32 = 1 << 3;
    /// Choose the port at random, with a strong generator.
    pub const FULLY_RANDOM: u32 = 1 << 4;
}

/// What `Expr::Dynset` does (`enum nft_dynset_ops`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DynsetOp {
    /// Adds; one that is there keeps its lifetime.
    Add,
    /// Adds; one that is there starts its lifetime again.
    Update,
    /// Deletes.
    Delete,
}

/// One step of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "fields are named as in nft(8); the variants are documented"
)]
pub enum Expr {
    /// Loads metadata.
    Meta { key: MetaKey, to: Register },
    /// Writes metadata, e.g. the mark.
    MetaSet { key: MetaKey, from: Register },
    /// Loads bytes of the packet.
    Payload {
        base: PayloadBase,
        offset: u32,
        length: u32,
        to: Register,
    },
    /// Loads connection-tracking state; `original` picks a direction for tuple keys.
    Ct {
        key: CtKey,
        to: Register,
        original: Option<bool>,
    },
    /// Writes connection-tracking state, e.g. the mark.
    CtSet { key: CtKey, from: Register },
    /// Ends the rule unless the comparison holds.
    Cmp {
        register: Register,
        op: CmpOp,
        data: Data,
    },
    /// Ends the rule unless `from <= register <= to` (or inside, when inverted).
    Range {
        register: Register,
        invert: bool,
        from: Data,
        to: Data,
    },
    /// `to = (from & mask) ^ xor`.
    Bitwise {
        from: Register,
        to: Register,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    /// Loads a constant; `Register::VERDICT` with a verdict ends the rule with it.
    Immediate { to: Register, data: Data },
    /// Looks a key up: ends the rule if absent; a map's value goes to `to`.
    Lookup {
        set: String,
        key: Register,
        to: Option<Register>,
        invert: bool,
    },
    /// Adds, refreshes or deletes an element from the packet path. A full set ends the rule. Data
    /// of an element that is there stays as it was.
    Dynset {
        set: String,
        op: DynsetOp,
        key: Register,
        data: Option<Register>,
        timeout_ms: u64,
    },
    /// Rewrites source or destination. `family` is 2 for IPv4 and 10 for IPv6.
    Nat {
        kind: NatKind,
        family: u8,
        address: Option<Register>,
        address_max: Option<Register>,
        port: Option<Register>,
        port_max: Option<Register>,
        flags: u32,
    },
    /// Rewrites the source to the outgoing link's address.
    Masquerade { flags: u32 },
    /// Redirects to this host.
    Redirect { port: Option<Register> },
    /// A routing lookup.
    Fib {
        to: Register,
        result: FibResult,
        flags: FibFlags,
    },
    /// A number from 0 to `modulus - 1`, plus `offset`: random, or in turn.
    Numgen {
        to: Register,
        modulus: u32,
        random: bool,
        offset: u32,
    },
    /// A hash of `length` bytes modulo `modulus`.
    Jhash {
        from: Register,
        length: u32,
        to: Register,
        modulus: u32,
        seed: u32,
        offset: u32,
    },
    /// Counts packets and bytes.
    Counter,
    /// Refuses with an answer.
    Reject(RejectKind),
    /// Ends the rule when over (or, when inverted, under) the rate of packets.
    Limit {
        rate: u64,
        per_seconds: u64,
        burst: u32,
        invert: bool,
    },
    /// Leaves the packet out of connection tracking.
    Notrack,
}

impl Expr {
    /// Ends the rule with a verdict.
    #[must_use]
    pub fn verdict(verdict: Verdict) -> Self {
        Self::Immediate {
            to: Register::VERDICT,
            data: Data::Verdict(verdict),
        }
    }

    /// Matches the incoming or outgoing link by name.
    #[must_use]
    pub fn interface(key: MetaKey, name: &str, op: CmpOp) -> [Self; 2] {
        let to = Register::R1;
        [
            Self::Meta { key, to },
            Self::Cmp {
                register: to,
                op,
                data: Data::interface(name),
            },
        ]
    }

    /// Matches the family of the packet in an inet table: 2 IPv4, 10 IPv6.
    #[must_use]
    pub fn nf_proto(family: u8) -> [Self; 2] {
        let to = Register::R1;
        let data = Data::Value(vec![family]);
        [
            Self::Meta {
                key: MetaKey::NfProto,
                to,
            },
            Self::Cmp {
                register: to,
                op: CmpOp::Eq,
                data,
            },
        ]
    }

    /// Matches the layer 4 protocol: 6 TCP, 17 UDP, 132 SCTP.
    #[must_use]
    pub fn l4_proto(protocol: u8) -> [Self; 2] {
        let to = Register::R1;
        let data = Data::Value(vec![protocol]);
        [
            Self::Meta {
                key: MetaKey::L4Proto,
                to,
            },
            Self::Cmp {
                register: to,
                op: CmpOp::Eq,
                data,
            },
        ]
    }

    /// Loads the source address of a packet of `family`.
    #[must_use]
    pub fn source_address(ipv4: bool, to: Register) -> Self {
        let (offset, length) = if ipv4 { (12, 4) } else { (8, 16) };
        Self::Payload {
            base: PayloadBase::Network,
            offset,
            length,
            to,
        }
    }

    /// Loads the destination address of a packet of `family`.
    #[must_use]
    pub fn destination_address(ipv4: bool, to: Register) -> Self {
        let (offset, length) = if ipv4 { (16, 4) } else { (24, 16) };
        Self::Payload {
            base: PayloadBase::Network,
            offset,
            length,
            to,
        }
    }

    /// Loads the destination port.
    #[must_use]
    pub fn destination_port(to: Register) -> Self {
        Self::Payload {
            base: PayloadBase::Transport,
            offset: 2,
            length: 2,
            to,
        }
    }

    /// Loads the source port.
    #[must_use]
    pub fn source_port(to: Register) -> Self {
        Self::Payload {
            base: PayloadBase::Transport,
            offset: 0,
            length: 2,
            to,
        }
    }

    /// Matches an address against a prefix; `source` picks the side.
    #[must_use]
    pub fn in_prefix(source: bool, address: IpAddr, length: u8, op: CmpOp) -> Vec<Self> {
        let ipv4 = address.is_ipv4();
        let to = Register::R1;
        let load = if source {
            Self::source_address(ipv4, to)
        } else {
            Self::destination_address(ipv4, to)
        };
        let mut octets = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let mask = prefix_mask(octets.len(), length);
        let full = usize::from(length) == octets.len() * 8;
        for (octet, mask) in octets.iter_mut().zip(&mask) {
            *octet &= mask;
        }
        let mut steps = vec![load];
        if !full {
            let xor = vec![0; mask.len()];
            steps.push(Self::Bitwise {
                from: to,
                to,
                mask,
                xor,
            });
        }
        steps.push(Self::Cmp {
            register: to,
            op,
            data: Data::Value(octets),
        });
        steps
    }

    /// Matches connection states, e.g. `CtKey::ESTABLISHED | CtKey::RELATED`.
    #[must_use]
    pub fn ct_state(states: u32) -> [Self; 3] {
        let to = Register::R1;
        let (mask, xor) = (states.to_ne_bytes().to_vec(), vec![0; 4]);
        [
            Self::Ct {
                key: CtKey::State,
                to,
                original: None,
            },
            Self::Bitwise {
                from: to,
                to,
                mask,
                xor,
            },
            Self::Cmp {
                register: to,
                op: CmpOp::Neq,
                data: Data::Value(vec![0; 4]),
            },
        ]
    }

    pub(crate) fn encode_list(list: &[Self], kind: u16, m: &mut Message) {
        m.nest(kind, |m| {
            for step in list {
                step.encode(m);
            }
        });
    }

    fn encode(&self, m: &mut Message) {
        m.nest(NFTA_LIST_ELEM, |m| {
            m.attr_str(NFTA_EXPR_NAME, self.name());
            m.nest(NFTA_EXPR_DATA, |m| self.encode_data(m));
        });
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Meta { .. } | Self::MetaSet { .. } => "meta",
            Self::Payload { .. } => "payload",
            Self::Ct { .. } | Self::CtSet { .. } => "ct",
            Self::Cmp { .. } => "cmp",
            Self::Range { .. } => "range",
            Self::Bitwise { .. } => "bitwise",
            Self::Immediate { .. } => "immediate",
            Self::Lookup { .. } => "lookup",
            Self::Dynset { .. } => "dynset",
            Self::Nat { .. } => "nat",
            Self::Masquerade { .. } => "masq",
            Self::Redirect { .. } => "redir",
            Self::Fib { .. } => "fib",
            Self::Numgen { .. } => "numgen",
            Self::Jhash { .. } => "hash",
            Self::Counter => "counter",
            Self::Reject(_) => "reject",
            Self::Limit { .. } => "limit",
            Self::Notrack => "notrack",
        }
    }

    /// The attributes of each expression, numbered as in its `enum nft_*_attributes`.
    fn encode_data(&self, m: &mut Message) {
        match self {
            Self::Meta { key, to } => {
                m.attr_be32(2, key.number());
                m.attr_be32(1, to.0);
            }
            Self::MetaSet { key, from } => {
                m.attr_be32(2, key.number());
                m.attr_be32(3, from.0);
            }
            Self::Payload {
                base,
                offset,
                length,
                to,
            } => {
                m.attr_be32(1, to.0);
                m.attr_be32(2, base.number());
                m.attr_be32(3, *offset);
                m.attr_be32(4, *length);
            }
            Self::Ct { key, to, original } => {
                m.attr_be32(2, key.number());
                m.attr_be32(1, to.0);
                if let Some(original) = original {
                    m.attr_u8(3, u8::from(!original));
                }
            }
            Self::CtSet { key, from } => {
                m.attr_be32(2, key.number());
                m.attr_be32(4, from.0);
            }
            Self::Cmp { register, op, data } => {
                m.attr_be32(1, register.0);
                m.attr_be32(2, *op as u32);
                data.encode(3, m);
            }
            Self::Range {
                register,
                invert,
                from,
                to,
            } => {
                m.attr_be32(1, register.0);
                m.attr_be32(2, u32::from(*invert));
                from.encode(3, m);
                to.encode(4, m);
            }
            Self::Bitwise {
                from,
                to,
                mask,
                xor,
            } => {
                m.attr_be32(1, from.0);
                m.attr_be32(2, to.0);
                m.attr_be32(3, u32::try_from(mask.len()).unwrap_or(0));
                Data::Value(mask.clone()).encode(4, m);
                Data::Value(xor.clone()).encode(5, m);
            }
            Self::Immediate { to, data } => {
                m.attr_be32(1, to.0);
                data.encode(2, m);
            }
            Self::Lookup {
                set,
                key,
                to,
                invert,
            } => {
                m.attr_str(1, set);
                m.attr_be32(2, key.0);
                if let Some(to) = to {
                    m.attr_be32(3, to.0);
                }
                if *invert {
                    m.attr_be32(5, 1);
                }
            }
            Self::Dynset {
                set,
                op,
                key,
                data,
                timeout_ms,
            } => {
                m.attr_str(1, set);
                m.attr_be32(3, *op as u32);
                m.attr_be32(4, key.0);
                if let Some(data) = data {
                    m.attr_be32(5, data.0);
                }
                if *timeout_ms > 0 {
                    m.attr_be64(6, *timeout_ms);
                }
            }
            Self::Nat {
                kind,
                family,
                address,
                address_max,
                port,
                port_max,
                flags,
            } => {
                m.attr_be32(1, u32::from(*kind == NatKind::Destination));
                m.attr_be32(2, (*family).into());
                for (number, register) in [(3, address), (4, address_max), (5, port), (6, port_max)]
                {
                    if let Some(register) = register {
                        m.attr_be32(number, register.0);
                    }
                }
                if *flags > 0 {
                    m.attr_be32(7, *flags);
                }
            }
            Self::Masquerade { flags } => {
                if *flags > 0 {
                    m.attr_be32(1, *flags);
                }
            }
            Self::Redirect { port } => {
                if let Some(port) = port {
                    m.attr_be32(1, port.0);
                }
            }
            Self::Fib { to, result, flags } => {
                m.attr_be32(1, to.0);
                m.attr_be32(2, *result as u32 + 1);
                m.attr_be32(3, flags.0);
            }
            Self::Numgen {
                to,
                modulus,
                random,
                offset,
            } => {
                m.attr_be32(1, to.0);
                m.attr_be32(2, *modulus);
                m.attr_be32(3, u32::from(*random));
                m.attr_be32(4, *offset);
            }
            Self::Jhash {
                from,
                length,
                to,
                modulus,
                seed,
                offset,
            } => {
                m.attr_be32(1, from.0);
                m.attr_be32(2, to.0);
                m.attr_be32(3, *length);
                m.attr_be32(4, *modulus);
                m.attr_be32(5, *seed);
                m.attr_be32(6, *offset);
                m.attr_be32(7, 0);
            }
            Self::Counter => {
                m.attr_be64(1, 0);
                m.attr_be64(2, 0);
            }
            Self::Reject(kind) => {
                let (kind, code) = match kind {
                    RejectKind::Icmp(code) => (0, *code),
                    RejectKind::TcpReset => (1, 0),
                    RejectKind::IcmpX(code) => (2, *code),
                };
                m.attr_be32(1, kind);
                m.attr_u8(2, code);
            }
            Self::Limit {
                rate,
                per_seconds,
                burst,
                invert,
            } => {
                m.attr_be64(1, *rate);
                m.attr_be64(2, *per_seconds);
                m.attr_be32(3, *burst);
                m.attr_be32(4, 0);
                m.attr_be32(5, u32::from(*invert));
            }
            Self::Notrack => {}
        }
    }
}

/// `length` leading ones in `octets` octets.
fn prefix_mask(octets: usize, length: u8) -> Vec<u8> {
    let mut left = usize::from(length);
    (0..octets)
        .map(|_| {
            let bits = left.min(8);
            left -= bits;
            u8::try_from(0xff00_u16 >> bits & 0xff).unwrap_or(0xff)
        })
        .collect()
}
