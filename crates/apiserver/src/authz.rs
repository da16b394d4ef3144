//! What users may do: masters, nodes, roles, in this order.
//!
//! Owns a view of the roles, bindings and pods of one control plane, brought up to the store's
//! head by every question: a role that was just bound counts for the very next request. Nothing
//! runs between questions. Knows the meaning of neither roles (`registry::rbac`) nor verbs.
//! Source: kubernetes v1.36.3 pkg/kubeapiserver/authorizer/config.go,
//! apiserver/pkg/authorization/{union,authorizerfactory}.

mod escalation;
mod graph;
mod node;

use parking_lot::{Mutex, RwLock};
use registry::rbac::{Action, Index, Rule, Verdict};
use schema::{Dom, Ref};
use store::{EventKind, Range, Store, StoreError, Watcher};

pub(crate) use escalation::check_escalation;

use crate::authz::graph::Graph;
use crate::{Authorizer, Decision, RequestInfo, UserInfo};

/// Resources whose objects decide, by their prefix in the store.
const WATCHED: [&str; 9] = [
    "clusterroles",
    "clusterrolebindings",
    "roles",
    "rolebindings",
    "pods",
    "persistentvolumes",
    "volumeattachments",
    "resourceslices",
    "podcertificaterequests",
];

/// The authorizer of a control plane.
pub struct Authz {
    store: Store,
    root: String,
    node_rules: Vec<Rule>,
    view: RwLock<View>,
    feed: Mutex<Feed>,
}

#[derive(Default)]
struct View {
    roles: Index,
    graph: Graph,
    /// Everything up to here is in.
    revision: u64,
}

#[derive(Default)]
struct Feed {
    watchers: Vec<(&'static str, Watcher)>,
}

impl std::fmt::Debug for Authz {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authz")
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

impl Authz {
    /// Reads what is there; later changes are seen by themselves.
    pub fn new(store: Store, root: &str) -> Result<Self, StoreError> {
        let authz = Self {
            store,
            root: root.to_owned(),
            node_rules: registry::rbac::bootstrap_rules("system:node"),
            view: RwLock::default(),
            feed: Mutex::default(),
        };
        authz.reload(&mut authz.feed.lock())?;
        Ok(authz)
    }

    fn prefix(&self, resource: &str) -> String {
        format!("{}/{resource}/", self.root)
    }

    /// Reads everything afresh and watches from there.
    fn reload(&self, feed: &mut Feed) -> Result<(), StoreError> {
        let at = self.store.current_revision();
        let mut view = View {
            revision: at.0,
            ..View::default()
        };
        let mut watchers = Vec::new();
        for resource in WATCHED {
            let prefix = self.prefix(resource);
            let page = self.store.range(&Range::prefix(prefix.as_bytes()).at(at))?;
            for item in &page.items {
                view.set(resource, &item.key[prefix.len()..], Some(&item.value));
            }
            let watcher = self.store.watch(prefix.as_bytes(), at)?;
            watchers.push((resource, watcher));
        }
        *self.view.write() = view;
        feed.watchers = watchers;
        Ok(())
    }

    /// Brings the view up to what is committed now.
    fn catch_up(&self) -> Result<(), StoreError> {
        let head = self.store.current_revision().0;
        if self.view.read().revision >= head {
            return Ok(());
        }
        let mut feed = self.feed.lock();
        let mut changes = Vec::new();
        for (resource, watcher) in &mut feed.watchers {
            loop {
                match watcher.try_next() {
                    Ok(Some(batch)) => changes.push((*resource, batch.events)),
                    Ok(None) => break,
                    Err(StoreError::Compacted { .. }) => return self.reload(&mut feed),
                    Err(error) => return Err(error),
                }
            }
        }
        let mut view = self.view.write();
        for (resource, events) in changes {
            let skip = self.prefix(resource).len();
            for event in events.iter() {
                let value = match event.kind {
                    EventKind::Put => Some(&event.kv.value),
                    EventKind::Delete => None,
                };
                view.set(resource, &event.kv.key[skip..], value);
            }
        }
        view.revision = view.revision.max(head);
        Ok(())
    }

    /// All rules of `user` in `namespace`; `Err` says why they are not complete.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        if let Err(error) = self.catch_up() {
            return (Vec::new(), vec![base::Chain(&error).to_string()]);
        }
        self.view.read().roles.rules_for(user, namespace)
    }
}

impl View {
    /// `place` is `name` or `namespace/name`.
    fn set(&mut self, resource: &str, place: &[u8], value: Option<&bytes::Bytes>) {
        let Ok(place) = std::str::from_utf8(place) else {
            return;
        };
        let (namespace, name) = place.split_once('/').unwrap_or(("", place));
        let object = value.and_then(|value| match Dom::parse_json(value) {
            Ok(object) => Some(object),
            Err(_) => {
                base::never!(true, "a stored object is not JSON");
                None
            }
        });
        let object: Option<Ref<'_>> = object.as_ref().map(Dom::as_ref);
        self.roles.set(resource, namespace, name, object);
        self.graph.set(resource, namespace, name, object);
    }
}

impl Authorizer for Authz {
    fn authorize(&self, user: &UserInfo, info: &RequestInfo) -> Decision {
        if user.is_in("system:masters") {
            return Decision::Allow {
                reason: String::new(),
            };
        }
        if let Err(error) = self.catch_up() {
            tracing::error!(err = %base::Chain(&error), "authorization data out of date");
            return Decision::NoOpinion {
                reason: "authorization data are not available".to_owned(),
            };
        }
        let view = self.view.read();
        let mut reasons = Vec::new();
        if let Some(name) = node::name_of(user) {
            match node::authorize(&view.graph, &self.node_rules, name, info) {
                Ok(()) => {
                    return Decision::Allow {
                        reason: String::new(),
                    };
                }
                Err(reason) => reasons.push(reason),
            }
        }
        match view.roles.authorize(user, &action(info)) {
            Verdict::Allowed(reason) => return Decision::Allow { reason },
            Verdict::Unknown(reason) => reasons.push(reason),
        }
        reasons.retain(|reason| !reason.is_empty());
        Decision::NoOpinion {
            reason: reasons.join("\n"),
        }
    }

    fn rules_for(&self, user: &UserInfo, namespace: &str) -> crate::access::Rules {
        let (rules, errors) = Self::rules_for(self, user, namespace);
        let is_node = node::name_of(user).is_some();
        let mut errors = errors;
        if is_node {
            errors.push("node authorizer does not support user rule resolution".to_owned());
        }
        crate::access::Rules {
            rules,
            incomplete: !errors.is_empty(),
            error: errors.join(", "),
        }
    }
}

/// A request as rules see it.
pub(crate) fn action(info: &RequestInfo) -> Action<'_> {
    if !info.is_resource {
        return Action {
            verb: &info.verb,
            path: &info.path,
            ..Action::default()
        };
    }
    Action {
        verb: &info.verb,
        group: &info.group,
        resource: &info.resource,
        subresource: &info.subresource,
        name: &info.name,
        namespace: &info.namespace,
        path: "",
    }
}

#[cfg(test)]
mod tests;
