//! Kubernetes' libraries: quantities, addresses, URLs, versions, formats, the authorizer.
//!
//! Source: kubernetes apiserver v0.36.3 pkg/cel/library/{quantity,ip,cidr,urls,semverlib,format,
//! authz}.go.

use std::cmp::Ordering;
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;

use api::{Quantity, names};

use super::is_base64;
use crate::eval::{Access, Authorizer, Budget, EvalError, Evaluated, Verdict, text};
use crate::value::{Map, Value};

/// What one question to the authorizer costs, as upstream.
const CHECK: u64 = 350_000;

/// A value of a library.
#[derive(Clone)]
pub enum Opaque<'a> {
    /// `quantity('1Gi')`
    Quantity(Rc<Quantity>),
    /// `ip('::1')`
    Ip(IpAddr),
    /// `cidr('10.0.0.0/8')`
    Cidr(IpAddr, u8),
    /// `url('https://example.com')`
    Url(Rc<Url>),
    /// `semver('1.2.3')`
    Semver(Rc<Version>),
    /// `format.dns1123Label()`
    Format(&'static str),
    /// `authorizer`, and questions under construction.
    Ask(&'a dyn Authorizer, Rc<Access>, Stage),
    /// Its answer.
    Decision(Rc<Verdict>),
}

/// How far a question to the authorizer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// `authorizer`
    Start,
    /// `.path(p)`
    Path,
    /// `.group(g)`
    Group,
    /// `.resource(r)`
    Resource,
}

/// A version by semver.org.
#[derive(Debug, PartialEq, Eq)]
pub struct Version {
    core: [u64; 3],
    before: Vec<String>,
    build: String,
}

/// A URL in parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Url {
    text: String,
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl fmt::Debug for Opaque<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.type_name())
    }
}

impl<'a> Opaque<'a> {
    /// `authorizer`, for the request's user.
    pub(crate) fn authorizer(authorizer: &'a dyn Authorizer) -> Opaque<'a> {
        Opaque::Ask(authorizer, Rc::default(), Stage::Start)
    }

    /// `authorizer.requestResource`
    pub(crate) fn request(authorizer: &'a dyn Authorizer) -> Opaque<'a> {
        Opaque::Ask(authorizer, Rc::new(authorizer.request()), Stage::Resource)
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Opaque::Quantity(_) => "kubernetes.Quantity",
            Opaque::Ip(_) => "net.IP",
            Opaque::Cidr(..) => "net.CIDR",
            Opaque::Url(_) => "kubernetes.URL",
            Opaque::Semver(_) => "kubernetes.Semver",
            Opaque::Format(_) => "kubernetes.NamedFormat",
            Opaque::Ask(_, _, Stage::Start) => crate::AUTHORIZER,
            Opaque::Ask(_, _, Stage::Path) => "kubernetes.authorization.PathCheck",
            Opaque::Ask(_, _, Stage::Group) => "kubernetes.authorization.GroupCheck",
            Opaque::Ask(_, _, Stage::Resource) => crate::RESOURCE_CHECK,
            Opaque::Decision(_) => "kubernetes.authorization.Decision",
        }
    }

    pub(crate) fn text(&self) -> Option<String> {
        Some(match self {
            Opaque::Quantity(value) => value.to_string(),
            Opaque::Ip(value) => value.to_string(),
            Opaque::Cidr(value, length) => format!("{value}/{length}"),
            Opaque::Url(url) => url.text.clone(),
            Opaque::Semver(version) => version.to_string(),
            _ => return None,
        })
    }

    pub(crate) fn equal(&self, other: &Opaque<'_>) -> bool {
        match (self, other) {
            (Opaque::Quantity(a), Opaque::Quantity(b)) => a == b,
            (Opaque::Ip(a), Opaque::Ip(b)) => a == b,
            (Opaque::Cidr(a, x), Opaque::Cidr(b, y)) => a == b && x == y,
            (Opaque::Url(a), Opaque::Url(b)) => a.text == b.text,
            (Opaque::Semver(a), Opaque::Semver(b)) => a.order(b).is_eq(),
            (Opaque::Format(a), Opaque::Format(b)) => a == b,
            (Opaque::Decision(a), Opaque::Decision(b)) => a == b,
            _ => false,
        }
    }
}

/// Strict addresses only: no leading zeros, no IPv4 in IPv6, no zone.
fn ip(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    match address {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => None,
        address => Some(address),
    }
}

fn cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let address = ip(address)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let plain = length == "0" || !length.starts_with('0') && !length.starts_with('+');
    let length: u8 = length.parse().ok().filter(|_| plain)?;
    (length <= most).then_some((address, length))
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

fn within(range: (IpAddr, u8), address: IpAddr) -> bool {
    range.0.is_ipv4() == address.is_ipv4() && (bits(range.0) ^ bits(address)) & mask(range.1) == 0
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    let bits = bits(address) & mask(length);
    match address {
        IpAddr::V4(_) => IpAddr::V4(u32::try_from(bits >> 96).unwrap_or(0).into()),
        IpAddr::V6(_) => IpAddr::V6(bits.into()),
    }
}

impl Version {
    fn parse(text: &str, normalize: bool) -> Option<Version> {
        let text = match normalize {
            true => text.strip_prefix('v').unwrap_or(text),
            false => text,
        };
        let (rest, build) = text.split_once('+').unwrap_or((text, ""));
        if text.contains('+') && build.is_empty() {
            return None;
        }
        let (core, before) = rest.split_once('-').unwrap_or((rest, ""));
        let mut numbers: Vec<u64> = Vec::new();
        for part in core.split('.') {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            let plain = part.len() == 1 || !part.starts_with('0') || normalize;
            numbers.push(part.parse().ok().filter(|_| digits && plain)?);
        }
        while normalize && numbers.len() < 3 {
            numbers.push(0);
        }
        let good = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let mut parts = Vec::new();
        if rest.contains('-') {
            for part in before.split('.') {
                let number = part.bytes().all(|b| b.is_ascii_digit());
                if !good(part) || number && part.len() > 1 && part.starts_with('0') {
                    return None;
                }
                parts.push(part.to_owned());
            }
        }
        if !build.is_empty() && !build.split('.').all(good) {
            return None;
        }
        Some(Version {
            core: numbers.try_into().ok()?,
            before: parts,
            build: build.to_owned(),
        })
    }

