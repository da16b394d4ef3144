//! The steps from what is there to what is wanted. Pure.
//!
//! Order: a deleted or finished pod is taken down; a pod without a live sandbox gets one; init
//! containers run one after the other (sidecars stay); then all containers start that should
//! run. Every step is safe to repeat: the worker does some, observes, and asks again.
//! Source: kubernetes v1.36 pkg/kubelet/kuberuntime/kuberuntime_manager.go, computePodActions;
//! kuberuntime_container.go, computeInitContainerActions.

use jiff::Timestamp;

use crate::pod::{
    Container, ContainerSpec, ContainerState, Kind, Knowledge, Observed, PodSpec, Resize,
};

/// One step of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the pod's namespaces and address.
    CreateSandbox {
        /// Counts up.
        attempt: u32,
    },
    /// Stop a sandbox and what is left in it.
    StopSandbox {
        /// Runtime's id.
        id: String,
    },
    /// Remove a stopped sandbox.
    RemoveSandbox {
        /// Runtime's id.
        id: String,
    },
    /// Pull, create, start, run the postStart hook.
    StartContainer {
        /// Container's name.
        name: String,
        /// Counts up.
        attempt: u32,
    },
    /// preStop hook, stop signal, grace period, kill.
    KillContainer {
        /// Runtime's id.
        id: String,
        /// Container's name.
        name: String,
        /// Why.
        reason: KillReason,
        /// How long it may take.
        grace_seconds: i64,
    },
    /// Change the limits of a running container.
    ResizeContainer {
        /// Runtime's id.
        id: String,
        /// Container's name.
        name: String,
    },
    /// Remove an old attempt; the newest two of each name stay for status and logs.
    RemoveContainer {
        /// Runtime's id.
        id: String,
    },
    /// Everything has ended: remove volumes, logs' links, groups; then the API object if it is
    /// being deleted.
    Finish,
}

/// Why a container is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillReason {
    /// The pod is deleted.
    Deleted,
    /// The pod ran into its deadline or was evicted.
    PodEnded,
    /// The sandbox is gone.
    SandboxGone,
    /// The spec changed.
    Changed,
    /// The liveness probe failed.
    Unhealthy,
    /// The startup probe failed.
    NotStarted,
    /// The runtime lost it.
    Lost,
    /// Sidecars end after the main containers.
    MainDone,
    /// New limits that it takes only with a restart.
    Resized,
}

/// What to do now and when to look again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In order; the worker observes again afterwards.
    pub actions: Vec<Action>,
    /// The next deadline, when nothing else happens before.
    pub wake_at: Option<Timestamp>,
}

