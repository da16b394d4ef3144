//! Sends what plans decided about pods, and says so in events.
//!
//! Source: kubernetes v1.36.3 pkg/controller/controller_utils.go, RealPodControl;
//! pkg/controller/replicaset/replica_set.go, slowStartBatch.

use std::future::Future;

use api::Gvr;
use client::{Api, Client, DeleteOptions, Error, EventType, Object, Patch, Recorder};
use futures_util::future::join_all;
use schema::Dom;

use crate::context::Context;
use crate::workload::claims::Owner;
use crate::workload::living::Living;

/// Pods made or deleted at a time for one owner; the rest comes with the next look.
pub(crate) const BURST: usize = 500;

/// See the module's header. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Control {
    client: Client,
    recorder: Recorder,
}

impl Control {
    /// Acts as the context's identity; events come from `component`.
    pub(crate) fn new(context: &Context, component: &str) -> Self {
        let recorder = Recorder::start(
            context.client.clone(),
            component,
            "",
            context.clock.clone(),
            &context.shutdown,
        );
        Self {
            client: context.client.clone(),
            recorder,
        }
    }

    pub(crate) fn pods(&self, namespace: &str) -> Api {
        self.client
            .namespaced(&Gvr::new("", "v1", "pods"), namespace)
    }

    pub(crate) fn event(&self, about: &Owner, kind: EventType, reason: &str, text: String) {
        self.recorder.record(&about.reference(), kind, reason, text);
    }

    pub(crate) fn normal(&self, about: &Owner, reason: &str, text: String) {
        self.event(about, EventType::Normal, reason, text);
    }

    pub(crate) fn warning(&self, about: &Owner, reason: &str, text: String) {
        self.event(about, EventType::Warning, reason, text);
    }

    /// Creates a pod of the owner.
    pub(crate) async fn create(&self, pod: &Dom, living: &Living<'_>) -> Result<Object, Error> {
        let owner = living.owner();
        match living.make(&self.pods(&owner.namespace), pod).await {
            Ok(made) => {
                let text = format!("Created pod: {}", made.name());
                self.normal(owner, "SuccessfulCreate", text);
                Ok(made)
            }
            Err(error) => {
                if !namespace_ends(&error) {
                    let text = format!("Error creating: {}", message(&error));
                    self.warning(owner, "FailedCreate", text);
                }
                Err(error)
            }
        }
    }

    /// Deletes a pod of the owner; one that is gone already is an error that says so.
    pub(crate) async fn delete(&self, name: &str, owner: &Owner) -> Result<(), Error> {
        let options = DeleteOptions::default();
        match self.pods(&owner.namespace).delete(name, &options).await {
            Ok(()) => {
                let text = format!("Deleted pod: {name}");
                self.normal(owner, "SuccessfulDelete", text);
                Ok(())
            }
            Err(error) => {
                if !error.is_not_found() {
                    let text = format!("Error deleting: {}", message(&error));
                    self.warning(owner, "FailedDelete", text);
                }
                Err(error)
            }
        }
    }

    /// Takes or gives what owners hold on a pod: false when it is gone, or another by now.
    pub(crate) async fn patch(
        &self,
        namespace: &str,
        name: &str,
        json: Vec<u8>,
    ) -> Result<bool, Error> {
        let patch = Patch::Strategic(json.into());
        let pod = patched(self.pods(namespace).patch(name, "", patch).await)?;
        Ok(pod.is_some())
    }
}

/// Of a patch of owner references: none when the object is gone, or another by now.
pub(crate) fn patched(result: Result<Object, Error>) -> Result<Option<Object>, Error> {
    match result {
        Ok(object) => Ok(Some(object)),
        Err(error) if error.is_not_found() || error.code() == 422 => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the server said, as upstream's controllers quote it.
pub(crate) fn message(error: &Error) -> String {
    match error {
        Error::Api { status, .. } => status.message.clone(),
        other => base::Chain(other).to_string(),
    }
}

/// Nothing can be created any more: the namespace is going.
pub(crate) fn namespace_ends(error: &Error) -> bool {
    error.code() == 403 && message(error).contains("is being terminated")
}

/// Calls `call` `count` times: once, then twice as many at a time while all goes well, so that
/// what fails for every pod fails once. Gives the successes and the first error.
pub(crate) async fn slow_start<T, R: Future<Output = Result<T, Error>>>(
    count: usize,
    call: impl Fn(usize) -> R,
) -> (usize, Option<Error>) {
    let (mut done, mut batch) = (0, 1);
    while done < count {
        let size = batch.min(count - done);
        let results = join_all((done..done + size).map(&call)).await;
        let mut failure = None;
        for result in results {
            match result {
                Ok(_) => done += 1,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if failure.is_some() {
            return (done, failure);
        }
        batch *= 2;
    }
    (done, None)
}
