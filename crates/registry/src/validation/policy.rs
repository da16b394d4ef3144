//! Admission policies, their bindings, match conditions.
//!
//! Expressions are compiled here, so that a policy that is stored can be evaluated.
//! Source: kubernetes v1.36.3 pkg/apis/admissionregistration/validation/validation.go.

use api::{BadValue, FieldError, Path, names};
use cel::admission::{Wanted, compile, env, with_variables};
use cel::{Env, Type};
use schema::Ref;

use super::{Errors, one_of, required, shown};

/// Conditions of one hook or policy at most.
const CONDITIONS: usize = 64;
/// Annotations of one policy at most.
const ANNOTATIONS: usize = 20;
/// Bytes of the expression of an annotation at most.
const ANNOTATION_LENGTH: usize = 5 * 1024;

fn expression(of: Ref<'_>, key: &str, env: &Env, wanted: Wanted, at: &Path, errors: &mut Errors) {
    let source = of.str(key);
    if source.trim().is_empty() {
        errors.push(FieldError::required(
            &at.child(key),
            format!("{key} is not specified"),
        ));
    } else if let Err(detail) = compile(source, env, wanted) {
        errors.push(FieldError::invalid(&at.child(key), source, detail));
    }
}

/// `matchConditions` of a hook or a policy.
pub(super) fn conditions(of: Ref<'_>, params: bool, at: &Path, errors: &mut Errors) {
    let at = at.child("matchConditions");
    let env = env(params, true);
    let mut seen = std::collections::HashSet::new();
    let count = of.items("matchConditions").count();
    if count > CONDITIONS {
        errors.push(FieldError::too_many(&at, count, CONDITIONS));
    }
    for (index, condition) in of.items("matchConditions").enumerate() {
        let at = at.index(index);
        let source = condition.str("expression").trim();
        if source.is_empty() {
            errors.push(FieldError::required(&at.child("expression"), ""));
        } else if let Err(detail) = compile(source, &env, Wanted::Bool) {
            errors.push(FieldError::invalid(&at.child("expression"), source, detail));
        }
        let name = condition.str("name");
        if name.is_empty() {
            errors.push(FieldError::required(&at.child("name"), ""));
            continue;
        }
        for message in names::qualified_name(name) {
            errors.push(FieldError::invalid(&at.child("name"), name, message));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(&at.child("name"), name));
        }
    }
}

fn resources(of: Ref<'_>, at: &Path, errors: &mut Errors) {
    one_of(of, "matchPolicy", &["Equivalent", "Exact"], at, errors);
    for key in ["resourceRules", "excludeResourceRules"] {
        for (index, rule) in of.items(key).enumerate() {
            let at = at.child(key).index(index);
            for list in ["operations", "apiGroups", "apiVersions", "resources"] {
                let values = || rule.items(list).filter_map(Ref::as_str);
                let all = values().any(|value| value == "*");
                let count = rule.items(list).count();
                if count == 0 {
                    errors.push(FieldError::required(&at.child(list), ""));
                } else if all && count > 1 && list != "resources" {
                    let value = BadValue::Raw(shown_list(rule, list));
                    let detail = match list {
                        "operations" => "if '*' is present, must not specify other operations",
                        "apiGroups" => "if '*' is present, must not specify other API groups",
                        _ => "if '*' is present, must not specify other API versions",
                    };
                    errors.push(FieldError::invalid(&at.child(list), value, detail));
                }
                if list == "operations" {
                    const KNOWN: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
                    for (index, value) in values().enumerate() {
                        if !KNOWN.contains(&value) {
                            let at = at.child(list).index(index);
                            errors.push(FieldError::not_supported(&at, value, &KNOWN));
                        }
                    }
                }
            }
            one_of(rule, "scope", &["*", "Cluster", "Namespaced"], &at, errors);
        }
    }
}

fn shown_list(of: Ref<'_>, key: &str) -> String {
    of.get(key).map_or_else(|| "[]".to_owned(), shown)
}