impl Plan {
    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

/// See the module's header.
pub fn actions(pod: &PodSpec, observed: &Observed, known: &Knowledge, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    for old in &observed.old_sandboxes {
        if old.ready {
            plan.actions
                .push(Action::StopSandbox { id: old.id.clone() });
        }
        // What happened before is told by its containers until newer ones have their own past.
        if !has_history(&old.id, observed) {
            plan.actions
                .push(Action::RemoveSandbox { id: old.id.clone() });
        }
    }
    remove_old_attempts(observed, &mut plan);
    if let Some(deletion) = &pod.deletion {
        let left = deletion
            .at
            .duration_since(now)
            .as_secs()
            .clamp(0, deletion.grace_seconds);
        take_down(pod, observed, KillReason::Deleted, left, &mut plan);
        return plan;
    }
    if known.ended.is_some() || pod.is_reported_finished() {
        take_down(
            pod,
            observed,
            KillReason::PodEnded,
            pod.grace_seconds,
            &mut plan,
        );
        return plan;
    }
    if let (Some(limit), Some(start)) = (pod.active_deadline_seconds, known.started_at) {
        plan.wake(base::after(start, jiff::SignedDuration::from_secs(limit)));
    }
    let sandbox = observed.sandbox.as_ref();
    let Some(sandbox) = sandbox.filter(|sandbox| sandbox.ready) else {
        let attempt = sandbox.map_or(0, |sandbox| sandbox.attempt + 1);
        without_sandbox(pod, observed, attempt, &mut plan);
        return plan;
    };
    let before = plan.actions.len();
    ephemeral(pod, observed, &mut plan);
    let initialized = init_containers(pod, observed, known, now, &mut plan);
    if initialized {
        main_containers(pod, observed, known, now, &mut plan);
    }
    let nothing_runs = observed.running().next().is_none();
    let waits = plan.wake_at.is_some() || plan.actions.len() > before;
    if nothing_runs && !waits && is_over(pod, observed) {
        plan.actions.push(Action::StopSandbox {
            id: sandbox.id.clone(),
        });
    }
    plan
}

/// Keeps the newest two attempts of each name.
fn remove_old_attempts(observed: &Observed, plan: &mut Plan) {
    for (index, container) in observed.containers.iter().enumerate() {
        let newer = observed.containers[..index]
            .iter()
            .filter(|other| other.name == container.name);
        if newer.count() >= 2 && container.state != ContainerState::Running {
            plan.actions.push(Action::RemoveContainer {
                id: container.id.clone(),
            });
        }
    }
}

/// Whether one of the newest two attempts of a container is in this sandbox.
fn has_history(sandbox_id: &str, observed: &Observed) -> bool {
    observed
        .containers
        .iter()
        .enumerate()
        .any(|(index, container)| {
            let newer = observed.containers[..index]
                .iter()
                .filter(|c| c.name == container.name);
            container.sandbox_id == sandbox_id && newer.count() < 2
        })
}

fn take_down(
    pod: &PodSpec,
    observed: &Observed,
    reason: KillReason,
    grace_seconds: i64,
    plan: &mut Plan,
) {
    let is_sidecar = |container: &Container| {
        pod.container(&container.name)
            .is_some_and(|spec| spec.kind == Kind::Sidecar)
    };
    // Sidecars serve the others until these are gone; then they end in reverse order.
    let mut targets: Vec<&Container> = observed.running().filter(|c| !is_sidecar(c)).collect();
    if targets.is_empty() {
        let last = pod.init.iter().rev().find_map(|spec| {
            observed
                .running()
                .find(|c| c.name == spec.name && is_sidecar(c))
        });
        targets.extend(last);
    }
    if !targets.is_empty() {
        for container in targets {
            plan.actions.push(kill(container, reason, grace_seconds));
        }
        return;
    }
    if let Some(sandbox) = observed.sandbox.as_ref().filter(|sandbox| sandbox.ready) {
        plan.actions.push(Action::StopSandbox {
            id: sandbox.id.clone(),
        });
        return;
    }
    plan.actions.push(Action::Finish);
}

/// The sandbox is missing or dead: make a new one if anything is still to run.
fn without_sandbox(pod: &PodSpec, observed: &Observed, attempt: u32, plan: &mut Plan) {
    for container in observed.running() {
        plan.actions
            .push(kill(container, KillReason::SandboxGone, pod.grace_seconds));
    }
    let first_time = attempt == 0 && observed.containers.is_empty();
    if first_time || !is_over(pod, observed) {
        if plan
            .actions
            .iter()
            .any(|action| matches!(action, Action::KillContainer { .. }))
        {
            return;
        }
        plan.actions.push(Action::CreateSandbox { attempt });
    }
}

/// No container will ever run again: a failed init container that stays failed, or all main
/// containers ended for good.
fn is_over(pod: &PodSpec, observed: &Observed) -> bool {
    let ended_for_good = |spec: &ContainerSpec| {
        observed.newest(&spec.name).is_some_and(|container| {
            let ended = container.succeeded() || container.failed();
            ended && !pod.restarts_after(spec, container.end_code())
        })
    };
    let init_failed = pod.init.iter().any(|spec| {
        spec.kind == Kind::Init
            && observed.newest(&spec.name).is_some_and(|container| {
                container.failed() && !pod.restarts_after(spec, container.end_code())
            })
    });
    init_failed || (!pod.containers.is_empty() && pod.containers.iter().all(ended_for_good))
}

/// An ephemeral container starts once and never again.
fn ephemeral(pod: &PodSpec, observed: &Observed, plan: &mut Plan) {
    for spec in &pod.ephemeral {
        if observed.newest(&spec.name).is_none() {
            plan.actions.push(Action::StartContainer {
                name: spec.name.clone(),
                attempt: 0,
            });
        }
    }
}

/// Starts the next init container; true when the main containers may run.
fn init_containers(
    pod: &PodSpec,
    observed: &Observed,
    known: &Knowledge,
    now: Timestamp,
    plan: &mut Plan,
) -> bool {
    // Once a main container has been made in this sandbox's life, initialization is not repeated.
    let main_started = pod.containers.iter().any(|spec| {
        observed.newest(&spec.name).is_some_and(|container| {
            container.state == ContainerState::Running || in_this_sandbox(container, observed)
        })
    });
    let is_over = is_over(pod, observed);
    for spec in &pod.init {
        let newest = observed
            .newest(&spec.name)
            .filter(|c| in_this_sandbox(c, observed));
        match (spec.kind, newest) {
            (Kind::Sidecar, Some(container)) if container.state == ContainerState::Running => {
                if let Some(reason) = known.must_restart(spec, container) {
                    plan.actions
                        .push(kill(container, reason, grace(pod, spec, reason)));
                    return main_started;
                }
                if known.resize(spec, container) == Some(Resize::InPlace) {
                    plan.actions.push(resize(container));
                }
                if !known.has_started(spec, container) && !main_started {
                    return false;
                }
            }
            // It would keep alive what is over, or run once more, until the API has heard of the end.
            (Kind::Sidecar, _) if is_over => {}
            (Kind::Sidecar, newest) => {
                start(
                    spec,
                    newest.or(observed.newest(&spec.name)),
                    known,
                    now,
                    plan,
                );
                if !main_started {
                    return false;
                }
            }
            (_, _) if main_started => {}
            (_, None) => {
                start(spec, observed.newest(&spec.name), known, now, plan);
                return false;
            }
            (_, Some(container)) => match container.state {
                ContainerState::Exited if container.exit_code == 0 => {}
                ContainerState::Running => return false,
                ContainerState::Created => {
                    // A crash between create and start: begin anew.
                    start(spec, Some(container), known, now, plan);
                    return false;
                }
                ContainerState::Exited | ContainerState::Unknown => {
                    if pod.restarts_after(spec, container.end_code()) {
                        start(spec, Some(container), known, now, plan);
                    }
                    return false;
                }
            },
        }
    }
    true
}

fn main_containers(
    pod: &PodSpec,
    observed: &Observed,
    known: &Knowledge,
    now: Timestamp,
    plan: &mut Plan,
) {
    for spec in &pod.containers {
        let Some(container) = observed.newest(&spec.name) else {
            start(spec, None, known, now, plan);
            continue;
        };
        match container.state {
            ContainerState::Running => {
                if let Some(reason) = known.must_restart(spec, container) {
                    plan.actions
                        .push(kill(container, reason, grace(pod, spec, reason)));
                } else if known.resize(spec, container) == Some(Resize::InPlace) {
                    plan.actions.push(resize(container));
                }
            }
            ContainerState::Created => start(spec, Some(container), known, now, plan),
            ContainerState::Unknown => {
                plan.actions.push(kill(container, KillReason::Lost, 0));
            }
            ContainerState::Exited => {
                if pod.restarts_after(spec, container.end_code()) {
                    start(spec, Some(container), known, now, plan);
                }
            }
        }
    }
    let main_over = !pod.containers.is_empty() && is_over(pod, observed);
    if main_over {
        let sidecars = pod
            .init
            .iter()
            .rev()
            .filter(|spec| spec.kind == Kind::Sidecar);
        let running = sidecars.filter_map(|spec| {
            observed
                .newest(&spec.name)
                .filter(|c| c.state == ContainerState::Running)
        });
        if let Some(container) = running.into_iter().next() {
            plan.actions
                .push(kill(container, KillReason::MainDone, pod.grace_seconds));
        }
    }
}

/// Starts a container, or remembers when its delay after a crash or a failed pull is over.
fn start(
    spec: &ContainerSpec,
    last: Option<&Container>,
    known: &Knowledge,
    now: Timestamp,
    plan: &mut Plan,
) {
    if let Some(at) = known.start_not_before(&spec.name, last, now) {
        plan.wake(at);
        return;
    }
    let attempt = last.map_or(0, |container| container.attempt + 1);
    plan.actions.push(Action::StartContainer {
        name: spec.name.clone(),
        attempt,
    });
}

/// Not by times: the wall clock may have been set back since the sandbox was made.
fn in_this_sandbox(container: &Container, observed: &Observed) -> bool {
    let sandbox = observed.sandbox.as_ref();
    sandbox.is_some_and(|sandbox| sandbox.id == container.sandbox_id)
}

fn grace(pod: &PodSpec, spec: &ContainerSpec, reason: KillReason) -> i64 {
    let probe = match reason {
        KillReason::Unhealthy => spec.liveness.as_ref(),
        KillReason::NotStarted => spec.startup.as_ref(),
        _ => None,
    };
    probe
        .and_then(|probe| probe.grace_seconds)
        .unwrap_or(pod.grace_seconds)
}

fn resize(container: &Container) -> Action {
    Action::ResizeContainer {
        id: container.id.clone(),
        name: container.name.clone(),
    }
}

fn kill(container: &Container, reason: KillReason, grace_seconds: i64) -> Action {
    Action::KillContainer {
        id: container.id.clone(),
        name: container.name.clone(),
        reason,
        grace_seconds,
    }
}

#[cfg(test)]
mod tests;
