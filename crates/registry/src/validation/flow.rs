//! Flow schemas and priority levels.

use api::{FieldError, Path};
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
    match spec.get("priorityLevelConfiguration") {
        Some(level) => {
            required(
                level,
                "name",
                &at.child("priorityLevelConfiguration"),
                errors,
            );
        }
        None => errors.push(FieldError::required(
            &at.child("priorityLevelConfiguration").child("name"),
            "",
        )),
    }
}

pub(crate) fn priority_level(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        return;
    };
    if required(spec, "type", &at, errors) {
        one_of(spec, "type", &["Exempt", "Limited"], &at, errors);
    }
    if spec.str("type") == "Limited" && spec.get("limited").is_none() {
        let detail = "must not be empty when type is Limited";
        errors.push(FieldError::required(&at.child("limited"), detail));
    }
}
