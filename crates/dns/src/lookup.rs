//! One question as a pod asks it: search list, servers in turn, the reply in words.
//!
//! For images that hold nothing but this binary, and for people who ask why a name does not
//! resolve. Source: resolv.conf(5).

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use base::Rng;

use crate::corefile::{Forward, Policy, Upstream};
use crate::forward::{ForwardError, Forwarder, Question, Reply, SystemSockets};
use crate::message::{Record, expand, kind, rcode, readable, u16_at, wire};
use crate::resolv_conf;

/// Names tried for one question.
const SEARCH_LIMIT: usize = 32;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The text is no name.
    #[error("{0} is no name: a label has 1 to 63 bytes, a name at most 253")]
    Name(String),
    /// The text is no type.
    #[error("{0} is no record type: one of A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT")]
    Kind(String),
    /// Nobody answered.
    #[error("ask for {name}")]
    Silent {
        /// The name.
        name: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What came of a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// For people, a line each record.
    pub text: String,
    /// Whether there is a record.
    pub found: bool,
}

/// Asks as `resolv_conf` says, or the server given; the reply in lines, its last one the verdict.
/// An address is asked for its name.
pub async fn lookup(
    name: &str,
    kind: &str,
    resolv_conf: &str,
    server: Option<SocketAddr>,
) -> Result<Looked, LookupError> {
    let (name, kind) = match (name.parse::<IpAddr>(), kind) {
        (Ok(address), _) => (reverse(address), kind::PTR),
        (Err(_), kind) => (name.to_owned(), number(kind)?),
    };
    let to = match server {
        Some(server) => vec![server],
        None => resolv_conf::servers(resolv_conf),
    };
    let rule = Forward {
        from: Box::new([0]),
        except: Vec::new(),
        to: to.into_iter().map(Upstream::Address).collect(),
        policy: Policy::Sequential,
        max_concurrent: 1,
        max_fails: 0,
        force_tcp: false,
    };
    let sockets = Arc::new(SystemSockets);
    let forwarder = Forwarder::new(rule, "/etc/resolv.conf".as_ref(), sockets, Rng::from_os());
    let mut last = Looked::default();
    for candidate in resolv_conf::candidates(&name, resolv_conf)
        .into_iter()
        .take(SEARCH_LIMIT)
    {
        let wire = wire(&candidate).ok_or_else(|| LookupError::Name(candidate.clone()))?;
        let question = Question::plain(&wire, kind);
        let asked = forwarder.ask(&question, false).await;
        let reply = asked.map_err(|cause: ForwardError| LookupError::Silent {
            name: candidate.clone(),
            cause: Box::new(cause),
        })?;
        let found = !reply.records.answer.is_empty();
        last = Looked {
            text: describe(&candidate, &reply),
            found,
        };
        if found {
            break;
        }
    }
    Ok(last)
}

fn describe(name: &str, reply: &Reply) -> String {
    let mut text = String::new();
    for record in &reply.records.answer {
        let owner = expand(&reply.packet, record.owner).map_or_else(Vec::new, |(name, _)| name);
        let data = data(&reply.packet, record).unwrap_or_else(|| "?".to_owned());
        let _ = writeln!(
            text,
            "{} {} {} {data}",
            readable(&owner),
            record.ttl,
            word(record.kind)
        );
    }
    let code = u16_at(&reply.packet, 2).unwrap_or(0) & 0x0f;
    let verdict = match u8::try_from(code).unwrap_or(u8::MAX) {
        rcode::NO_ERROR if reply.records.answer.is_empty() => "no record of that type".to_owned(),
        rcode::NO_ERROR => return text,
        rcode::NAME_ERROR => "NXDOMAIN".to_owned(),
        rcode::SERVER_FAILURE => "SERVFAIL".to_owned(),
        rcode::REFUSED => "REFUSED".to_owned(),
        code => format!("response code {code}"),
    };
    let _ = writeln!(text, "{}. {verdict}", name.trim_end_matches('.'));
    text
}

fn data(packet: &[u8], record: &Record) -> Option<String> {
    let bytes = packet.get(record.data..record.end)?;
    let name = |at: usize| expand(packet, at).map(|(name, _)| readable(&name));
    let number = |at: usize| u16_at(packet, record.data + at);
    Some(match record.kind {
        kind::A => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).to_string(),
        kind::AAAA => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).to_string(),
        kind::NS | kind::CNAME | kind::PTR | kind::SOA => name(record.data)?,
        kind::MX => format!("{} {}", number(0)?, name(record.data + 2)?),
        kind::SRV => format!(
            "{} {} {} {}",
            number(0)?,
            number(2)?,
            number(4)?,
            name(record.data + 6)?
        ),
        kind::TXT => {
            let length = usize::from(*bytes.first()?);
            String::from_utf8_lossy(bytes.get(1..1 + length)?)
                .escape_debug()
                .to_string()
        }
        _ => format!("{} bytes", bytes.len()),
    })
}

const WORDS: [(&str, u16); 9] = [
    ("A", kind::A),
    ("AAAA", kind::AAAA),
    ("CNAME", kind::CNAME),
    ("MX", kind::MX),
    ("NS", kind::NS),
    ("PTR", kind::PTR),
    ("SOA", kind::SOA),
    ("SRV", kind::SRV),
    ("TXT", kind::TXT),
];

fn number(word: &str) -> Result<u16, LookupError> {
    let found = WORDS
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(word));
    found
        .map(|(_, kind)| *kind)
        .ok_or_else(|| LookupError::Kind(word.to_owned()))
}

fn word(kind: u16) -> String {
    let found = WORDS.iter().find(|(_, known)| *known == kind);
    found.map_or_else(|| format!("TYPE{kind}"), |(word, _)| (*word).to_owned())
}

/// `10.in-addr.arpa` of a whole address.
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            let mut text = String::new();
            for index in 0..32 {
                let _ = write!(text, "{:x}.", (bits >> (4 * index)) & 0xf);
            }
            text + "ip6.arpa."
        }
    }
}