    fn order(&self, other: &Version) -> Ordering {
        self.core.cmp(&other.core).then_with(|| {
            match (self.before.is_empty(), other.before.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => {
                    let parts = self.before.iter().zip(&other.before);
                    let decided = parts.map(|(a, b)| match (a.parse::<u64>(), b.parse::<u64>()) {
                        (Ok(a), Ok(b)) => a.cmp(&b),
                        (Ok(_), Err(_)) => Ordering::Less,
                        (Err(_), Ok(_)) => Ordering::Greater,
                        (Err(_), Err(_)) => a.cmp(b),
                    });
                    decided
                        .into_iter()
                        .find(|order| order.is_ne())
                        .unwrap_or(self.before.len().cmp(&other.before.len()))
                }
            }
        })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.core;
        write!(f, "{major}.{minor}.{patch}")?;
        if !self.before.is_empty() {
            write!(f, "-{}", self.before.join("."))?;
        }
        if !self.build.is_empty() {
            write!(f, "+{}", self.build)?;
        }
        Ok(())
    }
}

impl Url {
    /// Absolute URIs and absolute paths, as Go's `url.ParseRequestURI`.
    fn parse(text: &str) -> Option<Url> {
        if text.is_empty() || text.chars().any(|c| c.is_ascii_control() || c == ' ') {
            return None;
        }
        let (scheme, rest) = match text.split_once(':') {
            Some((scheme, rest))
                if scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                    && scheme
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) =>
            {
                (scheme.to_ascii_lowercase(), rest)
            }
            _ => (String::new(), text),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, path) = match rest.strip_prefix("//") {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                let host = authority
                    .rsplit_once('@')
                    .map_or(authority, |(_, host)| host);
                (host, path)
            }
            None => ("", rest),
        };
        if scheme.is_empty() && !text.starts_with('/') {
            return None;
        }
        let port = host
            .rsplit_once(':')
            .filter(|(_, port)| !port.ends_with(']'));
        if port.is_some_and(|(_, port)| !port.bytes().all(|b| b.is_ascii_digit())) {
            return None;
        }
        let mut escapes = rest.split('%').skip(1);
        let bad = |escape: &str| {
            let digits: Vec<u8> = escape.bytes().take(2).collect();
            digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit)
        };
        if escapes.any(bad) {
            return None;
        }
        Some(Url {
            text: text.to_owned(),
            scheme,
            host: host.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
        })
    }

    fn port(&self) -> Option<(&str, &str)> {
        let found = self.host.rsplit_once(':');
        found.filter(|(_, port)| !port.ends_with(']'))
    }
}

fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = (*byte == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (byte, hex) {
            (_, Some(value)) => {
                out.push(value);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (other, _) => out.push(*other),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

const FORMATS: [&str; 13] = [
    "dns1123Label",
    "dns1123Subdomain",
    "dns1035Label",
    "qualifiedName",
    "dns1123LabelPrefix",
    "dns1123SubdomainPrefix",
    "dns1035LabelPrefix",
    "labelValue",
    "uri",
    "uuid",
    "byte",
    "date",
    "datetime",
];

fn validate(format: &str, value: &str) -> Vec<String> {
    let unless = |good: bool, message: &str| {
        if good {
            Vec::new()
        } else {
            vec![message.to_owned()]
        }
    };
    match format {
        "dns1123Label" => names::name_is_label(value, false),
        "dns1123Subdomain" => names::name_is_subdomain(value, false),
        "dns1035Label" => names::name_is_dns1035_label(value, false),
        "qualifiedName" => names::qualified_name(value),
        "dns1123LabelPrefix" => names::name_is_label(value, true),
        "dns1123SubdomainPrefix" => names::name_is_subdomain(value, true),
        "dns1035LabelPrefix" => names::name_is_dns1035_label(value, true),
        "labelValue" => names::label_value(value),
        "uri" => unless(Url::parse(value).is_some(), "invalid URI format"),
        "uuid" => {
            let parts: Vec<usize> = value.split('-').map(str::len).collect();
            let hex = value.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
            let good = parts == [8, 4, 4, 4, 12] || parts == [32];
            unless(good && hex, "does not match the UUID format")
        }
        "byte" => unless(is_base64(value), "invalid base64"),
        "date" => unless(
            value.len() == 10 && value.parse::<jiff::civil::Date>().is_ok(),
            "invalid date",
        ),
        _ => unless(value.parse::<jiff::Timestamp>().is_ok(), "invalid datetime"),
    }
}

fn number<'a>(value: impl TryInto<i64>) -> Value<'a> {
    Value::Int(value.try_into().unwrap_or(i64::MAX))
}

pub(super) fn global<'a>(name: &str, args: &[Value<'a>], budget: &Budget) -> Option<Evaluated<'a>> {
    if let Some(format) = name.strip_prefix("format.").filter(|name| *name != "named") {
        let format = FORMATS.into_iter().find(|known| *known == format)?;
        return Some(Ok(Value::Opaque(Opaque::Format(format))));
    }
    let (Value::Str(of), rest) = args.split_first()? else {
        return None;
    };
    if let Err(error) = budget.spend(of.len() as u64 / 10) {
        return Some(Err(error));
    }
    let of: &str = of;
    let normalize = match rest {
        [] => false,
        [Value::Bool(normalize)] => *normalize,
        _ => return None,
    };
    let failed = |message: String| Err(EvalError::new(&message));
    let opaque = |value| Ok(Value::Opaque(value));
    Some(match name {
        "quantity" => match Quantity::parse(of) {
            Ok(value) => opaque(Opaque::Quantity(Rc::new(value))),
            Err(error) => failed(error.to_string()),
        },
        "isQuantity" => Ok(Value::Bool(Quantity::parse(of).is_ok())),
        "ip" => match ip(of) {
            Some(value) => opaque(Opaque::Ip(value)),
            None => failed(format!(
                "IP Address {of:?} parse error during conversion from string"
            )),
        },
        "isIP" => Ok(Value::Bool(ip(of).is_some())),
        "ip.isCanonical" => match ip(of) {
            Some(value) => Ok(Value::Bool(value.to_string() == of)),
            None => failed(format!(
                "IP Address {of:?} parse error during conversion from string"
            )),
        },
        "cidr" => match cidr(of) {
            Some((value, length)) => opaque(Opaque::Cidr(value, length)),
            None => failed(format!(
                "network address parse error during conversion from string: {of}"
            )),
        },
        "isCIDR" => Ok(Value::Bool(cidr(of).is_some())),
        "url" => match Url::parse(of) {
            Some(url) => opaque(Opaque::Url(Rc::new(url))),
            None => failed(format!(
                "URL parse error during conversion from string: {of}"
            )),
        },
        "isURL" => Ok(Value::Bool(Url::parse(of).is_some())),
        "semver" => match Version::parse(of, normalize) {
            Some(version) => opaque(Opaque::Semver(Rc::new(version))),
            None => failed(format!("invalid semantic version {of:?}")),
        },
        "isSemver" => Ok(Value::Bool(Version::parse(of, normalize).is_some())),
        "format.named" => Ok(match FORMATS.into_iter().find(|known| *known == of) {
            Some(format) => Value::Opaque(Opaque::Format(format)).some(),
            None => Value::Optional(None),
        }),
        _ => return None,
    })
}

