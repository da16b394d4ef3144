//! DER encoding: the few forms that certificates are made of.
//!
//! Every function returns one complete element; a certificate is a tree of calls.
//! Source: ITU-T X.690.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::PkiError;

pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 6);
    out.push(tag);
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let first = bytes
            .iter()
            .position(|b| *b != 0)
            .unwrap_or(bytes.len() - 1);
        out.push(0x80 | (bytes.len() - first) as u8);
        out.extend_from_slice(&bytes[first..]);
    }
    out.extend_from_slice(content);
    out
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

pub(crate) fn set(parts: &[&[u8]]) -> Vec<u8> {
    element(0x31, &parts.concat())
}

/// `[n] EXPLICIT`.
pub(crate) fn explicit(number: u8, content: &[u8]) -> Vec<u8> {
    element(0xa0 | number, content)
}

pub(crate) fn boolean(value: bool) -> Vec<u8> {
    element(0x01, &[if value { 0xff } else { 0 }])
}

/// A positive number from big-endian bytes.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|b| *b != 0).unwrap_or(bytes.len());
    let mut content = Vec::with_capacity(bytes.len() + 1);
    if bytes.get(first).is_none_or(|b| *b >= 0x80) {
        content.push(0);
    }
    content.extend_from_slice(&bytes[first..]);
    element(0x02, &content)
}

pub(crate) fn bit_string(bytes: &[u8]) -> Vec<u8> {
    element(0x03, &[&[0], bytes].concat())
}

/// A bit string of flags, bit 0 first, without trailing zero bits.
pub(crate) fn flags(bits: &[u8]) -> Vec<u8> {
    let highest = bits.iter().copied().max().unwrap_or(0);
    let mut bytes = vec![0u8; usize::from(highest / 8) + 1];
    for bit in bits {
        bytes[usize::from(bit / 8)] |= 0x80 >> (bit % 8);
    }
    let mut content = vec![7 - highest % 8];
    content.extend_from_slice(&bytes);
    element(0x03, &content)
}

pub(crate) fn octet_string(bytes: &[u8]) -> Vec<u8> {
    element(0x04, bytes)
}

pub(crate) fn null() -> Vec<u8> {
    vec![0x05, 0x00]
}

pub(crate) fn utf8(text: &str) -> Vec<u8> {
    element(0x0c, text.as_bytes())
}

pub(crate) fn oid(arcs: &[u64]) -> Vec<u8> {
    let mut content = Vec::with_capacity(arcs.len() + 4);
    let (first, rest) = match arcs {
        [a, b, rest @ ..] => (a * 40 + b, rest),
        _ => (0, arcs),
    };
    for arc in std::iter::once(&first).chain(rest) {
        let mut shift = 63;
        while shift > 0 {
            if *arc >> shift != 0 {
                content.push(0x80 | ((*arc >> shift) & 0x7f) as u8);
            }
            shift -= 7;
        }
        content.push((*arc & 0x7f) as u8);
    }
    element(0x06, &content)
}

/// UTCTime until 2049, GeneralizedTime after (RFC 5280 section 4.1.2.5).
pub(crate) fn time(at: Timestamp) -> Result<Vec<u8>, PkiError> {
    let civil = at.to_zoned(TimeZone::UTC).datetime();
    let (year, month, day) = (civil.year(), civil.month(), civil.day());
    let rest = format!(
        "{month:02}{day:02}{:02}{:02}{:02}Z",
        civil.hour(),
        civil.minute(),
        civil.second()
    );
    match year {
        1950..=2049 => Ok(element(0x17, format!("{:02}{rest}", year % 100).as_bytes())),
        2050..=9999 => Ok(element(0x18, format!("{year}{rest}").as_bytes())),
        _ => Err(PkiError::Time(at.to_string())),
    }
}
