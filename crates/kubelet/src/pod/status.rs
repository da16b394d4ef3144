//! The status that the API shows, from what is wanted, what is there and what the worker knows.
//! Pure: says nothing that the runtime or a probe has not shown.
//!
//! Source: kubernetes v1.36 pkg/kubelet/kubelet_pods.go (getPhase, generateAPIPodStatus,
//! convertToAPIContainerStatuses), pkg/kubelet/status/generate.go.

use std::collections::HashMap;

use jiff::Timestamp;
use schema::{Dom, Node};

use crate::pod::{
    Container, ContainerSpec, ContainerState, CrashBackoff, KillReason, Kind, Observed, PodSpec,
};

/// What only the worker knows: results of probes and hooks, delays, failures to start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Knowledge {
    /// When the pod was first seen by this node.
    pub started_at: Option<Timestamp>,
    /// Container's id → its probes' verdicts.
    pub probes: HashMap<String, Verdict>,
    /// Container's name → why it does not run yet.
    pub waiting: HashMap<String, Waiting>,
    /// Delays after crashes.
    pub backoff: CrashBackoff,
    /// The pod was ended by the node: phase Failed with this reason and message.
    pub ended: Option<(String, String)>,
    /// Why the pod cannot get the resources that it asks for now.
    pub infeasible: Option<String>,
    /// Restarts counted before this kubelet started; the attempt number is the floor.
    pub host_address: String,
    /// All addresses of the node.
    pub host_addresses: Vec<String>,
}

/// What a container's probes say. Without a probe the verdict is the good one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The startup probe has succeeded.
    pub started: bool,
    /// The readiness probe succeeds.
    pub ready: bool,
    /// The liveness probe has failed for good.
    pub unhealthy: bool,
    /// The startup probe has failed for good.
    pub startup_failed: bool,
}

/// Why a container does not run yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// `ErrImagePull`, `ImagePullBackOff`, `CreateContainerConfigError` …
    pub reason: String,
    /// Words.
    pub message: String,
    /// When to try again.
    pub retry_at: Option<Timestamp>,
}

/// How new limits come to a running container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    /// Its control group is changed.
    InPlace,
    /// It is started again.
    Restart,
}

impl Knowledge {
    /// The startup probe of a running container has succeeded (or there is none).
    pub fn has_started(&self, spec: &ContainerSpec, container: &Container) -> bool {
        spec.startup.is_none() || self.probes.get(&container.id).is_some_and(|v| v.started)
    }

    /// A running container is ready.
    pub fn is_ready(&self, spec: &ContainerSpec, container: &Container) -> bool {
        self.has_started(spec, container)
            && (spec.readiness.is_none() || self.probes.get(&container.id).is_some_and(|v| v.ready))
    }

    /// Why a running container must be stopped and started again.
    pub fn must_restart(&self, spec: &ContainerSpec, container: &Container) -> Option<KillReason> {
        if container.hash != spec.hash {
            return Some(KillReason::Changed);
        }
        if self.resize(spec, container) == Some(Resize::Restart) {
            return Some(KillReason::Resized);
        }
        let verdict = self.probes.get(&container.id)?;
        if verdict.startup_failed {
            return Some(KillReason::NotStarted);
        }
        verdict.unhealthy.then_some(KillReason::Unhealthy)
    }

    /// What brings a running container to the limits that are wanted.
    pub fn resize(&self, spec: &ContainerSpec, container: &Container) -> Option<Resize> {
        if self.infeasible.is_some() || container.state != ContainerState::Running {
            return None;
        }
        let (have, want) = (container.limits?, spec.limits);
        let cpu = (have.cpu_shares, have.cpu_quota) != (want.cpu_shares, want.cpu_quota);
        let memory = have.memory_bytes != want.memory_bytes;
        let restarts = cpu && spec.resize_restarts.0 || memory && spec.resize_restarts.1;
        match (cpu || memory, restarts) {
            (false, _) => None,
            (true, true) => Some(Resize::Restart),
            (true, false) => Some(Resize::InPlace),
        }
    }

