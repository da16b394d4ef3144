//! The downward API: a pod's own fields and a container's resources as text.
//!
//! Source: kubernetes v1.36 pkg/fieldpath/fieldpath.go, pkg/api/v1/resource/helpers.go.

use api::Quantity;
use schema::Ref;

/// What the node adds to the pod's own fields.
#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    /// The node's addresses.
    pub host_addresses: Vec<String>,
    /// The pod's addresses, the main one first.
    pub pod_addresses: Vec<String>,
    /// What stands in for a limit that is not set.
    pub allocatable_millicores: i64,
    /// What stands in for a limit that is not set.
    pub allocatable_memory_bytes: i64,
}

/// The value of a `fieldRef`; `None` when the path is not one of the API's.
pub fn field(pod: Ref<'_>, path: &str, facts: &NodeFacts) -> Option<String> {
    let metadata = pod.get("metadata")?;
    let map = |name: &str| {
        let mut lines: Vec<String> = metadata
            .entries(name)
            .map(|(key, value)| format!("{key}={:?}", value.as_str().unwrap_or_default()))
            .collect();
        lines.sort();
        lines.join("\n")
    };
    let first = |list: &[String]| list.first().cloned().unwrap_or_default();
    let spec = |name: &str| pod.get("spec").map_or("", |spec| spec.str(name)).to_owned();
    Some(match path {
        "metadata.name" => metadata.str("name").to_owned(),
        "metadata.namespace" => metadata.str("namespace").to_owned(),
        "metadata.uid" => metadata.str("uid").to_owned(),
        "metadata.labels" => map("labels"),
        "metadata.annotations" => map("annotations"),
        "spec.nodeName" => spec("nodeName"),
        "spec.serviceAccountName" => spec("serviceAccountName"),
        "status.hostIP" => first(&facts.host_addresses),
        "status.hostIPs" => facts.host_addresses.join(","),
        "status.podIP" => first(&facts.pod_addresses),
        "status.podIPs" => facts.pod_addresses.join(","),
        _ => {
            let (list, key) = path.strip_suffix("']")?.split_once("['")?;
            let list = list.strip_prefix("metadata.")?;
            if !matches!(list, "labels" | "annotations") {
                return None;
            }
            metadata.get(list).map_or("", |map| map.str(key)).to_owned()
        }
    })
}

/// The value of a `resourceFieldRef` of a container, rounded up to whole divisors.
pub fn resource_field(
    container: Ref<'_>,
    resource: &str,
    divisor: &str,
    facts: &NodeFacts,
) -> Option<String> {
    let (list, name) = resource.split_once('.')?;
    let amount = container
        .at(&["resources", list])
        .and_then(|list| list.get(name))
        .and_then(|value| value.as_str())
        .and_then(|text| Quantity::parse(text).ok());
    let divisor = Quantity::parse(if divisor.is_empty() || divisor == "0" {
        "1"
    } else {
        divisor
    });
    let divisor = divisor.ok()?;
    let is_limit = list == "limits";
    let (amount, divisor) = if name == "cpu" {
        let fallback = if is_limit {
            facts.allocatable_millicores
        } else {
            0
        };
        (
            amount.map_or(fallback, |amount| amount.millis()),
            divisor.millis(),
        )
    } else {
        let fallback = if is_limit && name == "memory" {
            facts.allocatable_memory_bytes
        } else {
            0
        };
        (
            amount.map_or(fallback, |amount| amount.value()),
            divisor.value(),
        )
    };
    let divisor = divisor.max(1);
    Some(((amount + divisor - 1) / divisor).to_string())
}
