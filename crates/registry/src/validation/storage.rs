//! Storage classes and attachments.

use api::{FieldError, Path};
use schema::Ref;

use super::{Errors, immutable, one_of, required};

pub(crate) fn class(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::root();
    required(object, "provisioner", &at, errors);
    one_of(object, "reclaimPolicy", &["Delete", "Retain"], &at, errors);
    one_of(
        object,
        "volumeBindingMode",
        &["Immediate", "WaitForFirstConsumer"],
        &at,
        errors,
    );
}

pub(crate) fn class_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    for key in [
        "parameters",
        "provisioner",
        "reclaimPolicy",
        "volumeBindingMode",
    ] {
        let same = match (new.get(key), old.get(key)) {
            (Some(a), Some(b)) => a.equal(b),
            (a, b) => a.is_none_or(Ref::is_empty) && b.is_none_or(Ref::is_empty),
        };
        if !same && key == "volumeBindingMode" {
            immutable(new.get(key), old.get(key), &Path::new(key), errors);
        } else if !same {
            let detail = "updates to parameters are forbidden.".replace("parameters", key);
            errors.push(FieldError::forbidden(&Path::new(key), detail));
        }
    }
}

pub(crate) fn attachment(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    if let Some(spec) = object.get("spec") {
        required(spec, "attacher", &at, errors);
        required(spec, "nodeName", &at, errors);
    }
}
