//! Columns of workloads.
//!
//! Source: kubernetes v1.36.3 pkg/printers/internalversion/printers.go.

use schema::Ref;

use super::{
    Cell, Columns, age, at, containers, int_at, label_set, name, or_none, scalar, selector, since,
    since_field,
};

fn template(o: Ref<'_>) -> [Cell; 2] {
    containers(o.at(&["spec", "template", "spec"]))
}

fn spec_selector(o: Ref<'_>) -> Cell {
    selector(o.at(&["spec", "selector"])).into()
}

/// ReplicaSets, and replication controllers, whose selector is a plain set.
pub(crate) fn replica_set() -> Columns {
    Columns::new(
        "Name|Desired:i|Current:i|Ready:i|Age|Containers*|Images*|Selector*",
        |resource, o, now| {
            let [names, images] = template(o);
            let chosen = if resource.kind == "ReplicationController" {
                label_set(o.at(&["spec", "selector"])).into()
            } else {
                spec_selector(o)
            };
            vec![
                name(o),
                int_at(o, &["spec", "replicas"]).into(),
                int_at(o, &["status", "replicas"]).into(),
                int_at(o, &["status", "readyReplicas"]).into(),
                age(o, now),
                names,
                images,
                chosen,
            ]
        },
    )
}

pub(crate) fn deployment() -> Columns {
    Columns::new(
        "Name|Ready|Up-to-date|Available|Age|Containers*|Images*|Selector*",
        |_, o, now| {
            let [names, images] = template(o);
            let ready = int_at(o, &["status", "readyReplicas"]);
            vec![
                name(o),
                format!("{ready}/{}", int_at(o, &["spec", "replicas"])).into(),
                int_at(o, &["status", "updatedReplicas"]).into(),
                int_at(o, &["status", "availableReplicas"]).into(),
                age(o, now),
                names,
                images,
                spec_selector(o),
            ]
        },
    )
}

pub(crate) fn daemon_set() -> Columns {
    Columns::new(
        "Name|Desired:i|Current:i|Ready:i|Up-to-date:i|Available:i|Node Selector|Age|Containers*|Images*|Selector*",
        |_, o, now| {
            let [names, images] = template(o);
            vec![
                name(o),
                int_at(o, &["status", "desiredNumberScheduled"]).into(),
                int_at(o, &["status", "currentNumberScheduled"]).into(),
                int_at(o, &["status", "numberReady"]).into(),
                int_at(o, &["status", "updatedNumberScheduled"]).into(),
                int_at(o, &["status", "numberAvailable"]).into(),
                label_set(o.at(&["spec", "template", "spec", "nodeSelector"])).into(),
                age(o, now),
                names,
                images,
                spec_selector(o),
            ]
        },
    )
}

pub(crate) fn stateful_set() -> Columns {
    Columns::new("Name|Ready|Age|Containers*|Images*", |_, o, now| {
        let [names, images] = template(o);
        let ready = int_at(o, &["status", "readyReplicas"]);
        let ready = format!("{ready}/{}", int_at(o, &["spec", "replicas"]));
        vec![name(o), ready.into(), age(o, now), names, images]
    })
}

