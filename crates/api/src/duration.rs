//! Durations: Go's text form of flags and configuration, and kubectl's AGE column.
//!
//! Source: go1.26 time/format.go ParseDuration, Duration.String; apimachinery v0.36.3
//! pkg/util/duration/duration.go.

use std::fmt::Write;

/// Why a text is not a duration; texts are Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not a number with a unit.
    #[error("time: invalid duration {0}")]
    Invalid(String),
    /// A number without a unit.
    #[error("time: missing unit in duration {0}")]
    MissingUnit(String),
    /// A unit that does not exist.
    #[error("time: unknown unit {unit} in duration {text}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// Reads `1h15m30.5s`, `-1.5h`, `300ms`; the result is in nanoseconds.
pub fn parse_nanos(text: &str) -> Result<i64, DurationError> {
    let quoted = || crate::text::quote(text);
    let invalid = || DurationError::Invalid(quoted());
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['-', '+']).unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let whole = &rest[..digits(rest)];
        rest = &rest[whole.len()..];
        let mut fraction = "";
        if let Some(after) = rest.strip_prefix('.') {
            fraction = &after[..digits(after)];
            rest = &after[fraction.len()..];
        }
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let end = rest
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (unit, next) = rest.split_at(end);
        if unit.is_empty() {
            return Err(DurationError::MissingUnit(quoted()));
        }
        let nanos: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            unit => {
                let unit = crate::text::quote(unit);
                return Err(DurationError::UnknownUnit {
                    unit,
                    text: quoted(),
                });
            }
        };
        let number: i128 = if whole.is_empty() {
            0
        } else {
            whole.parse().map_err(|_| invalid())?
        };
        total = number
            .checked_mul(nanos)
            .and_then(|n| total.checked_add(n))
            .ok_or_else(invalid)?;
        if !fraction.is_empty() {
            let fraction = &fraction[..fraction.len().min(18)];
            let part: i128 = fraction.parse().map_err(|_| invalid())?;
            total += part * nanos / 10_i128.pow(u32::try_from(fraction.len()).unwrap_or(0));
        }
        if total > 1 << 63 {
            return Err(invalid());
        }
        rest = next;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

/// As Go prints a duration: `1h15m30.5s`, `1.5ms`, `0s`.
#[must_use]
pub fn format_nanos(nanos: i64) -> String {
    let mut out = String::new();
    let all = nanos.unsigned_abs();
    if nanos < 0 {
        out.push('-');
    }
    let (value, unit) = match all {
        0 => return "0s".to_owned(),
        1..1_000 => (all, "ns"),
        1_000..1_000_000 => (all, "µs"),
        1_000_000..1_000_000_000 => (all, "ms"),
        _ => {
            let seconds = all / 1_000_000_000;
            if seconds >= 3600 {
                let _ = write!(out, "{}h", seconds / 3600);
            }
            if seconds >= 60 {
                let _ = write!(out, "{}m", seconds / 60 % 60);
            }
            out.push_str(&decimal(seconds % 60, all % 1_000_000_000, 9));
            out.push('s');
            return out;
        }
    };
    let (divisor, places) = match unit {
        "ns" => (1, 0),
        "µs" => (1_000, 3),
        _ => (1_000_000, 6),
    };
    out.push_str(&decimal(value / divisor, value % divisor, places));
    out.push_str(unit);
    out
}

fn decimal(whole: u64, fraction: u64, places: usize) -> String {
    if fraction == 0 {
        return whole.to_string();
    }
    let text = format!("{whole}.{fraction:0places$}");
    text.trim_end_matches('0').to_owned()
}

/// The AGE column: two units while they matter, then one.
#[must_use]
pub fn human(seconds: i64) -> String {
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let two = |a: i64, unit: &str, b: i64, small: &str| {
        if b == 0 {
            format!("{a}{unit}")
        } else {
            format!("{a}{unit}{b}{small}")
        }
    };
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 24 * 8 => two(hours / 24, "d", hours % 24, "h"),
        _ if hours < 24 * 365 * 2 => format!("{}d", hours / 24),
        _ if hours < 24 * 365 * 8 => two(hours / 24 / 365, "y", hours / 24 % 365, "d"),
        _ => format!("{}y", hours / 24 / 365),
    }
}

/// One unit only, as in a Job's duration of old tables.
#[must_use]
pub fn human_short(seconds: i64) -> String {
    match seconds {
        ..-1 => "<invalid>".to_owned(),
        -1 => "0s".to_owned(),
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        86_400..31_536_000 => format!("{}d", seconds / 86_400),
        _ => format!("{}y", seconds / 31_536_000),
    }
}

#[cfg(test)]
mod tests;
