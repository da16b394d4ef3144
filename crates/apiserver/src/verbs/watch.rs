//! GET of a collection as a stream of events.
//!
//! A change of an object that begins to be selected is ADDED for the client, one that stops is
//! DELETED, whatever happened in the store.
//! ```text
//! was \ is   selected   not
//! selected   MODIFIED   DELETED
//! not        ADDED      –
//! ```
//! Source: kubernetes v1.36.3 apiserver/pkg/storage/cacher/cache_watcher.go,
//! apiserver/pkg/endpoints/handlers/watch.go.

use std::time::Duration;

use api::Status;
use base::tasks;
use bytes::Bytes;
use schema::Dom;
use store::{Event, EventKind, Revision, Watcher};
use transport::{Body, BodySender, Response};

use super::selection::Selection;
use super::{Call, store_error};
use crate::frames::Label;
use crate::negotiate::{Encoding, Form};
use crate::options::ListOptions;
use crate::{answer, object, table};

/// Chunks that wait for a slow reader before its watch falls behind in the store.
const QUEUE: usize = 64;
/// Between bookmarks of a quiet watch.
const BOOKMARK: Duration = Duration::from_secs(60);
/// A watch without a timeout lasts this long and up to twice as long.
const SECONDS: u64 = 1800;
/// Upstream marks the end of the initial events with this.
const END_MARK: &str = "k8s.io/initial-events-end";

impl Call {
    pub(super) async fn watch(self) -> Result<Response, Status> {
        let options = ListOptions::parse(&self.query, true)?;
        self.check_fields(&options)?;
        let store = &self.server.config.store;
        let prefix = self.prefix();
        let wanted = options.revision_number()?;
        let current = store.current_revision().0;
        let initial = match options.initial_events {
            Some(wants) => wants,
            None => wanted.is_none_or(|revision| revision == 0),
        };
        if let Some(revision) = wanted
            && revision > current
        {
            return Err(Status::revision_too_large(revision, current, 1));
        }
        let mut items = Vec::new();
        let from = if initial {
            let all = ListOptions {
                limit: 0,
                next: String::new(),
                revision: String::new(),
                ..options.clone()
            };
            let selected = self.select(&all).await?;
            items = selected.items;
            selected.revision
        } else {
            match wanted.filter(|revision| *revision > 0) {
                Some(revision) => revision,
                None => current,
            }
        };
        let mime = match self.accepted.encoding {
            Encoding::Protobuf if self.speaks_protobuf() => {
                "application/vnd.kubernetes.protobuf;stream=watch"
            }
            _ => "application/json",
        };
        let watcher = match store.watch(&prefix, Revision(from)) {
            Ok(watcher) => watcher,
            Err(store::StoreError::Compacted { oldest, .. }) => {
                // As upstream: the stream begins, and its only event says that it is too late.
                let status =
                    Status::expired(&format!("too old resource version: {from} ({oldest})"));
                return Err(status);
            }
            Err(error) => return Err(store_error(&error)),
        };
        let (sender, body) = Body::channel(QUEUE);
        let seconds = options
            .timeout_seconds
            .unwrap_or_else(|| SECONDS + self.server.below(SECONDS));
        let shutdown = self.server.config.shutdown.clone();
        let label = Label {
            key: Bytes::new(),
            revision: 0,
            word: "",
            gvk: self.resource().gvk(self.view()),
            protobuf: self.accepted.encoding == Encoding::Protobuf,
        };
        let stream = Stream {
            selection: Selection::new(self.resource(), &options),
            call: self,
            options,
            sender,
            columns_sent: false,
            revision: from,
            label,
        };
        let shut = shutdown.clone();
        // The task ends with its reader, its time or the server.
        let _detached = tasks::spawn("watch", &shutdown, async move {
            let deadline = Duration::from_secs(seconds);
            tokio::select! {
                biased;
                () = shut.wait() => {}
                _ = tokio::time::timeout(deadline, stream.run(items, initial, watcher)) => {}
            }
        });
        Ok(answer::bytes(200, mime, body))
    }

    fn speaks_protobuf(&self) -> bool {
        matches!(self.view().types, registry::Types::Builtin)
    }
}

struct Stream {
    call: Call,
    selection: Selection,
    options: ListOptions,
    sender: BodySender,
    columns_sent: bool,
    revision: u64,
    /// Of the frame that is asked for last.
    label: Label,
}

