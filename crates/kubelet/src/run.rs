//! The kubelet as a whole: reflectors, one worker a pod, runtime events, the node's report.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use base::{Chain, Clock, Shutdown, tasks};
use client::{Cache, Client, ListOptions, Object, Recorder, Reflector};
use nodeapi::cri::{ListPodSandboxRequest, RemovePodSandboxRequest, StopPodSandboxRequest};
use nodeapi::{ImageService, RuntimeService, Streams};
use parking_lot::Mutex;

use crate::admit::Taken;
use crate::config::Config;
use crate::container::label;
use crate::node::{Machine, NodeReporter};
use crate::volume::Volumes;
use crate::worker::{Mailbox, Shared, Worker};

/// What a kubelet is assembled from.
pub struct Parts {
    /// Settings.
    pub config: Config,
    /// The API as `system:node:<name>`.
    pub client: Client,
    /// Runs sandboxes and containers.
    pub runtime: Arc<dyn RuntimeService>,
    /// Pulls images.
    pub images: Arc<dyn ImageService>,
    /// exec, attach, port-forward.
    pub streams: Arc<dyn Streams>,
    /// Records events.
    pub recorder: Recorder,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
}

/// A running kubelet: what its server needs.
#[derive(Clone)]
pub struct Kubelet {
    shared: Arc<Shared>,
    workers: Arc<Workers>,
}

#[derive(Default)]
struct Workers {
    by_uid: Mutex<BTreeMap<String, Arc<Mailbox>>>,
}

impl Kubelet {
    /// Starts everything; tasks end with `shutdown`, containers do not.
    pub fn start(parts: Parts, shutdown: &Shutdown) -> Self {
        Self::start_on(Machine::Own, parts, shutdown)
    }

