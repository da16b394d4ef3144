//! Functions of lists and sets, and of optional values.
//!
//! Source: cel-go v0.26 ext/{lists,sets}.go; kubernetes apiserver v0.36.3
//! pkg/cel/library/lists.go.

use std::cmp::Ordering;

use super::{operator, strings};
use crate::eval::{Budget, EvalError, Evaluated, order};
use crate::value::{List, Value};

fn holds(list: &List<'_>, item: &Value<'_>, budget: &Budget) -> Result<bool, EvalError> {
    for other in list.iter() {
        budget.spend(other.weight(budget.left()))?;
        if other.equal(item) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn contains(list: &List<'_>, part: &List<'_>, budget: &Budget) -> Result<bool, EvalError> {
    for item in part.iter() {
        if !holds(list, &item, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn spaced<'a>(name: &str, args: &[Value<'a>], budget: &Budget) -> Option<Evaluated<'a>> {
    Some(match (name, args) {
        ("sets.contains", [Value::List(all), Value::List(part)]) => {
            contains(all, part, budget).map(Value::Bool)
        }
        ("sets.equivalent", [Value::List(a), Value::List(b)]) => {
            contains(a, b, budget).and_then(|one| Ok(Value::Bool(one && contains(b, a, budget)?)))
        }
        ("sets.intersects", [Value::List(a), Value::List(b)]) => {
            for item in a.iter() {
                match holds(b, &item, budget) {
                    Ok(true) => return Some(Ok(Value::Bool(true))),
                    Ok(false) => {}
                    Err(error) => return Some(Err(error)),
                }
            }
            Ok(Value::Bool(false))
        }
        ("lists.range", [Value::Int(count)]) => {
            let count = u64::try_from(*count).unwrap_or(0);
            budget
                .spend(count)
                .map(|()| Value::list((0..count.cast_signed()).map(Value::Int).collect()))
        }
        ("optional.of", [value]) => Ok(value.clone().some()),
        ("optional.none", []) => Ok(Value::Optional(None)),
        ("optional.ofNonZeroValue", [value]) => Ok(if zero(value) {
            Value::Optional(None)
        } else {
            value.clone().some()
        }),
        ("optional.unwrap", [Value::List(list)]) => unwrap(list),
        _ => return None,
    })
}

fn zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Int(value) => *value == 0,
        Value::Uint(value) => *value == 0,
        Value::Double(value) => *value == 0.0,
        Value::Str(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::Duration(nanos) => *nanos == 0,
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        _ => false,
    }
}

fn unwrap<'a>(list: &List<'a>) -> Evaluated<'a> {
    let mut items = Vec::new();
    for item in list.iter() {
        match item {
            Value::Optional(Some(item)) => items.push((*item).clone()),
            Value::Optional(None) => {}
            _ => return Err(EvalError::overload()),
        }
    }
    Ok(Value::list(items))
}

/// Values of one type have a total order, without which the standard library's sort may panic;
/// a double that is no number has none and comes last (upstream leaves it anywhere).
fn sorted<'a>(list: &List<'a>) -> Evaluated<'a> {
    let is_nan = |value: &Value<'_>| matches!(value, Value::Double(number) if number.is_nan());
    let mut items: Vec<Value<'a>> = list.iter().collect();
    if let Some(first) = items.first() {
        if first.order(first).is_none() && !is_nan(first) {
            return Err(EvalError::new("list elements must be comparable"));
        }
        let ty = first.type_name();
        if items.iter().any(|item| item.type_name() != ty) {
            return Err(EvalError::new("list elements must have the same type"));
        }
    }
    items.sort_by(|a, b| a.order(b).unwrap_or_else(|| is_nan(a).cmp(&is_nan(b))));
    Ok(Value::list(items))
}

fn flat<'a>(
    list: &List<'a>,
    depth: i64,
    out: &mut Vec<Value<'a>>,
    budget: &Budget,
) -> Result<(), EvalError> {
    for item in list.iter() {
        budget.spend(1)?;
        match item {
            Value::List(inner) if depth > 0 => flat(&inner, depth - 1, out, budget)?,
            item => out.push(item),
        }
    }
    Ok(())
}

