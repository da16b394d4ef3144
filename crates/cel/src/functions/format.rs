//! `'%s has %d'.format([name, count])`.
//!
//! Source: cel-go v0.26 ext/formatting.go.

use super::to_text;
use crate::eval::{Budget, EvalError};
use crate::value::{List, Value};

/// A double as Go prints it.
pub(super) fn double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        return exponent(&format!("{value:e}"));
    }
    value.to_string()
}

/// At least two digits and a sign after the `e`.
fn exponent(text: &str) -> String {
    let Some((mantissa, power)) = text.split_once('e') else {
        return text.to_owned();
    };
    let (sign, digits) = match power.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', power),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

fn inner(value: &Value<'_>, depth: usize) -> Result<String, EvalError> {
    if depth > 16 {
        return Err(EvalError::new("value is nested too deep to be formatted"));
    }
    Ok(match value {
        Value::Null => "null".to_owned(),
        Value::List(list) => {
            let items: Result<Vec<String>, EvalError> =
                list.iter().map(|item| inner(&item, depth + 1)).collect();
            format!("[{}]", items?.join(", "))
        }
        Value::Map(map) => {
            let mut entries = Vec::new();
            for (key, value) in map.iter() {
                entries.push(format!(
                    "{}: {}",
                    inner(&key, depth + 1)?,
                    inner(&value, depth + 1)?
                ));
            }
            entries.sort();
            format!("{{{}}}", entries.join(", "))
        }
        other => to_text(other)?,
    })
}

fn clause(verb: char, precision: Option<usize>, value: &Value<'_>) -> Result<String, EvalError> {
    let wrong = |kinds: &str| {
        Err(EvalError::new(&format!(
            "error during formatting: only {kinds} can be formatted with %{verb}, was given {}",
            value.type_name()
        )))
    };
    Ok(match (verb, value) {
        ('s', value) => inner(value, 0)?,
        ('d', Value::Int(value)) => value.to_string(),
        ('d', Value::Uint(value)) => value.to_string(),
        ('d', Value::Double(value)) => double(*value),
        ('f', Value::Double(value)) => format!("{value:.*}", precision.unwrap_or(6)),
        #[expect(clippy::cast_precision_loss, reason = "as asked for")]
        ('f', Value::Int(value)) => format!("{:.*}", precision.unwrap_or(6), *value as f64),
        ('e', Value::Double(value)) => exponent(&format!("{value:.*e}", precision.unwrap_or(6))),
        ('b', Value::Int(value)) if *value < 0 => format!("-{:b}", value.unsigned_abs()),
        ('b', Value::Int(value)) => format!("{value:b}"),
        ('b', Value::Uint(value)) => format!("{value:b}"),
        ('b', Value::Bool(value)) => u8::from(*value).to_string(),
        ('o', Value::Int(value)) => format!("{value:o}"),
        ('o', Value::Uint(value)) => format!("{value:o}"),
        ('x', Value::Int(value)) if *value < 0 => format!("-{:x}", value.unsigned_abs()),
        ('x', Value::Int(value)) => format!("{value:x}"),
        ('X', Value::Int(value)) => format!("{value:X}"),
        ('x', Value::Uint(value)) => format!("{value:x}"),
        ('X', Value::Uint(value)) => format!("{value:X}"),
        ('x', Value::Str(text)) => text.bytes().map(|b| format!("{b:02x}")).collect(),
        ('X', Value::Str(text)) => text.bytes().map(|b| format!("{b:02X}")).collect(),
        ('x', Value::Bytes(bytes)) => bytes.iter().map(|b| format!("{b:02x}")).collect(),
        ('X', Value::Bytes(bytes)) => bytes.iter().map(|b| format!("{b:02X}")).collect(),
        ('d', _) => return wrong("integers"),
        ('f' | 'e', _) => return wrong("doubles"),
        ('b', _) => return wrong("integers and bools"),
        ('o', _) => return wrong("integers"),
        ('x' | 'X', _) => return wrong("integers, byte buffers, and strings"),
        _ => {
            return Err(EvalError::new(&format!(
                "could not parse formatting clause: unrecognized formatting clause \"{verb}\""
            )));
        }
    })
}

pub(super) fn format(
    template: &str,
    args: &List<'_>,
    budget: &Budget,
) -> Result<String, EvalError> {
    let mut out = String::new();
    let mut chars = template.chars().peekable();
    let mut next = 0;
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if chars.peek() == Some(&'%') {
            chars.next();
            out.push('%');
            continue;
        }
        let mut precision = None;
        if chars.peek() == Some(&'.') {
            chars.next();
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            precision = digits.parse().ok().filter(|places: &usize| *places <= 100);
        }
        let Some(verb) = chars.next() else {
            return Err(EvalError::new("unexpected end of string"));
        };
        let Some(value) = args.get(next) else {
            return Err(EvalError::new(&format!("index {next} out of range")));
        };
        budget.spend(value.weight(budget.left()))?;
        next += 1;
        out.push_str(&clause(verb, precision, &value)?);
    }
    budget.spend(out.len() as u64 / 10)?;
    Ok(out)
}
