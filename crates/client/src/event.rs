//! Records events about objects: bounded, in the background, repeated ones counted.
//!
//! An event equal to an earlier one of the last ten minutes is patched (count, lastTimestamp)
//! instead of created. When the queue is full events are dropped and counted in the log: they
//! never slow the component down. Source for the fields: kubernetes v1.36 client-go
//! tools/record/{event,events_cache}.go.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use api::Gvr;
use base::{Chain, Clock, Rng, Shutdown, tasks};
use jiff::Timestamp;
use schema::Dom;
use tokio::sync::mpsc;

use crate::{Client, Error, Key, Patch};

const QUEUE_LIMIT: usize = 1000;
const REMEMBERED_LIMIT: usize = 4096;
const REMEMBERED_FOR_SECONDS: i64 = 600;

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

#[derive(Clone, PartialEq, Eq, Hash)]
struct Occurrence {
    about: Reference,
    event_type: EventType,
    reason: String,
    message: String,
}

struct Earlier {
    name: String,
    count: i64,
    last: Timestamp,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Occurrence>,
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
        let mut writer = Writer {
            rng: client.rng("events"),
            client,
            component: component.to_owned(),
            host: host.to_owned(),
            clock,
            earlier: HashMap::new(),
            order: VecDeque::new(),
        };
        tasks::spawn("event-recorder", shutdown, async move {
            writer.run(receiver).await
        });
        Self { sender }
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
        };
        if self.sender.try_send(occurrence).is_err() {
            tracing::warn!(
                reason,
                name = about.name,
                "event dropped: the queue is full"
            );
        }
    }
}

struct Writer {
    client: Client,
    component: String,
    host: String,
    clock: Arc<dyn Clock>,
    rng: Rng,
    earlier: HashMap<Occurrence, Earlier>,
    order: VecDeque<Occurrence>,
}

impl Writer {
    async fn run(&mut self, mut receiver: mpsc::Receiver<Occurrence>) {
        while let Some(occurrence) = receiver.recv().await {
            if let Err(error) = self.write(&occurrence).await {
                tracing::debug!(reason = occurrence.reason, err = %Chain(&error), "event not recorded");
            }
        }
    }

    async fn write(&mut self, occurrence: &Occurrence) -> Result<(), Error> {
        let now = self.clock.now();
        let namespace = match occurrence.about.namespace.as_str() {
            "" => "default",
            namespace => namespace,
        };
        let events = self
            .client
            .namespaced(&Gvr::new("", "v1", "events"), namespace);
        // The revision is no part of what makes two events equal.
        let mut identity = occurrence.clone();
        identity.about.resource_version.clear();
        if let Some(earlier) = self.earlier.get_mut(&identity)
            && now.as_second() - earlier.last.as_second() < REMEMBERED_FOR_SECONDS
        {
            earlier.count += 1;
            earlier.last = now;
            let patch = format!(
                r#"{{"count":{},"lastTimestamp":"{}"}}"#,
                earlier.count,
                api::time::format_seconds(now)
            );
            match events
                .patch(&earlier.name, "", Patch::Merge(patch.into()))
                .await
            {
                Err(error) if error.is_not_found() => {}
                other => return other.map(|_| ()),
            }
        }
        let name = format!("{}.{:016x}", occurrence.about.name, self.rng.u64());
        events
            .create(self.body(&name, namespace, occurrence, now))
            .await?;
        if self
            .earlier
            .insert(
                identity.clone(),
                Earlier {
                    name,
                    count: 1,
                    last: now,
                },
            )
            .is_none()
        {
            self.order.push_back(identity);
        }
        if self.order.len() > REMEMBERED_LIMIT
            && let Some(oldest) = self.order.pop_front()
        {
            self.earlier.remove(&oldest);
        }
        Ok(())
    }

    fn body(&self, name: &str, namespace: &str, what: &Occurrence, now: Timestamp) -> Vec<u8> {
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
        let time = api::time::format_seconds(now);
        dom.set_str(root, "firstTimestamp", &time);
        dom.set_str(root, "lastTimestamp", &time);
        dom.set_int(root, "count", 1);
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
