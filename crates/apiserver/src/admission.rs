//! Admission by webhooks and policies: which there are, whom they concern, what they answer.
//!
//! Configurations are followed in the store and parsed once; a write walks over the parsed hooks
//! and, if none concerns it, pays nothing else. What is built in lives in `registry::admission`.
//! ```text
//! built in → mutating policies and hooks, one after the other → built in and some again, if the
//! object changed → rules of the kind → validating policies → validating hooks, all at once →
//! quotas → store
//! ```
//! Source: kubernetes v1.36.3 apiserver/pkg/admission/plugin/webhook.

mod config;
mod dispatch;
mod matching;
mod policy;
mod review;

use std::sync::Arc;

use base::tasks;
use registry::Lookup;

pub(crate) use dispatch::{Subject, options};
pub(crate) use matching::Operation;
pub(crate) use policy::Policies;

use crate::Server;
use crate::follow::Follower;
use config::Hook;

/// Where configurations are stored, mutating first.
const PREFIXES: [&str; 2] = [
    "mutatingwebhookconfigurations",
    "validatingwebhookconfigurations",
];

/// All hooks, in the order in which they are called.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    pub(crate) mutating: Vec<Arc<Hook>>,
    pub(crate) validating: Vec<Arc<Hook>>,
}

impl Hooks {
    fn load(lookup: &dyn Lookup) -> Hooks {
        let [mutating, validating] = PREFIXES.map(|prefix| {
            let mut configurations = lookup.list(prefix, "");
            configurations.sort_by(|a, b| {
                api::meta::of(a.as_ref())
                    .name()
                    .cmp(api::meta::of(b.as_ref()).name())
            });
            configurations
                .iter()
                .flat_map(|dom| config::hooks(dom.as_ref()))
                .map(Arc::new)
                .collect()
        });
        Hooks {
            mutating,
            validating,
        }
    }
}

/// Begins to follow the configurations.
pub(crate) fn start(server: &Arc<Server>) {
    let from = server.config.store.current_revision();
    server.hooks.store(Arc::new(Hooks::load(&server.lookup)));
    let policies = Policies::load(&server.lookup, &Policies::default());
    server.policies.store(Arc::new(policies));
    for prefix in policy::PREFIXES {
        let key = crate::object::key(&server.config.root, prefix, "", "");
        let follower = Follower::new(server.config.store.clone(), key, from);
        let (weak, shutdown) = (Arc::downgrade(server), server.config.shutdown.clone());
        let followed = follower.run(weak, shutdown.clone(), |server| async move {
            let before = server.policies.load_full();
            let policies = Policies::load(&server.lookup, &before);
            server.policies.store(Arc::new(policies));
        });
        let _detached = tasks::spawn("admission-policies", &shutdown, followed);
    }
    for prefix in PREFIXES {
        let key = crate::object::key(&server.config.root, prefix, "", "");
        let follower = Follower::new(server.config.store.clone(), key, from);
        let (weak, shutdown) = (Arc::downgrade(server), server.config.shutdown.clone());
        let followed = follower.run(weak, shutdown.clone(), |server| async move {
            server.hooks.store(Arc::new(Hooks::load(&server.lookup)));
        });
        let _detached = tasks::spawn("webhook-configurations", &shutdown, followed);
    }
}

#[cfg(test)]
mod tests;
