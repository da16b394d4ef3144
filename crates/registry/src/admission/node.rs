//! What a kubelet may write: its own node, the status of its own pods, its own lease.
//!
//! The authorizer has let the request pass by resource and name; here the object itself counts.
//! Source: kubernetes v1.36.3 plugin/pkg/admission/noderestriction/admission.go,
//! k8s.io/kubelet/pkg/apis/well_known_labels.go.

use api::Status;
use schema::Ref;

use super::Operation;
use crate::hooks::Context;

/// Labels of Kubernetes' own names that a kubelet sets.
const LABELS: [&str; 13] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "node.kubernetes.io/exclude-from-external-load-balancers",
    "kubernetes.io/node-swap",
];
/// Namespaces of labels in which a kubelet sets what it likes.
const FREE: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];
/// Labels that say where workloads may be isolated: never a kubelet's.
const RESTRICTED: &str = "node-restriction.kubernetes.io";

/// The node whose kubelet asks; none: somebody else.
fn node_of<'a>(cx: &'a Context<'_>) -> Option<&'a str> {
    let name = cx.user.name.strip_prefix("system:node:")?;
    cx.user.is_in("system:nodes").then_some(name)
}

/// Refuses what is not the node's own.
pub(super) fn restrict(
    cx: &Context<'_>,
    operation: Operation,
    new: Ref<'_>,
    old: Option<Ref<'_>>,
) -> Result<(), Status> {
    let Some(node) = node_of(cx) else {
        return Ok(());
    };
    let name = api::meta::of(old.unwrap_or(new)).name().to_owned();
    let gr = cx.resource.group_resource();
    let refuse = |cause: String| Err(Status::forbidden(&gr, &name, &cause));
    match (gr.group.as_str(), gr.resource.as_str(), cx.subresource) {
        ("", "nodes", _) => {
            if name != node {
                return refuse(format!(
                    "node {node:?} is not allowed to modify node {name:?}"
                ));
            }
            labels(node, new, old).or_else(&refuse)?;
            if operation == Operation::Create {
                return Ok(());
            }
            let taints = |of: Option<Ref<'_>>| {
                let taints = of.and_then(|of| of.at(&["spec", "taints"]));
                taints.map(Ref::to_json).unwrap_or_default()
            };
            if taints(Some(new)) != taints(old) {
                return refuse(format!("node {node:?} is not allowed to modify taints"));
            }
            Ok(())
        }
        ("", "pods", "") if operation == Operation::Create => mirror(node, new).or_else(refuse),
        ("", "pods", "status") => {
            let on = old.and_then(|old| old.at(&["spec", "nodeName"]));
            if on.and_then(Ref::as_str) != Some(node) {
                return refuse(format!(
                    "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
                ));
            }
            let of = |object: Ref<'_>| {
                let labels = object.at(&["metadata", "labels"]);
                labels.map(Ref::to_json).unwrap_or_default()
            };
            if old.is_some_and(|old| of(old) != of(new)) {
                return refuse(format!(
                    "node {node:?} cannot update labels through pod status"
                ));
            }
            Ok(())
        }
        ("", "pods", "") => refuse(format!("node {node:?} cannot update pods")),
        ("coordination.k8s.io", "leases", _) => {
            if cx.namespace != "kube-node-lease" {
                return refuse(
                    "can only access leases in the \"kube-node-lease\" system namespace".to_owned(),
                );
            }
            if name != node {
                return refuse(
                    "can only access node lease with the same name as the requesting node"
                        .to_owned(),
                );
            }
            Ok(())
        }
        ("storage.k8s.io", "csinodes", _) if name != node => {
            refuse("can only access CSINode with the same name as the requesting node".to_owned())
        }
        _ => Ok(()),
    }
}

