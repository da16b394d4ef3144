//! Follows Services, EndpointSlices and the node, and hands what changed to the engine.
//!
//! Events gather while a commit runs: the next commit takes all of them, so that a thousand
//! changes at once cost a few transactions and a single one costs no wait. Someone else's change
//! of our tables is noticed by the kernel's notifications, repaired and reported.
//! Source: kubernetes v1.36 cmd/kube-proxy/app/server.go (which objects are watched).

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use api::{Gvr, view};
use base::{Backoff, Chain, Shutdown, tasks};
use client::{Cache, Client, EventType, Key, ListOptions, Recorder, Reference, Reflector};
use netlink::nft::{Monitor, Table};
use parking_lot::Mutex;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::engine::{Committed, Engine, EngineError};
use crate::health::{Facts, Health};
use crate::service::Service;
use crate::slice::Slice;
use crate::{NodeFacts, ServiceKey};

const OTHER_PROXY: &str = "!service.kubernetes.io/service-proxy-name";
const HEADLESS: &str = "!service.kubernetes.io/headless";
const ZONE: &str = "topology.kubernetes.io/zone";
/// Who changes our tables again and again is answered ever later, up to this.
const REPAIR_AT_MOST_EVERY: Duration = Duration::from_secs(10);
const QUIET_AFTER: Duration = Duration::from_secs(60);

/// What a proxy needs.
pub struct Parts {
    /// Requests under the proxy's own identity (`system:kube-proxy`).
    pub client: Client,
    /// The node's facts; the zone is read from its object.
    pub node: NodeFacts,
    /// Whether to program IPv6 too.
    pub ipv6: bool,
    /// For events about the node and Services.
    pub recorder: Recorder,
}

/// Why a proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The kernel's tables cannot be opened.
    #[error("open the kernel's nftables")]
    Engine(#[from] EngineError),
    /// Nor watched.
    #[error("watch the kernel's nftables")]
    Monitor(#[from] netlink::Error),
    /// Nor waited for.
    #[error("wait for the kernel's nftables notifications")]
    Wait(#[from] std::io::Error),
}

/// The newest commit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Progress {
    /// Commits so far.
    pub commits: u64,
    /// Elements that it changed.
    pub elements: usize,
    /// From the first event that it took to its end.
    pub elapsed: Duration,
}

/// The running proxy of a node.
#[derive(Debug)]
pub struct Proxy {
    progress: watch::Receiver<Progress>,
}

#[derive(Default)]
struct Pending {
    services: HashSet<Key>,
    slices: HashSet<Key>,
    node: bool,
    since: Option<Instant>,
}

#[derive(Default)]
struct Inbox {
    pending: Mutex<Pending>,
    arrived: Notify,
}

impl Inbox {
    fn put(&self, add: impl FnOnce(&mut Pending)) {
        let mut pending = self.pending.lock();
        add(&mut pending);
        pending.since.get_or_insert_with(Instant::now);
        drop(pending);
        self.arrived.notify_one();
    }
}

struct Caches {
    services: Cache,
    slices: Cache,
    nodes: Cache,
}

impl Proxy {
    /// Opens the kernel's tables in the calling thread's network namespace and starts the tasks.
    pub fn start(parts: Parts, shutdown: &Shutdown) -> Result<Self, ProxyError> {
        let engine = Engine::open(None, &parts.node, parts.ipv6)?;
        let watched = engine.watched()?;
        #[expect(
            deprecated,
            reason = "a monitor owns its descriptor until it is dropped"
        )]
        let monitor = AsyncFd::new(Monitor::open()?)?;
        let inbox = Arc::new(Inbox::default());
        let caches = reflect(&parts, &inbox, shutdown);
        let (sender, progress) = watch::channel(Progress::default());
        let mut shell = Shell {
            health: Health::new(&parts.node.name, parts.ipv6, shutdown),
            engine: Some(engine),
            caches: Arc::new(caches),
            inbox,
            monitor,
            watched,
            node: parts.node.name,
            recorder: parts.recorder,
            repairs: Backoff::new(Duration::from_millis(50), REPAIR_AT_MOST_EVERY),
            progress: sender,
        };
        tasks::spawn("service-proxy", shutdown, async move { shell.run().await });
        Ok(Self { progress })
    }

    /// The newest commit; changes with every one.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }
}