    /// When a container may start, if not now.
    pub fn start_not_before(
        &self,
        name: &str,
        last: Option<&Container>,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let failed = self.waiting.get(name).and_then(|waiting| waiting.retry_at);
        if let Some(at) = failed.filter(|at| *at > now) {
            return Some(at);
        }
        let finished = last?.finished_at?;
        self.backoff
            .waits(name, finished, now)
            .map(|(until, _)| until)
    }
}

/// The pod's phase.
pub fn phase(pod: &PodSpec, observed: &Observed, known: &Knowledge) -> &'static str {
    if known.ended.is_some() {
        return "Failed";
    }
    match pod.reported_phase.as_str() {
        "Succeeded" => return "Succeeded",
        "Failed" => return "Failed",
        _ => {}
    }
    let mut init_pending = false;
    for spec in &pod.init {
        match (spec.kind, observed.newest(&spec.name)) {
            (Kind::Sidecar, Some(container)) if container.state == ContainerState::Running => {
                init_pending |= !known.has_started(spec, container);
            }
            (Kind::Sidecar, Some(container)) => init_pending |= container.started_at.is_none(),
            (_, None) => init_pending = true,
            (_, Some(container)) if container.succeeded() => {}
            (_, Some(container)) => {
                if container.failed() && !pod.restarts_after(spec, container.end_code()) {
                    return "Failed";
                }
                init_pending = true;
            }
        }
    }
    let (mut waiting, mut running, mut stopped, mut succeeded) = (0, 0, 0, 0);
    let mut may_run_again = false;
    for spec in &pod.containers {
        match observed.newest(&spec.name) {
            Some(container) if container.state == ContainerState::Running => running += 1,
            Some(container) if container.state == ContainerState::Exited => {
                stopped += 1;
                succeeded += usize::from(container.succeeded());
                may_run_again |= pod.restarts_after(spec, container.end_code());
            }
            _ => waiting += 1,
        }
    }
    let main_made = pod
        .containers
        .iter()
        .any(|spec| observed.newest(&spec.name).is_some());
    if init_pending && !main_made || waiting > 0 {
        return "Pending";
    }
    if running > 0 || may_run_again {
        return "Running";
    }
    match stopped {
        0 => "Pending",
        _ if stopped == succeeded => "Succeeded",
        _ => "Failed",
    }
}

/// Builds `status`. `reported` is the status that the API has: transition times stay while a
/// condition's status does, and conditions of others (PodScheduled, gates) are kept.
pub fn status(
    pod: &PodSpec,
    observed: &Observed,
    known: &Knowledge,
    reported: Option<schema::Ref<'_>>,
    now: Timestamp,
) -> Dom {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    let phase = phase(pod, observed, known);
    if pod.generation > 0 {
        dom.set_int(root, "observedGeneration", pod.generation);
    }
    dom.set_str(root, "phase", phase);
    conditions(&mut dom, root, pod, observed, known, phase, reported, now);
    if let Some((reason, message)) = &known.ended {
        dom.set_str(root, "message", message);
        dom.set_str(root, "reason", reason);
    }
    addresses(&mut dom, root, pod, observed, known, reported);
    if let Some(start) = known.started_at {
        dom.set_str(root, "startTime", &api::time::format_seconds(start));
    }
    for (key, list) in [
        ("initContainerStatuses", &pod.init),
        ("containerStatuses", &pod.containers),
        ("ephemeralContainerStatuses", &pod.ephemeral),
    ] {
        if list.is_empty() {
            continue;
        }
        let statuses = dom.ensure_list(root, key);
        // Init containers stand in their order, all others by name.
        let mut list: Vec<&ContainerSpec> = list.iter().collect();
        if key != "initContainerStatuses" {
            list.sort_by(|a, b| a.name.cmp(&b.name));
        }
        for spec in list {
            let one = container_status(&mut dom, pod, spec, observed, known, phase, now);
            let before = reported.and_then(|status| {
                let mut all = status.items(key);
                all.find(|one| one.str("name") == spec.name)
            });
            if let Some(newest) = observed.newest(&spec.name) {
                resources(&mut dom, one, spec, newest, known, before);
            }
            dom.push(statuses, one);
        }
    }
    if let Some(class) = reported
        .map(|status| status.str("qosClass"))
        .filter(|c| !c.is_empty())
    {
        dom.set_str(root, "qosClass", class);
    }
    dom
}

