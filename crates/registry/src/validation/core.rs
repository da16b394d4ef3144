//! Small kinds of the core group and kinds like them: events, quotas, ranges, claims, volumes,
//! leases, classes, signing requests.
//!
//! Source: kubernetes v1.36.3 pkg/apis/{core,coordination,node,scheduling,certificates}/validation.

use api::{FieldError, Path, names};
use schema::{Dom, Ref};

use super::{Errors, IMMUTABLE, immutable, one_of, pod, quantity, required, shown};
use crate::edit::{keep, text};
use crate::hooks::Context;

pub(crate) fn event(object: Ref<'_>, errors: &mut Errors) {
    let namespace = object
        .at(&["involvedObject", "namespace"])
        .and_then(Ref::as_str)
        .unwrap_or_default();
    let own = api::meta::of(object).namespace();
    let at = Path::new("involvedObject").child("namespace");
    if namespace.is_empty() {
        if own != "default" && own != "kube-system" {
            errors.push(FieldError::invalid(
                &at,
                namespace,
                "does not match event.namespace",
            ));
        }
    } else if namespace != own {
        errors.push(FieldError::invalid(
            &at,
            namespace,
            "does not match event.namespace",
        ));
    }
}

pub(crate) fn limit_range(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec").child("limits");
    for (index, limit) in object
        .get("spec")
        .into_iter()
        .flat_map(|s| s.items("limits"))
        .enumerate()
    {
        let path = at.index(index);
        required(limit, "type", &path, errors);
        for list in [
            "max",
            "min",
            "default",
            "defaultRequest",
            "maxLimitRequestRatio",
        ] {
            for (name, amount) in limit.entries(list) {
                quantity(amount, &path.child(list).key(name), errors);
            }
        }
        for (name, min) in limit.entries("min") {
            let max = limit.at(&["max", name]);
            let parse = |node| api::Quantity::parse(&crate::columns::scalar(Some(node)));
            if let (Ok(min), Some(Ok(max))) = (parse(min), max.map(parse))
                && min > max
            {
                let detail = format!("min value {min} is greater than max value {max}");
                errors.push(FieldError::invalid(
                    &path.child("min").key(name),
                    min.to_string(),
                    detail,
                ));
            }
        }
    }
}

pub(crate) fn resource_quota(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec").child("hard");
    for (name, amount) in object
        .get("spec")
        .into_iter()
        .flat_map(|s| s.entries("hard"))
    {
        let path = at.key(name);
        for message in names::qualified_name(name) {
            errors.push(FieldError::invalid(&path, name, message));
        }
        quantity(amount, &path, errors);
    }
}

pub(crate) fn pod_template(object: Ref<'_>, errors: &mut Errors) {
    if let Some(template) = object.get("template") {
        pod::template(template, &Path::new("template"), errors);
    }
}

const MODES: [&str; 4] = [
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];

fn access_modes(spec: Ref<'_>, at: &Path, errors: &mut Errors) {
    let path = at.child("accessModes");
    if spec.items("accessModes").next().is_none() {
        errors.push(FieldError::required(
            &path,
            "at least 1 access mode is required",
        ));
    }
    for mode in spec.items("accessModes").filter_map(Ref::as_str) {
        if !MODES.contains(&mode) {
            errors.push(FieldError::not_supported(&path, mode, &MODES));
        }
    }
}

pub(crate) fn claim(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        return;
    };
    claim_spec(spec, &at, errors);
}

/// What a claim asks for, also in the template of a pod's own claim.
pub(crate) fn claim_spec(spec: Ref<'_>, at: &Path, errors: &mut Errors) {
    access_modes(spec, at, errors);
    match spec.at(&["resources", "requests", "storage"]) {
        Some(size) => {
            let path = at.child("resources").child("requests").key("storage");
            if quantity(size, &path, errors).is_some_and(|q| q.is_zero()) {
                errors.push(FieldError::invalid(
                    &path,
                    shown(size),
                    "must be greater than zero",
                ));
            }
        }
        None => errors.push(FieldError::required(
            &at.child("resources").key("storage"),
            "",
        )),
    }
    one_of(spec, "volumeMode", &["Block", "Filesystem"], at, errors);
    let source = |key: &str| spec.get(key).filter(|source| !source.is_null());
    for key in ["dataSource", "dataSourceRef"] {
        let Some(source) = source(key) else { continue };
        let path = at.child(key);
        required(source, "name", &path, errors);
        required(source, "kind", &path, errors);
        let (group, kind) = (source.str("apiGroup"), source.str("kind"));
        if group.is_empty() && kind != "PersistentVolumeClaim" {
            let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(FieldError::invalid(&path, kind, detail));
        }
    }
}