fn reflect(parts: &Parts, inbox: &Arc<Inbox>, shutdown: &Shutdown) -> Caches {
    let start = |gvr: Gvr, options: ListOptions, add: fn(&mut Pending, Key)| {
        let inbox = inbox.clone();
        Reflector::new(parts.client.resource(&gvr), options, Cache::new(Vec::new()))
            .on_change(move |change| inbox.put(|pending| add(pending, change.key().clone())))
            .start(shutdown)
    };
    let labels = |labels: &str| ListOptions {
        labels: labels.to_owned(),
        ..ListOptions::default()
    };
    let this_node = ListOptions {
        fields: format!("metadata.name={}", parts.node.name),
        ..ListOptions::default()
    };
    Caches {
        services: start(
            Gvr::new("", "v1", "services"),
            labels(OTHER_PROXY),
            |pending, key| {
                pending.services.insert(key);
            },
        ),
        slices: start(
            Gvr::new("discovery.k8s.io", "v1", "endpointslices"),
            labels(HEADLESS),
            |pending, key| {
                pending.slices.insert(key);
            },
        ),
        nodes: start(Gvr::new("", "v1", "nodes"), this_node, |pending, _| {
            pending.node = true;
        }),
    }
}

struct Shell {
    /// Absent while a blocking thread has it.
    engine: Option<Engine>,
    caches: Arc<Caches>,
    inbox: Arc<Inbox>,
    monitor: AsyncFd<Monitor>,
    watched: Vec<(Table, u32)>,
    node: String,
    recorder: Recorder,
    health: Health,
    repairs: Backoff,
    progress: watch::Sender<Progress>,
}

/// What of our tables others changed.
enum Meddling {
    None,
    /// Notifications were lost, as after a large commit of ours: look, but say nothing yet.
    Unknown,
    By(String),
}

impl Shell {
    async fn run(&mut self) {
        self.caches.services.synced().await;
        self.caches.slices.synced().await;
        self.caches.nodes.synced().await;
        let mut retry = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        let mut repaired = Instant::now();
        let mut meddling = Meddling::None;
        loop {
            let distrust = !matches!(meddling, Meddling::None);
            let wait = match self.commit(distrust).await {
                Ok(committed) => {
                    retry.reset();
                    self.report(&committed, &meddling);
                    self.probe(&committed).await;
                    None
                }
                Err(error) => {
                    tracing::warn!(err = %Chain(&error), "Services are not programmed, will retry");
                    Some(retry.next_delay())
                }
            };
            meddling = Meddling::None;
            let again = async {
                match wait {
                    Some(delay) => tokio::time::sleep(delay).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.inbox.arrived.notified() => {}
                () = again => {}
                found = meddled(&mut self.monitor, &self.watched) => {
                    meddling = found;
                    if repaired.elapsed() > QUIET_AFTER {
                        self.repairs.reset();
                    } else {
                        tokio::time::sleep(self.repairs.next_delay()).await;
                    }
                    repaired = Instant::now();
                }
            }
        }
    }

    async fn commit(&mut self, distrust: bool) -> Result<Committed, EngineError> {
        let Some(mut engine) = self.engine.take() else {
            // The thread that had it panicked: tasks::spawn ends this task with a report.
            unreachable!("the engine comes back from every commit");
        };
        let pending = std::mem::take(&mut *self.inbox.pending.lock());
        let caches = self.caches.clone();
        let node = self.node.clone();
        let since = pending.since;
        let work = tokio::task::spawn_blocking(move || {
            if distrust {
                engine.distrust();
            }
            take_over(&mut engine, &caches, pending, &node);
            let outcome = engine.commit();
            (engine, outcome)
        });
        let (engine, outcome) = work.await.expect("a panic ends the proxy's task");
        self.engine = Some(engine);
        let committed = outcome?;
        let elapsed = since.map_or(Duration::ZERO, |since| since.elapsed());
        self.progress.send_modify(|progress| {
            *progress = Progress {
                commits: progress.commits + 1,
                elements: committed.elements,
                elapsed,
            };
        });
        tracing::debug!(
            services = committed.services.len(),
            elements = committed.elements,
            flows = committed.flows,
            elapsed_ms = elapsed.as_secs_f64() * 1e3,
            "Services programmed"
        );
        Ok(committed)
    }

    /// Says what was made whole, and who broke it.
    fn report(&self, committed: &Committed, meddling: &Meddling) {
        for (table, differences) in &committed.synced {
            let state = match differences {
                None => "programmed".to_owned(),
                Some(differences) => format!("adopted, {differences} elements differed"),
            };
            let elements = committed.elements;
            tracing::info!(table, state, elements, "Services are in the kernel");
        }
        if let Meddling::By(words) = meddling {
            let about = Reference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: self.node.clone(),
                uid: self.node.clone(),
                ..Reference::default()
            };
            let message = format!("{words}; Services are programmed again");
            tracing::warn!(
                what = words,
                "nftables were changed by someone else; repaired"
            );
            self.recorder
                .record(&about, EventType::Warning, "ServiceRulesRepaired", message);
        }
    }

