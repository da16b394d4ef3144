//! Functions of texts; places count characters.
//!
//! Source: cel-go v0.26 ext/strings.go; kubernetes apiserver v0.36.3 pkg/cel/library/regex.go.

use regex::{Regex, RegexBuilder};

use super::format;
use crate::eval::{Budget, EvalError, Evaluated, text};
use crate::value::{List, Value};

/// Memory of a compiled pattern at most.
const PATTERN: usize = 1 << 20;

fn pattern(source: &str, text: &str, budget: &Budget) -> Result<Regex, EvalError> {
    let cost = (source.len() as u64 / 4 + 1).saturating_mul(text.len() as u64 / 10 + 1);
    budget.spend(cost)?;
    RegexBuilder::new(source)
        .size_limit(PATTERN)
        .build()
        .map_err(|_| EvalError::new(&format!("error parsing regexp: {source}")))
}

fn place(at: i64) -> Result<usize, EvalError> {
    usize::try_from(at).map_err(|_| EvalError::new(&format!("index out of range: {at}")))
}

fn index_of(text: &str, part: &str, from: usize) -> Option<usize> {
    let start = text
        .char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .nth(from)?;
    let found = text[start..].find(part)?;
    Some(from + text[start..start + found].chars().count())
}

fn last_index_of(text: &str, part: &str, from: Option<usize>) -> Option<usize> {
    let end = match from {
        None => text.len(),
        Some(from) => {
            let start = text
                .char_indices()
                .map(|(at, _)| at)
                .nth(from)
                .unwrap_or(text.len());
            (start + part.len()).min(text.len())
        }
    };
    let mut end = end;
    while !text.is_char_boundary(end) {
        end += 1;
    }
    let found = text[..end].rfind(part)?;
    Some(text[..found].chars().count())
}

fn number<'a>(found: Option<usize>) -> Value<'a> {
    Value::Int(found.map_or(-1, |at| i64::try_from(at).unwrap_or(i64::MAX)))
}

fn sub(all: &str, from: i64, to: Option<i64>) -> Result<String, EvalError> {
    let length = all.chars().count();
    let start = place(from)?;
    let end = to.map_or(Ok(length), place)?;
    if start > length {
        return Err(EvalError::new(&format!("index out of range: {from}")));
    }
    if end > length {
        return Err(EvalError::new(&format!("index out of range: {end}")));
    }
    if start > end {
        return Err(EvalError::new(&format!(
            "invalid substring range. start: {start}, end: {end}"
        )));
    }
    Ok(all.chars().skip(start).take(end - start).collect())
}

pub(super) fn spaced<'a>(name: &str, args: &[Value<'a>], budget: &Budget) -> Option<Evaluated<'a>> {
    match (name, args) {
        ("strings.quote", [Value::Str(of)]) => Some(text(&api::text::quote(of), budget)),
        ("jsonpatch.escapeKey", [Value::Str(of)]) => {
            Some(text(&of.replace('~', "~0").replace('/', "~1"), budget))
        }
        _ => None,
    }
}

