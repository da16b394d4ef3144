//! Runs probes and hooks of a pod's containers; each probe has a task that writes its verdict.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use base::tasks;
use client::{EventType, Key, Reference};
use nodeapi::cri::ExecSyncRequest;
use parking_lot::Mutex;
use schema::Ref;

use crate::http_probe;
use crate::pod::{ContainerSpec, ContainerState, Handler, Observed, PodSpec, Probe};
use crate::probe::{Counter, Outcome, delays};
use crate::worker::start::{Verdicts, field_path};
use crate::worker::{Mailbox, Shared};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Startup,
    Liveness,
    Readiness,
}

/// The probe tasks of one pod.
pub(super) struct Probes {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    verdicts: Arc<Mutex<Verdicts>>,
    tasks: BTreeMap<(String, Role), tasks::Handle>,
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop_all();
    }
}

impl Probes {
    pub(super) fn new(
        shared: Arc<Shared>,
        mailbox: Arc<Mailbox>,
        verdicts: Arc<Mutex<Verdicts>>,
    ) -> Self {
        Self {
            shared,
            mailbox,
            verdicts,
            tasks: BTreeMap::new(),
        }
    }

    /// Ends all probes.
    pub(super) fn stop_all(&mut self) {
        for task in std::mem::take(&mut self.tasks).values() {
            task.abort();
        }
    }

    /// Starts the probes of containers that run now and ends those of others.
    pub(super) fn follow(&mut self, pod: &PodSpec, observed: &Observed, key: &Key, uid: &str) {
        let running: HashMap<&str, &ContainerSpec> = observed
            .running()
            .filter_map(|container| Some((container.id.as_str(), pod.container(&container.name)?)))
            .collect();
        self.tasks.retain(|(id, _), task| {
            let keep = running.contains_key(id.as_str()) && !task.is_finished();
            if !keep {
                task.abort();
            }
            keep
        });
        self.verdicts
            .lock()
            .retain(|id, _| running.contains_key(id.as_str()));
        let ending = pod.deletion.is_some();
        for container in observed.running() {
            let Some(spec) = running.get(container.id.as_str()) else {
                continue;
            };
            let mut wanted = Vec::new();
            let started = spec.startup.is_none()
                || self
                    .verdicts
                    .lock()
                    .get(&container.id)
                    .is_some_and(|v| v.started);
            match (&spec.startup, started) {
                (Some(probe), false) if !ending => wanted.push((Role::Startup, probe)),
                _ => {
                    wanted.extend(spec.readiness.iter().map(|probe| (Role::Readiness, probe)));
                    if !ending {
                        wanted.extend(spec.liveness.iter().map(|probe| (Role::Liveness, probe)));
                    }
                }
            }
            debug_assert_eq!(container.state, ContainerState::Running);
            for (role, probe) in wanted {
                let slot = (container.id.clone(), role);
                if self.tasks.contains_key(&slot) {
                    continue;
                }
                let address = match pod.host_network {
                    true => self
                        .shared
                        .config
                        .addresses
                        .first()
                        .map(ToString::to_string),
                    false => observed
                        .sandbox
                        .as_ref()
                        .and_then(|s| s.addresses.first().cloned()),
                };
                let task = ProbeTask {
                    shared: self.shared.clone(),
                    mailbox: self.mailbox.clone(),
                    verdicts: self.verdicts.clone(),
                    role,
                    probe: probe.clone(),
                    container_id: container.id.clone(),
                    container: spec.name.clone(),
                    address: address.unwrap_or_default(),
                    about: Reference {
                        api_version: "v1".to_owned(),
                        kind: "Pod".to_owned(),
                        namespace: key.namespace.clone(),
                        name: key.name.clone(),
                        uid: uid.to_owned(),
                        field_path: field_path(spec),
                        ..Reference::default()
                    },
                    pod: key.clone(),
                };
                let shutdown = self.shared.shutdown.clone();
                self.tasks
                    .insert(slot, tasks::spawn("probe", &shutdown, task.run()));
            }
        }
    }

