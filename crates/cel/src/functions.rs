//! Functions by name: arithmetic, comparison and conversion here, libraries below.
//!
//! A function gets its target as the first argument. What does not fit is "no such overload".
//! Source: the CEL specification (standard functions); cel-go v0.26 common/types.

mod format;
mod library;
mod lists;
mod strings;
mod time;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(crate) use library::Opaque;

use crate::eval::{Budget, EvalError, Evaluated, order};
use crate::value::Value;

/// Type names that stand for themselves in expressions.
pub(crate) fn type_named(name: &str) -> Option<&'static str> {
    const NAMES: [&str; 17] = [
        "int",
        "uint",
        "double",
        "bool",
        "string",
        "bytes",
        "list",
        "map",
        "null_type",
        "type",
        "google.protobuf.Timestamp",
        "google.protobuf.Duration",
        "optional_type",
        "net.IP",
        "net.CIDR",
        "kubernetes.URL",
        "kubernetes.Quantity",
    ];
    NAMES.into_iter().find(|known| *known == name)
}

/// A key or value in a message.
pub(crate) fn shown(value: &Value<'_>) -> String {
    match to_text(value) {
        Ok(text) => text,
        Err(_) => value.type_name().to_owned(),
    }
}

/// What `string(x)` is.
pub(crate) fn to_text(value: &Value<'_>) -> Result<String, EvalError> {
    Ok(match value {
        Value::Str(text) => text.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => format::double(*value),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                return Err(EvalError::new(
                    "invalid UTF-8 in bytes, cannot convert to string",
                ));
            }
        },
        Value::Duration(nanos) => time::duration_text(*nanos),
        Value::Timestamp(at) => at.to_string(),
        Value::Type(name) => (*name).to_owned(),
        Value::Opaque(opaque) => opaque.text().ok_or_else(EvalError::overload)?,
        _ => return Err(EvalError::overload()),
    })
}

fn overflow(kind: &str) -> EvalError {
    EvalError::new(&format!("{kind} overflow"))
}

/// Calls a function.
pub(crate) fn call<'a>(
    name: &str,
    method: bool,
    args: &[Value<'a>],
    budget: &Budget,
) -> Evaluated<'a> {
    let result = if name.starts_with('_') || matches!(name, "!_" | "-_" | "@in") {
        operator(name, args, budget)
    } else if method {
        methods(name, args, budget)
    } else {
        globals(name, args, budget)
    };
    result.unwrap_or_else(|| Err(EvalError::overload()))
}

