//! The canonical text of a quantity. Arithmetic with quantities is `api::Quantity`.
//!
//! `1000m` becomes `1`, `0.5` becomes `500m`, `1024Mi` becomes `1Gi`; what upstream's parser
//! keeps as it came stays (`1500m`, `100Mi`).
//! Source: apimachinery v0.36.3 pkg/api/resource/{quantity,suffix,amount,math}.go.

/// Upstream's error for text of the wrong form.
pub(crate) const FORMAT: &str = "quantities must match the regular expression \
    '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const NUMERIC: &str = "unable to parse numeric part of quantity";
const SUFFIX: &str = "unable to parse quantity's suffix";

#[derive(Copy, Clone, PartialEq, Eq)]
enum Format {
    DecimalExponent,
    BinarySi,
    DecimalSi,
}

struct Parts<'a> {
    positive: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

/// The canonical text; `None` when `text` is it.
pub(crate) fn canonical(text: &str) -> Result<Option<String>, &'static str> {
    let trimmed = text.trim();
    let result = normal(trimmed)?;
    Ok(match result {
        None if trimmed.len() != text.len() => Some(trimmed.to_owned()),
        other => other,
    })
}

fn normal(text: &str) -> Result<Option<String>, &'static str> {
    if text.is_empty() {
        return Err(FORMAT);
    }
    if text == "0" {
        return Ok(None);
    }
    let parts = split(text)?;
    let (format, exponent) = interpret(parts.suffix).ok_or(SUFFIX)?;
    let digits = parts.whole.len() + parts.fraction.len();
    let places = i32::try_from(parts.fraction.len()).unwrap_or(i32::MAX);
    let scale = exponent.saturating_sub(places);
    let shifted = || format!("{}{}", parts.whole, parts.fraction);
    let small = match format {
        Format::BinarySi => {
            exponent >= 0
                && parts.fraction.is_empty()
                && 15 - digits as i32 - (exponent as f32 * 3.0 / 10.0) as i32 > 0
        }
        _ => digits <= 18 && scale >= -9,
    };
    if small {
        let number = shifted();
        let value: i64 = number.parse().map_err(|_| NUMERIC)?;
        let keep = match format {
            Format::BinarySi => exponent % 10 == 0 && value & 7 != 0,
            _ => scale % 3 == 0 && !number.ends_with("000") && !number.starts_with('0'),
        };
        if keep {
            return Ok(None);
        }
    }
    let number = shifted();
    let number = number.trim_start_matches('0');
    if number.is_empty() {
        return Ok((text != "0").then(|| "0".to_owned()));
    }
    // Beyond 38 digits (or a huge exponent) the text stays as it came.
    let Ok(value) = number.parse::<i128>() else {
        return Ok(None);
    };
    let amount = match format {
        Format::BinarySi => {
            let factor = 1i128.checked_shl(u32::try_from(exponent).unwrap_or(0));
            let Some(value) = factor.and_then(|f| value.checked_mul(f)) else {
                return Ok(None);
            };
            Amount {
                value,
                scale: -places,
            }
        }
        _ => Amount { value, scale },
    };
    Ok(print(amount.capped(format), format, parts.positive))
}

/// value × 10^scale, not negative.
#[derive(Copy, Clone)]
struct Amount {
    value: i128,
    scale: i32,
}

impl Amount {
    /// Rounded up to nano; binary ones are at most 2^63-1.
    fn capped(self, format: Format) -> Amount {
        let mut amount = self;
        while amount.scale < -9 {
            let up = i128::from(amount.value % 10 != 0);
            amount = Amount {
                value: amount.value / 10 + up,
                scale: amount.scale + 1,
            };
            if amount.value <= 1 && amount.scale < -9 {
                amount = Amount {
                    value: i128::from(amount.value != 0),
                    scale: -9,
                };
            }
        }
        if format == Format::BinarySi && amount.whole().is_none_or(|n| n > i128::from(i64::MAX)) {
            let over = amount.scale >= 0
                || amount.value / 10i128.pow(-amount.scale as u32) > i128::from(i64::MAX);
            if over {
                return Amount {
                    value: i128::from(i64::MAX),
                    scale: 0,
                };
            }
        }
        amount
    }

    /// The value when it is whole.
    fn whole(self) -> Option<i128> {
        if self.scale >= 0 {
            return 10i128
                .checked_pow(self.scale as u32)?
                .checked_mul(self.value);
        }
        let unit = 10i128.checked_pow(-self.scale as u32)?;
        (self.value % unit == 0).then(|| self.value / unit)
    }
}

/// `None` when the number has more digits than are counted with: its text stays as it came.
fn print(amount: Amount, format: Format, positive: bool) -> Option<String> {
    let sign = if positive { "" } else { "-" };
    if format == Format::BinarySi
        && let Some(mut value) = amount.whole()
        && value >= 1024
    {
        let mut power = 0;
        while value % 1024 == 0 && power < 6 {
            value /= 1024;
            power += 1;
        }
        let suffix = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power];
        return Some(format!("{sign}{value}{suffix}"));
    }
    let Amount {
        mut value,
        mut scale,
    } = amount;
    while value % 10 == 0 && value != 0 {
        value /= 10;
        scale = scale.checked_add(1)?;
    }
    while scale.rem_euclid(3) != 0 {
        value = value.checked_mul(10)?;
        scale = scale.checked_sub(1)?;
    }
    let suffix = match scale {
        0 => "",
        _ if format == Format::DecimalExponent => return Some(format!("{sign}{value}e{scale}")),
        -9 => "n",
        -6 => "u",
        -3 => "m",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        // Upstream drops the exponent where no suffix has it, and with it the magnitude.
        _ => return Some(format!("{sign}{value}e{scale}")),
    };
    Some(format!("{sign}{value}{suffix}"))
}

fn split(text: &str) -> Result<Parts<'_>, &'static str> {
    let bytes = text.as_bytes();
    let positive = bytes.first() != Some(&b'-');
    let mut at = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
    let digits = |at: usize| {
        bytes[at..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count()
    };
    at += bytes[at..].iter().take_while(|b| **b == b'0').count();
    let count = digits(at);
    let whole = if count == 0 {
        "0"
    } else {
        text.get(at..at + count).unwrap_or_default()
    };
    at += count;
    let mut fraction = "";
    if bytes.get(at) == Some(&b'.') {
        let count = digits(at + 1);
        fraction = text.get(at + 1..at + 1 + count).unwrap_or_default();
        at += 1 + count;
    }
    let suffix = bytes.get(at..).unwrap_or_default();
    let mut end = suffix
        .iter()
        .take_while(|b| b"eEinumkKMGTP".contains(b))
        .count();
    if end < suffix.len() {
        end += usize::from(matches!(suffix[end], b'-' | b'+'));
        end += suffix[end..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
    }
    if end < suffix.len() {
        return Err(FORMAT);
    }
    let suffix = text.get(at..).unwrap_or_default();
    Ok(Parts {
        positive,
        whole,
        fraction,
        suffix,
    })
}

fn interpret(suffix: &str) -> Option<(Format, i32)> {
    let decimal = |exponent| Some((Format::DecimalSi, exponent));
    let binary = |exponent| Some((Format::BinarySi, exponent));
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => {
            let number = suffix.strip_prefix(['e', 'E'])?;
            Some((Format::DecimalExponent, number.parse().ok()?))
        }
    }
}