/// A kubelet may only create the mirrors of its static pods.
fn mirror(node: &str, pod: Ref<'_>) -> Result<(), String> {
    let own = api::meta::of(pod);
    if own.annotation("kubernetes.io/config.mirror").is_none() {
        return Err(format!(
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node {node:?} can only create mirror pods"
        ));
    }
    let spec = pod.get("spec");
    if spec.is_none_or(|spec| spec.str("nodeName") != node) {
        return Err(format!(
            "node {node:?} can only create pods with spec.nodeName set to itself"
        ));
    }
    if spec.is_some_and(|spec| !spec.str("serviceAccountName").is_empty()) {
        return Err(format!(
            "node {node:?} can not create pods that reference a service account"
        ));
    }
    for volume in spec.into_iter().flat_map(|spec| spec.items("volumes")) {
        for (kind, words) in [
            ("secret", "secrets"),
            ("configMap", "configmaps"),
            ("persistentVolumeClaim", "persistentvolumeclaims"),
        ] {
            if volume.get(kind).is_some() {
                return Err(format!(
                    "node {node:?} can not create pods that reference {words}"
                ));
            }
        }
    }
    Ok(())
}

/// Labels that changed and are not a kubelet's to change.
fn labels(node: &str, new: Ref<'_>, old: Option<Ref<'_>>) -> Result<(), String> {
    let (new, before) = (api::meta::of(new), old.map(api::meta::of));
    let mut changed: Vec<&str> = Vec::new();
    for (key, value) in new.labels() {
        if before.and_then(|old| old.label(key)) != Some(value) {
            changed.push(key);
        }
    }
    for (key, _) in before.into_iter().flat_map(|old| old.labels()) {
        if new.label(key).is_none() {
            changed.push(key);
        }
    }
    changed.sort_unstable();
    let of = |key: &str| {
        key.split_once('/')
            .map_or("", |(namespace, _)| namespace)
            .to_owned()
    };
    let under = |namespace: &str, top: &str| {
        namespace == top
            || namespace
                .strip_suffix(top)
                .is_some_and(|rest| rest.ends_with('.'))
    };
    let restricted: Vec<&str> = changed
        .iter()
        .copied()
        .filter(|key| under(&of(key), RESTRICTED))
        .collect();
    if !restricted.is_empty() {
        let verb = if old.is_some() { "modify" } else { "set" };
        return Err(format!(
            "node {node:?} is not allowed to {verb} labels: {}",
            restricted.join(", ")
        ));
    }
    let own: Vec<&str> = changed
        .into_iter()
        .filter(|key| {
            let namespace = of(key);
            let kubernetes = under(&namespace, "kubernetes.io") || under(&namespace, "k8s.io");
            let free = FREE.iter().any(|top| under(&namespace, top));
            kubernetes && !free && !LABELS.contains(key)
        })
        .collect();
    if own.is_empty() {
        return Ok(());
    }
    Err(format!(
        "is not allowed to {} the following labels: {}",
        if old.is_some() { "modify" } else { "set" },
        own.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use schema::Dom;

    use super::{labels, mirror};

    fn node(json: &str) -> Dom {
        Dom::parse_json(format!(r#"{{"metadata":{{"name":"a","labels":{json}}}}}"#).as_bytes())
            .unwrap()
    }

    #[track_caller]
    fn check(old: &str, new: &str, expected: Result<(), &str>) {
        let (old, new) = (node(old), node(new));
        let found = labels("a", new.as_ref(), Some(old.as_ref()));
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn labels_of_a_kubelet() {
        check("{}", r#"{"kubernetes.io/os":"linux","mine":"x"}"#, Ok(()));
        check("{}", r#"{"node.kubernetes.io/x":"y"}"#, Ok(()));
        check(
            "{}",
            r#"{"node-restriction.kubernetes.io/x":"y"}"#,
            Err(r#"node "a" is not allowed to modify labels: node-restriction.kubernetes.io/x"#),
        );
        check(
            r#"{"node-role.kubernetes.io/control-plane":""}"#,
            "{}",
            Err(
                "is not allowed to modify the following labels: node-role.kubernetes.io/control-plane",
            ),
        );
    }

    #[test]
    fn only_mirrors_of_static_pods() {
        let pod = Dom::parse_json(br#"{"metadata":{},"spec":{"nodeName":"a"}}"#).unwrap();
        assert!(mirror("a", pod.as_ref()).is_err());
        let pod = br#"{"metadata":{"annotations":{"kubernetes.io/config.mirror":"x"}},"spec":{"nodeName":"a"}}"#;
        let pod = Dom::parse_json(pod).unwrap();
        assert_eq!(mirror("a", pod.as_ref()), Ok(()));
        assert!(mirror("b", pod.as_ref()).is_err());
    }
}