pub(super) fn method<'a>(name: &str, args: &[Value<'a>], budget: &Budget) -> Option<Evaluated<'a>> {
    let Some((Value::Opaque(of), rest)) = args.split_first() else {
        return None;
    };
    match of {
        Opaque::Quantity(value) => quantity(value, name, rest),
        Opaque::Ip(value) => address(*value, name, rest),
        Opaque::Cidr(value, length) => network((*value, *length), name, rest),
        Opaque::Url(url) => url_part(url, name, rest, budget),
        Opaque::Semver(version) => semver(version, name, rest),
        Opaque::Format(format) => match (name, rest) {
            ("validate", [Value::Str(value)]) => {
                let messages = validate(format, value);
                Some(Ok(if messages.is_empty() {
                    Value::Optional(None)
                } else {
                    Value::list(messages.into_iter().map(Value::text).collect()).some()
                }))
            }
            _ => None,
        },
        Opaque::Ask(authorizer, access, stage) => {
            ask(*authorizer, access, *stage, name, rest, budget)
        }
        Opaque::Decision(verdict) => Some(match (name, rest) {
            ("allowed", []) => Ok(Value::Bool(verdict.allowed)),
            ("reason", []) => text(&verdict.reason, budget),
            ("errored", []) => Ok(Value::Bool(false)),
            ("error", []) => Ok(Value::borrowed("")),
            _ => return None,
        }),
    }
}

fn quantity<'a>(value: &Rc<Quantity>, name: &str, rest: &[Value<'a>]) -> Option<Evaluated<'a>> {
    let other = match rest {
        [] => None,
        [Value::Opaque(Opaque::Quantity(other))] => Some((**other).clone()),
        [Value::Int(other)] => Quantity::parse(&other.to_string()).ok(),
        _ => return None,
    };
    Some(Ok(match (name, other) {
        ("sign", None) => {
            let zero = Quantity::parse("0").ok()?;
            Value::Int(value.as_ref().cmp(&zero) as i64)
        }
        ("isInteger", None) => Value::Bool(value.as_i64().is_some()),
        ("asInteger", None) => match value.as_i64() {
            Some(value) => Value::Int(value),
            None => return Some(Err(EvalError::new("cannot convert value to integer"))),
        },
        ("asApproximateFloat", None) => Value::Double(value.as_f64()),
        ("add", Some(other)) => {
            let mut sum = (**value).clone();
            sum.add(&other);
            Value::Opaque(Opaque::Quantity(Rc::new(sum)))
        }
        ("sub", Some(other)) => {
            let mut sum = (**value).clone();
            sum.sub(&other);
            Value::Opaque(Opaque::Quantity(Rc::new(sum)))
        }
        ("compareTo", Some(other)) => Value::Int(value.as_ref().cmp(&other) as i64),
        ("isGreaterThan", Some(other)) => Value::Bool(**value > other),
        ("isLessThan", Some(other)) => Value::Bool(**value < other),
        _ => return None,
    }))
}

fn address<'a>(value: IpAddr, name: &str, rest: &[Value<'a>]) -> Option<Evaluated<'a>> {
    if !rest.is_empty() {
        return None;
    }
    let local = match value {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    Some(Ok(match name {
        "family" => Value::Int(if value.is_ipv4() { 4 } else { 6 }),
        "isUnspecified" => Value::Bool(value.is_unspecified()),
        "isLoopback" => Value::Bool(value.is_loopback()),
        "isLinkLocalMulticast" => Value::Bool(match value {
            IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
            IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
        }),
        "isLinkLocalUnicast" => Value::Bool(local),
        "isGlobalUnicast" => {
            let broadcast = matches!(value, IpAddr::V4(v4) if v4.is_broadcast());
            let special = value.is_unspecified() || value.is_loopback() || value.is_multicast();
            Value::Bool(!broadcast && !special && !local)
        }
        _ => return None,
    }))
}

fn network<'a>(value: (IpAddr, u8), name: &str, rest: &[Value<'a>]) -> Option<Evaluated<'a>> {
    let opaque = |value| Value::Opaque(value);
    let bad = |of: &str| {
        Some(Err(EvalError::new(&format!(
            "network address parse error during conversion from string: {of}"
        ))))
    };
    Some(Ok(match (name, rest) {
        ("containsIP", [Value::Opaque(Opaque::Ip(other))]) => Value::Bool(within(value, *other)),
        ("containsIP", [Value::Str(other)]) => match ip(other) {
            Some(other) => Value::Bool(within(value, other)),
            None => return bad(other),
        },
        ("containsCIDR", [Value::Opaque(Opaque::Cidr(other, length))]) => {
            Value::Bool(*length >= value.1 && within(value, *other))
        }
        ("containsCIDR", [Value::Str(other)]) => match cidr(other) {
            Some((other, length)) => Value::Bool(length >= value.1 && within(value, other)),
            None => return bad(other),
        },
        ("ip", []) => opaque(Opaque::Ip(value.0)),
        ("masked", []) => opaque(Opaque::Cidr(masked(value.0, value.1), value.1)),
        ("prefixLength", []) => number(value.1),
        _ => return None,
    }))
}

