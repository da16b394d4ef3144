//! Asks the runtime what it has of a pod.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nodeapi::cri::{
    self, ContainerFilter, ContainerStatusRequest, ListContainersRequest, ListPodSandboxRequest,
    PodSandboxFilter, PodSandboxStatusRequest,
};
use nodeapi::{CriError, RuntimeService};

use crate::container::label;
use crate::pod::{Container, ContainerState, Limits, Observed, Sandbox, User};

/// The pod's sandboxes and containers as they are now.
pub(crate) async fn observe(runtime: &dyn RuntimeService, uid: &str) -> Result<Observed, CriError> {
    let selector = BTreeMap::from([(label::POD_UID.to_owned(), uid.to_owned())]);
    let sandboxes = runtime
        .list_pod_sandbox(ListPodSandboxRequest {
            filter: Some(PodSandboxFilter {
                label_selector: selector.clone(),
                ..PodSandboxFilter::default()
            }),
        })
        .await?;
    let mut found: Vec<Sandbox> = Vec::new();
    for item in sandboxes.items {
        found.push(Sandbox {
            id: item.id,
            ready: item.state == i32::from(cri::PodSandboxState::SandboxReady),
            attempt: item.metadata.map_or(0, |metadata| metadata.attempt),
            created_at: nanoseconds(item.created_at),
            addresses: Vec::new(),
        });
    }
    newest_first(&mut found);
    let mut observed = Observed::default();
    let mut found = found.into_iter();
    if let Some(mut newest) = found.next() {
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: newest.id.clone(),
            ..Default::default()
        };
        let status = runtime.pod_sandbox_status(request).await?;
        if let Some(network) = status.status.and_then(|status| status.network) {
            newest
                .addresses
                .extend((!network.ip.is_empty()).then_some(network.ip));
            newest
                .addresses
                .extend(network.additional_ips.into_iter().map(|other| other.ip));
        }
        observed.sandbox = Some(newest);
    }
    observed.old_sandboxes = found.collect();
    let containers = runtime
        .list_containers(ListContainersRequest {
            filter: Some(ContainerFilter {
                label_selector: selector,
                ..Default::default()
            }),
        })
        .await?;
    for item in containers.containers {
        let request = ContainerStatusRequest {
            container_id: item.id.clone(),
            ..Default::default()
        };
        match runtime.container_status(request).await {
            Ok(answer) => observed
                .containers
                .extend(answer.status.map(|status| Container {
                    sandbox_id: item.pod_sandbox_id,
                    ..container(status)
                })),
            // Removed between the two calls.
            Err(error) if error.code == nodeapi::Code::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    observed
        .containers
        .sort_by_key(|container| std::cmp::Reverse((container.attempt, container.created_at)));
    Ok(observed)
}

/// By the number of the attempt: it counts up whatever the wall clock does. A clock that was set
/// back makes a new sandbox older than the one it replaces.
fn newest_first(sandboxes: &mut [Sandbox]) {
    sandboxes.sort_by_key(|sandbox| std::cmp::Reverse((sandbox.attempt, sandbox.created_at)));
}

fn container(status: cri::ContainerStatus) -> Container {
    let metadata = status.metadata.unwrap_or_default();
    let state = match cri::ContainerState::try_from(status.state) {
        Ok(cri::ContainerState::ContainerCreated) => ContainerState::Created,
        Ok(cri::ContainerState::ContainerRunning) => ContainerState::Running,
        Ok(cri::ContainerState::ContainerExited) => ContainerState::Exited,
        _ => ContainerState::Unknown,
    };
    let mut annotations = status.annotations;
    let image = status.image.unwrap_or_default();
    let shown = match image.user_specified_image.as_str() {
        "" => image.image,
        written => written.to_owned(),
    };
    Container {
        id: status.id,
        sandbox_id: String::new(),
        name: metadata.name,
        attempt: metadata.attempt,
        state,
        hash: annotations
            .remove(label::CONTAINER_HASH)
            .unwrap_or_default(),
        image: shown,
        image_ref: status.image_ref,
        created_at: nanoseconds(status.created_at),
        started_at: nanoseconds(status.started_at),
        finished_at: nanoseconds(status.finished_at),
        exit_code: status.exit_code,
        reason: status.reason,
        message: status.message,
        limits: status
            .resources
            .and_then(|resources| resources.linux)
            .map(|linux| Limits {
                cpu_shares: linux.cpu_shares,
                cpu_quota: linux.cpu_quota.max(0),
                memory_bytes: linux.memory_limit_in_bytes.max(0),
            })
            .filter(|limits| *limits != Limits::default()),
        user: status.user.and_then(|user| user.linux).map(|user| User {
            uid: user.uid,
            gid: user.gid,
            groups: user.supplemental_groups,
        }),
    }
}

fn nanoseconds(at: i64) -> Option<Timestamp> {
    (at > 0)
        .then(|| Timestamp::from_nanosecond(i128::from(at)).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The node lost power, and its clock was set back before the pod got a new sandbox. Taken for
    /// the newest, the dead one would be replaced again and again.
    #[test]
    fn the_newest_sandbox_is_the_last_attempt() {
        let sandbox = |attempt, second, ready| Sandbox {
            attempt,
            ready,
            created_at: Timestamp::from_second(second).ok(),
            ..Sandbox::default()
        };
        let mut found = [sandbox(0, 5000, false), sandbox(1, 1400, true)];
        newest_first(&mut found);
        assert!(found[0].ready);
    }
}
