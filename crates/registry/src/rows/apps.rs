//! Rows of workloads: apps, batch, autoscaling, policy, devices.

use crate::columns;
use crate::resource::{Resource, Selectable, Subresource, View};
use crate::strategy::Strategy;
use crate::validation::{autoscaling, batch, workload};
use crate::{convert, defaults, warnings};

fn app(plural: &'static str, kind: &'static str, short: &'static str) -> Resource {
    Resource::namespaced("apps", "v1", plural, kind)
        .short(&[short])
        .category("all")
        .status()
}

fn batch_row(plural: &'static str, kind: &'static str) -> Resource {
    Resource::namespaced("batch", "v1", plural, kind)
        .category("all")
        .status()
}

pub(super) fn rows() -> Vec<Resource> {
    let scaled = |row: Resource| row.subresource(Subresource::scale());
    let mut scaler = Resource::namespaced(
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
    )
    .short(&["hpa"])
    .category("all")
    .status()
    .columns(columns::autoscaler())
    .strategy(Strategy {
        default: defaults::workload::autoscaler,
        validate: autoscaling::autoscaler,
        validate_create: autoscaling::autoscaler_create,
        ..Strategy::DEFAULT
    });
    let mut old = View::stored("autoscaling", "v1");
    old.convert = Some((convert::autoscaler_from_v1, convert::autoscaler_to_v1));
    scaler.views.push(old);
    vec![
        scaled(app("deployments", "Deployment", "deploy"))
            .columns(columns::deployment())
            .strategy(Strategy {
                default: defaults::workload::deployment,
                prepare_update: workload::prepare_deployment_update,
                validate: workload::deployment,
                warn: warnings::template,
                validate_update: workload::immutable_selector,
                generation: true,
                ..Strategy::DEFAULT
            }),
        scaled(app("replicasets", "ReplicaSet", "rs"))
            .columns(columns::replica_set())
            .select(Selectable::or("status.replicas", "0"))
            .strategy(Strategy {
                default: defaults::workload::replica_set,
                validate: workload::replica_set,
                warn: warnings::template,
                validate_update: workload::immutable_selector,
                generation: true,
                ..Strategy::DEFAULT
            }),
        scaled(app("statefulsets", "StatefulSet", "sts"))
            .columns(columns::stateful_set())
            .strategy(Strategy {
                default: defaults::workload::stateful_set,
                validate: workload::stateful_set,
                warn: warnings::template,
                validate_update: workload::stateful_set_update,
                generation: true,
                ..Strategy::DEFAULT
            }),
        app("daemonsets", "DaemonSet", "ds")
            .columns(columns::daemon_set())
            .strategy(Strategy {
                default: defaults::workload::daemon_set,
                prepare_create: workload::prepare_daemon_set,
                prepare_update: workload::prepare_daemon_set_update,
                validate: workload::daemon_set,
                warn: warnings::template,
                validate_update: workload::immutable_selector,
                generation: true,
                ..Strategy::DEFAULT
            }),
        Resource::namespaced("apps", "v1", "controllerrevisions", "ControllerRevision")
            .columns(columns::controller_revision())
            .strategy(Strategy {
                validate: workload::controller_revision,
                validate_update: workload::controller_revision_update,
                ..Strategy::DEFAULT
            }),
        batch_row("jobs", "Job")
            .columns(columns::job())
            .select(Selectable::or("status.successful", "0"))
            .strategy(Strategy {
                default: defaults::workload::job,
                prepare_create: batch::prepare_job,
                validate: batch::job,
                warn: warnings::template,
                validate_update: batch::job_update,
                generation: true,
                orphan_by_default: true,
                ..Strategy::DEFAULT
            }),
        batch_row("cronjobs", "CronJob")
            .short(&["cj"])
            .columns(columns::cron_job())
            .strategy(Strategy {
                default: defaults::workload::cron_job,
                validate_create: batch::cron_job_create,
                validate_update: batch::cron_job_update,
                generation: true,
                ..Strategy::DEFAULT
            }),
        scaler,
        Resource::namespaced(
            "policy",
            "v1",
            "poddisruptionbudgets",
            "PodDisruptionBudget",
        )
        .short(&["pdb"])
        .status()
        .columns(columns::disruption_budget())
        .strategy(Strategy {
            validate: workload::disruption_budget,
            unconditional_update: false,
            generation: true,
            ..Strategy::DEFAULT
        }),
        Resource::cluster("resource.k8s.io", "v1", "deviceclasses", "DeviceClass").strategy(
            Strategy {
                generation: true,
                ..Strategy::DEFAULT
            },
        ),
        Resource::namespaced("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim")
            .status()
            .columns(columns::resource_claim())
            .strategy(Strategy {
                default: defaults::resource_claim,
                ..Strategy::DEFAULT
            }),
        Resource::namespaced(
            "resource.k8s.io",
            "v1",
            "resourceclaimtemplates",
            "ResourceClaimTemplate",
        )
        .strategy(Strategy {
            default: defaults::resource_claim_template,
            ..Strategy::DEFAULT
        }),
        Resource::cluster("resource.k8s.io", "v1", "resourceslices", "ResourceSlice")
            .columns(columns::device_slice())
            .select(Selectable::path("spec.nodeName"))
            .select(Selectable::path("spec.driver"))
            .strategy(Strategy {
                generation: true,
                ..Strategy::DEFAULT
            }),
    ]
}