/// The conditions, variables and what else both kinds of policy have; the environment of the rest.
fn common(spec: Ref<'_>, at: &Path, errors: &mut Errors) -> Env {
    one_of(spec, "failurePolicy", &["Fail", "Ignore"], at, errors);
    let params = spec.get("paramKind").filter(|kind| !kind.is_null());
    if let Some(kind) = params {
        let at = at.child("paramKind");
        required(kind, "apiVersion", &at, errors);
        required(kind, "kind", &at, errors);
    }
    match spec.get("matchConstraints") {
        None => errors.push(FieldError::required(&at.child("matchConstraints"), "")),
        Some(constraints) => {
            let at = at.child("matchConstraints");
            resources(constraints, &at, errors);
            if constraints.items("resourceRules").next().is_none() {
                errors.push(FieldError::required(&at.child("resourceRules"), ""));
            }
        }
    }
    conditions(spec, params.is_some(), at, errors);
    let base = env(params.is_some(), true);
    let mut variables: Vec<(String, Type)> = Vec::new();
    let mut known = with_variables(&base, &variables);
    for (index, variable) in spec.items("variables").enumerate() {
        let at = at.child("variables").index(index);
        let name = variable.str("name");
        if name.trim().is_empty() {
            errors.push(FieldError::required(
                &at.child("name"),
                "name is not specified",
            ));
        } else if !is_identifier(name) {
            let detail = "must be a valid CEL identifier";
            errors.push(FieldError::invalid(&at.child("name"), name, detail));
        }
        let source = variable.str("expression");
        if source.trim().is_empty() {
            let detail = "expression is not specified";
            errors.push(FieldError::required(&at.child("expression"), detail));
            continue;
        }
        match compile(source, &known, Wanted::Any) {
            Ok(program) => {
                variables.push((name.to_owned(), program.ty().clone()));
                known = with_variables(&base, &variables);
            }
            Err(detail) => {
                errors.push(FieldError::invalid(&at.child("expression"), source, detail));
            }
        }
    }
    if variables.is_empty() { base } else { known }
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && cel::escape(name) == name
}

/// `ValidatingAdmissionPolicy`
pub(crate) fn validating(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        errors.push(FieldError::required(&at, ""));
        return;
    };
    let known = common(spec, &at, errors);
    let has = |key: &str| spec.items(key).next().is_some();
    if !has("validations") && !has("auditAnnotations") {
        let detail = "validations or auditAnnotations must contain at least one item";
        errors.push(FieldError::required(&at.child("validations"), detail));
        errors.push(FieldError::required(&at.child("auditAnnotations"), detail));
    }
    for (index, validation) in spec.items("validations").enumerate() {
        let at = at.child("validations").index(index);
        expression(validation, "expression", &known, Wanted::Bool, &at, errors);
        messages(validation, &known, &at, errors);
        if let Some(reason) = validation.get("reason").and_then(Ref::as_str) {
            const KNOWN: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
            if !KNOWN.contains(&reason) {
                errors.push(FieldError::not_supported(
                    &at.child("reason"),
                    reason,
                    &KNOWN,
                ));
            }
        }
    }
    let count = spec.items("auditAnnotations").count();
    if count > ANNOTATIONS {
        let value = BadValue::Raw(shown_list(spec, "auditAnnotations"));
        let detail = format!("must not have more than {ANNOTATIONS} auditAnnotations");
        errors.push(FieldError::invalid(
            &at.child("auditAnnotations"),
            value,
            detail,
        ));
    }
    let mut seen = std::collections::HashSet::new();
    for (index, annotation) in spec.items("auditAnnotations").enumerate() {
        let at = at.child("auditAnnotations").index(index);
        let key = annotation.str("key");
        let name = api::meta::of(object).name();
        for message in names::qualified_name(&format!("{name}/{key}")) {
            errors.push(FieldError::invalid(
                &at.child("key"),
                format!("{name}/{key}").as_str(),
                message,
            ));
        }
        if annotation.str("valueExpression").len() > ANNOTATION_LENGTH {
            let detail = format!("must not exceed {ANNOTATION_LENGTH} bytes in length");
            errors.push(FieldError::required(&at.child("valueExpression"), &detail));
        } else {
            let wanted = Wanted::TextOrNull;
            expression(annotation, "valueExpression", &known, wanted, &at, errors);
        }
        if !seen.insert(key) {
            errors.push(FieldError::duplicate(&at.child("key"), key));
        }
    }
}

fn messages(validation: Ref<'_>, known: &Env, at: &Path, errors: &mut Errors) {
    let empty = "must be non-empty if specified";
    let message = validation.str("message");
    let source = validation.str("messageExpression");
    if !source.is_empty() {
        let at = at.child("messageExpression");
        if source.trim().is_empty() {
            errors.push(FieldError::invalid(&at, source, empty));
        } else if let Err(detail) = compile(source, known, Wanted::Text) {
            errors.push(FieldError::invalid(&at, source, detail));
        }
    }
    if !message.is_empty() {
        let at = at.child("message");
        if message.trim().is_empty() {
            errors.push(FieldError::invalid(&at, message, empty));
        } else if message.trim().contains(['\n', '\r']) {
            let detail = "must not contain line breaks";
            errors.push(FieldError::invalid(&at, message, detail));
        }
    }
}

