//! Fixed-point numbers with a suffix: `100m`, `1.5Gi`, `12e6`.
//!
//! Owns parsing, the canonical text, comparison and sums. A value is an integer times a power
//! of ten. Upstream remembers the text of a quantity that it takes for canonical and prints it
//! back unchanged; so do we. Numbers past 38 digits are refused (upstream has no limit).
//! Example: `1.5Gi` → 1610612736 × 10⁰, binary → prints `1536Mi`.
//! Source: apimachinery v0.36.3 pkg/api/resource/{quantity,amount,scale_int,suffix}.go.

use std::cmp::Ordering;
use std::fmt;

/// How a quantity is written.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `12e6`.
    DecimalExponent,
    /// `12Mi`.
    BinarySi,
    /// `12M`.
    DecimalSi,
}

/// A number as upstream's `resource.Quantity`.
#[derive(Clone, Debug)]
pub struct Quantity {
    mantissa: i128,
    scale: i32,
    format: Format,
    text: Option<Box<str>>,
}

/// Why a text is not a quantity.
#[derive(Copy, Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not a number with a suffix at all.
    #[error(
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
    )]
    Format,
    /// The number cannot be read.
    #[error("unable to parse numeric part of quantity")]
    Numeric,
    /// The suffix is not known.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

const NANO: i32 = -9;
const MILLI: i32 = -3;

struct Parts<'a> {
    negative: bool,
    value: &'a str,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

fn digits_end(text: &str, from: usize) -> usize {
    text.as_bytes()[from..]
        .iter()
        .position(|b| !b.is_ascii_digit())
        .map_or(text.len(), |n| from + n)
}

fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    let bytes = text.as_bytes();
    let negative = bytes.first() == Some(&b'-');
    let mut pos = usize::from(matches!(bytes.first(), Some(b'-' | b'+')));
    pos += bytes[pos..].iter().take_while(|b| **b == b'0').count();
    if pos == bytes.len() {
        return Ok(Parts {
            negative,
            value: "0",
            whole: "0",
            fraction: "",
            suffix: "",
        });
    }
    let end = digits_end(text, pos);
    let whole = if end > pos || end == bytes.len() {
        &text[pos..end]
    } else {
        "0"
    };
    pos = end;
    let mut fraction = "";
    if bytes.get(pos) == Some(&b'.') {
        let end = digits_end(text, pos + 1);
        fraction = &text[pos + 1..end];
        pos = end;
    }
    let value = &text[..pos];
    let start = pos;
    pos += bytes[pos..]
        .iter()
        .take_while(|b| b"eEinumkKMGTP".contains(b))
        .count();
    pos += usize::from(matches!(bytes.get(pos), Some(b'-' | b'+')));
    if !text.is_char_boundary(pos) || digits_end(text, pos) != bytes.len() {
        return Err(QuantityError::Format);
    }
    Ok(Parts {
        negative,
        value,
        whole,
        fraction,
        suffix: &text[start..],
    })
}

fn suffix(text: &str) -> Option<(u32, i32, Format)> {
    let (base, exponent, format) = match text {
        "" => (10, 0, Format::DecimalSi),
        "n" => (10, -9, Format::DecimalSi),
        "u" => (10, -6, Format::DecimalSi),
        "m" => (10, -3, Format::DecimalSi),
        "k" => (10, 3, Format::DecimalSi),
        "M" => (10, 6, Format::DecimalSi),
        "G" => (10, 9, Format::DecimalSi),
        "T" => (10, 12, Format::DecimalSi),
        "P" => (10, 15, Format::DecimalSi),
        "E" => (10, 18, Format::DecimalSi),
        "Ki" => (2, 10, Format::BinarySi),
        "Mi" => (2, 20, Format::BinarySi),
        "Gi" => (2, 30, Format::BinarySi),
        "Ti" => (2, 40, Format::BinarySi),
        "Pi" => (2, 50, Format::BinarySi),
        "Ei" => (2, 60, Format::BinarySi),
        _ => {
            let digits = text.strip_prefix(['e', 'E'])?;
            let exponent: i64 = digits.parse().ok()?;
            (10, i32::try_from(exponent).ok()?, Format::DecimalExponent)
        }
    };
    Some((base, exponent, format))
}