fn operator<'a>(name: &str, args: &[Value<'a>], budget: &Budget) -> Option<Evaluated<'a>> {
    use Value::{Bool, Bytes, Double, Duration, Int, List, Str, Timestamp, Uint};
    Some(match (name, args) {
        ("!_", [Bool(value)]) => Ok(Bool(!value)),
        ("-_", [Int(value)]) => checked(value.checked_neg()),
        ("-_", [Double(value)]) => Ok(Double(-value)),
        ("_==_", [a, b]) => budget
            .spend(a.weight(budget.left()).min(b.weight(budget.left())))
            .err()
            .map_or_else(|| Ok(Bool(a.equal(b))), Err),
        ("_!=_", [a, b]) => budget
            .spend(a.weight(budget.left()).min(b.weight(budget.left())))
            .err()
            .map_or_else(|| Ok(Bool(!a.equal(b))), Err),
        ("_<_", [a, b]) => order(a, b).map(|order| Bool(order.is_lt())),
        ("_<=_", [a, b]) => order(a, b).map(|order| Bool(order.is_le())),
        ("_>_", [a, b]) => order(a, b).map(|order| Bool(order.is_gt())),
        ("_>=_", [a, b]) => order(a, b).map(|order| Bool(order.is_ge())),
        ("@in", [item, List(list)]) => {
            for other in list.iter() {
                if let Err(error) = budget.spend(other.weight(budget.left())) {
                    return Some(Err(error));
                }
                if item.equal(&other) {
                    return Some(Ok(Bool(true)));
                }
            }
            Ok(Bool(false))
        }
        ("@in", [key, Value::Map(map)]) => Ok(Bool(map.get(key).is_some())),
        ("_+_", [Int(a), Int(b)]) => checked(a.checked_add(*b)),
        ("_+_", [Uint(a), Uint(b)]) => unsigned(a.checked_add(*b)),
        ("_+_", [Double(a), Double(b)]) => Ok(Double(a + b)),
        ("_+_", [Str(a), Str(b)]) => {
            let cost = (a.len() + b.len()) as u64 / 10;
            budget
                .spend(cost)
                .map(|()| Value::text([&**a, &**b].concat()))
        }
        ("_+_", [Bytes(a), Bytes(b)]) => {
            let cost = (a.len() + b.len()) as u64 / 10;
            budget
                .spend(cost)
                .map(|()| Bytes([&**a, &**b].concat().into()))
        }
        ("_+_", [List(a), List(b)]) => {
            let cost = (a.len() + b.len()) as u64;
            budget
                .spend(cost)
                .map(|()| Value::list(a.iter().chain(b.iter()).collect()))
        }
        ("_+_", [Duration(a), Duration(b)]) => {
            let sum = a.checked_add(*b).map(Duration);
            sum.ok_or_else(|| overflow("duration"))
        }
        ("_+_", [Timestamp(at), Duration(nanos)] | [Duration(nanos), Timestamp(at)]) => {
            time::shifted(*at, *nanos)
        }
        ("_-_", [Int(a), Int(b)]) => checked(a.checked_sub(*b)),
        ("_-_", [Uint(a), Uint(b)]) => unsigned(a.checked_sub(*b)),
        ("_-_", [Double(a), Double(b)]) => Ok(Double(a - b)),
        ("_-_", [Duration(a), Duration(b)]) => {
            let sum = a.checked_sub(*b).map(Duration);
            sum.ok_or_else(|| overflow("duration"))
        }
        ("_-_", [Timestamp(at), Duration(nanos)]) => match nanos.checked_neg() {
            Some(nanos) => time::shifted(*at, nanos),
            None => Err(overflow("timestamp")),
        },
        ("_-_", [Timestamp(a), Timestamp(b)]) => {
            let nanos = i64::try_from(a.as_nanosecond() - b.as_nanosecond());
            nanos.map(Duration).map_err(|_| overflow("duration"))
        }
        ("_*_", [Int(a), Int(b)]) => checked(a.checked_mul(*b)),
        ("_*_", [Uint(a), Uint(b)]) => unsigned(a.checked_mul(*b)),
        ("_*_", [Double(a), Double(b)]) => Ok(Double(a * b)),
        ("_/_", [Int(_), Int(0)] | [Uint(_), Uint(0)]) => Err(EvalError::new("division by zero")),
        ("_/_", [Int(a), Int(b)]) => checked(a.checked_div(*b)),
        ("_/_", [Uint(a), Uint(b)]) => unsigned(a.checked_div(*b)),
        ("_/_", [Double(a), Double(b)]) => Ok(Double(a / b)),
        ("_%_", [Int(_), Int(0)] | [Uint(_), Uint(0)]) => Err(EvalError::new("modulus by zero")),
        ("_%_", [Int(a), Int(b)]) => checked(a.checked_rem(*b)),
        ("_%_", [Uint(a), Uint(b)]) => unsigned(a.checked_rem(*b)),
        _ => return None,
    })
}

fn checked<'a>(value: Option<i64>) -> Evaluated<'a> {
    value.map(Value::Int).ok_or_else(|| overflow("integer"))
}

fn unsigned<'a>(value: Option<u64>) -> Evaluated<'a> {
    value
        .map(Value::Uint)
        .ok_or_else(|| overflow("unsigned integer"))
}

fn size<'a>(value: &Value<'a>, budget: &Budget) -> Option<Evaluated<'a>> {
    let size = match value {
        Value::Str(text) => {
            if let Err(error) = budget.spend(text.len() as u64 / 10) {
                return Some(Err(error));
            }
            text.chars().count()
        }
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        _ => return None,
    };
    Some(Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX))))
}

fn globals<'a>(name: &str, args: &[Value<'a>], budget: &Budget) -> Option<Evaluated<'a>> {
    if let [one] = args {
        let converted = match name {
            "size" => size(one, budget),
            "type" => Some(Ok(Value::Type(one.type_name()))),
            "dyn" => Some(Ok(one.clone())),
            "bool" | "bytes" | "double" | "duration" | "int" | "string" | "timestamp" | "uint" => {
                convert(name, one)
            }
            _ => None,
        };
        if converted.is_some() {
            return converted;
        }
    }
    if name == "matches" {
        return strings::call(name, args, budget);
    }
    lists::spaced(name, args, budget)
        .or_else(|| strings::spaced(name, args, budget))
        .or_else(|| library::global(name, args, budget))
}

