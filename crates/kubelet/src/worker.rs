//! One pod's worker: observe, plan, act, report; woken by the API, the runtime, probes and time.
//!
//! A step that takes long (a pull, a grace period) is given up when the pod's deletion changes:
//! the next plan goes on from what is there. All state that matters is in the API and the
//! runtime, so a worker that starts after a crash continues where the last one stopped.

mod hosts;
mod image;
mod probes;
mod report;
mod start;
mod steps;
mod stop;

use std::collections::HashMap;
use std::sync::Arc;

use base::{Chain, Clock, Shutdown};
use client::{Cache, Client, DeleteOptions, EventType, Key, Object, Recorder, Reference};
use jiff::{SignedDuration, Timestamp};
use nodeapi::{CriError, ImageService, RuntimeService, Streams};
use parking_lot::Mutex;
use tokio::sync::Notify;

pub(crate) use image::ImageVolumes;

use crate::admit::{Refusal, Room, Share, Taken};
use crate::config::Config;
use crate::container::{NodeFacts, PodContext, ServiceInfo};
use crate::observe::observe;
use crate::pod::{Action, Knowledge, Observed, PodSpec, actions};
use crate::volume::Volumes;

/// What all workers share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) client: Client,
    pub(crate) runtime: Arc<dyn RuntimeService>,
    pub(crate) images: Arc<dyn ImageService>,
    pub(crate) streams: Arc<dyn Streams>,
    pub(crate) recorder: Recorder,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pods: Cache,
    pub(crate) services: Cache,
    pub(crate) taken: Taken,
    pub(crate) volumes: Volumes,
    pub(crate) shutdown: Shutdown,
}

/// Wakes a worker; signals are merged.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    changed: Notify,
}

impl Mailbox {
    /// Something about the pod may have changed.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }
}

/// The worker of one pod (one uid).
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailbox: Arc<Mailbox>,
    key: Key,
    uid: String,
    /// The newest revision seen; kept when the API has forgotten the pod.
    object: Arc<Object>,
    known: Knowledge,
    /// The node has taken the pod: since when it counts, by the spec's generation.
    taken: Option<i64>,
    probes: probes::Probes,
    /// Verdicts that probe tasks write.
    verdicts: Arc<Mutex<HashMap<String, crate::pod::Verdict>>>,
    volumes_ready: bool,
    /// When files that follow API objects are written again.
    refresh_at: Option<Timestamp>,
    /// Labels and annotations as the files show them: a change of theirs is written at once, and
    /// brings what else has changed.
    shown: Option<String>,
    /// Containers whose delay after a crash has been told by an event.
    told_backoff: std::collections::HashSet<String>,
    torn_down: bool,
    /// Nothing of the pod is left here; its object may wait for finalizers.
    cleaned: bool,
    /// The last grace period seen, and when it ends.
    deadline: Option<(i64, Timestamp)>,
    /// Delays after failed pulls.
    failed_pulls: HashMap<String, image::FailedPull>,
    sandbox_backoff: base::Backoff,
    told: report::Told,
    /// The last steps ended containers only to start them anew.
    replacing: bool,
    clock: steps::Steps,
    /// A sandbox that the runtime is making. It is waited for whatever happens to the pod
    /// meanwhile: the runtime finishes it, and what nobody has seen nobody removes.
    creating: Option<start::Creating>,
}

