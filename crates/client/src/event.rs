//! Records events about objects: bounded, in the background, repeated ones counted.
//!
//! What is written is the [`correlator`]'s decision: equal events become one that is counted,
//! similar ones are combined, an object that makes too many is left out for a while. Several writes
//! are under way at a time, never two of one event. When the queue is full events are dropped and
//! counted in the log: they never slow the component down.
//! Source: kubernetes v1.36.3 client-go tools/record/{event,events_cache}.go.

mod correlator;
mod recent;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::Gvr;
use base::{Chain, Clock, Rng, Shutdown, tasks};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use schema::Dom;
use tokio::sync::mpsc;

use crate::{Client, Error, Key, Patch, Retry};
use correlator::{Correlator, EventKey, Write};

/// Events that wait.
const QUEUE_LIMIT: usize = 1000;
/// Writes under way.
const WRITES_LIMIT: usize = 32;
/// How often a write is tried while nobody answers.
const TRIES: u32 = 12;
/// Between two tries; the first time up to so long.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// The longest name of an object.
const NAME_LIMIT: usize = 253;

/// What an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reference {
    /// `v1`, `apps/v1` …
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Empty for cluster-scoped objects; their events go to `default`.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Revision.
    pub resource_version: String,
    /// `spec.containers{app}` for a container of a pod.
    pub field_path: String,
}

impl Reference {
    /// An object by its kind, its key and its uid.
    pub fn new(api_version: &str, kind: &str, key: &Key, uid: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: uid.to_owned(),
            ..Self::default()
        }
    }

    /// A pod.
    pub fn pod(key: &Key, uid: &str) -> Self {
        Self::new("v1", "Pod", key, uid)
    }

    /// A node.
    pub fn node(name: &str, uid: &str) -> Self {
        Self::new("v1", "Node", &Key::new("", name), uid)
    }
}

/// Normal or Warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// As it should be.
    Normal,
    /// Somebody should look.
    Warning,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Occurrence {
    about: Reference,
    event_type: EventType,
    reason: String,
    message: String,
    at: Timestamp,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Occurrence>,
    dropped: Arc<AtomicU64>,
    clock: Arc<dyn Clock>,
}

impl Recorder {
    /// Starts the background task. `host` is the node's name for a node component, else empty.
    pub fn start(
        client: Client,
        component: &str,
        host: &str,
        clock: Arc<dyn Clock>,
        shutdown: &Shutdown,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_LIMIT);
        let dropped = Arc::new(AtomicU64::new(0));
        let mut rng = client.rng("events");
        let sink = Sink {
            client,
            component: component.to_owned(),
            host: host.to_owned(),
            first_name: rng.u64(),
        };
        let counter = Arc::clone(&dropped);
        tasks::spawn("event-recorder", shutdown, async move {
            run(&sink, receiver, &counter, &mut rng).await;
        });
        Self {
            sender,
            dropped,
            clock,
        }
    }

    /// Records an event; never waits.
    pub fn record(
        &self,
        about: &Reference,
        event_type: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let occurrence = Occurrence {
            about: about.clone(),
            event_type,
            reason: reason.to_owned(),
            message: message.into(),
            at: self.clock.now(),
        };
        if self.sender.try_send(occurrence).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn run(
    sink: &Sink,
    mut receiver: mpsc::Receiver<Occurrence>,
    dropped: &AtomicU64,
    rng: &mut Rng,
) {
    let mut correlator = Correlator::new();
    let mut writes = FuturesUnordered::new();
    let mut is_open = true;
    while is_open || !writes.is_empty() {
        let write = tokio::select! {
            biased;
            Some(key) = writes.next() => correlator.written(key),
            next = receiver.recv(), if is_open && writes.len() < WRITES_LIMIT => match next {
                Some(occurrence) => correlator.observe(occurrence),
                None => {
                    is_open = false;
                    continue;
                }
            },
        };
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::warn!(count = lost, "events dropped: the queue was full");
        }
        if let Some(write) = write {
            let limit = u64::try_from(TRY_AGAIN_AFTER.as_millis()).unwrap_or(u64::MAX);
            let pause = Duration::from_millis(rng.below(limit));
            writes.push(sink.write(write, pause));
        }
    }
}