#[expect(clippy::too_many_arguments, reason = "the inputs of one pure function")]
fn conditions(
    dom: &mut Dom,
    root: Node,
    pod: &PodSpec,
    observed: &Observed,
    known: &Knowledge,
    phase: &str,
    reported: Option<schema::Ref<'_>>,
    now: Timestamp,
) {
    let finished = matches!(phase, "Succeeded" | "Failed");
    let ready_sandbox = observed
        .sandbox
        .as_ref()
        .is_some_and(|sandbox| sandbox.ready);
    let initialized = pod
        .init
        .iter()
        .all(|spec| match observed.newest(&spec.name) {
            Some(container) if spec.kind == Kind::Sidecar => {
                container.state == ContainerState::Running && known.has_started(spec, container)
            }
            Some(container) => container.succeeded(),
            None => false,
        })
        || pod
            .containers
            .iter()
            .any(|spec| observed.newest(&spec.name).is_some());
    let not_init: Vec<&str> = pod
        .init
        .iter()
        .filter(|spec| {
            !observed
                .newest(&spec.name)
                .is_some_and(Container::succeeded)
        })
        .map(|spec| spec.name.as_str())
        .collect();
    let unready: Vec<&str> = pod
        .containers
        .iter()
        .chain(pod.init.iter().filter(|spec| spec.kind == Kind::Sidecar))
        .filter(|spec| {
            !observed.newest(&spec.name).is_some_and(|container| {
                container.state == ContainerState::Running && known.is_ready(spec, container)
            })
        })
        .map(|spec| spec.name.as_str())
        .collect();
    let succeeded = phase == "Succeeded";
    let containers_ready = !finished && initialized && unready.is_empty();
    let gate_open = |gate: &String| {
        reported.is_some_and(|status| {
            status
                .items("conditions")
                .any(|c| c.str("type") == gate.as_str() && c.str("status") == "True")
        })
    };
    let closed: Vec<&String> = pod
        .readiness_gates
        .iter()
        .filter(|gate| !gate_open(gate))
        .collect();
    let not_ready = |names: &[&str]| -> (String, String) {
        if finished {
            let reason = if succeeded {
                "PodCompleted"
            } else {
                "PodFailed"
            };
            return (reason.to_owned(), String::new());
        }
        let names = names.join(" ");
        (
            "ContainersNotReady".to_owned(),
            format!("containers with unready status: [{names}]"),
        )
    };
    let init_words = || match (succeeded, not_init.is_empty()) {
        (true, _) => ("PodCompleted".to_owned(), String::new()),
        (false, _) => (
            "ContainersNotInitialized".to_owned(),
            format!(
                "containers with incomplete status: [{}]",
                not_init.join(" ")
            ),
        ),
    };
    let gate_words = || {
        let first = closed.first().map_or("", |gate| gate.as_str());
        (
            "ReadinessGatesNotReady".to_owned(),
            format!("corresponding condition of pod readiness gate \"{first}\" does not exist."),
        )
    };
    let ready = containers_ready && closed.is_empty();
    let all: [(&str, bool, (String, String)); 4] = [
        (
            "PodReadyToStartContainers",
            ready_sandbox,
            Default::default(),
        ),
        (
            "Initialized",
            initialized || succeeded,
            if succeeded || !initialized {
                init_words()
            } else {
                Default::default()
            },
        ),
        (
            "Ready",
            ready,
            match (ready, containers_ready) {
                (true, _) => Default::default(),
                (false, true) => gate_words(),
                (false, false) => not_ready(&unready),
            },
        ),
        (
            "ContainersReady",
            containers_ready,
            if containers_ready {
                Default::default()
            } else {
                not_ready(&unready)
            },
        ),
    ];
    let list = dom.ensure_list(root, "conditions");
    for (name, holds, (reason, message)) in all {
        let before =
            reported.and_then(|status| status.items("conditions").find(|c| c.str("type") == name));
        let text = if holds { "True" } else { "False" };
        let since = match before {
            Some(before) if before.str("status") == text => {
                before.str("lastTransitionTime").to_owned()
            }
            _ => api::time::format_seconds(now),
        };
        let condition = dom.new_map();
        dom.set_str(condition, "type", name);
        if pod.generation > 0 {
            dom.set_int(condition, "observedGeneration", pod.generation);
        }
        dom.set_str(condition, "status", text);
        let never = dom.new_null();
        dom.set(condition, "lastProbeTime", never);
        dom.set_str(condition, "lastTransitionTime", &since);
        for (key, value) in [("reason", &reason), ("message", &message)] {
            if !value.is_empty() {
                dom.set_str(condition, key, value);
            }
        }
        dom.push(list, condition);
    }
    resize_condition(dom, list, pod, observed, known, reported, now);
    let own = [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodResizePending",
        "PodResizeInProgress",
    ];
    for other in reported
        .into_iter()
        .flat_map(|status| status.items("conditions"))
    {
        if !own.contains(&other.str("type")) {
            let copy = dom.import(other.dom(), other.node());
            dom.push(list, copy);
        }
    }
}

