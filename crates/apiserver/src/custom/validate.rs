//! An object against the schema of its definition.
//!
//! Source: kube-openapi pkg/validation/validate; apiextensions-apiserver v0.36.3
//! pkg/apiserver/validation/validation.go (texts).

use api::{BadValue, FieldError, Path};
use schema::{Ref, Value};

/// Findings in one object at most.
const MOST: usize = 100;
const DEPTH: usize = 128;

/// Checks the whole object.
pub(super) fn object(object: Ref<'_>, schema: Ref<'_>, errors: &mut Vec<FieldError>) {
    let own = |key: &str| matches!(key, "metadata" | "apiVersion" | "kind");
    required(object, schema, None, errors);
    for (name, property) in schema.entries("properties") {
        if own(name) {
            continue;
        }
        if let Some(value) = object.get(name) {
            check(value, property, &Path::new(name), errors, 0);
        }
    }
    combined(object, schema, &Path::root(), errors, 0);
}

fn required(object: Ref<'_>, schema: Ref<'_>, at: Option<&Path>, errors: &mut Vec<FieldError>) {
    for name in schema.items("required").filter_map(Ref::as_str) {
        if at.is_none() && matches!(name, "metadata" | "apiVersion" | "kind") {
            continue;
        }
        if object.get(name).is_none() {
            let path = at.map_or_else(|| Path::new(name), |at| at.child(name));
            errors.push(FieldError::required(&path, ""));
        }
    }
}

fn shown(value: Ref<'_>) -> BadValue {
    match value.value() {
        Value::Str(text) => BadValue::Text(text.to_owned()),
        _ => BadValue::Raw(String::from_utf8_lossy(&value.to_json()).into_owned()),
    }
}

