//! Flow schemas and priority levels.
//!
//! Source: kubernetes v1.36.3 pkg/apis/flowcontrol/validation/validation.go.

use api::{FieldError, Path, names};
use schema::Ref;

use super::{Errors, one_of, required};

pub(crate) fn schema(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        return;
    };
    let precedence = spec.int("matchingPrecedence").unwrap_or(0);
    if !(1..=10_000).contains(&precedence) {
        let detail = if precedence > 10_000 {
            "must not be greater than 10000"
        } else {
            "must be a positive value"
        };
        errors.push(FieldError::invalid(
            &at.child("matchingPrecedence"),
            precedence,
            detail,
        ));
    }
    if precedence == 1 && api::meta::of(object).name() != "exempt" {
        let detail = "only the schema named 'exempt' may have matchingPrecedence 1";
        let path = at.child("matchingPrecedence");
        errors.push(FieldError::invalid(&path, precedence, detail));
    }
    match spec.get("priorityLevelConfiguration") {
        Some(level) if !level.str("name").is_empty() => {
            let path = at.child("priorityLevelConfiguration").child("name");
            for message in names::dns1123_subdomain(level.str("name")) {
                errors.push(FieldError::invalid(&path, level.str("name"), message));
            }
        }
        _ => errors.push(FieldError::required(
            &at.child("priorityLevelConfiguration").child("name"),
            "must reference a priority level",
        )),
    }
    for (index, one) in spec.items("rules").enumerate() {
        rule(one, &at.child("rules").index(index), errors);
    }
}

pub(crate) fn priority_level(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let empty = schema::Dom::new();
    let spec = object.get("spec").unwrap_or_else(|| empty.as_ref());
    let kind = spec.str("type");
    let exempt = api::meta::of(object).name() == "exempt";
    if exempt != (kind == "Exempt") {
        let detail = "must be 'Exempt' if and only if `name` is 'exempt'";
        errors.push(FieldError::invalid(&at.child("type"), kind, detail));
    }
    let member = |key: &str| spec.get(key).filter(|of| !of.is_null());
    match kind {
        "Exempt" => {
            if member("limited").is_some() {
                let detail = "must be nil if the type is not Limited";
                errors.push(FieldError::forbidden(&at.child("limited"), detail));
            }
            if let Some(own) = member("exempt") {
                shares(own, &at.child("exempt"), errors);
            }
        }
        "Limited" => {
            if member("exempt").is_some() {
                let detail = "must be nil if the type is Limited";
                errors.push(FieldError::forbidden(&at.child("exempt"), detail));
            }
            match member("limited") {
                Some(own) => limited(own, &at.child("limited"), errors),
                None => {
                    let detail = "must not be empty when type is Limited";
                    errors.push(FieldError::required(&at.child("limited"), detail));
                }
            }
        }
        _ => kinds(spec, &["Exempt", "Limited"], &at, errors),
    }
}

/// A type that is none of the known ones.
fn kinds(of: Ref<'_>, known: &[&str], at: &Path, errors: &mut Errors) {
    if required(of, "type", at, errors) {
        one_of(of, "type", known, at, errors);
    }
}

fn shares(of: Ref<'_>, at: &Path, errors: &mut Errors) {
    if let Some(shares) = of.int("nominalConcurrencyShares").filter(|n| *n < 0) {
        let path = at.child("nominalConcurrencyShares");
        let detail = "must be a non-negative integer";
        errors.push(FieldError::invalid(&path, shares, detail));
    }
    if of.get("limitResponse").is_some() {
        response(of, &at.child("limitResponse"), errors);
    }
    if let Some(percent) = of.int("lendablePercent")
        && !(0..=100).contains(&percent)
    {
        let detail = "must be between 0 and 100, inclusive";
        errors.push(FieldError::invalid(
            &at.child("lendablePercent"),
            percent,
            detail,
        ));
    }
}

fn limited(of: Ref<'_>, at: &Path, errors: &mut Errors) {
    shares(of, at, errors);
    if of.get("limitResponse").is_none() {
        let path = at.child("limitResponse").child("type");
        errors.push(FieldError::required(&path, ""));
    }
    if let Some(percent) = of.int("borrowingLimitPercent").filter(|n| *n < 0) {
        let detail = "if specified, must be a non-negative integer";
        let path = at.child("borrowingLimitPercent");
        errors.push(FieldError::invalid(&path, percent, detail));
    }
}