pub(super) fn call<'a>(name: &str, args: &[Value<'a>], budget: &Budget) -> Option<Evaluated<'a>> {
    let Some(Value::Str(all)) = args.first() else {
        return None;
    };
    let all: &str = all;
    if let Err(error) = budget.spend(all.len() as u64 / 10) {
        return Some(Err(error));
    }
    let bool = |value| Some(Ok(Value::Bool(value)));
    let listed = |parts: Vec<&str>| -> Evaluated<'a> {
        budget.spend(parts.len() as u64)?;
        Ok(Value::list(parts.into_iter().map(Value::text).collect()))
    };
    let result = match (name, &args[1..]) {
        ("matches", [Value::Str(source)]) => match pattern(source, all, budget) {
            Ok(pattern) => return bool(pattern.is_match(all)),
            Err(error) => Err(error),
        },
        ("contains", [Value::Str(part)]) => return bool(all.contains(&**part)),
        ("startsWith", [Value::Str(part)]) => return bool(all.starts_with(&**part)),
        ("endsWith", [Value::Str(part)]) => return bool(all.ends_with(&**part)),
        ("charAt", [Value::Int(at)]) => {
            let length = all.chars().count();
            match place(*at) {
                Ok(at) if at == length => Ok(Value::borrowed("")),
                Ok(at) => match all.chars().nth(at) {
                    Some(c) => Ok(Value::text(c.to_string())),
                    None => Err(EvalError::new(&format!("index out of range: {at}"))),
                },
                Err(error) => Err(error),
            }
        }
        ("indexOf", [Value::Str(part)]) => Ok(number(index_of(all, part, 0))),
        ("indexOf", [Value::Str(part), Value::Int(from)]) => {
            place(*from).map(|from| number(index_of(all, part, from)))
        }
        ("lastIndexOf", [Value::Str(part)]) => Ok(number(last_index_of(all, part, None))),
        ("lastIndexOf", [Value::Str(part), Value::Int(from)]) => {
            place(*from).map(|from| number(last_index_of(all, part, Some(from))))
        }
        ("lowerAscii", []) => text(&all.to_ascii_lowercase(), budget),
        ("upperAscii", []) => text(&all.to_ascii_uppercase(), budget),
        ("trim", []) => text(all.trim(), budget),
        ("reverse", []) => text(&all.chars().rev().collect::<String>(), budget),
        ("replace", [Value::Str(from), Value::Str(to)]) => replace(all, from, to, -1, budget),
        ("replace", [Value::Str(from), Value::Str(to), Value::Int(count)]) => {
            replace(all, from, to, *count, budget)
        }
        ("split", [Value::Str(by)]) => listed(split(all, by, -1)),
        ("split", [Value::Str(by), Value::Int(count)]) => listed(split(all, by, *count)),
        ("substring", [Value::Int(from)]) => {
            sub(all, *from, None).and_then(|part| text(&part, budget))
        }
        ("substring", [Value::Int(from), Value::Int(to)]) => {
            sub(all, *from, Some(*to)).and_then(|part| text(&part, budget))
        }
        ("format", [Value::List(given)]) => {
            let formatted = format::format(all, given, budget);
            formatted.map(Value::text)
        }
        ("find", [Value::Str(source)]) => pattern(source, all, budget)
            .and_then(|pattern| text(pattern.find(all).map_or("", |found| found.as_str()), budget)),
        ("findAll", [Value::Str(source), rest @ ..]) => {
            let most = match rest {
                [] => usize::MAX,
                [Value::Int(most)] => usize::try_from(*most).unwrap_or(usize::MAX),
                _ => return None,
            };
            pattern(source, all, budget).and_then(|pattern| {
                listed(
                    pattern
                        .find_iter(all)
                        .take(most)
                        .map(|m| m.as_str())
                        .collect(),
                )
            })
        }
        _ => return None,
    };
    Some(result)
}

fn split<'t>(all: &'t str, by: &str, count: i64) -> Vec<&'t str> {
    if count == 0 {
        return Vec::new();
    }
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    if by.is_empty() {
        let mut parts = Vec::new();
        let mut rest = all;
        while let Some(c) = rest.chars().next() {
            if parts.len() + 1 >= most {
                break;
            }
            let (one, other) = rest.split_at(c.len_utf8());
            parts.push(one);
            rest = other;
        }
        if !rest.is_empty() {
            parts.push(rest);
        }
        return parts;
    }
    all.splitn(most, by).collect()
}

fn replace<'a>(all: &str, from: &str, to: &str, count: i64, budget: &Budget) -> Evaluated<'a> {
    let found = if from.is_empty() {
        all.chars().count() + 1
    } else {
        all.matches(from).count()
    };
    let times = usize::try_from(count).unwrap_or(usize::MAX).min(found);
    let grown = (all.len() as u64).saturating_add((times as u64).saturating_mul(to.len() as u64));
    budget.spend(grown / 10)?;
    Ok(Value::text(all.replacen(from, to, times)))
}

/// `list.join(by)`
pub(super) fn join<'a>(list: &List<'a>, by: &str, budget: &Budget) -> Evaluated<'a> {
    let mut out = String::new();
    for (index, item) in list.iter().enumerate() {
        let Value::Str(part) = item else {
            return Err(EvalError::overload());
        };
        budget.spend(1 + (part.len() + by.len()) as u64 / 10)?;
        if index > 0 {
            out.push_str(by);
        }
        out.push_str(&part);
    }
    Ok(Value::text(out))
}