/// `MutatingAdmissionPolicy`
pub(crate) fn mutating(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        errors.push(FieldError::required(&at, ""));
        return;
    };
    let known = common(spec, &at, errors).with_patches();
    let at_mutations = at.child("mutations");
    if spec.items("mutations").next().is_none() {
        let detail = "mutations must contain at least one item";
        errors.push(FieldError::required(&at_mutations, detail));
    }
    for (index, mutation) in spec.items("mutations").enumerate() {
        let at = at_mutations.index(index);
        let (key, other, wanted) = match mutation.str("patchType") {
            "ApplyConfiguration" => ("applyConfiguration", "jsonPatch", Wanted::Apply),
            "JSONPatch" => ("jsonPatch", "applyConfiguration", Wanted::Patch),
            "" => {
                errors.push(FieldError::required(&at.child("patchType"), ""));
                continue;
            }
            kind => {
                let known = ["ApplyConfiguration", "JSONPatch"];
                errors.push(FieldError::not_supported(
                    &at.child("patchType"),
                    kind,
                    &known,
                ));
                continue;
            }
        };
        match mutation.get(key).filter(|of| !of.is_null()) {
            Some(of) => expression(of, "expression", &known, wanted, &at.child(key), errors),
            None => {
                let kind = mutation.str("patchType");
                let detail = format!("must be specified when patchType is {kind}");
                errors.push(FieldError::required(&at.child(key), &detail));
            }
        }
        if mutation.get(other).is_some_and(|of| !of.is_null()) {
            let kind = mutation.str("patchType");
            let detail = format!("must not be specified when patchType is {kind}");
            errors.push(FieldError::forbidden(&at.child(other), &detail));
        }
    }
    if required(spec, "reinvocationPolicy", &at, errors) {
        let known = ["Never", "IfNeeded"];
        one_of(spec, "reinvocationPolicy", &known, &at, errors);
    }
}

fn bound(object: Ref<'_>, errors: &mut Errors) -> Option<Path> {
    let at = Path::new("spec");
    let spec = object.get("spec")?;
    if required(spec, "policyName", &at, errors) {
        let name = spec.str("policyName");
        for message in names::name_is_subdomain(name, false) {
            errors.push(FieldError::invalid(&at.child("policyName"), name, message));
        }
    }
    if let Some(param) = spec.get("paramRef").filter(|param| !param.is_null()) {
        let at = at.child("paramRef");
        let (name, selector) = (param.str("name"), param.get("selector"));
        let exclusive = "name and selector are mutually exclusive";
        if !name.is_empty() && selector.is_some() {
            errors.push(FieldError::forbidden(&at.child("name"), exclusive));
            errors.push(FieldError::forbidden(&at.child("selector"), exclusive));
        }
        if name.is_empty() && selector.is_none() {
            let detail = "one of name or selector must be specified";
            errors.push(FieldError::required(&at, detail));
        }
        let key = "parameterNotFoundAction";
        if required(param, key, &at, errors) {
            one_of(param, key, &["Deny", "Allow"], &at, errors);
        }
    }
    if let Some(of) = spec.get("matchResources").filter(|of| !of.is_null()) {
        resources(of, &at.child("matchResources"), errors);
    }
    Some(at)
}

/// `ValidatingAdmissionPolicyBinding`
pub(crate) fn validating_binding(object: Ref<'_>, errors: &mut Errors) {
    let Some(at) = bound(object, errors) else {
        return;
    };
    let Some(spec) = object.get("spec") else {
        return;
    };
    const KNOWN: [&str; 3] = ["Audit", "Deny", "Warn"];
    let at = at.child("validationActions");
    let mut seen: Vec<&str> = Vec::new();
    for (index, action) in spec.items("validationActions").enumerate() {
        let action = action.as_str().unwrap_or_default();
        if !KNOWN.contains(&action) {
            errors.push(FieldError::not_supported(&at.index(index), action, &KNOWN));
        }
        if seen.contains(&action) {
            errors.push(FieldError::duplicate(&at.index(index), action));
        }
        seen.push(action);
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        let value = BadValue::Raw(shown_list(spec, "validationActions"));
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.push(FieldError::invalid(&at, value, detail));
    }
    if seen.is_empty() {
        let detail = "at least one validation action is required";
        errors.push(FieldError::required(&at, detail));
    }
}

/// `MutatingAdmissionPolicyBinding`
pub(crate) fn mutating_binding(object: Ref<'_>, errors: &mut Errors) {
    bound(object, errors);
}