    async fn probe(&mut self, committed: &Committed) {
        let Some(engine) = &self.engine else { return };
        let facts = |key: &ServiceKey| Facts::of(engine.facts(), key, &self.node);
        let all: Vec<(ServiceKey, Facts)> = committed
            .services
            .iter()
            .map(|key| (key.clone(), facts(key)))
            .collect();
        for (key, facts) in all {
            if let Err(error) = self.health.update(&facts, &key).await {
                tracing::error!(err = %Chain(&error), "a Service's health is not answered");
                let about = Reference {
                    api_version: "v1".to_owned(),
                    kind: "Service".to_owned(),
                    namespace: error.service.namespace.clone(),
                    name: error.service.name.clone(),
                    ..Reference::default()
                };
                let reason = "FailedToStartServiceHealthcheck";
                self.recorder.record(
                    &about,
                    EventType::Warning,
                    reason,
                    Chain(&error).to_string(),
                );
            }
        }
    }
}

/// Waits until someone else changed one of our tables.
async fn meddled(monitor: &mut AsyncFd<Monitor>, watched: &[(Table, u32)]) -> Meddling {
    loop {
        let Ok(mut guard) = monitor.readable_mut().await else {
            // The runtime ends.
            return std::future::pending().await;
        };
        let read = guard.get_inner_mut().read();
        guard.clear_ready();
        match read {
            Ok(None) => return Meddling::Unknown,
            Err(error) => {
                tracing::debug!(err = %Chain(&error), "nftables notifications not read");
                return Meddling::Unknown;
            }
            Ok(Some(all)) => {
                let others = all.into_iter().find(|seen| {
                    let mut ours = watched.iter();
                    ours.any(|(table, port)| seen.table == *table && seen.port != *port)
                });
                if let Some(seen) = others {
                    let did = if seen.removed { "removed" } else { "changed" };
                    let (table, process) = (&seen.table, &seen.process);
                    return Meddling::By(format!("nftables table {table} was {did} by {process}"));
                }
            }
        }
    }
}

/// Reads the objects that changed into the engine's world.
fn take_over(engine: &mut Engine, caches: &Caches, pending: Pending, node: &str) {
    for key in pending.services {
        let object = caches.services.get(&key).and_then(|o| o.parse().ok());
        let facts = object.and_then(|dom| Service::read(view::Service(dom.as_ref())));
        engine.world().set_service(&key, facts);
    }
    for key in pending.slices {
        let object = caches.slices.get(&key).and_then(|o| o.parse().ok());
        let facts = object.and_then(|dom| Slice::read(view::EndpointSlice(dom.as_ref())));
        engine.world().set_slice(&key, facts);
    }
    if pending.node
        && let Some(object) = caches.nodes.get(&Key::new("", node))
        && let Ok(dom) = object.parse()
    {
        let zone = api::meta::of(dom.as_ref()).label(ZONE).unwrap_or_default();
        engine.set_zone(zone);
    }
}