fn response(of: Ref<'_>, at: &Path, errors: &mut Errors) {
    let Some(response) = of.get("limitResponse") else {
        return;
    };
    let queuing = response.get("queuing").filter(|of| !of.is_null());
    let path = at.child("queuing");
    match (response.str("type"), queuing) {
        ("Reject", Some(_)) => {
            let detail = "must be nil if limited.limitResponse.type is not Limited";
            errors.push(FieldError::forbidden(&path, detail));
        }
        ("Reject", None) => {}
        ("Queue", None) => {
            let detail = "must not be empty if limited.limitResponse.type is Limited";
            errors.push(FieldError::required(&path, detail));
        }
        ("Queue", Some(queuing)) => queues(queuing, &path, errors),
        _ => kinds(response, &["Queue", "Reject"], at, errors),
    }
}

fn queues(of: Ref<'_>, at: &Path, errors: &mut Errors) {
    /// Upstream's bound, and its bound on the bits of a shuffled hand.
    const MOST: i64 = 10_000_000;
    let number = |key: &str| of.int(key).unwrap_or(0);
    let mut push = |key: &str, detail: String| {
        errors.push(FieldError::invalid(&at.child(key), number(key), detail));
    };
    let (queues, hand) = (number("queues"), number("handSize"));
    if number("queueLengthLimit") <= 0 {
        push("queueLengthLimit", "must be positive".to_owned());
    }
    if queues <= 0 {
        push("queues", "must be positive".to_owned());
    } else if queues > MOST {
        push("queues", format!("must not be greater than {MOST}"));
    }
    if hand <= 0 {
        push("handSize", "must be positive".to_owned());
    } else if hand > queues {
        push(
            "handSize",
            format!("should not be greater than queues ({queues})"),
        );
    }
}

const VERBS: [&str; 9] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
];

fn rule(rule: Ref<'_>, at: &Path, errors: &mut Errors) {
    if rule.items("subjects").next().is_none() {
        let detail = "subjects must contain at least one value";
        errors.push(FieldError::required(&at.child("subjects"), detail));
    }
    for (index, one) in rule.items("subjects").enumerate() {
        subject(one, &at.child("subjects").index(index), errors);
    }
    let lists = ["resourceRules", "nonResourceRules"];
    if lists.iter().all(|list| rule.items(list).next().is_none()) {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(FieldError::required(at, detail));
    }
    for (index, one) in rule.items("resourceRules").enumerate() {
        resource_rule(one, &at.child("resourceRules").index(index), errors);
    }
    for (index, one) in rule.items("nonResourceRules").enumerate() {
        let at = at.child("nonResourceRules").index(index);
        verbs(one, &at, errors);
        paths(one, &at.child("nonResourceURLs"), errors);
    }
}

fn subject(subject: Ref<'_>, at: &Path, errors: &mut Errors) {
    const KINDS: [(&str, &str); 3] = [
        ("serviceAccount", "ServiceAccount"),
        ("user", "User"),
        ("group", "Group"),
    ];
    let kind = subject.str("kind");
    let Some((member, _)) = KINDS.iter().find(|(_, of)| *of == kind) else {
        let known = ["Group", "ServiceAccount", "User"];
        errors.push(FieldError::not_supported(&at.child("kind"), kind, &known));
        return;
    };
    let path = at.child(member);
    match subject.get(member).filter(|of| !of.is_null()) {
        None => {
            let detail = format!("{member} is required when subject kind is '{kind}'");
            errors.push(FieldError::required(&path, detail));
        }
        Some(of) => {
            let name = of.str("name");
            required(of, "name", &path, errors);
            if *member == "serviceAccount" {
                if !name.is_empty() && name != "*" {
                    for message in names::dns1123_subdomain(name) {
                        errors.push(FieldError::invalid(&path.child("name"), name, message));
                    }
                }
                let namespace = of.str("namespace");
                let path = path.child("namespace");
                if namespace.is_empty() {
                    let detail = "must specify namespace for service account";
                    errors.push(FieldError::required(&path, detail));
                } else {
                    for message in names::dns1123_label(namespace) {
                        errors.push(FieldError::invalid(&path, namespace, message));
                    }
                }
            }
        }
    }
    for (other, of) in KINDS.iter().filter(|(other, _)| other != member) {
        if subject.get(other).is_some_and(|one| !one.is_null()) {
            let detail = format!("{other} is forbidden when subject kind is not '{of}'");
            errors.push(FieldError::forbidden(&at.child(other), detail));
        }
    }
}

