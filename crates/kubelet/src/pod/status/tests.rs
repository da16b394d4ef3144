use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};

use super::*;
use crate::pod::Sandbox;

fn pod() -> PodSpec {
    PodSpec {
        generation: 1,
        containers: vec![ContainerSpec {
            name: "app".into(),
            image: "demo:1".into(),
            ..ContainerSpec::default()
        }],
        ..PodSpec::default()
    }
}

fn container(state: ContainerState, exit_code: i32) -> Container {
    Container {
        id: "c0".into(),
        name: "app".into(),
        state,
        image: "demo:1".into(),
        image_ref: "sha256:1".into(),
        created_at: Some(Timestamp::UNIX_EPOCH),
        started_at: Some(Timestamp::UNIX_EPOCH),
        finished_at: (state == ContainerState::Exited).then_some(Timestamp::UNIX_EPOCH),
        exit_code,
        ..Container::default()
    }
}

#[track_caller]
fn check(observed: &Observed, known: &Knowledge, expected: Expect) {
    let now = Timestamp::UNIX_EPOCH
        .checked_add(SignedDuration::from_secs(5))
        .unwrap();
    let dom = status(&pod(), observed, known, None, now);
    expected.assert_eq(&String::from_utf8(dom.to_json(dom.root())).unwrap());
}

#[test]
fn before_anything_is_there() {
    check(
        &Observed::default(),
        &Knowledge::default(),
        expect![[
            r#"{"observedGeneration":1,"phase":"Pending","conditions":[{"type":"PodReadyToStartContainers","observedGeneration":1,"status":"False","lastProbeTime":null,"lastTransitionTime":"1970-01-01T00:00:05Z"},{"type":"Initialized","observedGeneration":1,"status":"True","lastProbeTime":null,"lastTransitionTime":"1970-01-01T00:00:05Z"},{"type":"Ready","observedGeneration":1,"status":"False","lastProbeTime":null,"lastTransitionTime":"1970-01-01T00:00:05Z","reason":"ContainersNotReady","message":"containers with unready status: [app]"},{"type":"ContainersReady","observedGeneration":1,"status":"False","lastProbeTime":null,"lastTransitionTime":"1970-01-01T00:00:05Z","reason":"ContainersNotReady","message":"containers with unready status: [app]"}],"containerStatuses":[{"name":"app","state":{"waiting":{"reason":"ContainerCreating"}},"lastState":{},"ready":false,"restartCount":0,"image":"demo:1","imageID":"","started":false}]}"#
        ]],
    );
}

#[test]
fn running_and_ready() {
    let observed = Observed {
        sandbox: Some(Sandbox {
            id: "s".into(),
            ready: true,
            addresses: vec!["10.0.0.2".into()],
            ..Sandbox::default()
        }),
        containers: vec![container(ContainerState::Running, 0)],
        ..Observed::default()
    };
    check(
        &observed,
        &Knowledge::default(),
        expect![[
            r#"{"observedGeneration":1,"phase":"Running","conditions":[{"type":"PodReadyToStartContainers","observedGeneration":1,"status":"True","lastProbeTime":null,"lastTransitionTime":"1970-01-01T00:00:05Z"},{"type":"Initialized","observedGeneration":1,"status":"True","lastProbeTime":null,"lastTransitionTime":"1970-01-01T00:00:05Z"},{"type":"Ready","observedGeneration":1,"status":"True","lastProbeTime":null,"lastTransitionTime":"1970-01-01T00:00:05Z"},{"type":"ContainersReady","observedGeneration":1,"status":"True","lastProbeTime":null,"lastTransitionTime":"1970-01-01T00:00:05Z"}],"podIP":"10.0.0.2","podIPs":[{"ip":"10.0.0.2"}],"containerStatuses":[{"name":"app","state":{"running":{"startedAt":"1970-01-01T00:00:00Z"}},"lastState":{},"ready":true,"restartCount":0,"image":"demo:1","imageID":"sha256:1","containerID":"transom://c0","started":true,"resources":{}}]}"#
        ]],
    );
}

#[test]
fn phases() {
    let of = |state, code, policy| {
        let pod = PodSpec {
            restart_policy: policy,
            ..pod()
        };
        let containers = vec![container(state, code)];
        phase(
            &pod,
            &Observed {
                containers,
                ..Observed::default()
            },
            &Knowledge::default(),
        )
    };
    use crate::pod::RestartPolicy::{Always, Never, OnFailure};
    assert_eq!(of(ContainerState::Exited, 0, Never), "Succeeded");
    assert_eq!(of(ContainerState::Exited, 1, Never), "Failed");
    assert_eq!(of(ContainerState::Exited, 1, OnFailure), "Running");
    assert_eq!(of(ContainerState::Exited, 0, OnFailure), "Succeeded");
    assert_eq!(of(ContainerState::Exited, 0, Always), "Running");
    assert_eq!(of(ContainerState::Created, 0, Always), "Pending");
}