/// How the worker goes on after a round.
enum Next {
    Again,
    Wait(Option<Timestamp>),
    Done,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, mailbox: Arc<Mailbox>, object: Arc<Object>) -> Self {
        let addresses: Vec<String> = shared
            .config
            .addresses
            .iter()
            .map(ToString::to_string)
            .collect();
        let verdicts = Arc::new(Mutex::new(HashMap::new()));
        let taken = counts_already(&object, &shared.taken);
        let clock = steps::Steps::new(shared.clock.now());
        Self {
            key: object.key().clone(),
            uid: object.uid().to_owned(),
            known: Knowledge {
                host_address: addresses.first().cloned().unwrap_or_default(),
                host_addresses: addresses,
                ..Knowledge::default()
            },
            probes: probes::Probes::new(shared.clone(), mailbox.clone(), verdicts.clone()),
            verdicts,
            shared,
            mailbox,
            object,
            taken,
            volumes_ready: false,
            refresh_at: None,
            shown: None,
            told_backoff: std::collections::HashSet::new(),
            torn_down: false,
            cleaned: false,
            deadline: None,
            failed_pulls: HashMap::new(),
            sandbox_backoff: base::Backoff::new(
                std::time::Duration::from_secs(1),
                std::time::Duration::from_secs(60),
            ),
            told: report::Told::default(),
            replacing: false,
            clock,
            creating: None,
        }
    }

    /// Works until the pod is gone.
    pub(crate) async fn run(mut self) {
        let mut backoff = base::Backoff::new(
            std::time::Duration::from_millis(200),
            std::time::Duration::from_secs(30),
        );
        loop {
            let wake_at = match self.round().await {
                Ok(Next::Done) => return,
                Ok(Next::Again) => {
                    backoff.reset();
                    continue;
                }
                Ok(Next::Wait(at)) => {
                    backoff.reset();
                    at
                }
                Err(error) => {
                    tracing::warn!(pod = %self.key, err = %Chain(&error), "pod sync failed, retries");
                    Some(base::after(self.now(), backoff.next_delay()))
                }
            };
            let mailbox = self.mailbox.clone();
            match wake_at {
                None => mailbox.changed.notified().await,
                Some(at) => {
                    let left = at.duration_since(self.shared.clock.now());
                    let left = std::time::Duration::try_from(left).unwrap_or_default();
                    tokio::select! {
                        biased;
                        () = mailbox.changed.notified() => {}
                        () = tokio::time::sleep(left) => {}
                    }
                }
            }
        }
    }

    async fn round(&mut self) -> Result<Next, CriError> {
        self.sandbox_created().await;
        let gone = self.refresh();
        // What follows asks for the pod's tree half a dozen times.
        let object = self.object.clone();
        let shared = object.share();
        if self.cleaned {
            return Ok(if gone { Next::Done } else { Next::Wait(None) });
        }
        let Some(mut pod) = PodSpec::read(&self.object) else {
            return Ok(Next::Done);
        };
        let now = self.now();
        if let Some(deletion) = &mut pod.deletion {
            deletion.at = deadline(self.deadline, deletion, now);
            self.deadline = Some((deletion.grace_seconds, deletion.at));
        }
        if gone && pod.deletion.is_none() {
            // Deleted by force while this node did not look: end it with its own grace period.
            pod.deletion = Some(crate::pod::Deletion {
                at: now,
                grace_seconds: 0,
            });
        }
        self.known
            .started_at
            .get_or_insert(self.reported_start().unwrap_or(now));
        self.known.probes = self.verdicts.lock().clone();
        self.enforce_deadline(&pod, now);
        self.known.infeasible = self.infeasible();
        let mut observed = observe(self.shared.runtime.as_ref(), &self.uid).await?;
        self.read_termination_messages(&mut observed).await;
        if pod.deletion.is_none() {
            self.admit(&observed).await;
        }
        self.known.waiting.retain(|name, waiting| {
            waiting.retry_at.is_some()
                && !observed
                    .newest(name)
                    .is_some_and(|c| c.state == crate::pod::ContainerState::Running)
        });
        self.probes.follow(&pod, &observed, &self.key, &self.uid);
        let plan = actions(&pod, &observed, &self.known, now);
        // A deleted pod of which nothing is left keeps the last status that was told.
        let forgotten =
            pod.deletion.is_some() && observed.sandbox.is_none() && observed.containers.is_empty();
        let silent = self.is_replacing(&pod, &plan.actions).await;
        let tells = !gone && !forgotten && !silent;
        if tells {
            self.report(&pod, &observed, now).await;
        }
        self.tell_backoff(&pod, &observed, now);
        if plan.actions.is_empty() {
            self.refresh_volumes(now).await;
            let revert_at = self.told.revert_at().filter(|_| tells);
            let times = [plan.wake_at, self.refresh_at, revert_at];
            return Ok(Next::Wait(times.into_iter().flatten().min()));
        }
        if plan.actions.contains(&Action::Finish) {
            return self.finish(&pod, &observed, gone).await;
        }
        // What the API has forgotten will not change any more: who compared it with the last
        // revision would give up every step at once, for ever.
        let before = (!gone).then(|| deletion_of(&self.object)).flatten();
        // Actions may take minutes, for which no object is held as a tree.
        drop(shared);
        let mailbox = self.mailbox.clone();
        let (cache, key, uid) = (self.shared.pods.clone(), self.key.clone(), self.uid.clone());
        let changed = async move {
            loop {
                mailbox.changed.notified().await;
                let newer = cache.get(&key).filter(|object| object.uid() == uid);
                if newer.as_deref().and_then(deletion_of) != before {
                    return;
                }
            }
        };
        tokio::select! {
            biased;
            result = self.perform(&pod, &observed, plan.actions) => result?,
            () = changed => {}
        }
        // A signal that `changed` swallowed may have been about something else.
        self.mailbox.wake();
        Ok(Next::Again)
    }

    /// The wall clock. When it was set, this worker's own deadlines are set with it.
    fn now(&mut self) -> Timestamp {
        let now = self.shared.clock.now();
        if let Some(by) = self.clock.seen(now) {
            let waiting = self.known.waiting.values_mut();
            let own = waiting
                .filter_map(|waiting| waiting.retry_at.as_mut())
                .chain(self.failed_pulls.values_mut().map(|pull| &mut pull.until))
                .chain(self.told.revert_at_mut())
                .chain(&mut self.refresh_at)
                .chain(self.deadline.as_mut().map(|(_, at)| at));
            own.for_each(|at| steps::shift(at, by));
        }
        now
    }

    /// Takes the newest revision; true when the API no longer has this pod.
    fn refresh(&mut self) -> bool {
        match self.shared.pods.get(&self.key) {
            Some(object) if object.uid() == self.uid => {
                self.object = object;
                false
            }
            _ => true,
        }
    }

    /// Brings files of ConfigMaps, Secrets and tokens up to date once a minute.
    async fn refresh_volumes(&mut self, now: Timestamp) {
        const REFRESH_SECONDS: i64 = 60;
        if !self.volumes_ready || !crate::volume::follows_objects(&self.object) {
            self.refresh_at = None;
            return;
        }
        let next = Some(base::after(now, SignedDuration::from_secs(REFRESH_SECONDS)));
        let shows = labels_and_annotations(&self.object);
        let same = self
            .shown
            .replace(shows.clone())
            .is_none_or(|before| before == shows);
        match self.refresh_at {
            Some(at) if at > now && same => {}
            None => self.refresh_at = next,
            Some(_) => {
                self.refresh_at = next;
                let shared = self.shared.clone();
                let set_up = shared.volumes.set_up(
                    &shared.config,
                    &shared.client,
                    &self.object,
                    &self.known,
                    now,
                );
                for error in set_up.await.err().into_iter().flatten() {
                    self.report_volume_error(&error);
                }
            }
        }
    }

    /// An event for each container that now waits after a crash.
    fn tell_backoff(&mut self, pod: &PodSpec, observed: &Observed, now: Timestamp) {
        if pod.deletion.is_some() {
            return;
        }
        for spec in pod.all() {
            let Some(ended) = observed.newest(&spec.name) else {
                continue;
            };
            let Some(finished) = ended.finished_at else {
                continue;
            };
            let waits = self.known.backoff.waits(&spec.name, finished, now);
            if waits.is_none() || !self.told_backoff.insert(ended.id.clone()) {
                continue;
            }
            let message = format!(
                "Back-off restarting failed container {} in pod {}",
                spec.name,
                pod.title()
            );
            let path = start::field_path(spec);
            self.event(EventType::Warning, "BackOff", &message, &path);
        }
        self.told_backoff
            .retain(|id| observed.containers.iter().any(|c| c.id == *id));
    }

    fn reported_start(&self) -> Option<Timestamp> {
        let dom = self.object.parse().ok()?;
        dom.as_ref().get("status")?.str("startTime").parse().ok()
    }

    /// Why the node as a whole is too small for what the pod asks for now.
    /// Source: kubernetes v1.36 pkg/kubelet/allocation/allocation_manager.go, canResizePod.
    fn infeasible(&self) -> Option<String> {
        let dom = self.object.parse().ok()?;
        let spec = dom.as_ref().get("spec")?;
        let sum = |resource: &str, amount: fn(&api::Quantity) -> i64| -> i64 {
            spec.items("containers")
                .filter_map(|c| c.at(&["resources", "requests", resource])?.as_str())
                .filter_map(|text| api::Quantity::parse(text).ok())
                .map(|quantity| amount(&quantity))
                .sum()
        };
        let config = &self.shared.config;
        let rows = [
            ("cpu", sum("cpu", |q| q.millis()), config.millicores),
            ("memory", sum("memory", |q| q.value()), config.memory_bytes),
        ];
        let (name, requested, capacity) = rows
            .into_iter()
            .find(|(_, requested, capacity)| requested > capacity)?;
        Some(format!(
            "Node didn't have enough capacity: {name}, requested: {requested}, capacity: {capacity}"
        ))
    }

    /// Brings the limits of a running container to what is wanted.
    async fn resize_container(&self, pod: &PodSpec, id: &str, name: &str) -> Result<(), CriError> {
        let Some(wanted) = pod.container(name).map(|spec| spec.limits) else {
            return Ok(());
        };
        // The runtime takes zero for "as it is"; less than zero is no limit.
        let or_none = |value: i64| if value == 0 { -1 } else { value };
        let request = nodeapi::cri::UpdateContainerResourcesRequest {
            container_id: id.to_owned(),
            linux: Some(nodeapi::cri::LinuxContainerResources {
                cpu_period: crate::container::PERIOD_MICROSECONDS,
                cpu_quota: or_none(wanted.cpu_quota),
                cpu_shares: wanted.cpu_shares,
                memory_limit_in_bytes: or_none(wanted.memory_bytes),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.shared
            .runtime
            .update_container_resources(request)
            .await?;
        let message = format!("Pod resize completed: container {name}");
        self.event(EventType::Normal, "ResizeCompleted", &message, "");
        Ok(())
    }

    /// Takes the pod in when it is new, or ends it before anything of it runs.
    async fn admit(&mut self, observed: &Observed) {
        let Ok(dom) = self.object.parse() else { return };
        let pod = dom.as_ref();
        let generation = api::meta::of(pod).generation();
        if self.taken == Some(generation)
            || self.known.ended.is_some()
            || api::pod::is_terminal(pod)
        {
            return;
        }
        let share = Share::of(pod);
        let runs = observed.sandbox.is_some() || !observed.containers.is_empty();
        if self.taken.is_some() || runs {
            self.shared.taken.keep(&self.uid, share);
            self.taken = Some(generation);
            return;
        }
        let refused = match self.is_elsewhere(pod).await {
            true => Err(Refusal::of_affinity()),
            false => {
                let room = Room::of(&self.shared.config);
                self.shared.taken.take(&self.uid, share, room)
            }
        };
        match refused {
            Ok(()) => self.taken = Some(generation),
            Err(refusal) => {
                self.event(EventType::Warning, refusal.reason, &refusal.message, "");
                let message = format!("Pod was rejected: {}", refusal.message);
                self.known.ended = Some((refusal.reason.to_owned(), message));
            }
        }
    }

    /// Whether the pod asks for another node than this one. Few pods ask for one at all.
    async fn is_elsewhere(&self, pod: schema::Ref<'_>) -> bool {
        let Some(spec) = pod.get("spec") else {
            return false;
        };
        let asks = spec.entries("nodeSelector").next().is_some()
            || spec.at(&["affinity", "nodeAffinity"]).is_some();
        if !asks {
            return false;
        }
        let nodes = self
            .shared
            .client
            .resource(&api::Gvr::new("", "v1", "nodes"));
        // Nobody answers: the scheduler knew.
        let node = nodes
            .find(&self.shared.config.node_name)
            .await
            .ok()
            .flatten();
        let node = node.and_then(|node| node.parse().ok());
        node.is_some_and(|node| !api::nodes::selects(spec, node.as_ref()))
    }

    fn enforce_deadline(&mut self, pod: &PodSpec, now: Timestamp) {
        let (Some(limit), Some(start)) = (pod.active_deadline_seconds, self.known.started_at)
        else {
            return;
        };
        if self.known.ended.is_none() && now.duration_since(start).as_secs() >= limit {
            let message = "Pod was active on the node longer than the specified deadline";
            self.known.ended = Some(("DeadlineExceeded".to_owned(), message.to_owned()));
            self.event(EventType::Normal, "DeadlineExceeded", message, "");
        }
    }

    async fn perform(
        &mut self,
        pod: &PodSpec,
        observed: &Observed,
        actions: Vec<Action>,
    ) -> Result<(), CriError> {
        let kills: Vec<&Action> = actions
            .iter()
            .filter(|a| matches!(a, Action::KillContainer { .. }))
            .collect();
        if !kills.is_empty() {
            self.stop_all(pod, observed, &kills).await?;
            self.replacing = report::replaces(&kills);
        }
        for action in &actions {
            match action {
                Action::CreateSandbox { attempt } => self.create_sandbox(*attempt).await?,
                Action::StopSandbox { id } => {
                    let request = nodeapi::cri::StopPodSandboxRequest {
                        pod_sandbox_id: id.clone(),
                    };
                    self.shared.runtime.stop_pod_sandbox(request).await?;
                }
                Action::RemoveSandbox { id } => {
                    let request = nodeapi::cri::RemovePodSandboxRequest {
                        pod_sandbox_id: id.clone(),
                    };
                    self.shared.runtime.remove_pod_sandbox(request).await?;
                }
                Action::StartContainer { name, attempt } => {
                    self.start_container(pod, observed, name, *attempt).await?;
                    // One after the other for init containers; the next round decides.
                    if pod.init.iter().any(|spec| spec.name == *name) {
                        break;
                    }
                }
                Action::RemoveContainer { id } => {
                    let request = nodeapi::cri::RemoveContainerRequest {
                        container_id: id.clone(),
                    };
                    self.shared.runtime.remove_container(request).await?;
                    self.remove_files(observed, id);
                }
                Action::ResizeContainer { id, name } => {
                    self.resize_container(pod, id, name).await?;
                }
                Action::KillContainer { .. } | Action::Finish => {}
            }
        }
        Ok(())
    }

    /// Removes log and last words of an attempt that is gone.
    fn remove_files(&self, observed: &Observed, id: &str) {
        let Some(old) = observed.containers.iter().find(|c| c.id == id) else {
            return;
        };
        let config = &self.shared.config;
        let logs = config.pod_logs(&self.key.namespace, &self.key.name, &self.uid);
        crate::rotate::remove(&logs.join(&old.name).join(format!("{}.log", old.attempt)));
        let _ = std::fs::remove_file(self.termination_file(&old.name, old.attempt));
    }

    /// Everything has ended.
    async fn finish(
        &mut self,
        pod: &PodSpec,
        observed: &Observed,
        gone: bool,
    ) -> Result<Next, CriError> {
        if !self.torn_down {
            self.shared.taken.release(&self.uid);
            self.probes.stop_all();
            self.shared.volumes.tear_down(&self.uid).await;
            self.torn_down = true;
            self.volumes_ready = false;
        }
        if pod.deletion.is_none() {
            return Ok(Next::Wait(self.told.revert_at()));
        }
        if !gone {
            let options = DeleteOptions {
                grace_period_seconds: Some(0),
                uid: Some(self.uid.clone()),
                ..DeleteOptions::default()
            };
            match self.pods_api().delete(&self.key.name, &options).await {
                Ok(()) => {}
                Err(error) if error.is_not_found() || error.is_conflict() => {}
                Err(error) => {
                    tracing::warn!(pod = %self.key, err = %Chain(&error), "pod not deleted, retries");
                    let at = base::after(self.now(), SignedDuration::from_secs(1));
                    return Ok(Next::Wait(Some(at)));
                }
            }
        }
        for sandbox in observed.sandbox.iter().chain(&observed.old_sandboxes) {
            let request = nodeapi::cri::RemovePodSandboxRequest {
                pod_sandbox_id: sandbox.id.clone(),
            };
            self.shared.runtime.remove_pod_sandbox(request).await?;
        }
        self.shared
            .volumes
            .forget(&self.shared.config, &self.key, &self.uid)
            .await;
        tracing::info!(pod = %self.key, uid = self.uid, "pod is gone");
        self.cleaned = true;
        Ok(Next::Again)
    }

    pub(crate) fn pods_api(&self) -> client::Api {
        self.shared
            .client
            .namespaced(&api::Gvr::new("", "v1", "pods"), &self.key.namespace)
    }

    /// The pod as events refer to it; `container` adds the field path.
    pub(crate) fn reference(&self, field_path: &str) -> Reference {
        Reference {
            api_version: "v1".to_owned(),
            kind: "Pod".to_owned(),
            namespace: self.key.namespace.clone(),
            name: self.key.name.clone(),
            uid: self.uid.clone(),
            resource_version: self.object.resource_version().to_owned(),
            field_path: field_path.to_owned(),
        }
    }

    pub(crate) fn event(&self, kind: EventType, reason: &str, message: &str, field_path: &str) {
        self.shared
            .recorder
            .record(&self.reference(field_path), kind, reason, message);
    }

    /// What the pure builders need to know of node and pod.
    pub(crate) fn context(&self, observed: &Observed) -> PodContext {
        let config = &self.shared.config;
        let dom = self.object.parse().unwrap_or_default();
        let pod = dom.as_ref();
        let host_network = pod
            .get("spec")
            .and_then(|spec| spec.bool("hostNetwork"))
            .unwrap_or(false);
        let own = observed
            .sandbox
            .as_ref()
            .map(|s| s.addresses.clone())
            .unwrap_or_default();
        let qos = api::pod::compute_qos(pod).as_str().to_owned();
        PodContext {
            log_directory: config.pod_logs(&self.key.namespace, &self.key.name, &self.uid),
            cgroup_parent: cgroup_path(&config.cgroup_root, &qos, &self.uid),
            qos,
            host_dns: config.host_dns.clone(),
            cluster_dns: config.cluster_dns.clone(),
            cluster_domain: config.cluster_domain.clone(),
            seccomp_profiles: config.root.join("seccomp").to_string_lossy().into_owned(),
            node_hostname: config.hostname.clone(),
            facts: NodeFacts {
                host_addresses: self.known.host_addresses.clone(),
                pod_addresses: if host_network {
                    self.known.host_addresses.clone()
                } else {
                    own
                },
                allocatable_millicores: config.millicores,
                allocatable_memory_bytes: config.memory_bytes,
            },
            node_memory_bytes: config.memory_bytes,
            services: self.services(),
        }
    }

    /// Services of the pod's namespace and the API server's own.
    fn services(&self) -> Vec<ServiceInfo> {
        let own = self.shared.services.list_namespace(&self.key.namespace);
        let kubernetes = self.shared.services.get(&Key::new("default", "kubernetes"));
        let mut found: Vec<ServiceInfo> = Vec::new();
        for object in kubernetes.iter().chain(&own) {
            let Ok(dom) = object.parse() else { continue };
            let Some(spec) = dom.as_ref().get("spec") else {
                continue;
            };
            let address = spec.str("clusterIP");
            if address.is_empty()
                || address == "None"
                || found.iter().any(|s| s.name == object.name())
            {
                continue;
            }
            let ports = spec.items("ports").map(|port| {
                let protocol = match port.str("protocol") {
                    "" => "TCP",
                    protocol => protocol,
                };
                let number = port.int("port").unwrap_or(0);
                (port.str("name").to_owned(), protocol.to_owned(), number)
            });
            found.push(ServiceInfo {
                name: object.name().to_owned(),
                address: address.to_owned(),
                ports: ports.collect(),
            });
        }
        found
    }
}

/// When a grace period ends. One that was shortened counts from when that was seen: the API counts
/// it from the first request, which may leave nothing of it.
/// Source: kubernetes v1.36 pkg/kubelet/pod_workers.go, calculateEffectiveGracePeriod.
fn deadline(
    before: Option<(i64, Timestamp)>,
    deletion: &crate::pod::Deletion,
    now: Timestamp,
) -> Timestamp {
    match before {
        Some((grace, at)) if grace == deletion.grace_seconds => at,
        Some((_, at)) => {
            let grace = SignedDuration::from_secs(deletion.grace_seconds);
            base::after(now, grace).min(at)
        }
        None => deletion.at,
    }
}

/// `/kubepods/burstable/pod<uid>`; guaranteed pods stand directly below the root.
fn cgroup_path(root: &str, qos: &str, uid: &str) -> String {
    match qos {
        "Guaranteed" => format!("{root}/pod{uid}"),
        other => format!("{root}/{}/pod{uid}", other.to_lowercase()),
    }
}

/// A pod that a kubelet has taken before counts before any new one is looked at.
fn counts_already(object: &Object, taken: &Taken) -> Option<i64> {
    let dom = object.parse().ok()?;
    let pod = dom.as_ref();
    let began = pod
        .at(&["status", "startTime"])
        .is_some_and(|at| !at.is_null());
    if !began || api::pod::is_terminal(pod) {
        return None;
    }
    taken.keep(object.uid(), Share::of(pod));
    Some(api::meta::of(pod).generation())
}

fn labels_and_annotations(object: &Object) -> String {
    let Ok(dom) = object.parse() else {
        return String::new();
    };
    let mut text = String::new();
    for list in ["labels", "annotations"] {
        let entries = dom.as_ref().get("metadata");
        for (key, value) in entries.into_iter().flat_map(|of| of.entries(list)) {
            let value = value.as_str().unwrap_or_default();
            text.push_str(&format!("{list} {key:?}={value:?}\n"));
        }
    }
    text
}

fn deletion_of(object: &Object) -> Option<(String, Option<i64>)> {
    let dom = object.parse().ok()?;
    let metadata = dom.as_ref().get("metadata")?;
    let at = metadata.str("deletionTimestamp");
    (!at.is_empty()).then(|| (at.to_owned(), metadata.int("deletionGracePeriodSeconds")))
}

#[cfg(test)]
mod tests {
    use super::deadline;
    use crate::pod::Deletion;
    use jiff::Timestamp;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A pod with 600 s was deleted at 1000 and again with 3 s at 1020: the API says 1003.
    #[test]
    fn a_shortened_grace_period_counts_from_now() {
        let asked = |end, grace_seconds| Deletion {
            at: at(end),
            grace_seconds,
        };
        assert_eq!(deadline(None, &asked(1600, 600), at(1000)), at(1600));
        let before = Some((600, at(1600)));
        assert_eq!(deadline(before, &asked(1600, 600), at(1010)), at(1600));
        assert_eq!(deadline(before, &asked(1003, 3), at(1020)), at(1023));
        assert_eq!(
            deadline(Some((3, at(1023))), &asked(1003, 3), at(1022)),
            at(1023)
        );
        assert_eq!(deadline(before, &asked(1300, 300), at(1599)), at(1600));
    }
}