/// Says that new limits are on their way, or that they cannot be had.
fn resize_condition(
    dom: &mut Dom,
    list: Node,
    pod: &PodSpec,
    observed: &Observed,
    known: &Knowledge,
    reported: Option<schema::Ref<'_>>,
    now: Timestamp,
) {
    let in_progress = || {
        pod.containers.iter().chain(&pod.init).any(|spec| {
            let newest = observed.newest(&spec.name);
            newest.is_some_and(|container| known.resize(spec, container).is_some())
        })
    };
    let (name, words) = match &known.infeasible {
        Some(message) => ("PodResizePending", Some(("Infeasible", message))),
        None if in_progress() => ("PodResizeInProgress", None),
        None => return,
    };
    let before = reported
        .and_then(|status| status.items("conditions").find(|c| c.str("type") == name))
        .map(|before| before.str("lastTransitionTime").to_owned());
    let condition = dom.new_map();
    dom.set_str(condition, "type", name);
    if pod.generation > 0 {
        dom.set_int(condition, "observedGeneration", pod.generation);
    }
    dom.set_str(condition, "status", "True");
    let never = dom.new_null();
    dom.set(condition, "lastProbeTime", never);
    let since = before.unwrap_or_else(|| api::time::format_seconds(now));
    dom.set_str(condition, "lastTransitionTime", &since);
    if let Some((reason, message)) = words {
        dom.set_str(condition, "reason", reason);
        dom.set_str(condition, "message", message);
    }
    dom.push(list, condition);
}

fn addresses(
    dom: &mut Dom,
    root: Node,
    pod: &PodSpec,
    observed: &Observed,
    known: &Knowledge,
    reported: Option<schema::Ref<'_>>,
) {
    if !known.host_address.is_empty() {
        dom.set_str(root, "hostIP", &known.host_address);
        let list = dom.ensure_list(root, "hostIPs");
        for address in &known.host_addresses {
            let entry = dom.new_map();
            dom.set_str(entry, "ip", address);
            dom.push(list, entry);
        }
    }
    let mut own: Vec<String> = if pod.host_network {
        known.host_addresses.clone()
    } else {
        observed
            .sandbox
            .as_ref()
            .map(|sandbox| sandbox.addresses.clone())
            .unwrap_or_default()
    };
    // A pod that has ended keeps the address it had.
    if own.is_empty()
        && let Some(reported) = reported
    {
        own = reported
            .items("podIPs")
            .map(|entry| entry.str("ip").to_owned())
            .collect();
    }
    let Some(first) = own.first() else { return };
    dom.set_str(root, "podIP", first);
    let list = dom.ensure_list(root, "podIPs");
    for address in &own {
        let entry = dom.new_map();
        dom.set_str(entry, "ip", address);
        dom.push(list, entry);
    }
}

