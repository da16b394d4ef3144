//! Ends of containers as the shims report them, and events for whoever listens.
//!
//! One task for each shim sleeps on its socket; nothing is polled. A listener that lags is
//! closed and lists again.

use std::sync::Arc;

use nodeapi::{CriError, cri};
use oci::message::{STOPPED, Status};
use oci::{Events, Shim};
use tokio::net::UnixStream;
use tokio::sync::mpsc;

use crate::exec::when_readable;
use crate::state::{Container, Runtime, Sandbox};

/// Events that wait for one listener.
const QUEUE: usize = 1024;

/// What happened to a container.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Created,
    Started,
    Stopped,
    Deleted,
}

/// What is done about a shim that answers no more.
const GONE: &str = "the shim of the sandbox is gone";

impl Runtime {
    pub(crate) fn listen(&self) -> mpsc::Receiver<cri::ContainerEventResponse> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.inner.listeners.lock().push(sender);
        receiver
    }

    pub(crate) fn publish(&self, sandbox: &Arc<Sandbox>, id: &str, kind: Kind) {
        let mut listeners = self.inner.listeners.lock();
        listeners.retain(|l| !l.is_closed());
        if listeners.is_empty() {
            return;
        }
        let kind = match kind {
            Kind::Created => cri::ContainerEventType::ContainerCreatedEvent,
            Kind::Started => cri::ContainerEventType::ContainerStartedEvent,
            Kind::Stopped => cri::ContainerEventType::ContainerStoppedEvent,
            Kind::Deleted => cri::ContainerEventType::ContainerDeletedEvent,
        };
        let containers: Vec<_> = sandbox.containers.read().values().cloned().collect();
        let event = cri::ContainerEventResponse {
            container_id: id.into(),
            container_event_type: kind as i32,
            created_at: self.inner.now(),
            pod_sandbox_status: Some(self.inner.sandbox_status(sandbox)),
            containers_statuses: containers
                .iter()
                .map(|c| self.inner.container_status(sandbox, c))
                .collect(),
        };
        listeners.retain(|l| l.try_send(event.clone()).is_ok());
    }

    /// Follows the shim of a sandbox until it ends.
    pub(crate) fn watch(&self, sandbox: &Arc<Sandbox>) {
        let (runtime, sandbox) = (self.clone(), sandbox.clone());
        base::tasks::spawn("sandbox events", &self.inner.shutdown, async move {
            let Some(shim) = sandbox.shim.read().clone() else {
                return;
            };
            if let Err(err) = runtime.follow(&sandbox, &shim).await {
                // Stopped on purpose: its shim was taken away before.
                let current = sandbox.shim.read().clone();
                if !current.is_some_and(|s| Arc::ptr_eq(&s, &shim)) {
                    return;
                }
                tracing::error!(sandbox = %sandbox.id, err = %err, GONE);
                runtime.bereaved(&sandbox).await;
            }
        });
    }

    async fn follow(&self, sandbox: &Arc<Sandbox>, shim: &Arc<Shim>) -> Result<(), CriError> {
        let error = |e: &oci::Error| crate::state::oci_error("follow the shim", e);
        let subscribing = shim.clone();
        let mut events: Events =
            crate::state::blocking(move || subscribing.subscribe().map_err(|e| error(&e))).await?;
        for status in events
            .state
            .containers
            .iter()
            .filter(|s| s.state == STOPPED)
        {
            self.apply_exit(sandbox, status);
        }
        let socket = events
            .readiness()
            .and_then(UnixStream::from_std)
            .map_err(|e| CriError::internal(format!("watch the shim: {e}")))?;
        loop {
            let status = when_readable(&socket, "follow the shim", || events.try_next()).await?;
            self.apply_exit(sandbox, &status);
        }
    }

    /// Notes the end of a container.
    pub(crate) fn apply_exit(&self, sandbox: &Arc<Sandbox>, status: &Status) {
        let Some(container) = sandbox.containers.read().get(&status.id).cloned() else {
            return;
        };
        {
            let mut record = container.record.lock();
            if record.exit_code.is_some() {
                return;
            }
            record.exit_code = Some(status.exit_code);
            record.finished_at = status.finished_at;
            if status.started_at != 0 {
                record.started_at = status.started_at;
            }
            let reason = match (
                status.oom_killed,
                status.reason.is_empty(),
                status.exit_code,
            ) {
                (true, ..) => "OOMKilled",
                (_, false, _) => "StartError",
                (_, _, 0) => "Completed",
                _ => "Error",
            };
            record.reason = reason.into();
            record.message.clone_from(&status.reason);
        }
        self.announce_end(sandbox, &container);
    }

    /// Notes the end of a container about which nobody knows anything any more.
    pub(crate) fn lost(&self, sandbox: &Arc<Sandbox>, container: &Arc<Container>) {
        {
            let mut record = container.record.lock();
            if record.exit_code.is_some() {
                return;
            }
            record.exit_code = Some(255);
            record.finished_at = self.inner.now();
            record.reason = "Unknown".into();
            record.message = GONE.into();
        }
        self.announce_end(sandbox, container);
    }

    fn announce_end(&self, sandbox: &Arc<Sandbox>, container: &Arc<Container>) {
        // A small file; whoever waits must find it written.
        if let Err(err) = container.save() {
            tracing::error!(container = %container.id, err = %err, "exit code is not on disk");
        }
        container.ended.send_replace(true);
        self.publish(sandbox, &container.id, Kind::Stopped);
    }

    /// The shim died: what it kept is killed, and the sandbox is no longer ready.
    pub(crate) async fn bereaved(&self, sandbox: &Arc<Sandbox>) {
        *sandbox.shim.write() = None;
        let containers: Vec<_> = sandbox.containers.read().values().cloned().collect();
        for container in containers {
            let path = container.record.lock().cgroup.clone();
            let inner = self.inner.clone();
            let killed = crate::state::blocking(move || {
                let group = inner.group(&path)?;
                match group.exists() {
                    true => group
                        .kill()
                        .map_err(|e| crate::state::cgroup_error("kill", &e)),
                    false => Ok(()),
                }
            })
            .await;
            if let Err(err) = killed {
                tracing::warn!(container = %container.id, err = %err, "kill after the shim's death");
            }
            self.lost(sandbox, &container);
        }
        if sandbox.is_ready() {
            sandbox.record.lock().phase = crate::persist::Phase::Creating;
            if let Err(err) = sandbox.save() {
                tracing::error!(sandbox = %sandbox.id, err = %err, "state is not on disk");
            }
        }
    }
}