/// Where events go, and in whose name.
struct Sink {
    client: Client,
    component: String,
    host: String,
    /// Names count from here.
    first_name: u64,
}

impl Sink {
    /// Writes an event, again and again while nobody answers.
    async fn write(&self, write: Write, first_pause: Duration) -> EventKey {
        for attempt in 1..=TRIES {
            let error = match self.put(&write).await {
                Ok(()) => break,
                Err(error) => error,
            };
            if error.retry() != Retry::Later || attempt == TRIES {
                tracing::debug!(
                    reason = write.what.reason,
                    name = write.what.about.name,
                    err = %Chain(&error),
                    "event not recorded"
                );
                break;
            }
            // The first is of any length, so that not all come back at once.
            let pause = if attempt == 1 {
                first_pause
            } else {
                TRY_AGAIN_AFTER
            };
            tokio::time::sleep(pause).await;
        }
        write.key
    }

    async fn put(&self, write: &Write) -> Result<(), Error> {
        let namespace = match write.what.about.namespace.as_str() {
            "" => "default",
            namespace => namespace,
        };
        let events = self
            .client
            .namespaced(&Gvr::new("", "v1", "events"), namespace);
        let name = self.name(write);
        if write.count > 1 {
            match events.patch(&name, "", Patch::Merge(change(write))).await {
                // It has expired.
                Err(error) if error.is_not_found() => {}
                other => return other.map(drop),
            }
        }
        events
            .create(self.body(&name, namespace, write))
            .await
            .map(drop)
    }

    fn name(&self, write: &Write) -> String {
        let number = self.first_name.wrapping_add(write.number);
        let name = format!("{}.{number:016x}", write.what.about.name);
        if name.len() > NAME_LIMIT {
            return format!("event.{number:016x}");
        }
        name
    }

    fn body(&self, name: &str, namespace: &str, write: &Write) -> Vec<u8> {
        let what = &write.what;
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        dom.set_str(root, "kind", "Event");
        dom.set_str(root, "apiVersion", "v1");
        let metadata = dom.ensure_map(root, "metadata");
        dom.set_str(metadata, "name", name);
        dom.set_str(metadata, "namespace", namespace);
        let involved = dom.ensure_map(root, "involvedObject");
        for (key, value) in [
            ("kind", &what.about.kind),
            ("namespace", &what.about.namespace),
            ("name", &what.about.name),
            ("uid", &what.about.uid),
            ("apiVersion", &what.about.api_version),
            ("resourceVersion", &what.about.resource_version),
            ("fieldPath", &what.about.field_path),
        ] {
            if !value.is_empty() {
                dom.set_str(involved, key, value);
            }
        }
        dom.set_str(root, "reason", &what.reason);
        dom.set_str(root, "message", &what.message);
        let source = dom.ensure_map(root, "source");
        dom.set_str(source, "component", &self.component);
        if !self.host.is_empty() {
            dom.set_str(source, "host", &self.host);
        }
        let first = api::time::format_seconds(write.first);
        dom.set_str(root, "firstTimestamp", &first);
        let last = api::time::format_seconds(what.at);
        dom.set_str(root, "lastTimestamp", &last);
        dom.set_int(root, "count", write.count);
        dom.set_str(
            root,
            "type",
            match what.event_type {
                EventType::Normal => "Normal",
                EventType::Warning => "Warning",
            },
        );
        dom.set_str(root, "reportingComponent", &self.component);
        dom.set_str(root, "reportingInstance", &self.host);
        dom.to_json(root)
    }
}

/// What a repeated event changes.
fn change(write: &Write) -> bytes::Bytes {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_int(root, "count", write.count);
    let last = api::time::format_seconds(write.what.at);
    dom.set_str(root, "lastTimestamp", &last);
    if write.is_combined {
        dom.set_str(root, "message", &write.what.message);
    }
    dom.to_json(root).into()
}

#[cfg(test)]
mod tests;