fn decimal_suffix(exponent: i32) -> &'static str {
    match exponent {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        _ => "",
    }
}

fn binary_suffix(power: i32) -> &'static str {
    match power {
        1 => "Ki",
        2 => "Mi",
        3 => "Gi",
        4 => "Ti",
        5 => "Pi",
        6 => "Ei",
        _ => "",
    }
}

fn pow10(exponent: u32) -> Option<i128> {
    10_i128.checked_pow(exponent)
}

/// `value / 10^places`, away from zero; true when nothing was lost.
fn divide_up(value: i128, places: u32) -> (i128, bool) {
    let Some(divisor) = pow10(places) else {
        return (value.signum(), value == 0);
    };
    let (quotient, remainder) = (value / divisor, value % divisor);
    if remainder == 0 {
        (quotient, true)
    } else {
        (quotient + value.signum(), false)
    }
}

impl Quantity {
    /// Zero without a unit.
    pub const ZERO: Self = Self {
        mantissa: 0,
        scale: 0,
        format: Format::DecimalSi,
        text: None,
    };

    /// A whole number.
    #[must_use]
    pub const fn new(value: i64, format: Format) -> Self {
        Self {
            mantissa: value as i128,
            scale: 0,
            format,
            text: None,
        }
    }

    /// Thousandths, as CPU is counted.
    #[must_use]
    pub const fn from_millis(value: i64, format: Format) -> Self {
        Self {
            mantissa: value as i128,
            scale: MILLI,
            format,
            text: None,
        }
    }

    /// Reads a quantity.
    pub fn parse(text: &str) -> Result<Self, QuantityError> {
        if text.is_empty() {
            return Err(QuantityError::Format);
        }
        let parts = split(text)?;
        let (base, exponent, format) = suffix(parts.suffix).ok_or(QuantityError::Suffix)?;
        if text == "0" {
            return Ok(Self {
                text: Some("0".into()),
                ..Self::ZERO
            });
        }
        match Self::parse_small(text, &parts, base, exponent, format) {
            Some(result) => result,
            None => Self::parse_large(&parts, base, exponent, format),
        }
    }

    /// Upstream's path for numbers that surely fit in 64 bits; only it keeps the text.
    fn parse_small(
        text: &str,
        parts: &Parts<'_>,
        base: u32,
        exponent: i32,
        format: Format,
    ) -> Option<Result<Self, QuantityError>> {
        let digits = i32::try_from(parts.whole.len() + parts.fraction.len()).ok()?;
        let (mut scale, precision, factor) = if base == 10 {
            (exponent, 18_i32.checked_sub(digits)?, 1)
        } else if parts.fraction.is_empty() {
            (
                0,
                15_i32.checked_sub(digits)? - exponent * 3 / 10 - 1,
                1_i64 << exponent,
            )
        } else {
            return None;
        };
        if precision < 0 {
            return None;
        }
        scale = scale.saturating_sub(i32::try_from(parts.fraction.len()).ok()?);
        if scale < NANO {
            return None;
        }
        let shifted = format!("{}{}", parts.whole, parts.fraction);
        let Ok(value) = shifted.parse::<i64>() else {
            return Some(Err(QuantityError::Numeric));
        };
        let mut result = value.checked_mul(factor)?;
        if parts.negative {
            result = -result;
        }
        let keeps = if format == Format::BinarySi {
            exponent % 10 == 0 && value & 7 != 0
        } else {
            scale % 3 == 0 && !shifted.ends_with("000") && !shifted.starts_with('0')
        };
        let text = keeps.then(|| text.into());
        Some(Ok(Self {
            mantissa: i128::from(result),
            scale,
            format,
            text,
        }))
    }