fn kind(value: Ref<'_>) -> &'static str {
    match value.value() {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Int(_) => "integer",
        Value::Float(_) => "number",
        Value::Str(_) => "string",
        Value::List => "array",
        Value::Map => "object",
    }
}

fn check(value: Ref<'_>, schema: Ref<'_>, at: &Path, errors: &mut Vec<FieldError>, depth: usize) {
    if errors.len() >= MOST || depth > DEPTH {
        return;
    }
    if value.is_null() && schema.bool("nullable") == Some(true) {
        return;
    }
    let wanted = schema.str("type");
    let found = kind(value);
    let either = schema.bool("x-kubernetes-int-or-string") == Some(true);
    let fits = match wanted {
        "" if either => matches!(found, "integer" | "string"),
        "" => true,
        "number" => matches!(found, "integer" | "number"),
        "integer" => match value.value() {
            Value::Float(number) => number.fract() == 0.0,
            _ => found == "integer",
        },
        wanted => wanted == found,
    };
    if !fits {
        let wanted = if either { "integer,string" } else { wanted };
        let detail = format!("{at} in body must be of type {wanted}: {found:?}");
        errors.push(FieldError::type_invalid(at, kind_value(found), detail));
        return;
    }
    match value.value() {
        Value::Map => map(value, schema, at, errors, depth),
        Value::List => list(value, schema, at, errors, depth),
        Value::Str(text) => string(text, schema, at, errors),
        Value::Int(number) => self::number(number as f64, value, schema, at, errors),
        Value::Float(number) => self::number(number, value, schema, at, errors),
        _ => {}
    }
    let mut allowed = schema.items("enum").peekable();
    if allowed.peek().is_some() && !allowed.any(|one| one.equal(value)) {
        let known: Vec<String> = schema
            .items("enum")
            .map(|one| match one.as_str() {
                Some(text) => text.to_owned(),
                None => String::from_utf8_lossy(&one.to_json()).into_owned(),
            })
            .collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        errors.push(FieldError::not_supported(at, shown(value), &known));
    }
    combined(value, schema, at, errors, depth);
}

fn kind_value(found: &str) -> BadValue {
    BadValue::Text(found.to_owned())
}

fn map(value: Ref<'_>, schema: Ref<'_>, at: &Path, errors: &mut Vec<FieldError>, depth: usize) {
    required(value, schema, Some(at), errors);
    for (name, property) in schema.entries("properties") {
        if let Some(member) = value.get(name) {
            check(member, property, &at.child(name), errors, depth + 1);
        }
    }
    let additional = schema
        .get("additionalProperties")
        .filter(|a| a.as_bool().is_none());
    if let Some(additional) = additional {
        for (key, member) in value.map() {
            if schema.at(&["properties", key]).is_none() {
                check(member, additional, &at.key(key), errors, depth + 1);
            }
        }
    }
    let count = value.map().count();
    if let Some(most) = schema
        .int("maxProperties")
        .and_then(|n| usize::try_from(n).ok())
        && count > most
    {
        errors.push(FieldError::too_many(at, count, most));
    }
    if let Some(least) = schema.int("minProperties")
        && (count as i64) < least
    {
        let detail = format!("{at} in body should have at least {least} properties");
        errors.push(FieldError::invalid(at, shown(value), detail));
    }
}

fn list(value: Ref<'_>, schema: Ref<'_>, at: &Path, errors: &mut Vec<FieldError>, depth: usize) {
    if let Some(items) = schema.get("items") {
        for (index, item) in value.list().enumerate() {
            check(item, items, &at.index(index), errors, depth + 1);
        }
    }
    let count = value.list().count();
    if let Some(most) = schema.int("maxItems").and_then(|n| usize::try_from(n).ok())
        && count > most
    {
        errors.push(FieldError::too_many(at, count, most));
    }
    if let Some(least) = schema.int("minItems")
        && (count as i64) < least
    {
        let detail = format!("{at} in body should have at least {least} items");
        errors.push(FieldError::invalid(at, shown(value), detail));
    }
    let keys: Vec<&str> = schema
        .items("x-kubernetes-list-map-keys")
        .filter_map(Ref::as_str)
        .collect();
    let set = schema.str("x-kubernetes-list-type") == "set";
    if set || !keys.is_empty() {
        let mut seen = std::collections::HashSet::new();
        for (index, item) in value.list().enumerate() {
            let identity: Vec<Vec<u8>> = if set {
                vec![item.to_json()]
            } else {
                keys.iter()
                    .map(|key| item.get(key).map(Ref::to_json).unwrap_or_default())
                    .collect()
            };
            if !seen.insert(identity) {
                errors.push(FieldError::duplicate(&at.index(index), shown(item)));
            }
        }
    }
}

fn string(text: &str, schema: Ref<'_>, at: &Path, errors: &mut Vec<FieldError>) {
    let length = text.chars().count() as i64;
    if let Some(most) = schema.int("maxLength")
        && length > most
    {
        let most = usize::try_from(most).unwrap_or(0);
        errors.push(FieldError::too_long(at, most));
    }
    if let Some(least) = schema.int("minLength")
        && length < least
    {
        let detail = format!("{at} in body should be at least {least} chars long");
        errors.push(FieldError::invalid(at, text, detail));
    }
    let pattern = schema.str("pattern");
    if !pattern.is_empty()
        && let Ok(regex) = regex::Regex::new(pattern)
        && !regex.is_match(text)
    {
        let detail = format!("{at} in body should match '{pattern}'");
        errors.push(FieldError::invalid(at, text, detail));
    }
    let fits = match schema.str("format") {
        "date-time" => api::time::parse(text).is_ok(),
        "ipv4" => text.parse::<std::net::Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<std::net::Ipv6Addr>().is_ok(),
        "uuid" => text.len() == 36 && text.split('-').count() == 5,
        _ => true,
    };
    if !fits {
        let detail = format!(
            "{at} in body must be of type {}: {text:?}",
            schema.str("format")
        );
        errors.push(FieldError::invalid(at, text, detail));
    }
}

fn number(number: f64, value: Ref<'_>, schema: Ref<'_>, at: &Path, errors: &mut Vec<FieldError>) {
    let bound = |key: &str| schema.get(key).and_then(Ref::as_float);
    if let Some(most) = bound("maximum") {
        let exclusive = schema.bool("exclusiveMaximum") == Some(true);
        if number > most || exclusive && number >= most {
            let words = if exclusive {
                "less than"
            } else {
                "less than or equal to"
            };
            let detail = format!("{at} in body should be {words} {most}");
            errors.push(FieldError::invalid(at, shown(value), detail));
        }
    }
    if let Some(least) = bound("minimum") {
        let exclusive = schema.bool("exclusiveMinimum") == Some(true);
        if number < least || exclusive && number <= least {
            let words = if exclusive {
                "greater than"
            } else {
                "greater than or equal to"
            };
            let detail = format!("{at} in body should be {words} {least}");
            errors.push(FieldError::invalid(at, shown(value), detail));
        }
    }
    if let Some(step) = bound("multipleOf")
        && step > 0.0
        && (number / step).fract() != 0.0
    {
        let detail = format!("{at} in body should be a multiple of {step}");
        errors.push(FieldError::invalid(at, shown(value), detail));
    }
}

/// allOf, anyOf, oneOf, not.
fn combined(
    value: Ref<'_>,
    schema: Ref<'_>,
    at: &Path,
    errors: &mut Vec<FieldError>,
    depth: usize,
) {
    let holds = |schema: Ref<'_>| {
        let mut found = Vec::new();
        check(value, schema, at, &mut found, depth + 1);
        found.is_empty()
    };
    for one in schema.items("allOf") {
        check(value, one, at, errors, depth + 1);
    }
    let refuse = |errors: &mut Vec<FieldError>, words: &str| {
        let name = if at.as_str().is_empty() {
            "\"\"".to_owned()
        } else {
            at.to_string()
        };
        errors.push(FieldError::invalid(
            at,
            shown(value),
            format!("{name} in body must validate {words}"),
        ));
    };
    if schema.items("anyOf").next().is_some() && !schema.items("anyOf").any(holds) {
        refuse(errors, "at least one schema (anyOf)");
    }
    if schema.items("oneOf").next().is_some()
        && schema.items("oneOf").filter(|s| holds(*s)).count() != 1
    {
        refuse(errors, "one and only one schema (oneOf)");
    }
    if let Some(not) = schema.get("not")
        && holds(not)
    {
        let name = at.to_string();
        errors.push(FieldError::invalid(
            at,
            shown(value),
            format!("{name} in body must not validate the schema (not)"),
        ));
    }
}