fn container_status(
    dom: &mut Dom,
    pod: &PodSpec,
    spec: &ContainerSpec,
    observed: &Observed,
    known: &Knowledge,
    phase: &str,
    now: Timestamp,
) -> Node {
    let newest = observed.newest(&spec.name);
    let status = dom.new_map();
    dom.set_str(status, "name", &spec.name);
    let state = dom.new_map();
    let last = dom.new_map();
    let running = newest.filter(|container| container.state == ContainerState::Running);
    match (
        newest,
        waiting(pod, spec, newest, observed, known, phase, now),
    ) {
        (Some(container), _) if running.is_some() => {
            let part = dom.ensure_map(state, "running");
            if let Some(at) = container.started_at {
                dom.set_str(part, "startedAt", &api::time::format_seconds(at));
            }
            if let Some(previous) = observed.previous(&spec.name) {
                terminated(dom, last, previous);
            }
        }
        (newest, Some(waiting)) => {
            let part = dom.ensure_map(state, "waiting");
            dom.set_str(part, "reason", &waiting.reason);
            if !waiting.message.is_empty() {
                dom.set_str(part, "message", &waiting.message);
            }
            if let Some(ended) = newest.filter(|c| c.state != ContainerState::Created) {
                terminated(dom, last, ended);
            }
        }
        (Some(container), None) => {
            terminated(dom, state, container);
            if let Some(previous) = observed.previous(&spec.name) {
                terminated(dom, last, previous);
            }
        }
        (None, None) => {}
    }
    dom.set(status, "state", state);
    dom.set(status, "lastState", last);
    let ready = match spec.kind {
        Kind::Init => newest.is_some_and(Container::succeeded),
        _ => running.is_some_and(|container| known.is_ready(spec, container)),
    };
    dom.set_bool(status, "ready", ready);
    let restarts = newest.map_or(0, |container| i64::from(container.attempt));
    dom.set_int(status, "restartCount", restarts);
    let image = newest
        .map(|container| container.image.as_str())
        .filter(|image| !image.is_empty());
    dom.set_str(status, "image", image.unwrap_or(&spec.image));
    dom.set_str(
        status,
        "imageID",
        newest.map_or("", |container| container.image_ref.as_str()),
    );
    if let Some(container) = newest {
        dom.set_str(
            status,
            "containerID",
            &format!("transom://{}", container.id),
        );
    }
    let started = match spec.kind {
        Kind::Init => false,
        _ => running.is_some_and(|container| known.has_started(spec, container)),
    };
    dom.set_bool(status, "started", started);
    status
}

/// What the container has of resources, mounts and rights.
fn resources(
    dom: &mut Dom,
    status: Node,
    spec: &ContainerSpec,
    newest: &Container,
    known: &Knowledge,
    before: Option<schema::Ref<'_>>,
) {
    // While the limits are not what is wanted, the status says what they were.
    let waits = known.infeasible.is_some() || known.resize(spec, newest).is_some();
    let earlier = before.filter(|before| waits && before.get("resources").is_some());
    if let Some(earlier) = earlier {
        for key in ["allocatedResources", "resources"] {
            if let Some(value) = earlier.get(key) {
                let copy = dom.import(value.dom(), value.node());
                dom.set(status, key, copy);
            }
        }
    } else {
        if !spec.resources[0].is_empty() {
            let allocated = dom.ensure_map(status, "allocatedResources");
            for (name, amount) in &spec.resources[0] {
                dom.set_str(allocated, name, amount);
            }
        }
        let both = dom.ensure_map(status, "resources");
        for (list, amounts) in ["requests", "limits"].into_iter().zip(&spec.resources) {
            if amounts.is_empty() {
                continue;
            }
            let list = dom.ensure_map(both, list);
            for (name, amount) in amounts {
                dom.set_str(list, name, amount);
            }
        }
    }
    if !spec.mounts.is_empty() {
        let list = dom.ensure_list(status, "volumeMounts");
        for mount in &spec.mounts {
            let entry = dom.new_map();
            dom.set_str(entry, "name", &mount.name);
            dom.set_str(entry, "mountPath", &mount.path);
            if mount.read_only {
                dom.set_bool(entry, "readOnly", true);
                let recursive = match mount.recursive.as_str() {
                    "" => "Disabled",
                    // This kernel can: what is wished for is done.
                    "IfPossible" => "Enabled",
                    said => said,
                };
                dom.set_str(entry, "recursiveReadOnly", recursive);
            }
            dom.push(list, entry);
        }
    }
    if let Some(user) = &newest.user {
        let outer = dom.ensure_map(status, "user");
        let linux = dom.ensure_map(outer, "linux");
        dom.set_int(linux, "uid", user.uid);
        dom.set_int(linux, "gid", user.gid);
        let mut groups = vec![user.gid];
        groups.extend(user.groups.iter().filter(|group| **group != user.gid));
        let list = dom.ensure_list(linux, "supplementalGroups");
        for group in groups {
            let group = dom.new_int(group);
            dom.push(list, group);
        }
    }
}

