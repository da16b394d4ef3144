//! Finding and listing: by id, unique prefix of an id, or filter.

use std::collections::BTreeMap;
use std::sync::Arc;

use nodeapi::{CriError, cri};

use crate::state::{Container, Inner, Sandbox};

/// Exact match, or the only key that starts with `id`.
fn find<T: Clone>(map: &BTreeMap<String, T>, id: &str) -> Option<T> {
    if let Some(found) = map.get(id) {
        return Some(found.clone());
    }
    if id.is_empty() {
        return None;
    }
    let mut range = map
        .range(id.to_string()..)
        .take_while(|(key, _)| key.starts_with(id));
    match (range.next(), range.next()) {
        (Some((_, only)), None) => Some(only.clone()),
        _ => None,
    }
}

fn matches(selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    selector.iter().all(|(k, v)| labels.get(k) == Some(v))
}

impl Inner {
    pub(crate) fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>, CriError> {
        find(&self.sandboxes.read(), id)
            .ok_or_else(|| CriError::not_found(format!("sandbox {id:?} not found")))
    }

    pub(crate) fn container(&self, id: &str) -> Result<(Arc<Sandbox>, Arc<Container>), CriError> {
        find(&self.containers.read(), id)
            .ok_or_else(|| CriError::not_found(format!("container {id:?} not found")))
    }

    /// A running container and its sandbox.
    pub(crate) fn running(&self, id: &str) -> Result<(Arc<Sandbox>, Arc<Container>), CriError> {
        let (sandbox, container) = self.container(id)?;
        if !container.is_running() {
            let state = container.state().as_str_name();
            return Err(CriError::precondition(format!(
                "container {id} is in {state} state"
            )));
        }
        Ok((sandbox, container))
    }

    pub(crate) fn list_sandboxes(
        &self,
        filter: Option<&cri::PodSandboxFilter>,
    ) -> Vec<cri::PodSandbox> {
        let empty = cri::PodSandboxFilter::default();
        let filter = filter.unwrap_or(&empty);
        let sandboxes = self.sandboxes.read();
        let chosen = sandboxes.values().filter(|s| {
            let state = filter
                .state
                .as_ref()
                .is_none_or(|w| w.state == sandbox_state(s) as i32);
            s.id.starts_with(&filter.id)
                && state
                && matches(&filter.label_selector, &s.config.labels)
        });
        chosen
            .map(|s| {
                let record = s.record.lock();
                cri::PodSandbox {
                    id: s.id.clone(),
                    metadata: s.config.metadata.clone(),
                    state: sandbox_state_of(&record) as i32,
                    created_at: record.created_at,
                    labels: s.config.labels.clone(),
                    annotations: s.config.annotations.clone(),
                    runtime_handler: record.handler.clone(),
                }
            })
            .collect()
    }

    pub(crate) fn list_containers(
        &self,
        filter: Option<&cri::ContainerFilter>,
    ) -> Vec<cri::Container> {
        let empty = cri::ContainerFilter::default();
        let filter = filter.unwrap_or(&empty);
        let containers = self.containers.read();
        let mut out = Vec::new();
        for (_, c) in containers.values() {
            let (state, config) = (c.state(), c.config.read());
            let wanted = c.id.starts_with(&filter.id)
                && c.sandbox_id.starts_with(&filter.pod_sandbox_id)
                && filter
                    .state
                    .as_ref()
                    .is_none_or(|w| w.state == state as i32)
                && matches(&filter.label_selector, &config.labels);
            if !wanted {
                continue;
            }
            let record = c.record.lock();
            out.push(cri::Container {
                id: c.id.clone(),
                pod_sandbox_id: c.sandbox_id.clone(),
                metadata: config.metadata.clone(),
                image: config.image.clone(),
                image_ref: record.image_reference.clone(),
                state: state as i32,
                created_at: record.created_at,
                labels: config.labels.clone(),
                annotations: config.annotations.clone(),
                image_id: record.image_id.clone(),
            });
        }
        out
    }

    pub(crate) fn sandbox_status(&self, sandbox: &Sandbox) -> cri::PodSandboxStatus {
        let record = sandbox.record.lock();
        let mut ips = record.ips.iter();
        let network = cri::PodSandboxNetworkStatus {
            ip: ips.next().cloned().unwrap_or_default(),
            additional_ips: ips.map(|ip| cri::PodIp { ip: ip.clone() }).collect(),
        };
        cri::PodSandboxStatus {
            id: sandbox.id.clone(),
            metadata: sandbox.config.metadata.clone(),
            state: sandbox_state_of(&record) as i32,
            created_at: record.created_at,
            network: Some(network),
            linux: Some(cri::LinuxPodSandboxStatus {
                namespaces: Some(cri::Namespace {
                    options: Some(sandbox.namespaces()),
                }),
            }),
            labels: sandbox.config.labels.clone(),
            annotations: sandbox.config.annotations.clone(),
            runtime_handler: record.handler.clone(),
        }
    }

    pub(crate) fn container_status(
        &self,
        sandbox: &Sandbox,
        c: &Container,
    ) -> cri::ContainerStatus {
        let (state, config, record) = (c.state(), c.config.read(), c.record.lock());
        let mut image = config.image.clone().unwrap_or_default();
        if !record.image_name.is_empty() {
            image.image.clone_from(&record.image_name);
        }
        let resources = config.linux.as_ref().and_then(|l| l.resources.clone());
        let user = cri::LinuxContainerUser {
            uid: record.uid.into(),
            gid: record.gid.into(),
            supplemental_groups: record.groups.iter().map(|g| i64::from(*g)).collect(),
        };
        cri::ContainerStatus {
            id: c.id.clone(),
            metadata: config.metadata.clone(),
            state: state as i32,
            created_at: record.created_at,
            started_at: record.started_at,
            finished_at: record.finished_at,
            exit_code: record.exit_code.unwrap_or(0),
            image: Some(image),
            image_ref: record.image_reference.clone(),
            reason: record.reason.clone(),
            message: record.message.clone(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            mounts: config.mounts.clone(),
            log_path: crate::spec::log_path(&sandbox.config, &config),
            resources: Some(cri::ContainerResources {
                linux: resources,
                windows: None,
            }),
            image_id: record.image_id.clone(),
            user: Some(cri::ContainerUser { linux: Some(user) }),
            stop_signal: config.stop_signal,
        }
    }
}

fn sandbox_state_of(record: &crate::persist::SandboxRecord) -> cri::PodSandboxState {
    match record.phase {
        crate::persist::Phase::Ready => cri::PodSandboxState::SandboxReady,
        _ => cri::PodSandboxState::SandboxNotready,
    }
}

fn sandbox_state(sandbox: &Sandbox) -> cri::PodSandboxState {
    sandbox_state_of(&sandbox.record.lock())
}
