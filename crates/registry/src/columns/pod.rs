//! Columns of pods.
//!
//! The status column tells the first thing that stands in the pod's way: its own reason, its init
//! containers, its containers, its deletion.
//! Source: kubernetes v1.36.3 pkg/printers/internalversion/printers.go, printPod.

use jiff::Timestamp;
use schema::Ref;

use super::{Cell, Columns, age, at, name, or_none, since};
use crate::resource::Resource;

pub(crate) fn pod() -> Columns {
    Columns::new(
        "Name|Ready|Status|Restarts|Age|IP*|Node*|Nominated Node*|Readiness Gates*",
        cells,
    )
}

struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

fn time(state: Option<Ref<'_>>, key: &str) -> Option<Timestamp> {
    api::time::field(state?, key)
}

fn init(pod: Ref<'_>, out: &mut Summary) -> bool {
    let spec = pod.get("spec");
    let inits: Vec<_> = spec
        .into_iter()
        .flat_map(|spec| spec.items("initContainers"))
        .collect();
    let sidecar = |name: &str| {
        inits
            .iter()
            .any(|c| c.str("name") == name && api::pod::is_sidecar(*c))
    };
    out.total += inits.iter().filter(|c| api::pod::is_sidecar(**c)).count();
    let (mut sidecar_restarts, mut sidecar_last) = (0, None);
    let statuses = pod
        .get("status")
        .into_iter()
        .flat_map(|s| s.items("initContainerStatuses"));
    for (index, status) in statuses.enumerate() {
        let restarts = status.int("restartCount").unwrap_or(0);
        let is_sidecar = sidecar(status.str("name"));
        let last = time(status.at(&["lastState", "terminated"]), "finishedAt");
        out.restarts += restarts;
        out.last_restart = out.last_restart.max(last);
        if is_sidecar {
            sidecar_restarts += restarts;
            sidecar_last = sidecar_last.max(last);
        }
        let terminated = status.at(&["state", "terminated"]);
        if terminated.is_some_and(|t| t.int("exitCode") == Some(0)) {
            continue;
        }
        if is_sidecar && status.bool("started") == Some(true) {
            if status.bool("ready") == Some(true) {
                out.ready += 1;
            }
            continue;
        }
        if let Some(terminated) = terminated {
            out.reason = match (
                terminated.str("reason"),
                terminated.int("signal").unwrap_or(0),
            ) {
                ("", 0) => format!("Init:ExitCode:{}", terminated.int("exitCode").unwrap_or(0)),
                ("", signal) => format!("Init:Signal:{signal}"),
                (reason, _) => format!("Init:{reason}"),
            };
            return true;
        }
        let waiting = at(status, &["state", "waiting", "reason"]);
        out.reason = if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{}", inits.len())
        };
        return true;
    }
    out.restarts = sidecar_restarts;
    out.last_restart = sidecar_last;
    false
}

fn main_containers(pod: Ref<'_>, out: &mut Summary) {
    let mut running = false;
    let statuses: Vec<_> = pod
        .get("status")
        .into_iter()
        .flat_map(|s| s.items("containerStatuses"))
        .collect();
    for status in statuses.iter().rev() {
        out.restarts += status.int("restartCount").unwrap_or(0);
        let last = time(status.at(&["lastState", "terminated"]), "finishedAt");
        out.last_restart = out.last_restart.max(last);
        let waiting = at(*status, &["state", "waiting", "reason"]);
        let terminated = status.at(&["state", "terminated"]);
        if !waiting.is_empty() {
            out.reason = waiting.to_owned();
        } else if let Some(terminated) = terminated {
            out.reason = match (
                terminated.str("reason"),
                terminated.int("signal").unwrap_or(0),
            ) {
                ("", 0) => format!("ExitCode:{}", terminated.int("exitCode").unwrap_or(0)),
                ("", signal) => format!("Signal:{signal}"),
                (reason, _) => reason.to_owned(),
            };
        } else if status.bool("ready") == Some(true) && status.at(&["state", "running"]).is_some() {
            running = true;
            out.ready += 1;
        }
    }
    if out.reason == "Completed" && running {
        let ready = api::meta::condition_is_true(pod, "Ready");
        out.reason = if ready { "Running" } else { "NotReady" }.to_owned();
    }
}

fn cells(_: &Resource, pod: Ref<'_>, now: Timestamp) -> Vec<Cell> {
    let spec = pod.get("spec");
    let status = pod.get("status");
    let phase = at(pod, &["status", "phase"]);
    let mut out = Summary {
        reason: phase.to_owned(),
        ready: 0,
        total: spec.map_or(0, |spec| spec.items("containers").count()),
        restarts: 0,
        last_restart: None,
    };
    let own = at(pod, &["status", "reason"]);
    if !own.is_empty() {
        out.reason = own.to_owned();
    }
    if let Some(scheduled) = api::meta::condition(pod, "PodScheduled")
        && scheduled.str("reason") == "SchedulingGated"
    {
        out.reason = "SchedulingGated".to_owned();
    }
    let initialized = api::meta::condition_is_true(pod, "Initialized");
    if !init(pod, &mut out) || initialized {
        main_containers(pod, &mut out);
    }
    if api::meta::of(pod).is_deleting() {
        if own == "NodeLost" {
            out.reason = "Unknown".to_owned();
        } else if !matches!(phase, "Failed" | "Succeeded") {
            out.reason = "Terminating".to_owned();
        }
    }
    let restarts = match out.last_restart {
        Some(last) if out.restarts > 0 => format!("{} ({} ago)", out.restarts, since(last, now)),
        _ => out.restarts.to_string(),
    };
    let ip = status
        .into_iter()
        .flat_map(|status| status.items("podIPs"))
        .next();
    let ip = ip.map_or_else(|| at(pod, &["status", "podIP"]), |ip| ip.str("ip"));
    let gates: Vec<_> = spec
        .into_iter()
        .flat_map(|spec| spec.items("readinessGates"))
        .collect();
    let gates = if gates.is_empty() {
        "<none>".to_owned()
    } else {
        let met = gates
            .iter()
            .filter(|gate| api::meta::condition_is_true(pod, gate.str("conditionType")))
            .count();
        format!("{met}/{}", gates.len())
    };
    vec![
        name(pod),
        format!("{}/{}", out.ready, out.total).into(),
        out.reason.into(),
        restarts.into(),
        age(pod, now),
        or_none(ip).into(),
        or_none(at(pod, &["spec", "nodeName"])).into(),
        or_none(at(pod, &["status", "nominatedNodeName"])).into(),
        gates.into(),
    ]
}