    /// Runs a lifecycle hook once.
    pub(super) async fn run_handler(
        &self,
        handler: &Handler,
        container_id: &str,
        address: &str,
        container: Ref<'_>,
        limit: Option<Duration>,
    ) -> Result<(), String> {
        let resolved = resolve_port(handler, |name| port_of(container, name));
        let once = execute(&self.shared, &resolved, container_id, address, limit);
        match limit {
            None => once.await.map(drop).map_err(Bad::text),
            Some(limit) => match tokio::time::timeout(limit, once).await {
                Ok(result) => result.map(drop).map_err(Bad::text),
                Err(_) => Err(format!("hook did not end within {limit:?}")),
            },
        }
    }
}

struct ProbeTask {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    verdicts: Arc<Mutex<Verdicts>>,
    role: Role,
    probe: Probe,
    container_id: String,
    container: String,
    address: String,
    about: Reference,
    pod: Key,
}

impl ProbeTask {
    async fn run(self) {
        let (first, period) = delays(&self.probe);
        tokio::time::sleep(first).await;
        let handler = resolve_port(&self.probe.handler, |name| self.named_port(name));
        let limit = Duration::from_secs(self.probe.timeout_seconds.unsigned_abs().max(1));
        let mut counter = Counter::new(&self.probe);
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let once = execute(
                &self.shared,
                &handler,
                &self.container_id,
                &self.address,
                Some(limit),
            );
            let result = match tokio::time::timeout(limit, once).await {
                Ok(result) => result,
                Err(_) => Err(Bad::Failed(timed_out(&handler, &self.address, limit))),
            };
            let kind = match self.role {
                Role::Startup => "Startup",
                Role::Liveness => "Liveness",
                Role::Readiness => "Readiness",
            };
            let message = match &result {
                Ok(None) => None,
                Ok(Some(warning)) => {
                    let message = format!("{kind} probe warning: {warning}");
                    self.shared.recorder.record(
                        &self.about,
                        EventType::Warning,
                        "ProbeWarning",
                        message,
                    );
                    None
                }
                Err(Bad::Failed(text)) => Some(format!("{kind} probe failed: {text}")),
                Err(Bad::Unknown(text)) => Some(format!(
                    "{kind} probe errored and resulted in unknown state: {text}"
                )),
            };
            if let Some(message) = message {
                self.shared
                    .recorder
                    .record(&self.about, EventType::Warning, "Unhealthy", message);
            }
            // What could not be asked says nothing.
            if matches!(result, Err(Bad::Unknown(_))) {
                continue;
            }
            let outcome = counter.record(result.is_ok());
            if self.settle(outcome) {
                return;
            }
        }
    }

    /// Writes the verdict; true when this probe has nothing more to say.
    fn settle(&self, outcome: Outcome) -> bool {
        let mut verdicts = self.verdicts.lock();
        let verdict = verdicts.entry(self.container_id.clone()).or_default();
        let before = *verdict;
        let done = match (self.role, outcome) {
            (_, Outcome::Pending) => false,
            (Role::Startup, Outcome::Success) => {
                verdict.started = true;
                true
            }
            (Role::Startup, Outcome::Failure) => {
                verdict.startup_failed = true;
                true
            }
            (Role::Liveness, Outcome::Failure) => {
                verdict.unhealthy = true;
                true
            }
            (Role::Liveness, Outcome::Success) => false,
            (Role::Readiness, outcome) => {
                verdict.ready = outcome == Outcome::Success;
                false
            }
        };
        let changed = *verdict != before;
        drop(verdicts);
        if changed {
            self.mailbox.wake();
        }
        done
    }

    fn named_port(&self, name: &str) -> Option<u16> {
        let object = self.shared.pods.get(&self.pod)?;
        let dom = object.parse().ok()?;
        let spec = dom.as_ref().get("spec")?;
        let container = spec
            .items("containers")
            .chain(spec.items("initContainers"))
            .find(|container| container.str("name") == self.container)?;
        port_of(container, name)
    }
}

fn port_of(container: Ref<'_>, name: &str) -> Option<u16> {
    let port = container
        .items("ports")
        .find(|port| port.str("name") == name)?;
    u16::try_from(port.int("containerPort")?).ok()
}

