//! Warnings about pods and their templates.

use schema::Ref;

/// Kinds of volumes that are gone or going.
const VOLUMES: [(&str, &str); 9] = [
    (
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    (
        "gitRepo",
        "deprecated in v1.11, and disabled by default in v1.33+",
    ),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Warnings about a new pod; updates are for programs.
pub(crate) fn pod(new: Ref<'_>, old: Option<Ref<'_>>, out: &mut Vec<String>) {
    if old.is_some() {
        return;
    }
    let messages = api::names::dns1123_label(api::meta::of(new).name());
    if !messages.is_empty() {
        out.push(format!(
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
            messages.join(" ")
        ));
    }
    both(new, "", out);
}

/// Warnings about the template of a workload, in its spec.
pub(crate) fn template(new: Ref<'_>, old: Option<Ref<'_>>, out: &mut Vec<String>) {
    let at = ["spec", "template"];
    let (Some(template), before) = (new.at(&at), old.and_then(|old| old.at(&at))) else {
        return;
    };
    // As upstream, only when it is another template than before.
    if before.is_none_or(|before| !before.equal(template)) {
        both(template, "spec.template.", out);
    }
}

fn both(object: Ref<'_>, prefix: &str, out: &mut Vec<String>) {
    let Some(spec) = object.get("spec") else {
        return;
    };
    let at = |path: &str| format!("{prefix}spec.{path}");
    for (index, spread) in spec.items("topologySpreadConstraints").enumerate() {
        if spread.get("labelSelector").is_none() {
            out.push(no_selector(&at(&format!(
                "topologySpreadConstraints[{index}].labelSelector"
            ))));
        }
    }
    for (index, volume) in spec.items("volumes").enumerate() {
        for (kind, words) in VOLUMES {
            if volume.get(kind).is_some_and(|source| !source.is_null()) {
                let kind = if kind == "storageos" {
                    "storageOS"
                } else {
                    kind
                };
                out.push(format!(
                    "{}: {words}",
                    at(&format!("volumes[{index}].{kind}"))
                ));
            }
        }
    }
    for volume in spec.items("volumes") {
        let sources = volume.get("projected");
        for source in sources.iter().flat_map(|sources| sources.items("sources")) {
            if source.map().next().is_none() {
                let name = volume.str("name");
                out.push(format!(
                    "volume {name:?} (Projected) has no sources provided"
                ));
            }
        }
    }
    duplicates(spec, "hostAliases", "ip", prefix, out);
    duplicates(spec, "imagePullSecrets", "name", prefix, out);
    for (index, secret) in spec.items("imagePullSecrets").enumerate() {
        if secret.str("name").is_empty() {
            let path = at(&format!("imagePullSecrets[{index}].name"));
            out.push(format!("{path}: invalid empty name \"\""));
        }
    }
    for list in ["initContainers", "containers"] {
        for (index, container) in spec.items(list).enumerate() {
            environment(container, &at(&format!("{list}[{index}]")), out);
        }
    }
    if spec
        .int("terminationGracePeriodSeconds")
        .is_some_and(|seconds| seconds < 0)
    {
        out.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            at("terminationGracePeriodSeconds")
        ));
    }
    affinity(spec, prefix, out);
}

fn no_selector(path: &str) -> String {
    format!("{path}: a null labelSelector results in matching no pod")
}

fn duplicates(spec: Ref<'_>, list: &str, key: &str, prefix: &str, out: &mut Vec<String>) {
    let mut seen = Vec::new();
    for (index, item) in spec.items(list).enumerate() {
        let value = item.str(key);
        if seen.contains(&value) {
            out.push(format!(
                "{prefix}spec.{list}[{index}].{key}: duplicate {key} {value:?}"
            ));
        } else {
            seen.push(value);
        }
    }
}

/// Variables that hide earlier ones without using them.
fn environment(container: Ref<'_>, at: &str, out: &mut Vec<String>) {
    let mut seen = Vec::new();
    for (index, variable) in container.items("env").enumerate() {
        let name = variable.str("name");
        if !seen.contains(&name) {
            seen.push(name);
            continue;
        }
        let own = format!("$({name})");
        let value = variable.str("value");
        if variable.get("valueFrom").is_some() || value == own || !value.contains(&own) {
            out.push(format!(
                "{at}.env[{index}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}

fn affinity(spec: Ref<'_>, prefix: &str, out: &mut Vec<String>) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(terms) = spec.at(&["affinity", kind]) else {
            continue;
        };
        let required = "requiredDuringSchedulingIgnoredDuringExecution";
        let preferred = "preferredDuringSchedulingIgnoredDuringExecution";
        let at = format!("{prefix}spec.affinity.{kind}");
        for (index, term) in terms.items(required).enumerate() {
            if term.get("labelSelector").is_none() {
                out.push(no_selector(&format!(
                    "{at}.{required}[{index}].labelSelector"
                )));
            }
        }
        for (index, term) in terms.items(preferred).enumerate() {
            if term.at(&["podAffinityTerm", "labelSelector"]).is_none() {
                let place = format!("{at}.{preferred}[{index}].podAffinityTerm.labelSelector");
                out.push(no_selector(&place));
            }
        }
    }
}
