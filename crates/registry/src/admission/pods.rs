//! Admission of pods: service account and token volume, tolerations, priority, runtime class.
//!
//! Source: kubernetes v1.36.3 plugin/pkg/admission/{serviceaccount,defaulttolerationseconds,
//! priority,runtimeclass}/admission.go.

use api::{Gr, Status};
use schema::{Dom, Node, Ref, Value};

use crate::edit::{default_str, ensure_list, get, items, map, text};
use crate::hooks::Context;

const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn forbidden(dom: &Dom, cause: &str) -> Status {
    Status::forbidden(
        &Gr::new("", "pods"),
        api::meta::of(dom.as_ref()).name(),
        cause,
    )
}

pub(super) fn service_account(cx: &Context<'_>, dom: &mut Dom) -> Result<(), Status> {
    let root = dom.root();
    let mirror = api::meta::of(dom.as_ref())
        .annotation("kubernetes.io/config.mirror")
        .is_some();
    let Some(spec) = map(dom, root, "spec") else {
        return Ok(());
    };
    if mirror {
        return Ok(());
    }
    default_str(dom, spec, "serviceAccountName", "default");
    let name = text(dom, spec, "serviceAccountName").to_owned();
    dom.set_str(spec, "serviceAccount", &name);
    let Some(account) = cx.lookup.get("serviceaccounts", cx.namespace, &name) else {
        let cause = format!(
            "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
            cx.namespace
        );
        return Err(forbidden(dom, &cause));
    };
    let account = account.as_ref();
    if items(dom, spec, "imagePullSecrets").is_empty()
        && account.items("imagePullSecrets").next().is_some()
    {
        crate::edit::keep(dom, spec, "imagePullSecrets", Some(account));
    }
    let flag = |node: Option<Value<'_>>| match node {
        Some(Value::Bool(flag)) => Some(flag),
        _ => None,
    };
    let wanted = flag(get(dom, spec, "automountServiceAccountToken").map(|n| dom.value(n)))
        .or(account.bool("automountServiceAccountToken"))
        .unwrap_or(true);
    if wanted {
        mount(cx, dom, spec);
    }
    Ok(())
}

fn mount(cx: &Context<'_>, dom: &mut Dom, spec: Node) {
    let existing = items(dom, spec, "volumes")
        .into_iter()
        .map(|volume| text(dom, volume, "name").to_owned())
        .find(|name| name.starts_with("kube-api-access-"));
    let name = existing.clone().unwrap_or_else(|| {
        format!(
            "kube-api-access-{}",
            api::names::random_suffix(5, |n| (cx.below)(n))
        )
    });
    let mut used = false;
    for list in ["initContainers", "containers"] {
        for container in items(dom, spec, list) {
            let mounts = items(dom, container, "volumeMounts");
            if mounts
                .iter()
                .any(|&mount| text(dom, mount, "mountPath") == TOKEN_PATH)
            {
                continue;
            }
            let mounts = ensure_list(dom, container, "volumeMounts");
            let mount = dom.new_map();
            dom.set_str(mount, "name", &name);
            dom.set_bool(mount, "readOnly", true);
            dom.set_str(mount, "mountPath", TOKEN_PATH);
            dom.push(mounts, mount);
            used = true;
        }
    }
    if used && existing.is_none() {
        let volumes = ensure_list(dom, spec, "volumes");
        let volume = token_volume(dom, &name);
        dom.push(volumes, volume);
    }
}

fn token_volume(dom: &mut Dom, name: &str) -> Node {
    let text = format!(
        concat!(
            r#"{{"name":"{}","projected":{{"sources":["#,
            r#"{{"serviceAccountToken":{{"expirationSeconds":3607,"path":"token"}}}},"#,
            r#"{{"configMap":{{"name":"kube-root-ca.crt","items":[{{"key":"ca.crt","path":"ca.crt"}}]}}}},"#,
            r#"{{"downwardAPI":{{"items":[{{"path":"namespace","fieldRef":{{"apiVersion":"v1","fieldPath":"metadata.namespace"}}}}]}}}}"#,
            r#"],"defaultMode":420}}}}"#
        ),
        name
    );
    match Dom::parse_json(text.as_bytes()) {
        Ok(volume) => {
            let root = volume.root();
            dom.import(&volume, root)
        }
        Err(_) => dom.new_map(),
    }
}

