//! What a controller is given, and how its queue is worked off.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use base::{Chain, Clock, Shutdown, tasks};
use client::{Client, Error, Recorder, WorkQueue};

use crate::informers::Informers;
use crate::node_ranges::PodRanges;

/// A row of the table.
pub struct Controller {
    /// Upstream's name.
    pub name: &'static str,
    /// User under which it speaks to the API.
    pub identity: &'static str,
    /// Starts its tasks.
    pub start: fn(Context),
}

/// See the fields.
#[derive(Clone)]
pub struct Context {
    /// The API under the controller's identity: what it writes and looks up.
    pub client: Client,
    /// The API under the controller manager's identity: lists and watches, as upstream's shared
    /// informers; the controllers' own roles hold no such rights. One watch a resource.
    pub informers: Informers,
    /// Records events.
    pub recorder: Recorder,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Ends the tasks.
    pub shutdown: Shutdown,
    /// The CA bundle that pods verify the API server with, PEM.
    pub root_ca: Arc<str>,
    /// What nodes get their shares of.
    pub pod_ranges: Arc<PodRanges>,
    /// Signs the cluster's certificates, where its key is at hand.
    pub signer: Option<Arc<pki::Ca>>,
}

/// Starts every controller; `client_for` gives the API under an identity.
pub fn start_all(
    controllers: &'static [Controller],
    base: &Context,
    mut client_for: impl FnMut(&'static str) -> Client,
) {
    for controller in controllers {
        tracing::info!(controller = controller.name, "controller starts");
        (controller.start)(Context {
            client: client_for(controller.identity),
            ..base.clone()
        });
    }
    base.informers.start();
}

/// Workers of one queue at a time.
const WORKERS: usize = 4;

/// Works a queue off: `sync` errors come back with growing delay, successes are forgotten.
pub(crate) fn work<K, F, R>(
    name: &'static str,
    context: &Context,
    queue: &Arc<WorkQueue<K>>,
    sync: F,
) where
    K: Clone + Eq + Hash + std::fmt::Display + Send + Sync + 'static,
    F: Fn(K) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<(), Error>> + Send,
{
    for _ in 0..WORKERS {
        let (queue, sync) = (queue.clone(), sync.clone());
        tasks::supervise(name, &context.shutdown, move || {
            let (queue, sync) = (queue.clone(), sync.clone());
            Box::pin(async move {
                loop {
                    let key = queue.next().await;
                    match sync(key.clone()).await {
                        Ok(()) => queue.forget(&key),
                        Err(error) => {
                            tracing::debug!(
                                controller = name, key = %key, err = %Chain(&error), "retries"
                            );
                            queue.retry(key.clone());
                        }
                    }
                    queue.done(&key);
                }
            })
        });
    }
}