fn url_part<'a>(
    url: &Url,
    name: &str,
    rest: &[Value<'a>],
    budget: &Budget,
) -> Option<Evaluated<'a>> {
    if !rest.is_empty() {
        return None;
    }
    Some(match name {
        "getScheme" => text(&url.scheme, budget),
        "getHost" => text(&url.host, budget),
        "getHostname" => {
            let host = url.port().map_or(url.host.as_str(), |(host, _)| host);
            text(host.trim_start_matches('[').trim_end_matches(']'), budget)
        }
        "getPort" => text(url.port().map_or("", |(_, port)| port), budget),
        "getEscapedPath" => text(&url.path, budget),
        "getQuery" => {
            let mut map: Vec<(String, Vec<Value<'a>>)> = Vec::new();
            for pair in url.query.split('&').filter(|pair| !pair.is_empty()) {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                let (key, value) = (unescape(key), Value::text(unescape(value)));
                match map.iter_mut().find(|(known, _)| *known == key) {
                    Some((_, values)) => values.push(value),
                    None => map.push((key, vec![value])),
                }
            }
            let entries = map
                .into_iter()
                .map(|(key, values)| (Value::text(key), Value::list(values)));
            Ok(Value::Map(Map::Own(Rc::new(entries.collect()))))
        }
        _ => return None,
    })
}

fn semver<'a>(version: &Version, name: &str, rest: &[Value<'a>]) -> Option<Evaluated<'a>> {
    let [major, minor, patch] = version.core;
    Some(Ok(match (name, rest) {
        ("major", []) => number(major),
        ("minor", []) => number(minor),
        ("patch", []) => number(patch),
        (name, [Value::Opaque(Opaque::Semver(other))]) => {
            let order = version.order(other);
            match name {
                "compareTo" => Value::Int(order as i64),
                "isGreaterThan" => Value::Bool(order.is_gt()),
                "isLessThan" => Value::Bool(order.is_lt()),
                _ => return None,
            }
        }
        _ => return None,
    }))
}

fn ask<'a>(
    authorizer: &'a dyn Authorizer,
    access: &Rc<Access>,
    stage: Stage,
    name: &str,
    rest: &[Value<'a>],
    budget: &Budget,
) -> Option<Evaluated<'a>> {
    let mut next = (**access).clone();
    let words: Vec<String> = rest
        .iter()
        .filter_map(|arg| arg.as_str().map(str::to_owned))
        .collect();
    if words.len() != rest.len() {
        return None;
    }
    let stage = match (stage, name, words.as_slice()) {
        (Stage::Start, "path", [path]) => {
            next.path = Some(path.clone());
            Stage::Path
        }
        (Stage::Start, "group", [group]) => {
            next.group.clone_from(group);
            Stage::Group
        }
        (Stage::Start, "serviceAccount", [namespace, account]) => {
            next.service_account = Some((namespace.clone(), account.clone()));
            Stage::Start
        }
        (Stage::Group, "resource", [resource]) => {
            next.resource.clone_from(resource);
            Stage::Resource
        }
        (Stage::Resource, "subresource", [subresource]) => {
            next.subresource.clone_from(subresource);
            stage
        }
        (Stage::Resource, "namespace", [namespace]) => {
            next.namespace.clone_from(namespace);
            stage
        }
        (Stage::Resource, "name", [name]) => {
            next.name.clone_from(name);
            stage
        }
        (Stage::Resource, "fieldSelector" | "labelSelector", [_]) => stage,
        (Stage::Path | Stage::Resource, "check", [verb]) => {
            if let Err(error) = budget.spend(CHECK) {
                return Some(Err(error));
            }
            next.verb.clone_from(verb);
            let verdict = authorizer.check(&next);
            return Some(Ok(Value::Opaque(Opaque::Decision(Rc::new(verdict)))));
        }
        _ => return None,
    };
    Some(Ok(Value::Opaque(Opaque::Ask(
        authorizer,
        Rc::new(next),
        stage,
    ))))
}