fn extreme<'a>(list: &List<'a>, name: &str) -> Evaluated<'a> {
    let mut best: Option<Value<'a>> = None;
    for item in list.iter() {
        best = Some(match best {
            None => item,
            Some(known) => match (name, order(&item, &known)?) {
                ("min", Ordering::Less) | ("max", Ordering::Greater) => item,
                _ => known,
            },
        });
    }
    best.ok_or_else(|| EvalError::new(&format!("{name} called on empty list")))
}

pub(super) fn call<'a>(name: &str, args: &[Value<'a>], budget: &Budget) -> Option<Evaluated<'a>> {
    let Some(Value::List(list)) = args.first() else {
        return None;
    };
    if let Err(error) = budget.spend(list.len() as u64) {
        return Some(Err(error));
    }
    let optional = |item: Option<Value<'a>>| Ok(item.map_or(Value::Optional(None), Value::some));
    Some(match (name, &args[1..]) {
        ("join", []) => strings::join(list, "", budget),
        ("join", [Value::Str(by)]) => strings::join(list, by, budget),
        ("isSorted", []) => {
            let mut before: Option<Value<'a>> = None;
            for item in list.iter() {
                if let Some(before) = before {
                    match order(&before, &item) {
                        Ok(Ordering::Greater) => return Some(Ok(Value::Bool(false))),
                        Ok(_) => {}
                        Err(error) => return Some(Err(error)),
                    }
                }
                before = Some(item);
            }
            Ok(Value::Bool(true))
        }
        ("sum", []) => {
            let mut items = list.iter();
            let Some(first) = items.next() else {
                return Some(Ok(Value::Int(0)));
            };
            items.try_fold(first, |sum, item| {
                operator("_+_", &[sum, item], budget).unwrap_or_else(|| Err(EvalError::overload()))
            })
        }
        ("min" | "max", []) => extreme(list, name),
        ("indexOf", [item]) => Ok(place(list.iter().position(|other| other.equal(item)))),
        ("lastIndexOf", [item]) => {
            let all: Vec<Value<'a>> = list.iter().collect();
            Ok(place(all.iter().rposition(|other| other.equal(item))))
        }
        ("slice", [Value::Int(from), Value::Int(to)]) => {
            match (usize::try_from(*from), usize::try_from(*to)) {
                (Ok(from), Ok(to)) if from <= to && to <= list.len() => Ok(Value::list(
                    list.iter().skip(from).take(to - from).collect(),
                )),
                _ => Err(EvalError::new(&format!(
                    "cannot slice({from}, {to}), list is length {}",
                    list.len()
                ))),
            }
        }
        ("flatten", rest) => {
            let depth = match rest {
                [] => 1,
                [Value::Int(depth)] if (0..=64).contains(depth) => *depth,
                _ => return Some(Err(EvalError::new("level must be non-negative"))),
            };
            let mut out = Vec::new();
            flat(list, depth, &mut out, budget).map(|()| Value::list(out))
        }
        ("sort", []) => sorted(list),
        ("distinct", []) => {
            let mut out: Vec<Value<'a>> = Vec::new();
            for item in list.iter() {
                if let Err(error) = budget.spend(out.len() as u64) {
                    return Some(Err(error));
                }
                if !out.iter().any(|known| known.equal(&item)) {
                    out.push(item);
                }
            }
            Ok(Value::list(out))
        }
        ("reverse", []) => {
            let mut items: Vec<Value<'a>> = list.iter().collect();
            items.reverse();
            Ok(Value::list(items))
        }
        ("first", []) => optional(list.get(0)),
        ("last", []) => optional(list.len().checked_sub(1).and_then(|at| list.get(at))),
        ("unwrapOpt", []) => unwrap(list),
        _ => return None,
    })
}

fn place<'a>(found: Option<usize>) -> Value<'a> {
    Value::Int(found.map_or(-1, |at| i64::try_from(at).unwrap_or(i64::MAX)))
}