pub(super) fn tolerations(dom: &mut Dom) {
    let root = dom.root();
    let Some(spec) = map(dom, root, "spec") else {
        return;
    };
    let tolerated = |dom: &Dom, key: &str| {
        items(dom, spec, "tolerations")
            .into_iter()
            .any(|toleration| {
                let (own, effect) = (
                    text(dom, toleration, "key"),
                    text(dom, toleration, "effect"),
                );
                (own == key || own.is_empty()) && (effect == "NoExecute" || effect.is_empty())
            })
    };
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        if tolerated(dom, key) {
            continue;
        }
        let toleration = dom.new_map();
        dom.set_str(toleration, "key", key);
        dom.set_str(toleration, "operator", "Exists");
        dom.set_str(toleration, "effect", "NoExecute");
        dom.set_int(toleration, "tolerationSeconds", 300);
        let list = ensure_list(dom, spec, "tolerations");
        dom.push(list, toleration);
    }
}

pub(super) fn priority(cx: &Context<'_>, dom: &mut Dom) -> Result<(), Status> {
    let root = dom.root();
    let Some(spec) = map(dom, root, "spec") else {
        return Ok(());
    };
    let name = text(dom, spec, "priorityClassName").to_owned();
    let (value, policy) = if name.is_empty() {
        let classes = cx.lookup.list("priorityclasses", "");
        let global = classes
            .iter()
            .map(Dom::as_ref)
            .filter(|c| c.bool("globalDefault") == Some(true));
        let chosen = global.min_by_key(|class| class.int("value").unwrap_or(0));
        match chosen {
            Some(class) => {
                let name = api::meta::of(class).name().to_owned();
                dom.set_str(spec, "priorityClassName", &name);
                read(class)
            }
            None => (0, "PreemptLowerPriority".to_owned()),
        }
    } else {
        let Some(class) = cx.lookup.get("priorityclasses", "", &name) else {
            let cause = format!("no PriorityClass with name {name} was found");
            return Err(forbidden(dom, &cause));
        };
        read(class.as_ref())
    };
    let given = match get(dom, spec, "priority").map(|n| dom.value(n)) {
        Some(Value::Int(number)) => Some(number),
        _ => None,
    };
    if given.is_some_and(|given| given != value) {
        let cause = format!(
            "the integer value of priority ({}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name",
            given.unwrap_or(0)
        );
        return Err(forbidden(dom, &cause));
    }
    dom.set_int(spec, "priority", value);
    default_str(dom, spec, "preemptionPolicy", &policy);
    Ok(())
}

/// What a pod's RuntimeClass adds to it: overhead, node selector, tolerations.
pub(super) fn runtime_class(cx: &Context<'_>, dom: &mut Dom) -> Result<(), Status> {
    let root = dom.root();
    let Some(spec) = map(dom, root, "spec") else {
        return Ok(());
    };
    let name = text(dom, spec, "runtimeClassName").to_owned();
    let class = if name.is_empty() {
        None
    } else {
        let found = cx.lookup.get("runtimeclasses", "", &name);
        if found.is_none() {
            let cause = format!("pod rejected: RuntimeClass {name:?} not found");
            return Err(forbidden(dom, &cause));
        }
        found
    };
    let class = class.as_ref().map(Dom::as_ref);
    let fixed = class.and_then(|class| class.at(&["overhead", "podFixed"]));
    let own = get(dom, spec, "overhead").filter(|&node| dom.len(node) > 0);
    match (fixed, own) {
        (Some(fixed), Some(own)) if !dom.at_node(own).equal(fixed) => {
            let cause =
                "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
            return Err(forbidden(dom, cause));
        }
        (Some(fixed), None) => {
            let copy = dom.import(fixed.dom(), fixed.node());
            dom.set(spec, "overhead", copy);
        }
        (None, Some(_)) => {
            let cause = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
            return Err(forbidden(dom, cause));
        }
        _ => {}
    }
    let Some(scheduling) = class.and_then(|class| class.get("scheduling")) else {
        return Ok(());
    };
    for (key, wanted) in scheduling.entries("nodeSelector") {
        let wanted = wanted.as_str().unwrap_or_default();
        let selector = crate::edit::ensure_map(dom, spec, "nodeSelector");
        let chosen = dom.get(selector, key).and_then(|node| dom.as_str(node));
        if let Some(chosen) = chosen.filter(|&chosen| chosen != wanted) {
            let cause = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {chosen}"
            );
            return Err(forbidden(dom, &cause));
        }
        dom.set_str(selector, key, wanted);
    }
    for toleration in scheduling.items("tolerations") {
        let known = items(dom, spec, "tolerations");
        if !known
            .iter()
            .any(|&node| dom.at_node(node).equal(toleration))
        {
            let copy = dom.import(toleration.dom(), toleration.node());
            let list = ensure_list(dom, spec, "tolerations");
            dom.push(list, copy);
        }
    }
    Ok(())
}

fn read(class: Ref<'_>) -> (i64, String) {
    let policy = match class.str("preemptionPolicy") {
        "" => "PreemptLowerPriority",
        policy => policy,
    };
    (class.int("value").unwrap_or(0), policy.to_owned())
}
