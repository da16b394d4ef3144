//! Times on the wire: `Time` (whole seconds) and `MicroTime`, both UTC.
//!
//! Source: apimachinery v0.36.3 pkg/apis/meta/v1/{time,micro_time}.go.

use jiff::{Timestamp, tz::TimeZone};
use schema::Ref;

/// The year 0 in UTC: an offset may lead before it, to a year that has no text of this form.
const FIRST_SECOND: i64 = -62_167_219_200;

/// Why a text is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parsing time {0} as RFC 3339")]
pub struct TimeError(String);

/// `2026-11-21T05:23:44Z`: fractions are cut off.
#[must_use]
pub fn format_seconds(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// `2026-11-21T05:23:44.123456Z`.
#[must_use]
pub fn format_micros(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC)
        .strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
        .to_string()
}

/// Reads RFC 3339 with any number of fractional digits and any offset.
pub fn parse(text: &str) -> Result<Timestamp, TimeError> {
    let shape = text.as_bytes();
    let strict = shape.len() >= 20
        && shape[4] == b'-'
        && shape[7] == b'-'
        && shape[10] == b'T'
        && shape[13] == b':'
        && shape[16] == b':'
        && text.is_ascii();
    if !strict {
        return Err(TimeError(crate::text::quote(text)));
    }
    text.parse()
        .ok()
        .filter(|time: &Timestamp| time.as_second() >= FIRST_SECOND)
        .ok_or_else(|| TimeError(crate::text::quote(text)))
}

/// The time in a field of an object that the API has accepted: none when it is not there.
///
/// A text that is no time is none as well; validation let none in.
#[must_use]
pub fn field(object: Ref<'_>, name: &str) -> Option<Timestamp> {
    parse(object.str(name)).ok()
}

#[cfg(test)]
mod tests;
