//! A world is a few words: `policy=Always init=a,b* main=c,d | sandbox a:exited(0) c:running …`.
//! `b*` is a sidecar; `deleted(N)`: a deletion with N seconds of grace; `unhealthy(x)`, `nosandbox`.

use std::collections::HashMap;

use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::pod::status::Verdict;
use crate::pod::{
    CrashBackoff, Deletion, Handler, Limits, Probe, RestartPolicy, RestartRule, Sandbox,
};

const T0: Timestamp = Timestamp::UNIX_EPOCH;

fn at(seconds: i64) -> Timestamp {
    T0.checked_add(SignedDuration::from_secs(seconds)).unwrap()
}

#[track_caller]
fn check(world: &str, expected: Expect) {
    expected.assert_eq(&plan_of(world));
}

fn probe() -> Option<Probe> {
    Some(Probe {
        handler: Handler::Sleep(0),
        initial_delay_seconds: 0,
        period_seconds: 1,
        timeout_seconds: 1,
        success_threshold: 1,
        failure_threshold: 1,
        grace_seconds: None,
    })
}

fn plan_of(world: &str) -> String {
    let (wanted, there) = world.split_once('|').unwrap();
    let mut pod = PodSpec {
        grace_seconds: 30,
        ..PodSpec::default()
    };
    for word in wanted.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let spec = |name: &str, kind| ContainerSpec {
            name: name.trim_matches(['*', '?']).into(),
            kind: if name.ends_with('*') {
                Kind::Sidecar
            } else {
                kind
            },
            startup: if name.ends_with('?') { probe() } else { None },
            ..ContainerSpec::default()
        };
        match key {
            "policy" => {
                pod.restart_policy = match value {
                    "Always" => RestartPolicy::Always,
                    "OnFailure" => RestartPolicy::OnFailure,
                    _ => RestartPolicy::Never,
                }
            }
            "init" => {
                pod.init = value
                    .split(',')
                    .map(|name| spec(name, Kind::Init))
                    .collect()
            }
            "main" => {
                pod.containers = value
                    .split(',')
                    .map(|name| spec(name, Kind::Main))
                    .collect()
            }
            "deleted" => {
                let seconds = value.parse().unwrap();
                pod.deletion = Some(Deletion {
                    at: at(1000 + seconds),
                    grace_seconds: seconds,
                });
            }
            "phase" => pod.reported_phase = value.into(),
            _ => panic!("{word}"),
        }
    }
    let mut observed = Observed::default();
    let mut known = Knowledge {
        probes: HashMap::new(),
        ..Knowledge::default()
    };
    for word in there.split_whitespace() {
        if word.starts_with("sandbox") {
            observed.sandbox = Some(Sandbox {
                id: "s".into(),
                ready: word != "sandbox-dead",
                created_at: Some(at(if word == "sandbox-of-tomorrow" {
                    86_400
                } else {
                    0
                })),
                ..Sandbox::default()
            });
            continue;
        }
        if let Some(name) = word.strip_prefix("unhealthy:") {
            known.probes.insert(
                format!("{name}-0"),
                Verdict {
                    unhealthy: true,
                    started: true,
                    ready: true,
                    ..Verdict::default()
                },
            );
            continue;
        }
        if let Some(name) = word.strip_prefix("crashed:") {
            known.backoff = CrashBackoff::default();
            known.backoff.restarted(name, at(995), at(995));
            continue;
        }
        let (name, state) = word.split_once(':').unwrap();
        let (name, attempt) = name.split_once('@').unwrap_or((name, "0"));
        let (state, code) = state
            .trim_end_matches(')')
            .split_once('(')
            .unwrap_or((state, "0"));
        observed.containers.push(Container {
            id: format!("{name}-{attempt}"),
            sandbox_id: "s".into(),
            name: name.into(),
            attempt: attempt.parse().unwrap(),
            state: match state {
                "running" => ContainerState::Running,
                "exited" => ContainerState::Exited,
                "created" => ContainerState::Created,
                _ => ContainerState::Unknown,
            },
            created_at: Some(at(1)),
            started_at: Some(at(2)),
            finished_at: Some(at(998)),
            exit_code: code.parse().unwrap(),
            ..Container::default()
        });
    }
    let plan = actions(&pod, &observed, &known, at(1000));
    let mut words: Vec<String> = plan
        .actions
        .iter()
        .map(|action| match action {
            Action::CreateSandbox { attempt } => format!("sandbox@{attempt}"),
            Action::StopSandbox { id } => format!("stop-sandbox {id}"),
            Action::RemoveSandbox { id } => format!("remove-sandbox {id}"),
            Action::StartContainer { name, attempt } => format!("start {name}@{attempt}"),
            Action::KillContainer {
                id,
                reason,
                grace_seconds,
                ..
            } => {
                format!("kill {id} {reason:?} {grace_seconds}s")
            }
            Action::ResizeContainer { id, .. } => format!("resize {id}"),
            Action::RemoveContainer { id } => format!("remove {id}"),
            Action::Finish => "finish".into(),
        })
        .collect();
    if let Some(at) = plan.wake_at {
        words.push(format!("wake +{}s", at.as_second() - 1000));
    }
    words.join(", ")
}

