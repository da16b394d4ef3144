//! Keeps a [`Cache`] equal to the server: list once, then watch, resume where the stream broke.
//!
//! States: listing → watching → (stream ends: watching again from the last revision) → (410:
//! listing again). A list after a gap is compared with the cache, so handlers see the deletions
//! that were missed. Source for the semantics: kubernetes v1.36 client-go tools/cache/reflector.go.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use base::{Backoff, Chain, Rng, Shutdown, tasks};

use crate::{Api, Cache, Change, Error, ListOptions, Object, WatchEvent};

/// Called in order with every change. Must be quick: it puts a key in a queue.
pub type Handler = Arc<dyn Fn(&Change) + Send + Sync>;

/// See the module's header.
pub struct Reflector {
    api: Api,
    options: ListOptions,
    cache: Cache,
    handlers: Vec<Handler>,
    rng: Rng,
}

impl Reflector {
    /// Reflects what `options` select of `api` into `cache`.
    pub fn new(api: Api, options: ListOptions, cache: Cache) -> Self {
        let rng = api.client().rng("reflector");
        Self {
            api,
            options,
            cache,
            handlers: Vec::new(),
            rng,
        }
    }

    /// Adds a handler.
    #[must_use]
    pub fn on_change(mut self, handler: impl Fn(&Change) + Send + Sync + 'static) -> Self {
        self.handlers.push(Arc::new(handler));
        self
    }

    /// Runs until shutdown; the cache is usable at once and complete after [`Cache::synced`].
    pub fn start(mut self, shutdown: &Shutdown) -> Cache {
        let cache = self.cache.clone();
        tasks::spawn("reflector", shutdown, async move { self.run().await });
        cache
    }

    async fn run(&mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(30));
        let mut version: Option<String> = None;
        loop {
            let result = match version.take() {
                None => self.relist().await,
                Some(from) => self.watch(from, &mut backoff).await,
            };
            match result {
                Ok(reached) => version = Some(reached),
                Err((reached, error)) => {
                    let expired = error.is_expired();
                    if !expired {
                        version = reached;
                    }
                    let delay = backoff.next_delay_with_jitter(&mut self.rng);
                    tracing::debug!(
                        resource = self.api.gvr().resource, err = %Chain(&error), relist = version.is_none(),
                        "reflector goes on after an error"
                    );
                    if !expired {
                        tokio::time::sleep(delay).await;
                    }
                }
            }
        }
    }

    async fn relist(&mut self) -> Result<String, (Option<String>, Error)> {
        let list = self
            .api
            .list(&self.options)
            .await
            .map_err(|error| (None, error))?;
        let present: HashSet<_> = list
            .items
            .iter()
            .map(|object| object.key().clone())
            .collect();
        for gone in self.cache.missing_from(&present) {
            self.apply(gone, true);
        }
        for object in list.items {
            let known = self.cache.get(object.key());
            if known.is_none_or(|known| known.resource_version() != object.resource_version()) {
                self.apply(Arc::new(object), false);
            }
        }
        self.cache.mark_synced();
        Ok(list.resource_version)
    }

    async fn watch(
        &mut self,
        from: String,
        backoff: &mut Backoff,
    ) -> Result<String, (Option<String>, Error)> {
        let began = tokio::time::Instant::now();
        let options = ListOptions {
            resource_version: from.clone(),
            ..self.options.clone()
        };
        let mut reached = from;
        let mut watch = match self.api.watch(&options).await {
            Ok(watch) => watch,
            Err(error) => return Err((Some(reached), error)),
        };
        while let Some(event) = watch.next().await {
            match event {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    object.resource_version().clone_into(&mut reached);
                    self.apply(Arc::new(object), false);
                }
                Ok(WatchEvent::Deleted(object)) => {
                    object.resource_version().clone_into(&mut reached);
                    self.apply(Arc::new(object), true);
                }
                Ok(WatchEvent::Bookmark { resource_version }) => reached = resource_version,
                Err(error) => return Err((Some(reached), error)),
            }
            backoff.reset();
        }
        // A server that ends streams at once must not be asked in a tight loop.
        if began.elapsed() < Duration::from_secs(1) {
            tokio::time::sleep(backoff.next_delay_with_jitter(&mut self.rng)).await;
        }
        Ok(reached)
    }

    fn apply(&self, object: Arc<Object>, deleted: bool) {
        self.cache.apply(object, deleted, |change| {
            for handler in &self.handlers {
                handler(change);
            }
        });
    }
}