    fn parse_large(
        parts: &Parts<'_>,
        base: u32,
        exponent: i32,
        mut format: Format,
    ) -> Result<Self, QuantityError> {
        if !parts.value.bytes().any(|b| b.is_ascii_digit()) {
            return Err(QuantityError::Numeric);
        }
        let digits = format!("{}{}", parts.whole, parts.fraction);
        let mut mantissa: i128 = digits.parse().map_err(|_| QuantityError::Numeric)?;
        let places = i32::try_from(parts.fraction.len()).map_err(|_| QuantityError::Numeric)?;
        let mut scale = -places;
        if base == 10 {
            scale = scale.saturating_add(exponent);
        } else {
            let factor = 1_i128 << exponent.clamp(0, 60);
            mantissa = mantissa.checked_mul(factor).ok_or(QuantityError::Numeric)?;
        }
        if mantissa != 0 && scale < NANO {
            mantissa = divide_up(mantissa, NANO.saturating_sub(scale).unsigned_abs()).0;
            scale = NANO;
        }
        let mut result = Self {
            mantissa,
            scale,
            format,
            text: None,
        };
        if format == Format::BinarySi {
            let max = Self::new(i64::MAX, format);
            if result > max {
                result = max;
            }
            if result.mantissa > 0 && result < Self::new(1, format) {
                format = Format::DecimalSi;
            }
        }
        result.format = format;
        if parts.negative {
            result.mantissa = -result.mantissa;
        }
        Ok(result)
    }

    /// How the quantity is written.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Is it zero?
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    /// -1, 0 or 1.
    #[must_use]
    pub const fn sign(&self) -> i32 {
        match self.mantissa {
            0 => 0,
            m if m > 0 => 1,
            _ => -1,
        }
    }

    /// In units of `10^scale`, rounded away from zero, saturating.
    #[must_use]
    pub fn scaled(&self, scale: i32) -> i64 {
        let places = i64::from(self.scale) - i64::from(scale);
        let value = if places < 0 {
            divide_up(self.mantissa, u32::try_from(-places).unwrap_or(u32::MAX)).0
        } else {
            u32::try_from(places)
                .ok()
                .and_then(pow10)
                .map_or(self.mantissa.signum().saturating_mul(i128::MAX), |factor| {
                    self.mantissa.saturating_mul(factor)
                })
        };
        let limit = if value < 0 { i64::MIN } else { i64::MAX };
        i64::try_from(value).unwrap_or(limit)
    }

