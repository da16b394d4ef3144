//! IP addresses and ranges in fields: Go's old lenient reading, and the strict one.
//!
//! Source: apimachinery v0.36.3 pkg/util/validation/ip.go; k8s.io/utils/net ParseIPSloppy.

use crate::field::{FieldError, Path};
use crate::text::quote;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn sloppy_v4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0_u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let trimmed = part.trim_start_matches('0');
        *octet = if trimmed.is_empty() {
            0
        } else {
            trimmed.parse().ok()?
        };
    }
    parts.next().is_none().then(|| octets.into())
}

/// Reads an address as Go did before 1.17: octets may have leading zeros.
#[must_use]
pub fn parse_ip_sloppy(text: &str) -> Option<IpAddr> {
    if !text.contains(':') {
        return sloppy_v4(text).map(IpAddr::V4);
    }
    if text.contains('%') {
        return None;
    }
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some(IpAddr::V6(address));
    }
    let (head, tail) = text.rsplit_once(':')?;
    let tail = sloppy_v4(tail)?;
    format!("{head}:{tail}")
        .parse::<Ipv6Addr>()
        .ok()
        .map(IpAddr::V6)
}

/// The text Go prints: an IPv4-mapped address prints as IPv4.
fn canonical(address: IpAddr) -> String {
    match address {
        IpAddr::V6(v6) => v6
            .to_ipv4_mapped()
            .map_or_else(|| v6.to_string(), |v4| v4.to_string()),
        IpAddr::V4(v4) => v4.to_string(),
    }
}

/// Reads `address/bits` leniently: the address as written and the prefix length.
#[must_use]
pub fn parse_cidr_sloppy(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let address = parse_ip_sloppy(address)?;
    if bits.is_empty() || !bits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let bits: u32 = bits.parse().ok()?;
    let max = if address.is_ipv4() { 32 } else { 128 };
    (bits <= max).then_some((address, u8::try_from(bits).ok()?))
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from(u32::from(v4) & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from(u128::from(v6) & mask))
        }
    }
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

fn check_ip(path: &Path, value: &str, strict: bool) -> Result<IpAddr, Vec<FieldError>> {
    let Some(address) = parse_ip_sloppy(value) else {
        let message = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
        return Err(vec![FieldError::invalid(path, value, message)]);
    };
    if strict && value.parse::<IpAddr>().is_err() {
        return Err(vec![FieldError::invalid(
            path,
            value,
            "must not have leading 0s",
        )]);
    }
    if strict && is_mapped(address) {
        let message = "must not be an IPv4-mapped IPv6 address";
        return Err(vec![FieldError::invalid(path, value, message)]);
    }
    Ok(address)
}

/// An address in a field that once took sloppy ones; values of the old object stay valid.
#[must_use]
pub fn ip_for_legacy_field(
    path: &Path,
    value: &str,
    strict: bool,
    old_values: &[&str],
) -> Vec<FieldError> {
    if old_values.contains(&value) {
        return Vec::new();
    }
    check_ip(path, value, strict).err().unwrap_or_default()
}

/// An address in canonical form.
#[must_use]
pub fn strict_ip(path: &Path, value: &str) -> Vec<FieldError> {
    match check_ip(path, value, true) {
        Err(errors) => errors,
        Ok(address) if canonical(address) == value => Vec::new(),
        Ok(address) => {
            let message = format!("must be in canonical form ({})", quote(&canonical(address)));
            vec![FieldError::invalid(path, value, message)]
        }
    }
}

fn check_cidr(path: &Path, value: &str, strict: bool) -> Result<(IpAddr, u8), Vec<FieldError>> {
    let invalid = |message: &str| Err(vec![FieldError::invalid(path, value, message)]);
    let Some((address, bits)) = parse_cidr_sloppy(value) else {
        return invalid("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
    };
    if strict {
        let (address_text, bits_text) = value.split_once('/').unwrap_or_default();
        let zeros = bits_text.len() > 1 && bits_text.starts_with('0');
        if zeros || address_text.parse::<IpAddr>().is_err() {
            return invalid("must not have leading 0s in IP or prefix length");
        }
        if is_mapped(address) {
            return invalid("must not have an IPv4-mapped IPv6 address");
        }
        if masked(address, bits) != address {
            return invalid("must not have bits set beyond the prefix length");
        }
    }
    Ok((masked(address, bits), bits))
}

/// A range in a field that once took sloppy ones; values of the old object stay valid.
#[must_use]
pub fn cidr_for_legacy_field(
    path: &Path,
    value: &str,
    strict: bool,
    old_values: &[&str],
) -> Vec<FieldError> {
    if old_values.contains(&value) {
        return Vec::new();
    }
    check_cidr(path, value, strict).err().unwrap_or_default()
}

/// A range in canonical form.
#[must_use]
pub fn strict_cidr(path: &Path, value: &str) -> Vec<FieldError> {
    match check_cidr(path, value, true) {
        Err(errors) => errors,
        Ok((address, bits)) => {
            let text = format!("{}/{bits}", canonical(address));
            if text == value {
                return Vec::new();
            }
            let message = format!("must be in canonical form ({})", quote(&text));
            vec![FieldError::invalid(path, value, message)]
        }
    }
}