    /// As [`Self::start`], reporting another machine than the one that this process runs on.
    pub fn start_on(machine: Machine, parts: Parts, shutdown: &Shutdown) -> Self {
        let Parts {
            config,
            client,
            runtime,
            images,
            streams,
            recorder,
            clock,
        } = parts;
        let reporter = NodeReporter {
            config: config.clone(),
            client: client.clone(),
            runtime: runtime.clone(),
            images: images.clone(),
            clock: clock.clone(),
            recorder: recorder.clone(),
            machine,
        };
        tasks::spawn("node-reporter", shutdown, reporter.run());
        let services = Reflector::new(
            client.resource(&Gvr::new("", "v1", "services")),
            ListOptions::default(),
            Cache::new(Vec::new()),
        )
        .start(shutdown);
        let pods = Cache::new(Vec::new());
        let shared = Arc::new(Shared {
            volumes: Volumes::new(&config),
            config,
            client: client.clone(),
            runtime,
            images,
            streams,
            recorder,
            clock,
            pods: pods.clone(),
            services,
            taken: Taken::default(),
            shutdown: shutdown.clone(),
        });
        let kubelet = Self {
            shared: shared.clone(),
            workers: Arc::new(Workers::default()),
        };
        let own = ListOptions {
            fields: format!("spec.nodeName={}", shared.config.node_name),
            ..ListOptions::default()
        };
        let on_change = kubelet.clone();
        Reflector::new(client.resource(&Gvr::new("", "v1", "pods")), own, pods)
            .on_change(move |change| {
                if let Some(old) = &change.old
                    && change.new.as_ref().is_none_or(|new| new.uid() != old.uid())
                {
                    on_change.wake(old.uid());
                }
                if let Some(new) = &change.new {
                    on_change.pod_changed(new);
                }
            })
            .start(shutdown);
        let events = kubelet.clone();
        tasks::spawn("runtime-events", shutdown, async move {
            events.follow_runtime().await
        });
        tasks::spawn("log-rotation", shutdown, crate::rotate::run(shared.clone()));
        let orphans = kubelet.clone();
        tasks::spawn("orphans", shutdown, async move {
            orphans.follow_orphans().await
        });
        kubelet
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn wake(&self, uid: &str) {
        if let Some(mailbox) = self.workers.by_uid.lock().get(uid) {
            mailbox.wake();
        }
    }

    fn pod_changed(&self, pod: &Arc<Object>) {
        let mut workers = self.workers.by_uid.lock();
        if let Some(mailbox) = workers.get(pod.uid()) {
            mailbox.wake();
            return;
        }
        let mailbox = Arc::new(Mailbox::default());
        workers.insert(pod.uid().to_owned(), mailbox.clone());
        let worker = Worker::new(self.shared.clone(), mailbox, pod.clone());
        let (workers, uid) = (self.workers.clone(), pod.uid().to_owned());
        tasks::spawn("pod", &self.shared.shutdown, async move {
            worker.run().await;
            workers.by_uid.lock().remove(&uid);
        });
    }

    /// Wakes the worker of each container that the runtime reports on.
    async fn follow_runtime(&self) {
        loop {
            match self.shared.runtime.container_events().await {
                Ok(mut events) => {
                    // What happened before the stream began is seen by looking once.
                    self.wake_all();
                    while let Some(event) = events.recv().await {
                        let sandbox = event.pod_sandbox_status;
                        let uid = sandbox.and_then(|sandbox| Some(sandbox.metadata?.uid));
                        match uid {
                            Some(uid) => self.wake(&uid),
                            None => self.wake_all(),
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(err = %Chain(&error), "runtime events not available, retries");
                    self.wake_all();
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    fn wake_all(&self) {
        for mailbox in self.workers.by_uid.lock().values() {
            mailbox.wake();
        }
    }

    /// Ends sandboxes of pods that were deleted while no kubelet ran here; later, those that a
    /// runtime made for a kubelet that has ended. No event tells of these.
    /// Source: kubernetes v1.36 pkg/kubelet/kubelet.go, ContainerGCPeriod.
    async fn follow_orphans(&self) {
        const AGAIN: Duration = Duration::from_secs(60);
        self.shared.pods.synced().await;
        loop {
            self.end_orphans().await;
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn end_orphans(&self) {
        let wanted: HashSet<String> = self
            .shared
            .pods
            .list()
            .iter()
            .map(|pod| pod.uid().to_owned())
            .collect();
        let sandboxes = match self
            .shared
            .runtime
            .list_pod_sandbox(ListPodSandboxRequest::default())
            .await
        {
            Ok(answer) => answer.items,
            Err(error) => {
                tracing::warn!(err = %Chain(&error), "orphans not looked for");
                return;
            }
        };
        for sandbox in sandboxes {
            let uid = sandbox
                .labels
                .get(label::POD_UID)
                .cloned()
                .unwrap_or_default();
            if wanted.contains(&uid) || self.workers.by_uid.lock().contains_key(&uid) {
                continue;
            }
            let name = sandbox
                .metadata
                .map(|metadata| metadata.name)
                .unwrap_or_default();
            tracing::info!(pod = name, uid, "ends a pod that the API no longer has");
            let pod_sandbox_id = sandbox.id.clone();
            let stop = StopPodSandboxRequest { pod_sandbox_id };
            if let Err(error) = self.shared.runtime.stop_pod_sandbox(stop).await {
                tracing::warn!(pod = name, uid, err = %Chain(&error), "orphan not stopped");
                continue;
            }
            self.shared.volumes.tear_down(&uid).await;
            let remove = RemovePodSandboxRequest {
                pod_sandbox_id: sandbox.id,
            };
            if let Err(error) = self.shared.runtime.remove_pod_sandbox(remove).await {
                tracing::warn!(pod = name, uid, err = %Chain(&error), "orphan not removed");
            }
        }
    }
}

/// CPU and memory of the machine, for [`Config`].
pub fn machine_resources() -> (i64, i64) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let millicores = i64::try_from(cores).unwrap_or(1) * 1000;
    (
        millicores,
        i64::try_from(crate::node::memory_bytes()).unwrap_or(i64::MAX),
    )
}
