//! Jobs and CronJobs.
//!
//! Source: kubernetes v1.36.3 pkg/apis/batch/validation/validation.go;
//! pkg/registry/batch/job/strategy.go (generateSelector).

use api::cron::Schedule;
use api::{FieldError, Path};
use jiff::tz::TimeZone;
use schema::{Dom, Ref, Value};

use super::{Errors, immutable, non_negative, one_of, pod, required};
use crate::edit::{ensure_map, map, text};
use crate::hooks::Context;

/// Its Jobs' names have eleven more characters and must be labels.
const CRON_JOB_NAME: usize = 52;

/// A Job chooses its pods by a label made from its uid.
pub(crate) fn prepare_job(_: &Context<'_>, dom: &mut Dom) {
    let root = dom.root();
    let spec = ensure_map(dom, root, "spec");
    let manual = dom
        .get(spec, "manualSelector")
        .is_some_and(|n| dom.value(n) == Value::Bool(true));
    if manual {
        return;
    }
    let Some(meta) = map(dom, root, "metadata") else {
        return;
    };
    let (name, uid) = (
        text(dom, meta, "name").to_owned(),
        text(dom, meta, "uid").to_owned(),
    );
    let template = ensure_map(dom, spec, "template");
    let template_meta = ensure_map(dom, template, "metadata");
    let labels = ensure_map(dom, template_meta, "labels");
    for (prefix, value) in
        [("", &uid), ("batch.kubernetes.io/", &uid)].map(|(p, v)| (format!("{p}controller-uid"), v))
    {
        dom.set_str(labels, &prefix, value);
    }
    for key in ["job-name", "batch.kubernetes.io/job-name"] {
        dom.set_str(labels, key, &name);
    }
    // As the object is read back from the store: without labels it has its template's.
    let own = ensure_map(dom, meta, "labels");
    if dom.entries(own).next().is_none() {
        let copy = dom.copy(labels);
        dom.set(meta, "labels", copy);
    }
    let selector = ensure_map(dom, spec, "selector");
    let chosen = ensure_map(dom, selector, "matchLabels");
    if dom
        .get(chosen, "batch.kubernetes.io/controller-uid")
        .is_none()
    {
        dom.set_str(chosen, "batch.kubernetes.io/controller-uid", &uid);
    }
}

fn job_spec(spec: Ref<'_>, at: &Path, errors: &mut Errors) {
    for key in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
    ] {
        non_negative(spec, key, at, errors);
    }
    one_of(
        spec,
        "completionMode",
        &["Indexed", "NonIndexed"],
        at,
        errors,
    );
    if spec.str("completionMode") == "Indexed" && spec.int("completions").is_none() {
        let detail = "when completion mode is Indexed";
        errors.push(FieldError::required(&at.child("completions"), detail));
    }
    let Some(template) = spec.get("template") else {
        errors.push(FieldError::required(&at.child("template"), ""));
        return;
    };
    pod::template(template, &at.child("template"), errors);
    let policy = template
        .at(&["spec", "restartPolicy"])
        .and_then(Ref::as_str)
        .unwrap_or_default();
    let path = at.child("template").child("spec").child("restartPolicy");
    if policy == "Always" || policy.is_empty() {
        let detail = r#"valid values: "OnFailure", "Never""#;
        errors.push(FieldError::required(&path, detail));
    }
}

pub(crate) fn job(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    if let Some(spec) = object.get("spec") {
        if spec.get("selector").is_none() {
            errors.push(FieldError::required(&at.child("selector"), ""));
        }
        job_spec(spec, &at, errors);
    }
}

pub(crate) fn job_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let (Some(new), Some(old)) = (new.get("spec"), old.get("spec")) else {
        return;
    };
    let suspended = old.bool("suspend") == Some(true);
    for key in [
        "selector",
        "completionMode",
        "template",
        "podFailurePolicy",
        "successPolicy",
    ] {
        if key == "template" && suspended {
            continue;
        }
        immutable(new.get(key), old.get(key), &at.child(key), errors);
    }
    if new.str("completionMode") != "Indexed" {
        immutable(
            new.get("completions"),
            old.get("completions"),
            &at.child("completions"),
            errors,
        );
    }
}

