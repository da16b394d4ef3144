//! Nodes.

use api::{FieldError, Path};
use schema::Ref;

use super::{Errors, one_of, required};

pub(crate) fn validate(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec").child("taints");
    for (index, taint) in object
        .get("spec")
        .into_iter()
        .flat_map(|s| s.items("taints"))
        .enumerate()
    {
        let path = at.index(index);
        required(taint, "key", &path, errors);
        required(taint, "effect", &path, errors);
        one_of(
            taint,
            "effect",
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            &path,
            errors,
        );
    }
}

pub(crate) fn validate_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    let (n, o) = (new.at(&["spec", "podCIDR"]), old.at(&["spec", "podCIDR"]));
    let o = o.and_then(Ref::as_str).unwrap_or_default();
    if !o.is_empty() && n.and_then(Ref::as_str) != Some(o) {
        let detail = "node updates may not change podCIDR except from \"\" to valid";
        errors.push(FieldError::forbidden(
            &Path::new("spec").child("podCIDRs"),
            detail,
        ));
    }
    let provider = |o: Ref<'_>| {
        o.at(&["spec", "providerID"])
            .and_then(Ref::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    if !provider(old).is_empty() && provider(old) != provider(new) {
        let detail = "node updates may not change providerID except from \"\" to valid";
        errors.push(FieldError::forbidden(
            &Path::new("spec").child("providerID"),
            detail,
        ));
    }
}