/// Why a container does not run although it may come to; `None` when it runs or has ended.
fn waiting(
    pod: &PodSpec,
    spec: &ContainerSpec,
    newest: Option<&Container>,
    observed: &Observed,
    known: &Knowledge,
    phase: &str,
    now: Timestamp,
) -> Option<Waiting> {
    let why = |reason: &str, message: String| {
        Some(Waiting {
            reason: reason.to_owned(),
            message,
            retry_at: None,
        })
    };
    if matches!(phase, "Succeeded" | "Failed") && newest.is_some() {
        return None;
    }
    if let Some(waiting) = known.waiting.get(&spec.name) {
        return Some(waiting.clone());
    }
    match newest {
        Some(container) if container.state == ContainerState::Running => None,
        Some(container) if matches!(container.state, ContainerState::Exited) => {
            let again = pod.restarts_after(spec, container.end_code());
            let finished = container
                .finished_at
                .filter(|_| again && pod.deletion.is_none())?;
            let (_, delay) = known.backoff.waits(&spec.name, finished, now)?;
            why(
                "CrashLoopBackOff",
                format!(
                    "back-off {} restarting failed container={} pod={}",
                    go_duration(delay.as_secs()),
                    spec.name,
                    pod.title()
                ),
            )
        }
        _ => {
            let initializing = spec.kind == Kind::Main
                && pod.init.iter().any(|init| {
                    !observed
                        .newest(&init.name)
                        .is_some_and(|container| match init.kind {
                            Kind::Sidecar => known.has_started(init, container),
                            _ => container.succeeded(),
                        })
                });
            let reason = if initializing || (spec.kind == Kind::Init && !pod.init.is_empty()) {
                "PodInitializing"
            } else {
                "ContainerCreating"
            };
            why(reason, String::new())
        }
    }
}

fn terminated(dom: &mut Dom, into: Node, container: &Container) {
    let part = dom.ensure_map(into, "terminated");
    let lost = container.state == ContainerState::Unknown;
    dom.set_int(
        part,
        "exitCode",
        if lost {
            137
        } else {
            i64::from(container.exit_code)
        },
    );
    let reason = match (lost, container.reason.as_str(), container.exit_code) {
        (true, _, _) => "ContainerStatusUnknown",
        (false, "", 0) => "Completed",
        (false, "", _) => "Error",
        (false, reason, _) => reason,
    };
    dom.set_str(part, "reason", reason);
    if !container.message.is_empty() {
        dom.set_str(part, "message", &container.message);
    }
    for (key, at) in [
        ("startedAt", container.started_at),
        ("finishedAt", container.finished_at),
    ] {
        match at {
            Some(at) => dom.set_str(part, key, &api::time::format_seconds(at)),
            None => {
                let never = dom.new_null();
                dom.set(part, key, never);
            }
        }
    }
    dom.set_str(part, "containerID", &format!("transom://{}", container.id));
}

/// 10 → `10s`, 160 → `2m40s`, 300 → `5m0s`.
fn go_duration(seconds: u64) -> String {
    match seconds / 60 {
        0 => format!("{seconds}s"),
        minutes => format!("{minutes}m{}s", seconds % 60),
    }
}

#[cfg(test)]
mod tests;
