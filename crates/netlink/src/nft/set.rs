//! Sets, maps and verdict maps, and the encoding of their elements.
//!
//! A key is one field or a concatenation; each field takes whole 4-byte words. Interval sets of
//! one field hold half-open ranges as two elements (start, end flag); concatenated interval sets
//! hold closed ranges in one. Example: `10.0.0.0/24` in a one-field interval set becomes the
//! elements `10.0.0.0` and `10.0.1.0 end`.
//! Source: Linux UAPI `nf_tables.h` (`enum nft_set_*`), nft's `datatype.h` for the type numbers.

use crate::nft::{Data, Table};
use crate::wire::Message;

pub(crate) const NFT_SET_INTERVAL: u32 = 0x4;
pub(crate) const NFT_SET_MAP: u32 = 0x8;
pub(crate) const NFT_SET_TIMEOUT: u32 = 0x10;
pub(crate) const NFT_SET_EVAL: u32 = 0x20;
pub(crate) const NFT_SET_CONCAT: u32 = 0x80;
const NFT_DATA_VERDICT: u32 = 0xffff_ff00;
const NFT_SET_ELEM_INTERVAL_END: u32 = 1;

/// A field of a key or of a map's value, as nft(8) names its types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as in nft(8), section data types")]
pub enum Field {
    NfProto,
    Ipv4,
    Ipv6,
    Ethernet,
    Protocol,
    Port,
    Mark,
    InterfaceIndex,
    InterfaceName,
}

impl Field {
    fn type_number(self) -> u32 {
        match self {
            Self::NfProto => 2,
            Self::Ipv4 => 7,
            Self::Ipv6 => 8,
            Self::Ethernet => 9,
            Self::Protocol => 12,
            Self::Port => 13,
            Self::Mark => 19,
            Self::InterfaceIndex => 20,
            Self::InterfaceName => 41,
        }
    }

    /// Bytes of the value without padding.
    #[must_use]
    pub fn length(self) -> u32 {
        match self {
            Self::NfProto | Self::Protocol => 1,
            Self::Port => 2,
            Self::Ipv4 | Self::Mark | Self::InterfaceIndex => 4,
            Self::Ethernet => 6,
            Self::Ipv6 | Self::InterfaceName => 16,
        }
    }

    /// Bytes of the value in a concatenation: whole words.
    #[must_use]
    pub fn padded(self) -> u32 {
        self.length().next_multiple_of(4)
    }
}

/// What a set maps its keys to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetData {
    /// A plain set.
    Nothing,
    /// A verdict map.
    Verdict,
    /// A map to a value of these fields.
    Value(Vec<Field>),
}

/// A named set, map or verdict map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// The table it lives in.
    pub table: Table,
    /// Its name.
    pub name: String,
    /// The fields of its key.
    pub key: Vec<Field>,
    /// What keys map to.
    pub data: SetData,
    /// Holds ranges.
    pub interval: bool,
    /// The packet path may add elements (`Expr::Dynset`).
    pub dynamic: bool,
    /// Elements expire after this many milliseconds; 0 means never.
    pub timeout_ms: u64,
    /// Upper bound of elements; 0 means none. Needed for dynamic sets.
    pub size: u32,
}

impl Set {
    /// A plain set of single values.
    #[must_use]
    pub fn new(table: &Table, name: impl Into<String>, key: &[Field]) -> Self {
        Self {
            table: table.clone(),
            name: name.into(),
            key: key.to_vec(),
            data: SetData::Nothing,
            interval: false,
            dynamic: false,
            timeout_ms: 0,
            size: 0,
        }
    }

    /// A verdict map.
    #[must_use]
    pub fn verdict_map(table: &Table, name: impl Into<String>, key: &[Field]) -> Self {
        Self {
            data: SetData::Verdict,
            ..Self::new(table, name, key)
        }
    }

    /// A map to values.
    #[must_use]
    pub fn map(table: &Table, name: impl Into<String>, key: &[Field], value: &[Field]) -> Self {
        Self {
            data: SetData::Value(value.to_vec()),
            ..Self::new(table, name, key)
        }
    }

    /// The same with ranges allowed.
    #[must_use]
    pub fn with_intervals(mut self) -> Self {
        self.interval = true;
        self
    }