impl Stream {
    async fn run(mut self, items: Vec<store::KeyValue>, initial: bool, mut watcher: Watcher) {
        for kv in items {
            if !self.send("ADDED", &kv.value, kv.mod_revision.0).await {
                return;
            }
        }
        if initial
            && self.options.initial_events == Some(true)
            && self.options.bookmarks
            && !self.bookmark(true).await
        {
            return;
        }
        let progress = watcher.progress_requester();
        let mut tick = tokio::time::interval(BOOKMARK);
        tick.tick().await;
        loop {
            let batch = tokio::select! {
                biased;
                () = self.sender.closed() => return,
                _ = tick.tick() => {
                    if self.options.bookmarks {
                        progress.request();
                    }
                    continue;
                }
                batch = watcher.next() => batch,
            };
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    let status = match error {
                        store::StoreError::Compacted { oldest, .. } => Status::expired(&format!(
                            "too old resource version: {} ({oldest})",
                            self.revision
                        )),
                        _ => return,
                    };
                    self.error(&status).await;
                    return;
                }
            };
            if batch.events.is_empty() && self.options.bookmarks {
                self.revision = batch.revision.0;
                if !self.bookmark(false).await {
                    return;
                }
            }
            for event in batch.events.iter() {
                let sent = match self.call.seen_event(event).await {
                    Ok(None) => self.event(event).await,
                    Ok(Some(event)) => self.event(&event).await,
                    Err(status) => {
                        self.error(&status).await;
                        return;
                    }
                };
                if !sent {
                    return;
                }
            }
            self.revision = batch.revision.0;
        }
    }

    async fn event(&mut self, event: &Event) -> bool {
        let revision = event.kv.mod_revision.0;
        let everything = self.selection.is_everything();
        let selected =
            |kv: &store::KeyValue| everything || self.selection.has(&self.call, &kv.value);
        let is = event.kind == EventKind::Put && selected(&event.kv);
        let was = event.prev.as_ref().is_some_and(selected);
        let (word, kv) = match (was, is) {
            (false, false) => return true,
            (false, true) => ("ADDED", &event.kv),
            (true, true) => ("MODIFIED", &event.kv),
            (true, false) => match (&event.kind, &event.prev) {
                // Left the selection: as it is now; gone: as it was.
                (EventKind::Put, _) => ("DELETED", &event.kv),
                (_, Some(prev)) => ("DELETED", prev),
                _ => return true,
            },
        };
        self.pass_on(word, kv, revision).await
    }

    async fn send(&mut self, word: &str, value: &Bytes, revision: u64) -> bool {
        let call = &self.call;
        let (resource, view) = (call.resource(), call.view());
        match &call.accepted.form {
            Form::Table(version) => {
                let dom = call.for_table(value, revision);
                let text = revision.to_string();
                let columns = !self.columns_sent;
                let mut out = format!(r#"{{"type":"{word}","object":"#);
                out.push_str(&table::begin(resource, version, &text, None, None, columns));
                table::row(&mut out, resource, view, &dom, version, &call.shape(), true);
                out.push_str("]}}\n");
                self.columns_sent = true;
                self.sender.send(Bytes::from(out)).await
            }
            Form::Partial(version) => {
                let dom = object::parse(value, revision);
                let partial = table::partial(&dom, version, "PartialObjectMetadata");
                self.document(word, &partial).await
            }
            _ => self.sender.send(self.frame(word, value, revision)).await,
        }
    }

    /// The same of a change, whose frame others may have made.
    async fn pass_on(&mut self, word: &'static str, kv: &store::KeyValue, revision: u64) -> bool {
        if self.call.accepted.form != Form::Plain || !self.call.speaks_protobuf() {
            return self.send(word, &kv.value, revision).await;
        }
        self.label.key = kv.key.clone();
        self.label.revision = revision;
        self.label.word = word;
        let make = || self.frame(word, &kv.value, revision);
        let frame = self.call.server.frames.get(&self.label, make);
        self.sender.send(frame).await
    }

    /// An event with the object itself.
    fn frame(&self, word: &str, value: &Bytes, revision: u64) -> Bytes {
        let (resource, view) = (self.call.resource(), self.call.view());
        if self.call.accepted.encoding == Encoding::Protobuf {
            let dom = object::load(resource, view, value, revision);
            return self.framed(word, &dom);
        }
        let mut frame = Vec::with_capacity(value.len() + 256);
        frame.extend_from_slice(b"{\"type\":\"");
        frame.extend_from_slice(word.as_bytes());
        frame.extend_from_slice(b"\",\"object\":");
        object::write_json(resource, view, value, revision, &mut frame);
        frame.extend_from_slice(b"}\n");
        Bytes::from(frame)
    }

    async fn document(&self, word: &str, dom: &Dom) -> bool {
        self.sender.send(self.framed(word, dom)).await
    }

    /// An event whose object says its kind.
    fn framed(&self, word: &str, dom: &Dom) -> Bytes {
        if self.call.accepted.encoding == Encoding::Protobuf
            && self.call.speaks_protobuf()
            && let Ok(wire) = schema::protobuf::to_wire(schema::builtin(), dom, dom.root())
        {
            return Bytes::from(schema::protobuf::watch_frame(word, &wire));
        }
        let mut frame = format!(r#"{{"type":"{word}","object":"#).into_bytes();
        frame.extend_from_slice(&answer::json_of(dom));
        frame.extend_from_slice(b"}\n");
        Bytes::from(frame)
    }

    async fn bookmark(&self, end: bool) -> bool {
        let (resource, view) = (self.call.resource(), self.call.view());
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        let (kind, version) = match &self.call.accepted.form {
            Form::Partial(version) => (
                "PartialObjectMetadata".to_owned(),
                format!("meta.k8s.io/{version}"),
            ),
            _ => (resource.kind.to_string(), view.api_version()),
        };
        dom.set_str(root, "kind", &kind);
        dom.set_str(root, "apiVersion", &version);
        let meta = dom.new_map();
        dom.set(root, "metadata", meta);
        dom.set_str(meta, "resourceVersion", &self.revision.to_string());
        if end {
            let annotations = dom.new_map();
            dom.set_str(annotations, END_MARK, "true");
            dom.set(meta, "annotations", annotations);
        }
        if let Form::Table(version) = &self.call.accepted.form {
            let text = self.revision.to_string();
            let mut out = String::from(r#"{"type":"BOOKMARK","object":"#);
            out.push_str(&table::begin(
                resource,
                version,
                &text,
                None,
                None,
                !self.columns_sent,
            ));
            table::row(
                &mut out,
                resource,
                view,
                &dom,
                version,
                &self.call.shape(),
                true,
            );
            out.push_str("]}}\n");
            return self.sender.send(Bytes::from(out)).await;
        }
        self.document("BOOKMARK", &dom).await
    }

    async fn error(&self, status: &Status) {
        if let Ok(dom) = Dom::parse_json(&status.to_json()) {
            self.document("ERROR", &dom).await;
        }
    }
}