    /// In whole units, rounded up.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.scaled(0)
    }

    /// In thousandths, rounded up.
    #[must_use]
    pub fn millis(&self) -> i64 {
        self.scaled(MILLI)
    }

    /// The exact whole number, if it is one that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        if self.scale < 0 && !divide_up(self.mantissa, self.scale.unsigned_abs()).1 {
            return None;
        }
        Some(self.value())
    }

    /// The nearest float.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "an approximation is asked for")]
    pub fn as_f64(&self) -> f64 {
        self.mantissa as f64 * 10_f64.powi(self.scale)
    }

    fn combine(&mut self, other: &Self, op: fn(i128, i128) -> Option<i128>) {
        self.text = None;
        if self.is_zero() {
            self.format = other.format;
            self.scale = other.scale;
        }
        if other.is_zero() {
            return;
        }
        let low = self.scale.min(other.scale);
        let lift = |q: &Self| {
            let places = q.scale.saturating_sub(low).unsigned_abs();
            pow10(places).and_then(|factor| q.mantissa.checked_mul(factor))
        };
        match lift(self).zip(lift(other)).and_then(|(a, b)| op(a, b)) {
            Some(sum) => {
                self.mantissa = sum;
                self.scale = low;
            }
            // Past 38 digits the smaller operand no longer shows.
            None if other.scale > self.scale => {
                self.mantissa = op(0, other.mantissa).unwrap_or(other.mantissa);
                self.scale = other.scale;
            }
            None => {}
        }
    }

    /// Adds in place; the unit is kept unless this is zero.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, i128::checked_add);
    }

    /// Subtracts in place.
    pub fn sub(&mut self, other: &Self) {
        self.combine(other, i128::checked_sub);
    }

    /// Multiplies in place, saturating.
    pub fn mul(&mut self, factor: i64) {
        self.text = None;
        self.mantissa = self.mantissa.saturating_mul(i128::from(factor));
    }

    /// Changes the sign.
    pub fn negate(&mut self) {
        self.text = None;
        self.mantissa = self.mantissa.saturating_neg();
    }

    /// Rounds up to a multiple of `10^scale`.
    pub fn round_up(&mut self, scale: i32) {
        if self.scale < scale {
            self.text = None;
            let places = scale.saturating_sub(self.scale).unsigned_abs();
            self.mantissa = divide_up(self.mantissa, places).0;
            self.scale = scale;
        }
    }

    fn canonical(&self) -> String {
        if self.is_zero() {
            return "0".to_owned();
        }
        let mut format = self.format;
        if format == Format::BinarySi {
            let small = *self > Self::new(-1024, format) && *self < Self::new(1024, format);
            let whole = self.scale >= 0 || divide_up(self.mantissa, self.scale.unsigned_abs()).1;
            if small || !whole {
                format = Format::DecimalSi;
            }
        }
        if format == Format::BinarySi {
            let mut amount = if self.scale < 0 {
                divide_up(self.mantissa, self.scale.unsigned_abs()).0
            } else {
                let factor = pow10(self.scale.unsigned_abs()).unwrap_or(1);
                self.mantissa.saturating_mul(factor)
            };
            let mut power = 0;
            while amount % 1024 == 0 && power < 6 {
                amount /= 1024;
                power += 1;
            }
            return format!("{amount}{}", binary_suffix(power));
        }
        let mut amount = self.mantissa;
        let mut exponent = self.scale;
        while amount % 10 == 0 && exponent < i32::MAX {
            amount /= 10;
            exponent += 1;
        }
        let back = exponent.rem_euclid(3);
        let shifted = exponent
            .checked_sub(back)
            .zip(amount.checked_mul(10_i128.pow(back.unsigned_abs())));
        // With all digits in use there is no room to move the point.
        let Some((exponent, amount)) = shifted else {
            return format!("{amount}e{exponent}");
        };
        match format {
            Format::DecimalExponent if exponent != 0 => format!("{amount}e{exponent}"),
            Format::DecimalExponent => amount.to_string(),
            // Upstream drops the exponent where no suffix has it, and with it the magnitude.
            _ if exponent != 0 && decimal_suffix(exponent).is_empty() => {
                format!("{amount}e{exponent}")
            }
            _ => format!("{amount}{}", decimal_suffix(exponent)),
        }
    }
}

impl Default for Quantity {
    fn default() -> Self {
        Self::ZERO
    }
}

impl std::str::FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::parse(text)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.text {
            Some(text) => f.write_str(text),
            None => f.write_str(&self.canonical()),
        }
    }
}

fn digits(value: u128) -> i64 {
    value.checked_ilog10().map_or(0, |n| i64::from(n) + 1)
}

/// Compares magnitudes of different scales without overflow: first by position of the
/// leading digit, then at the finer scale.
fn compare_magnitude(a: &Quantity, b: &Quantity) -> Ordering {
    let (x, y) = (a.mantissa.unsigned_abs(), b.mantissa.unsigned_abs());
    let (ax, by) = (
        digits(x) + i64::from(a.scale),
        digits(y) + i64::from(b.scale),
    );
    if ax != by {
        return ax.cmp(&by);
    }
    let places = (i64::from(a.scale) - i64::from(b.scale)).unsigned_abs();
    let factor = u32::try_from(places)
        .ok()
        .and_then(|n| 10_u128.checked_pow(n));
    let lift = |value: u128| factor.and_then(|factor| value.checked_mul(factor));
    if a.scale >= b.scale {
        lift(x).map_or(Ordering::Greater, |x| x.cmp(&y))
    } else {
        lift(y).map_or(Ordering::Less, |y| x.cmp(&y))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (self.sign(), other.sign());
        match a.cmp(&b) {
            Ordering::Equal if a == 0 => Ordering::Equal,
            Ordering::Equal if a > 0 => compare_magnitude(self, other),
            Ordering::Equal => compare_magnitude(other, self),
            order => order,
        }
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quantity {}

#[cfg(test)]
mod tests;