    pub(crate) fn encode(&self, m: &mut Message, id: u32) {
        let concatenated = self.key.len() > 1;
        let mut flags = 0;
        for (set, flag) in [
            (self.interval, NFT_SET_INTERVAL),
            (self.data != SetData::Nothing, NFT_SET_MAP),
            (self.timeout_ms > 0, NFT_SET_TIMEOUT),
            (self.dynamic, NFT_SET_EVAL),
            (concatenated, NFT_SET_CONCAT),
        ] {
            flags |= if set { flag } else { 0 };
        }
        m.attr_str(1, &self.table.name);
        m.attr_str(2, &self.name);
        m.attr_be32(3, flags);
        m.attr_be32(4, type_of(&self.key));
        m.attr_be32(5, length_of(&self.key));
        match &self.data {
            SetData::Nothing => {}
            SetData::Verdict => {
                m.attr_be32(6, NFT_DATA_VERDICT);
                m.attr_be32(7, 0);
            }
            SetData::Value(fields) => {
                m.attr_be32(6, type_of(fields));
                m.attr_be32(7, length_of(fields));
            }
        }
        m.attr_be32(10, id);
        if self.size > 0 || concatenated {
            m.nest(9, |m| {
                if self.size > 0 {
                    m.attr_be32(1, self.size);
                }
                if concatenated {
                    m.nest(2, |m| {
                        for field in &self.key {
                            m.nest(1, |m| m.attr_be32(1, field.length()));
                        }
                    });
                }
            });
        }
        if self.timeout_ms > 0 {
            m.attr_be64(11, self.timeout_ms);
        }
    }
}

fn type_of(fields: &[Field]) -> u32 {
    fields
        .iter()
        .fold(0, |all, field| all << 6 | field.type_number())
}

fn length_of(fields: &[Field]) -> u32 {
    match fields {
        [one] => one.length(),
        many => many.iter().map(|field| field.padded()).sum(),
    }
}

/// One element of a set or map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The key, or the first key of a range.
    pub key: Vec<u8>,
    /// The last key of a range, inclusive.
    pub key_end: Option<Vec<u8>>,
    /// The value of a map.
    pub data: Option<Data>,
    /// A lifetime of its own, in milliseconds; 0 means the set's.
    pub timeout_ms: u64,
}

impl Element {
    /// A single value.
    #[must_use]
    pub fn new(key: Vec<u8>) -> Self {
        Self {
            key,
            key_end: None,
            data: None,
            timeout_ms: 0,
        }
    }

    /// A closed range.
    #[must_use]
    pub fn range(from: Vec<u8>, to: Vec<u8>) -> Self {
        Self {
            key_end: Some(to),
            ..Self::new(from)
        }
    }

    /// All addresses of a prefix, in a one-field interval set.
    #[must_use]
    pub fn prefix(address: std::net::IpAddr, length: u8) -> Self {
        let octets = match address {
            std::net::IpAddr::V4(v4) => v4.octets().to_vec(),
            std::net::IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        let (mut first, mut last) = (octets.clone(), octets);
        for bit in usize::from(length)..first.len() * 8 {
            first[bit / 8] &= !(0x80 >> (bit % 8));
            last[bit / 8] |= 0x80 >> (bit % 8);
        }
        Self::range(first, last)
    }

    /// The same as a map's entry.
    #[must_use]
    pub fn to(mut self, data: Data) -> Self {
        self.data = Some(data);
        self
    }

    /// Joins the fields of a concatenated key, each padded to whole words.
    #[must_use]
    pub fn concat(fields: &[&[u8]]) -> Vec<u8> {
        let mut key = Vec::with_capacity(fields.len() * 4);
        for field in fields {
            key.extend_from_slice(field);
            key.resize(key.len().next_multiple_of(4), 0);
        }
        key
    }

    /// The kernel elements of this element: two for a range in a one-field set.
    pub(crate) fn encode(&self, set: &Set, m: &mut Message) {
        let halves = set.interval && set.key.len() == 1;
        self.encode_one(&self.key, 0, self.key_end.as_deref().filter(|_| !halves), m);
        if halves {
            let mut end = self.key_end.clone().unwrap_or_else(|| self.key.clone());
            if increment(&mut end) {
                let end = Self::new(end);
                end.encode_one(&end.key, NFT_SET_ELEM_INTERVAL_END, None, m);
            }
        }
    }

    fn encode_one(&self, key: &[u8], flags: u32, key_end: Option<&[u8]>, m: &mut Message) {
        m.nest(1, |m| {
            if flags > 0 {
                m.attr_be32(3, flags);
            }
            Data::Value(key.to_vec()).encode(1, m);
            if let Some(end) = key_end {
                Data::Value(end.to_vec()).encode(10, m);
            }
            if let Some(data) = &self.data {
                data.encode(2, m);
            }
            if self.timeout_ms > 0 {
                m.attr_be64(4, self.timeout_ms);
            }
        });
    }

    /// Upper bound of this element's bytes on the wire.
    pub(crate) fn wire_size(&self) -> usize {
        let chain = match &self.data {
            Some(Data::Verdict(
                crate::nft::Verdict::Goto(chain) | crate::nft::Verdict::Jump(chain),
            )) => chain.len(),
            Some(Data::Value(value)) => value.len(),
            _ => 0,
        };
        160 + 2 * self.key.len() + self.key_end.as_ref().map_or(0, Vec::len) + chain
    }
}

/// Adds one to a big-endian number; false when it wrapped (a range to the very end has no end).
fn increment(number: &mut [u8]) -> bool {
    for octet in number.iter_mut().rev() {
        let (next, carry) = octet.overflowing_add(1);
        *octet = next;
        if !carry {
            return true;
        }
    }
    false
}
