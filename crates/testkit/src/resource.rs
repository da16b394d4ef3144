//! Resources by the names that scenarios use.

use api::Gvr;

/// Group, version, plural, kind, short name, namespaced.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    bool,
);

const ROWS: &[Row] = &[
    ("", "v1", "pods", "Pod", "po", true),
    ("", "v1", "nodes", "Node", "no", false),
    ("", "v1", "namespaces", "Namespace", "ns", false),
    ("", "v1", "configmaps", "ConfigMap", "cm", true),
    ("", "v1", "secrets", "Secret", "secret", true),
    ("", "v1", "services", "Service", "svc", true),
    ("", "v1", "endpoints", "Endpoints", "ep", true),
    ("", "v1", "events", "Event", "ev", true),
    ("", "v1", "serviceaccounts", "ServiceAccount", "sa", true),
    (
        "",
        "v1",
        "persistentvolumeclaims",
        "PersistentVolumeClaim",
        "pvc",
        true,
    ),
    (
        "",
        "v1",
        "replicationcontrollers",
        "ReplicationController",
        "rc",
        true,
    ),
    ("apps", "v1", "replicasets", "ReplicaSet", "rs", true),
    ("apps", "v1", "deployments", "Deployment", "deploy", true),
    ("apps", "v1", "daemonsets", "DaemonSet", "ds", true),
    ("apps", "v1", "statefulsets", "StatefulSet", "sts", true),
    ("batch", "v1", "jobs", "Job", "job", true),
    ("batch", "v1", "cronjobs", "CronJob", "cj", true),
    (
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
        "pdb",
        true,
    ),
    (
        "coordination.k8s.io",
        "v1",
        "leases",
        "Lease",
        "lease",
        true,
    ),
    (
        "discovery.k8s.io",
        "v1",
        "endpointslices",
        "EndpointSlice",
        "eps",
        true,
    ),
    (
        "scheduling.k8s.io",
        "v1",
        "priorityclasses",
        "PriorityClass",
        "pc",
        false,
    ),
];

/// Where a resource is served.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    /// Group, version, plural.
    pub(crate) gvr: Gvr,
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
}

/// By plural, singular, kind or short name.
pub(crate) fn find(name: &str) -> Option<Resource> {
    let name = name.to_lowercase();
    let row = ROWS.iter().find(|(_, _, plural, kind, short, _)| {
        *plural == name || *short == name || kind.to_lowercase() == name
    })?;
    Some(Resource {
        gvr: Gvr::new(row.0, row.1, row.2),
        namespaced: row.5,
    })
}