#[test]
fn a_new_pod_gets_a_sandbox_then_its_containers() {
    check("main=a,b |", expect!["sandbox@0"]);
    check("main=a,b | sandbox", expect!["start a@0, start b@0"]);
    check("main=a,b | sandbox a:running b:running", expect![""]);
}

/// Init containers run one after the other; sidecars start in their place and stay.
#[test]
fn init_containers_go_first() {
    check("init=i,j main=a | sandbox", expect!["start i@0"]);
    check("init=i,j main=a | sandbox i:running", expect![""]);
    check(
        "init=i,j main=a | sandbox i:exited(0)",
        expect!["start j@0"],
    );
    check(
        "init=i,j main=a | sandbox i:exited(0) j:exited(0)",
        expect!["start a@0"],
    );
    check("init=s*,j main=a | sandbox", expect!["start s@0"]);
    check("init=s*,j main=a | sandbox s:running", expect!["start j@0"]);
    check(
        "init=s*,j main=a | sandbox s:running j:exited(0)",
        expect!["start a@0"],
    );
    check(
        "init=s* main=a | sandbox s:exited(1) a:running",
        expect!["start s@1"],
    );
}

/// Nor before the API has heard that the pod is over: a sidecar that was ended with it would run
/// once more.
#[test]
fn sidecars_end_with_the_pod() {
    check(
        "policy=Never init=s* main=a | sandbox s:running a:exited(0)",
        expect!["kill s-0 MainDone 30s"],
    );
    check(
        "policy=Never init=s* main=a | sandbox s:exited(0) a:exited(0)",
        expect!["stop-sandbox s"],
    );
    check(
        "policy=OnFailure init=s*,t* main=a | sandbox s:running t:exited(137) a:exited(0)",
        expect!["kill s-0 MainDone 30s"],
    );
    check(
        "policy=Never init=s*,j main=a | sandbox s:exited(0) j:exited(1)",
        expect!["stop-sandbox s"],
    );
    check(
        "policy=OnFailure init=s* main=a | sandbox s:exited(0) a:exited(1)",
        expect!["start s@1, start a@1"],
    );
}

#[test]
fn restart_policies() {
    check(
        "policy=Always main=a | sandbox a:exited(0)",
        expect!["start a@1"],
    );
    check(
        "policy=OnFailure main=a | sandbox a:exited(1)",
        expect!["start a@1"],
    );
    check(
        "policy=OnFailure main=a | sandbox a:exited(0)",
        expect!["stop-sandbox s"],
    );
    check(
        "policy=Never main=a | sandbox a:exited(1)",
        expect!["stop-sandbox s"],
    );
    check(
        "policy=Never init=i main=a | sandbox i:exited(1)",
        expect!["stop-sandbox s"],
    );
    check(
        "policy=OnFailure init=i main=a | sandbox i:exited(1)",
        expect!["start i@1"],
    );
}

/// A container that keeps ending waits; the pod does not end meanwhile.
#[test]
fn a_crashing_container_waits() {
    check(
        "main=a | sandbox a:exited(1) crashed:a",
        expect!["wake +8s"],
    );
}

#[test]
fn a_failed_liveness_probe_kills_and_the_container_starts_again() {
    check(
        "main=a | sandbox a:running unhealthy:a",
        expect!["kill a-0 Unhealthy 30s"],
    );
}

/// Main containers end first, then sidecars in reverse order, then the sandbox, then the rest.
#[test]
fn a_deleted_pod_ends_in_order() {
    check(
        "deleted=20 init=s*,t* main=a | sandbox a:running s:running t:running",
        expect!["kill a-0 Deleted 20s"],
    );
    check(
        "deleted=20 init=s*,t* main=a | sandbox a:exited(0) s:running t:running",
        expect!["kill t-0 Deleted 20s"],
    );
    check(
        "deleted=20 main=a | sandbox a:exited(143)",
        expect!["stop-sandbox s"],
    );
    check(
        "deleted=20 main=a | sandbox-dead a:exited(143)",
        expect!["finish"],
    );
    check("deleted=0 main=a |", expect!["finish"]);
}