pub(crate) fn claim_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    const FREE: [&str; 3] = ["resources", "volumeName", "volumeAttributesClassName"];
    let (Some(new), Some(old)) = (new.get("spec"), old.get("spec")) else {
        return;
    };
    for (key, value) in new.map() {
        let same = old.get(key).is_some_and(|old| old.equal(value));
        if !same && !FREE.contains(&key) && !value.is_null() && old.get(key).is_some() {
            let detail = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
            errors.push(FieldError::forbidden(&Path::new("spec"), detail));
            return;
        }
    }
}

/// A volume begins pending, since now.
pub(crate) fn prepare_volume(cx: &Context<'_>, dom: &mut Dom) {
    let root = dom.root();
    let now = api::time::format_seconds(cx.now);
    dom.remove(root, "status");
    let status = crate::edit::ensure_map(dom, root, "status");
    dom.set_str(status, "phase", "Pending");
    dom.set_str(status, "lastPhaseTransitionTime", &now);
}

/// The time of a change of phase, unless its writer says it.
pub(crate) fn prepare_volume_status(cx: &Context<'_>, dom: &mut Dom, old: Ref<'_>) {
    let root = dom.root();
    keep(dom, root, "spec", Some(old));
    let status = crate::edit::ensure_map(dom, root, "status");
    let before = old.get("status");
    let was = |key: &str| before.map_or("", |status| status.str(key)).to_owned();
    let changed = text(dom, status, "phase") != was("phase");
    let said = text(dom, status, "lastPhaseTransitionTime") != was("lastPhaseTransitionTime")
        && !text(dom, status, "lastPhaseTransitionTime").is_empty();
    if changed && !said {
        let now = api::time::format_seconds(cx.now);
        dom.set_str(status, "lastPhaseTransitionTime", &now);
    }
}

pub(crate) fn volume(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        return;
    };
    access_modes(spec, &at, errors);
    if spec.get("capacity").is_none_or(Ref::is_empty) {
        errors.push(FieldError::required(&at.child("capacity"), ""));
    }
    let policies = ["Delete", "Recycle", "Retain"];
    one_of(
        spec,
        "persistentVolumeReclaimPolicy",
        &policies,
        &at,
        errors,
    );
    let given: Vec<&str> = SOURCES
        .into_iter()
        .filter(|(member, _)| spec.get(member).is_some_and(|source| !source.is_null()))
        .map(|(_, said)| said)
        .collect();
    for said in given.iter().skip(1) {
        let detail = "may not specify more than 1 volume type";
        errors.push(FieldError::forbidden(&at.child(said), detail));
    }
    if given.is_empty() {
        errors.push(FieldError::required(&at, "must specify a volume type"));
    }
}

/// Kinds of volumes in the order in which they are looked at, with their names in findings.
const SOURCES: [(&str, &str); 21] = [
    ("hostPath", "hostPath"),
    ("gcePersistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore"),
    ("glusterfs", "glusterfs"),
    ("flocker", "flocker"),
    ("nfs", "nfs"),
    ("rbd", "rbd"),
    ("quobyte", "quobyte"),
    ("cephfs", "cephFS"),
    ("iscsi", "iscsi"),
    ("cinder", "cinder"),
    ("fc", "fc"),
    ("azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk"),
    ("scaleIO", "scaleIO"),
    ("local", "local"),
    ("storageos", "storageos"),
    ("csi", "csi"),
];

pub(crate) fn lease(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        return;
    };
    if let Some(seconds) = spec.int("leaseDurationSeconds")
        && seconds <= 0
    {
        let detail = "must be greater than 0";
        errors.push(FieldError::invalid(
            &at.child("leaseDurationSeconds"),
            seconds,
            detail,
        ));
    }
    super::non_negative(spec, "leaseTransitions", &at, errors);
}

pub(crate) fn runtime_class(object: Ref<'_>, errors: &mut Errors) {
    let handler = object.str("handler");
    for message in names::dns1123_label(handler) {
        errors.push(FieldError::invalid(&Path::new("handler"), handler, message));
    }
}

pub(crate) fn runtime_class_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    immutable(
        new.get("handler"),
        old.get("handler"),
        &Path::new("handler"),
        errors,
    );
}