/// A schedule as the controller reads it. Its zone stands in a field of its own; `zoned` are those
/// that were stored with one inside before that was refused.
fn schedule(spec: Ref<'_>, zoned: bool, at: &Path, errors: &mut Errors) {
    let text = spec.str("schedule");
    let at = at.child("schedule");
    if let Err(error) = Schedule::parse(text, TimeZone::UTC) {
        errors.push(FieldError::invalid(&at, text, error.to_string()));
    }
    let has_field = spec.get("timeZone").is_some_and(|zone| !zone.is_null());
    let detail = match zoned {
        true if has_field => "cannot use both timeZone field and TZ or CRON_TZ in schedule",
        true => return,
        false => "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
    };
    if text.contains("TZ") {
        errors.push(FieldError::invalid(&at, text, detail));
    }
}

/// A name of the time zone database, which the binary brings along: the host's is not asked.
fn time_zone(spec: Ref<'_>, at: &Path, errors: &mut Errors) {
    let Some(zone) = spec.get("timeZone").and_then(Ref::as_str) else {
        return;
    };
    let at = at.child("timeZone");
    let unknown = format!("unknown time zone {zone}");
    let is_name = |part: &str| {
        let is_good = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
        (1..=14).contains(&part.len())
            && part != "."
            && part != ".."
            && !part.starts_with('-')
            && part.chars().all(is_good)
    };
    if zone.is_empty() {
        let detail = "timeZone must be nil or non-empty string";
        errors.push(FieldError::invalid(&at, zone, detail));
    } else if !zone.split('/').all(is_name) {
        errors.push(FieldError::invalid(&at, zone, unknown));
    } else if zone.eq_ignore_ascii_case("local") {
        let detail =
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        errors.push(FieldError::invalid(&at, zone, detail));
        if zone != "Local" {
            errors.push(FieldError::invalid(&at, zone, unknown));
        }
    } else if api::cron::time_zone(zone).is_none() {
        errors.push(FieldError::invalid(&at, zone, unknown));
    }
}

fn cron_job_spec(spec: Ref<'_>, old: Option<Ref<'_>>, errors: &mut Errors) {
    let at = Path::new("spec");
    if required(spec, "schedule", &at, errors) {
        let zoned = old.is_some_and(|old| old.str("schedule").contains("TZ"));
        schedule(spec, zoned, &at, errors);
    }
    non_negative(spec, "startingDeadlineSeconds", &at, errors);
    let zone = spec.get("timeZone").and_then(Ref::as_str);
    if old.is_none_or(|old| old.get("timeZone").and_then(Ref::as_str) != zone) {
        time_zone(spec, &at, errors);
    }
    one_of(
        spec,
        "concurrencyPolicy",
        &["Allow", "Forbid", "Replace"],
        &at,
        errors,
    );
    match spec.at(&["jobTemplate", "spec"]) {
        Some(job) => job_spec(job, &at.child("jobTemplate").child("spec"), errors),
        None => errors.push(FieldError::required(
            &at.child("jobTemplate").child("spec"),
            "",
        )),
    }
    for key in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        non_negative(spec, key, &at, errors);
    }
}

pub(crate) fn cron_job_create(object: Ref<'_>, errors: &mut Errors) {
    if let Some(spec) = object.get("spec") {
        cron_job_spec(spec, None, errors);
    }
    let name = api::meta::of(object).name();
    if name.len() > CRON_JOB_NAME {
        let at = Path::new("metadata").child("name");
        let detail = "must be no more than 52 characters";
        errors.push(FieldError::invalid(&at, name, detail));
    }
}

/// What was stored by rules that were less strict can still be changed elsewhere.
pub(crate) fn cron_job_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    if let Some(spec) = new.get("spec") {
        cron_job_spec(spec, old.get("spec"), errors);
    }
}

#[cfg(test)]
mod tests;