/// The clock was set back after the sandbox was made: what is in it is in it all the same.
#[test]
fn init_containers_run_once_whatever_the_clock_says() {
    check("init=i main=a | sandbox-of-tomorrow i:running", expect![""]);
    check(
        "init=i main=a | sandbox-of-tomorrow i:exited(0)",
        expect!["start a@0"],
    );
}

#[test]
fn a_lost_sandbox_is_made_again_unless_all_is_over() {
    check("main=a | sandbox-dead a:exited(255)", expect!["sandbox@1"]);
    check(
        "policy=Never main=a | sandbox-dead a:exited(0)",
        expect![""],
    );
    check("phase=Succeeded main=a | sandbox-dead", expect!["finish"]);
}

/// Logs and the last state need one earlier attempt, not all of them.
#[test]
fn old_attempts_are_removed() {
    check(
        "main=a | sandbox a@2:running a@1:exited(1) a@0:exited(1)",
        expect!["remove a-0"],
    );
}

/// After a reboot the container's last end is still told, until there is a newer one.
#[test]
fn a_dead_sandbox_stays_while_it_holds_the_last_state() {
    let container = |sandbox: &str, attempt| Container {
        id: format!("app-{attempt}"),
        sandbox_id: sandbox.into(),
        name: "app".into(),
        attempt,
        state: ContainerState::Running,
        ..Container::default()
    };
    let removed = |containers: Vec<Container>| {
        let observed = Observed {
            sandbox: Some(Sandbox {
                id: "new".into(),
                ready: true,
                ..Sandbox::default()
            }),
            old_sandboxes: vec![Sandbox {
                id: "old".into(),
                ..Sandbox::default()
            }],
            containers,
        };
        let plan = actions(
            &PodSpec::default(),
            &observed,
            &Knowledge::default(),
            at(1000),
        );
        plan.actions
            .contains(&Action::RemoveSandbox { id: "old".into() })
    };
    assert!(!removed(vec![container("new", 1), container("old", 0)]));
    assert!(removed(vec![
        container("new", 2),
        container("new", 1),
        container("old", 0)
    ]));
}

/// A rule restarts a container that its own policy would leave ended.
#[test]
fn restart_rules_come_before_policies() {
    let mut pod = PodSpec {
        restart_policy: RestartPolicy::Never,
        ..PodSpec::default()
    };
    let mut spec = ContainerSpec {
        restart_policy: Some(RestartPolicy::Never),
        restart_rules: vec![RestartRule {
            within: true,
            exit_codes: vec![42, 43],
        }],
        ..ContainerSpec::default()
    };
    let codes =
        |pod: &PodSpec, spec: &ContainerSpec| [0, 1, 42].map(|code| pod.restarts_after(spec, code));
    assert_eq!(codes(&pod, &spec), [false, false, true]);
    spec.restart_rules[0].within = false;
    assert_eq!(codes(&pod, &spec), [true, true, false]);
    spec.restart_rules.clear();
    spec.restart_policy = Some(RestartPolicy::OnFailure);
    assert_eq!(codes(&pod, &spec), [false, true, true]);
    pod.restart_policy = RestartPolicy::Always;
    spec.restart_policy = None;
    assert_eq!(codes(&pod, &spec), [true, true, true]);
}

/// New limits change the control group, unless the container wants a restart for them.
#[test]
fn new_limits() {
    let limits = |cpu_shares, memory_bytes| Limits {
        cpu_shares,
        memory_bytes,
        ..Limits::default()
    };
    let mut pod = PodSpec {
        grace_seconds: 30,
        ..PodSpec::default()
    };
    pod.containers.push(ContainerSpec {
        name: "a".into(),
        limits: limits(200, 64),
        resize_restarts: (false, true),
        ..ContainerSpec::default()
    });
    let mut observed = Observed {
        sandbox: Some(Sandbox {
            ready: true,
            ..Sandbox::default()
        }),
        ..Observed::default()
    };
    observed.containers.push(Container {
        id: "1".into(),
        name: "a".into(),
        state: ContainerState::Running,
        limits: Some(limits(100, 64)),
        ..Container::default()
    });
    let mut known = Knowledge::default();
    let plan = |observed: &Observed, known: &Knowledge| actions(&pod, observed, known, T0).actions;
    let in_place = vec![Action::ResizeContainer {
        id: "1".into(),
        name: "a".into(),
    }];
    assert_eq!(plan(&observed, &known), in_place);
    observed.containers[0].limits = Some(limits(200, 32));
    let restart = plan(&observed, &known);
    assert!(matches!(
        restart.as_slice(),
        [Action::KillContainer {
            reason: KillReason::Resized,
            ..
        }]
    ));
    known.infeasible = Some("too much".into());
    assert_eq!(plan(&observed, &known), []);
    known.infeasible = None;
    observed.containers[0].limits = None;
    assert_eq!(plan(&observed, &known), []);
}