pub(crate) fn priority_class(object: Ref<'_>, errors: &mut Errors) {
    let name = api::meta::of(object).name();
    let value = object.int("value").unwrap_or(0);
    if name.starts_with("system-") {
        let known = [
            ("system-node-critical", 2_000_001_000),
            ("system-cluster-critical", 2_000_000_000),
        ];
        if !known.contains(&(name, value)) {
            let detail =
                "priority class names with 'system-' prefix are reserved for system use only";
            let at = Path::new("metadata").child("name");
            errors.push(FieldError::forbidden(
                &at,
                format!("{detail}. error: {name} is not a known system priority class"),
            ));
        }
    } else if value > 1_000_000_000 {
        let detail = "maximum allowed value of a user defined priority is 1000000000";
        errors.push(FieldError::forbidden(&Path::new("value"), detail));
    }
    let at = Path::root();
    one_of(
        object,
        "preemptionPolicy",
        &["Never", "PreemptLowerPriority"],
        &at,
        errors,
    );
}

pub(crate) fn priority_class_update(new: Ref<'_>, old: Ref<'_>, errors: &mut Errors) {
    if new.int("value").unwrap_or(0) != old.int("value").unwrap_or(0) {
        errors.push(FieldError::forbidden(
            &Path::new("value"),
            "may not be changed in an update.",
        ));
    }
    let policy = |o: Ref<'_>| o.str("preemptionPolicy").to_owned();
    if policy(new) != policy(old) {
        errors.push(FieldError::invalid(
            &Path::new("preemptionPolicy"),
            policy(new),
            IMMUTABLE,
        ));
    }
}

/// Who asks is written down by the server, not by the client.
pub(crate) fn prepare_certificate(cx: &Context<'_>, dom: &mut Dom) {
    let root = dom.root();
    dom.remove(root, "status");
    let spec = crate::edit::ensure_map(dom, root, "spec");
    for key in ["username", "uid", "groups", "extra"] {
        dom.remove(spec, key);
    }
    dom.set_str(spec, "username", &cx.user.name);
    if !cx.user.uid.is_empty() {
        dom.set_str(spec, "uid", &cx.user.uid);
    }
    if !cx.user.groups.is_empty() {
        let groups = dom.new_list();
        for group in &cx.user.groups {
            let node = dom.new_str(group);
            dom.push(groups, node);
        }
        dom.set(spec, "groups", groups);
    }
    if !cx.user.extra.is_empty() {
        let extra = dom.new_map();
        for (key, values) in &cx.user.extra {
            let list = dom.new_list();
            for value in values {
                let node = dom.new_str(value);
                dom.push(list, node);
            }
            dom.set(extra, key, list);
        }
        dom.set(spec, "extra", extra);
    }
}

pub(crate) fn prepare_certificate_update(_: &Context<'_>, dom: &mut Dom, old: Ref<'_>) {
    let root = dom.root();
    keep(dom, root, "spec", Some(old));
    keep(dom, root, "status", Some(old));
}

/// `approval` writes conditions, `status` the certificate.
pub(crate) fn prepare_certificate_status(cx: &Context<'_>, dom: &mut Dom, old: Ref<'_>) {
    let root = dom.root();
    keep(dom, root, "spec", Some(old));
    let now = api::time::format_seconds(cx.now);
    let status = crate::edit::ensure_map(dom, root, "status");
    if cx.subresource == "approval" {
        keep(dom, status, "certificate", old.get("status"));
    }
    for condition in crate::edit::items(dom, status, "conditions") {
        for key in ["lastUpdateTime", "lastTransitionTime"] {
            if text(dom, condition, key).is_empty() {
                dom.set_str(condition, key, &now);
            }
        }
        crate::edit::default_str(dom, condition, "status", "True");
    }
}

pub(crate) fn certificate(object: Ref<'_>, errors: &mut Errors) {
    let at = Path::new("spec");
    let Some(spec) = object.get("spec") else {
        return;
    };
    required(spec, "request", &at, errors);
    if spec.items("usages").next().is_none() {
        errors.push(FieldError::required(&at.child("usages"), ""));
    }
    if required(spec, "signerName", &at, errors) && !spec.str("signerName").contains('/') {
        let detail =
            "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        errors.push(FieldError::invalid(
            &at.child("signerName"),
            spec.str("signerName"),
            detail,
        ));
    }
    if let Some(seconds) = spec.int("expirationSeconds")
        && seconds < 600
    {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid(
            &at.child("expirationSeconds"),
            seconds,
            detail,
        ));
    }
}