fn methods<'a>(name: &str, args: &[Value<'a>], budget: &Budget) -> Option<Evaluated<'a>> {
    match (args.first()?, name, args.len()) {
        (one, "size", 1) => size(one, budget),
        (Value::Str(_), _, _) => strings::call(name, args, budget),
        (Value::List(_), _, _) => lists::call(name, args, budget),
        (Value::Timestamp(_) | Value::Duration(_), _, _) => time::call(name, args),
        (Value::Optional(inner), "hasValue", 1) => Some(Ok(Value::Bool(inner.is_some()))),
        (Value::Optional(Some(inner)), "value", 1) => Some(Ok((**inner).clone())),
        (Value::Optional(None), "value", 1) => {
            Some(Err(EvalError::new("optional.none() dereference")))
        }
        (Value::Opaque(_), _, _) => library::method(name, args, budget),
        _ => None,
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "conversions that expressions ask for; ranges are checked"
)]
fn convert<'a>(to: &str, value: &Value<'a>) -> Option<Evaluated<'a>> {
    let failed = |kind: &str| {
        Err(EvalError::new(&format!(
            "type conversion error from 'string' to '{kind}'"
        )))
    };
    Some(match (to, value) {
        ("bool", Value::Bool(_))
        | ("bytes", Value::Bytes(_))
        | ("double", Value::Double(_))
        | ("duration", Value::Duration(_))
        | ("int", Value::Int(_))
        | ("string", Value::Str(_))
        | ("timestamp", Value::Timestamp(_))
        | ("uint", Value::Uint(_)) => Ok(value.clone()),
        ("bool", Value::Str(text)) => match &**text {
            "true" | "TRUE" | "True" | "t" | "T" | "1" => Ok(Value::Bool(true)),
            "false" | "FALSE" | "False" | "f" | "F" | "0" => Ok(Value::Bool(false)),
            _ => failed("bool"),
        },
        ("bytes", Value::Str(text)) => Ok(Value::Bytes(text.as_bytes().into())),
        ("double", Value::Int(value)) => Ok(Value::Double(*value as f64)),
        ("double", Value::Uint(value)) => Ok(Value::Double(*value as f64)),
        ("double", Value::Str(text)) => match text.parse() {
            Ok(value) => Ok(Value::Double(value)),
            Err(_) => failed("double"),
        },
        ("duration", Value::Str(text)) => match api::duration::parse_nanos(text) {
            Ok(nanos) => Ok(Value::Duration(nanos)),
            Err(_) => failed("google.protobuf.Duration"),
        },
        ("duration", Value::Int(nanos)) => Ok(Value::Duration(*nanos)),
        ("int", Value::Uint(value)) => checked(i64::try_from(*value).ok()),
        ("int", Value::Double(value)) if value.abs() < 9.223_372_036_854_775e18 => {
            Ok(Value::Int(*value as i64))
        }
        ("int", Value::Double(_)) => Err(overflow("integer")),
        ("int", Value::Str(text)) => match text.parse() {
            Ok(value) => Ok(Value::Int(value)),
            Err(_) => failed("int"),
        },
        ("int", Value::Timestamp(at)) => Ok(Value::Int(at.as_second())),
        ("int", Value::Duration(nanos)) => Ok(Value::Int(*nanos)),
        ("uint", Value::Int(value)) => unsigned(u64::try_from(*value).ok()),
        ("uint", Value::Double(value)) if *value >= 0.0 && *value < 1.844_674_407_370_955e19 => {
            Ok(Value::Uint(*value as u64))
        }
        ("uint", Value::Double(_)) => Err(overflow("unsigned integer")),
        ("uint", Value::Str(text)) => match text.parse() {
            Ok(value) => Ok(Value::Uint(value)),
            Err(_) => failed("uint"),
        },
        ("timestamp", Value::Str(text)) => match text.parse() {
            Ok(at) => Ok(Value::Timestamp(at)),
            Err(_) => failed("google.protobuf.Timestamp"),
        },
        ("timestamp", Value::Int(seconds)) => {
            let at = jiff::Timestamp::from_second(*seconds);
            at.map(Value::Timestamp).map_err(|_| overflow("timestamp"))
        }
        ("string", value) => match to_text(value) {
            Ok(text) => Ok(Value::text(text)),
            Err(error) => Err(error),
        },
        _ => return None,
    })
}

/// Whether a text is base64.
fn is_base64(text: &str) -> bool {
    STANDARD.decode(text).is_ok()
}