/// The texts of a list, and how it looks in a message.
fn texts<'a>(of: Ref<'a>, list: &str) -> (Vec<&'a str>, api::BadValue) {
    let all: Vec<&str> = of.items(list).filter_map(Ref::as_str).collect();
    let shown = api::BadValue::Raw(of.get(list).map(super::shown).unwrap_or_default());
    (all, shown)
}

/// Says whether the list needs no further look.
fn alone(of: Ref<'_>, list: &str, what: &str, at: &Path, errors: &mut Errors) -> bool {
    let (all, shown) = texts(of, list);
    if !all.contains(&"*") {
        return false;
    }
    if all.len() > 1 {
        let detail = format!("if '*' is present, must not specify other {what}");
        errors.push(FieldError::invalid(&at.child(list), shown, detail));
    }
    true
}

fn verbs(of: Ref<'_>, at: &Path, errors: &mut Errors) {
    let (all, shown) = texts(of, "verbs");
    if all.is_empty() {
        let detail = "verbs must contain at least one value";
        errors.push(FieldError::required(&at.child("verbs"), detail));
    } else if !alone(of, "verbs", "verbs", at, errors)
        && !all.iter().all(|verb| VERBS.contains(verb))
    {
        errors.push(FieldError::not_supported(&at.child("verbs"), shown, &VERBS));
    }
}

fn resource_rule(of: Ref<'_>, at: &Path, errors: &mut Errors) {
    verbs(of, at, errors);
    for (list, one, all) in [
        ("apiGroups", "api group", "api groups"),
        ("resources", "resource", "resources"),
    ] {
        if of.items(list).next().is_none() {
            let detail = format!("resource rules must supply at least one {one}");
            errors.push(FieldError::required(&at.child(list), detail));
        } else {
            alone(of, list, all, at, errors);
        }
    }
    let path = at.child("namespaces");
    let (all, _) = texts(of, "namespaces");
    if all.is_empty() && of.bool("clusterScope") != Some(true) {
        let detail =
            "resource rules that are not cluster scoped must supply at least one namespace";
        errors.push(FieldError::required(&path, detail));
    } else if !alone(of, "namespaces", "namespaces", at, errors) {
        for (index, name) in all.into_iter().enumerate() {
            for message in names::dns1123_label(name) {
                let detail =
                    format!("each member of this list must be '*' or a DNS-1123 label; {message}");
                errors.push(FieldError::invalid(&path.index(index), name, detail));
            }
        }
    }
}

fn paths(of: Ref<'_>, at: &Path, errors: &mut Errors) {
    let (all, shown) = texts(of, "nonResourceURLs");
    if all.is_empty() {
        let detail = "nonResourceURLs must contain at least one value";
        errors.push(FieldError::required(at, detail));
        return;
    }
    if all.contains(&"*") {
        if all.len() > 1 {
            let detail = "if '*' is present, must not specify other non-resource URLs";
            errors.push(FieldError::invalid(at, shown, detail));
        }
        return;
    }
    for (index, path) in all.into_iter().enumerate() {
        let stars = path.matches('*').count();
        let detail = match path {
            "" => "must not be empty",
            "/" => continue,
            _ if !path.starts_with('/') => "must start with slash",
            _ if path.contains(' ') => "must not contain white-space",
            _ if path.contains("//") => "must not contain double slash",
            _ if stars > 1 || stars == 1 && !path.ends_with("/*") => {
                "wildcard can only do suffix matching"
            }
            _ => continue,
        };
        errors.push(FieldError::invalid(&at.index(index), path, detail));
    }
}