/// `connection refused`, as clients of upstream's read it; other errors by their own words.
fn go_errno(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

/// Turns a port's name into its number.
fn resolve_port(handler: &Handler, named: impl Fn(&str) -> Option<u16>) -> Handler {
    let mut handler = handler.clone();
    if let Handler::Http { port, .. } | Handler::Tcp { port, .. } = &mut handler
        && port.parse::<u16>().is_err()
        && let Some(number) = named(port)
    {
        *port = number.to_string();
    }
    handler
}

/// Why a probe or hook did not succeed.
enum Bad {
    /// What was asked said no.
    Failed(String),
    /// It could not be asked; upstream throws such results of probes away.
    Unknown(String),
}

impl Bad {
    fn text(self) -> String {
        match self {
            Self::Failed(text) | Self::Unknown(text) => text,
        }
    }
}

/// What upstream says of a probe that takes too long.
fn timed_out(handler: &Handler, address: &str, limit: Duration) -> String {
    let host = |host: &str| if host.is_empty() { address } else { host }.to_owned();
    match handler {
        Handler::Exec(command) => {
            format!("command timed out: {command:?} timed out after {limit:?}")
        }
        Handler::Http {
            host: name,
            port,
            path,
            https,
            ..
        } => {
            let scheme = if *https { "https" } else { "http" };
            let slash = if path.starts_with('/') { "" } else { "/" };
            format!(
                "Get \"{scheme}://{}:{port}{slash}{path}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                host(name)
            )
        }
        Handler::Tcp { host: name, port } => format!("dial tcp {}:{port}: i/o timeout", host(name)),
        Handler::Grpc { .. } => format!("timeout: health rpc did not complete within {limit:?}"),
        Handler::Sleep(_) => format!("did not end within {limit:?}"),
    }
}

/// Does what a handler says; a success may come with a warning; the error is what it printed or why it failed.
async fn execute(
    shared: &Shared,
    handler: &Handler,
    container_id: &str,
    address: &str,
    limit: Option<Duration>,
) -> Result<Option<String>, Bad> {
    let target = |host: &str, port: &str| -> Result<(String, u16), Bad> {
        let host = if host.is_empty() { address } else { host };
        let port = port
            .parse()
            .map_err(|_| Bad::Unknown(format!("port {port:?} is not a port of the container")))?;
        Ok((host.to_owned(), port))
    };
    match handler {
        Handler::Exec(command) => {
            let seconds = limit.map_or(0, |limit| i64::try_from(limit.as_secs()).unwrap_or(0));
            let request = ExecSyncRequest {
                container_id: container_id.to_owned(),
                cmd: command.clone(),
                timeout: seconds,
            };
            let answer = shared.runtime.exec_sync(request).await;
            let answer = answer.map_err(|error| match error.code {
                // A command that takes too long has failed.
                nodeapi::Code::DeadlineExceeded => {
                    Bad::Failed(timed_out(handler, address, limit.unwrap_or_default()))
                }
                _ => Bad::Unknown(base::Chain(&error).to_string()),
            })?;
            if answer.exit_code == 0 {
                return Ok(None);
            }
            let mut output = answer.stdout;
            output.extend(answer.stderr);
            output.truncate(10 << 10);
            Err(Bad::Failed(String::from_utf8_lossy(&output).into_owned()))
        }
        Handler::Http {
            host,
            port,
            path,
            https,
            headers,
        } => {
            let (host, port) = target(host, port)?;
            http_probe::get(&host, port, path, *https, headers)
                .await
                .map_err(Bad::Failed)
        }
        Handler::Tcp { host, port } => {
            let (host, port) = target(host, port)?;
            tokio::net::TcpStream::connect((host.as_str(), port))
                .await
                .map(|_| None)
                .map_err(|error| {
                    let text = go_errno(&error);
                    Bad::Failed(format!("dial tcp {host}:{port}: connect: {text}"))
                })
        }
        Handler::Grpc { port, service } => {
            let (host, port) = target("", &port.to_string())?;
            let limit = limit.unwrap_or(Duration::from_secs(1));
            http_probe::grpc_health(&host, port, service, limit)
                .await
                .map(|()| None)
                .map_err(Bad::Failed)
        }
        Handler::Sleep(seconds) => {
            tokio::time::sleep(Duration::from_secs(seconds.unsigned_abs())).await;
            Ok(None)
        }
    }
}
