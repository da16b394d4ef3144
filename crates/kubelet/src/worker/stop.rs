//! Stopping: preStop hook, stop signal, grace period, kill; all containers of a plan at once.

use base::Chain;
use client::EventType;
use futures_util::future::join_all;
use nodeapi::CriError;
use nodeapi::cri::StopContainerRequest;

use crate::pod::{Action, KillReason, Observed, PodSpec};
use crate::worker::{Worker, start::field_path};

/// A container gets at least this long between signal and kill.
const LEAST_GRACE_SECONDS: i64 = 2;

impl Worker {
    pub(super) async fn stop_all(
        &self,
        pod: &PodSpec,
        observed: &Observed,
        kills: &[&Action],
    ) -> Result<(), CriError> {
        let context = self.context(observed);
        let address = context
            .facts
            .pod_addresses
            .first()
            .cloned()
            .unwrap_or_default();
        let stops = kills.iter().filter_map(|action| match action {
            Action::KillContainer {
                id,
                name,
                reason,
                grace_seconds,
            } => Some(self.stop(pod, id, name, *reason, *grace_seconds, &address)),
            _ => None,
        });
        for result in join_all(stops).await {
            result?;
        }
        Ok(())
    }

    async fn stop(
        &self,
        pod: &PodSpec,
        id: &str,
        name: &str,
        reason: KillReason,
        grace_seconds: i64,
        address: &str,
    ) -> Result<(), CriError> {
        let spec = pod.container(name);
        let path = spec.map(field_path).unwrap_or_default();
        let message = match reason {
            KillReason::Unhealthy => {
                format!("Container {name} failed liveness probe, will be restarted")
            }
            KillReason::NotStarted => {
                format!("Container {name} failed startup probe, will be restarted")
            }
            KillReason::Resized => format!("Container {name} resize requires restart"),
            KillReason::Changed => {
                format!("Container {name} definition changed, will be restarted")
            }
            _ => format!("Stopping container {name}"),
        };
        self.event(EventType::Normal, "Killing", &message, &path);
        let began = tokio::time::Instant::now();
        if let Some(hook) = spec.and_then(|spec| spec.lifecycle.pre_stop.as_ref())
            && grace_seconds > 0
        {
            let limit = std::time::Duration::from_secs(grace_seconds.unsigned_abs());
            let dom = self.object.parse().unwrap_or_default();
            let container = dom
                .as_ref()
                .get("spec")
                .into_iter()
                .flat_map(|spec| spec.items("containers").chain(spec.items("initContainers")))
                .find(|container| container.str("name") == name)
                .unwrap_or(dom.as_ref());
            let run = self
                .probes
                .run_handler(hook, id, address, container, Some(limit));
            if let Err(text) = run.await {
                self.event(
                    EventType::Warning,
                    "FailedPreStopHook",
                    "PreStopHook failed",
                    &path,
                );
                tracing::info!(pod = %pod.key, container = name, err = text, "preStop hook failed");
            }
        }
        let spent = i64::try_from(began.elapsed().as_secs()).unwrap_or(i64::MAX);
        let left = if grace_seconds == 0 {
            0
        } else {
            (grace_seconds - spent).max(LEAST_GRACE_SECONDS)
        };
        let request = StopContainerRequest {
            container_id: id.to_owned(),
            timeout: left,
        };
        match self.shared.runtime.stop_container(request).await {
            Ok(_) => Ok(()),
            Err(error) if error.code == nodeapi::Code::NotFound => Ok(()),
            Err(error) => {
                tracing::warn!(pod = %pod.key, container = name, err = %Chain(&error), "stop failed");
                Err(error)
            }
        }
    }
}
