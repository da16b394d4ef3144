//! CONTROLLERS: each a pure plan and a thin shell that fetches its world and applies the plan.
//!
//! A controller has its own identity and only the rights of its upstream role. It meets the rest
//! of the system in API objects only.

mod certificates;
mod context;
mod cronjob;
mod daemonset;
mod deployment;
mod discovery;
mod disruption;
mod endpoint;
mod facts;
mod finished_jobs;
mod garbage;
mod informers;
mod job;
mod namespace;
mod node_lifecycle;
mod node_ranges;
mod nodes;
mod per_namespace;
mod pod_garbage;
mod policy_status;
mod protection;
mod quota;
mod replicaset;
mod role_aggregation;
mod statefulset;
mod taint_eviction;
#[cfg(test)]
mod testing;
mod volume_binder;
mod workload;

pub use context::{Context, Controller, start_all};
pub use informers::Informers;
pub use node_ranges::PodRanges;

/// All controllers, each a row.
pub const CONTROLLERS: &[Controller] = &[
    Controller {
        name: "namespace-controller",
        identity: "system:serviceaccount:kube-system:namespace-controller",
        start: namespace::start,
    },
    Controller {
        name: "replicaset-controller",
        identity: "system:serviceaccount:kube-system:replicaset-controller",
        start: replicaset::start_replica_sets,
    },
    Controller {
        name: "replicationcontroller-controller",
        identity: "system:serviceaccount:kube-system:replication-controller",
        start: replicaset::start_replication_controllers,
    },
    Controller {
        name: "deployment-controller",
        identity: "system:serviceaccount:kube-system:deployment-controller",
        start: deployment::start,
    },
    Controller {
        name: "job-controller",
        identity: "system:serviceaccount:kube-system:job-controller",
        start: job::start,
    },
    Controller {
        name: "daemonset-controller",
        identity: "system:serviceaccount:kube-system:daemon-set-controller",
        start: daemonset::start,
    },
    Controller {
        name: "statefulset-controller",
        identity: "system:serviceaccount:kube-system:statefulset-controller",
        start: statefulset::start,
    },
    Controller {
        name: "cronjob-controller",
        identity: "system:serviceaccount:kube-system:cronjob-controller",
        start: cronjob::start,
    },
    Controller {
        name: "serviceaccount-controller",
        identity: "system:serviceaccount:kube-system:service-account-controller",
        start: per_namespace::start_service_account,
    },
    Controller {
        name: "root-ca-certificate-publisher-controller",
        identity: "system:serviceaccount:kube-system:root-ca-cert-publisher",
        start: per_namespace::start_root_ca,
    },
    Controller {
        name: "garbage-collector-controller",
        identity: "system:serviceaccount:kube-system:generic-garbage-collector",
        start: garbage::start,
    },
    Controller {
        name: "node-lifecycle-controller",
        identity: "system:serviceaccount:kube-system:node-controller",
        start: node_lifecycle::start,
    },
    Controller {
        name: "resourcequota-controller",
        identity: "system:serviceaccount:kube-system:resourcequota-controller",
        start: quota::start,
    },
    Controller {
        name: "persistentvolumeclaim-protection-controller",
        identity: "system:serviceaccount:kube-system:pvc-protection-controller",
        start: protection::start_claims,
    },
    Controller {
        name: "persistentvolume-binder-controller",
        identity: "system:serviceaccount:kube-system:persistent-volume-binder",
        start: volume_binder::start,
    },
    Controller {
        name: "persistentvolume-protection-controller",
        identity: "system:serviceaccount:kube-system:pv-protection-controller",
        start: protection::start_volumes,
    },
    Controller {
        name: "endpointslice-controller",
        identity: "system:serviceaccount:kube-system:endpointslice-controller",
        start: endpoint::start_slices,
    },
    Controller {
        name: "endpoints-controller",
        identity: "system:serviceaccount:kube-system:endpoint-controller",
        start: endpoint::start_endpoints,
    },
    Controller {
        name: "endpointslice-mirroring-controller",
        identity: "system:serviceaccount:kube-system:endpointslicemirroring-controller",
        start: endpoint::start_mirroring,
    },
    Controller {
        name: "taint-eviction-controller",
        identity: "system:serviceaccount:kube-system:node-controller",
        start: taint_eviction::start,
    },
    Controller {
        name: "pod-garbage-collector-controller",
        identity: "system:serviceaccount:kube-system:pod-garbage-collector",
        start: pod_garbage::start,
    },
    Controller {
        name: "node-ipam-controller",
        identity: "system:serviceaccount:kube-system:node-controller",
        start: node_ranges::start,
    },
    Controller {
        name: "disruption-controller",
        identity: "system:serviceaccount:kube-system:disruption-controller",
        start: disruption::start,
    },
    Controller {
        name: "clusterrole-aggregation-controller",
        identity: "system:serviceaccount:kube-system:clusterrole-aggregation-controller",
        start: role_aggregation::start,
    },
    Controller {
        name: "validatingadmissionpolicy-status-controller",
        identity: "system:serviceaccount:kube-system:validatingadmissionpolicy-status-controller",
        start: policy_status::start,
    },
    Controller {
        name: "ttl-after-finished-controller",
        identity: "system:serviceaccount:kube-system:ttl-after-finished-controller",
        start: finished_jobs::start,
    },
    Controller {
        name: "certificatesigningrequest-approving-controller",
        identity: "system:serviceaccount:kube-system:certificate-controller",
        start: certificates::start_approving,
    },
    Controller {
        name: "certificatesigningrequest-signing-controller",
        identity: "system:serviceaccount:kube-system:certificate-controller",
        start: certificates::start_signing,
    },
    Controller {
        name: "certificatesigningrequest-cleaner-controller",
        identity: "system:serviceaccount:kube-system:certificate-controller",
        start: certificates::start_cleaning,
    },
];