fn job_status(o: Ref<'_>) -> &'static str {
    let holds = |kind| api::meta::condition_is_true(o, kind);
    if holds("Complete") {
        "Complete"
    } else if holds("Failed") {
        "Failed"
    } else if api::meta::of(o).is_deleting() {
        "Terminating"
    } else if holds("Suspended") {
        "Suspended"
    } else if holds("FailureTarget") {
        "FailureTarget"
    } else if holds("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    }
}

pub(crate) fn job() -> Columns {
    Columns::new(
        "Name|Status|Completions|Duration|Age|Containers*|Images*|Selector*",
        |_, o, now| {
            let [names, images] = template(o);
            let succeeded = int_at(o, &["status", "succeeded"]);
            let parallelism = int_at(o, &["spec", "parallelism"]);
            let completions = match o.at(&["spec", "completions"]).and_then(Ref::as_int) {
                Some(wanted) => format!("{succeeded}/{wanted}"),
                None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
                None => format!("{succeeded}/1"),
            };
            let time = |key| api::time::field(o.get("status")?, key);
            let duration = match (time("startTime"), time("completionTime")) {
                (Some(start), Some(end)) => since(start, end),
                (Some(start), None) => since(start, now),
                _ => String::new(),
            };
            vec![
                name(o),
                job_status(o).into(),
                completions.into(),
                duration.into(),
                age(o, now),
                names,
                images,
                spec_selector(o),
            ]
        },
    )
}

pub(crate) fn cron_job() -> Columns {
    Columns::new(
        "Name|Schedule|Timezone|Suspend:b|Active:i|Last Schedule|Age|Containers*|Images*|Selector*",
        |_, o, now| {
            let [names, images] =
                containers(o.at(&["spec", "jobTemplate", "spec", "template", "spec"]));
            let last = o
                .get("status")
                .and_then(|s| since_field(s, "lastScheduleTime", now));
            let active = o.get("status").map_or(0, |s| s.items("active").count());
            let suspended = o.at(&["spec", "suspend"]).and_then(Ref::as_bool) == Some(true);
            let chosen = o.at(&["spec", "jobTemplate", "spec", "selector"]);
            vec![
                name(o),
                at(o, &["spec", "schedule"]).into(),
                or_none(at(o, &["spec", "timeZone"])).into(),
                if suspended {
                    "True".into()
                } else {
                    "False".into()
                },
                i64::try_from(active).unwrap_or(0).into(),
                last.unwrap_or_else(|| "<none>".to_owned()).into(),
                age(o, now),
                names,
                images,
                chosen
                    .map_or_else(|| "<none>".to_owned(), |_| selector(chosen))
                    .into(),
            ]
        },
    )
}

fn target(metric: Ref<'_>, current: Option<Ref<'_>>) -> String {
    let source = metric.str("type");
    let key = match source {
        "Resource" => "resource",
        "Pods" => "pods",
        "Object" => "object",
        "External" => "external",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let wanted = metric.at(&[key, "target"]);
    let now = current.and_then(|current| current.at(&[key, "current"]));
    let value = |node: Option<Ref<'_>>, key: &str| scalar(node.and_then(|n| n.get(key)));
    let utilization = value(wanted, "averageUtilization");
    if !utilization.is_empty() {
        let now = value(now, "averageUtilization");
        let now = if now.is_empty() {
            "<unknown>".to_owned()
        } else {
            format!("{now}%")
        };
        let resource = metric
            .at(&[key, "name"])
            .and_then(Ref::as_str)
            .unwrap_or_default();
        return format!("{resource}: {now}/{utilization}%");
    }
    for (kind, suffix) in [("averageValue", " (avg)"), ("value", "")] {
        let wanted = value(wanted, kind);
        if !wanted.is_empty() {
            let now = value(now, kind);
            let now = if now.is_empty() {
                "<unknown>".to_owned()
            } else {
                now
            };
            let suffix = if source == "Resource" || source == "Pods" {
                ""
            } else {
                suffix
            };
            return format!("{now}/{wanted}{suffix}");
        }
    }
    "<unknown>".to_owned()
}

pub(crate) fn autoscaler() -> Columns {
    Columns::new(
        "Name|Reference|Targets|MinPods|MaxPods|Replicas|Age",
        |_, o, now| {
            let reference = format!(
                "{}/{}",
                at(o, &["spec", "scaleTargetRef", "kind"]),
                at(o, &["spec", "scaleTargetRef", "name"])
            );
            let metrics: Vec<_> = o
                .get("spec")
                .into_iter()
                .flat_map(|s| s.items("metrics"))
                .collect();
            let current: Vec<_> = o
                .get("status")
                .into_iter()
                .flat_map(|s| s.items("currentMetrics"))
                .collect();
            let shown: Vec<String> = metrics
                .iter()
                .take(2)
                .enumerate()
                .map(|(i, metric)| target(*metric, current.get(i).copied()))
                .collect();
            let mut targets = or_none(&shown.join(", "));
            if metrics.len() > 2 {
                targets.push_str(&format!(" + {} more...", metrics.len() - 2));
            }
            let min = scalar(o.at(&["spec", "minReplicas"]));
            vec![
                name(o),
                reference.into(),
                targets.into(),
                if min.is_empty() {
                    "<unset>".into()
                } else {
                    min.into()
                },
                int_at(o, &["spec", "maxReplicas"]).into(),
                int_at(o, &["status", "currentReplicas"]).into(),
                age(o, now),
            ]
        },
    )
}

pub(crate) fn resource_claim() -> Columns {
    Columns::new("Name|State|Age", |_, o, now| {
        let mut states = Vec::new();
        if api::meta::of(o).is_deleting() {
            states.push("deleted");
        }
        if o.at(&["status", "allocation"]).is_none() {
            if !api::meta::of(o).is_deleting() {
                states.push("pending");
            }
        } else {
            states.push("allocated");
            if o.get("status")
                .is_some_and(|s| s.items("reservedFor").next().is_some())
            {
                states.push("reserved");
            }
        }
        vec![name(o), states.join(",").into(), age(o, now)]
    })
}

pub(crate) fn device_slice() -> Columns {
    Columns::new("Name|Node|Driver|Pool|Age", |_, o, now| {
        let node = at(o, &["spec", "nodeName"]);
        vec![
            name(o),
            super::or_unset(node).into(),
            at(o, &["spec", "driver"]).into(),
            at(o, &["spec", "pool", "name"]).into(),
            age(o, now),
        ]
    })
}
