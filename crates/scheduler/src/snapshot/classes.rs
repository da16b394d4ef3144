//! Pods with the same namespace and labels are one class; selectors look at classes, not pods.
//!
//! 5,000 replicas of a Deployment are one class: a selector is evaluated once for all of them.
//! Terminating pods are classes of their own, because spreading does not count them.
//! A [`Counter`] answers "how many pods that match these selectors does each node have" and is
//! kept true with every pod that comes or goes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::pod::Who;
use crate::{Labels, PodInfo};

/// Counters kept at most; one decision may hold more for its own length.
const LIMIT: usize = 128;

/// What a counter counts: pods that all of these speak of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Matcher {
    pub(crate) all: Vec<Who>,
    /// Leave terminating pods out.
    pub(crate) live_only: bool,
}

impl Matcher {
    pub(crate) fn matches(
        &self,
        namespace: &str,
        namespace_labels: &Labels,
        labels: &Labels,
        terminating: bool,
    ) -> bool {
        let counted = !self.live_only || !terminating;
        counted
            && !self.all.is_empty()
            && self
                .all
                .iter()
                .all(|who| who.matches(namespace, namespace_labels, labels))
    }

    fn knows_namespaces(&self) -> bool {
        let by_label =
            |who: &Who| !who.namespace_selector.is_nothing() && !who.namespace_selector.is_empty();
        self.all.iter().any(by_label)
    }
}

/// How many matching pods each node has.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    per_node: Vec<u32>,
    /// By class: 0 not evaluated yet, 1 matches, 2 does not.
    memo: Vec<u8>,
    total: u64,
    used: u64,
}

impl Counter {
    pub(crate) fn at(&self, slot: usize) -> i64 {
        i64::from(self.per_node.get(slot).copied().unwrap_or(0))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.total == 0
    }

    fn add(&mut self, slot: usize, count: u32, comes: bool) {
        if self.per_node.len() <= slot {
            self.per_node.resize(slot + 1, 0);
        }
        let own = &mut self.per_node[slot];
        if comes {
            *own += count;
            self.total += u64::from(count);
        } else {
            *own = own.saturating_sub(count);
            self.total = self.total.saturating_sub(u64::from(count));
        }
    }
}

type Identity = (String, Labels, bool);

#[derive(Clone, Debug)]
struct Class {
    identity: Arc<Identity>,
    pods: u32,
    on: HashMap<usize, u32>,
}

/// See the module's header.
#[derive(Clone, Debug, Default)]
pub(crate) struct Classes {
    all: Vec<Option<Class>>,
    ids: HashMap<Arc<Identity>, usize>,
    free: Vec<usize>,
    counters: HashMap<Matcher, Arc<Counter>>,
    clock: u64,
}

impl Classes {
    /// Counts a pod on a node; the class is for [`Self::remove`].
    pub(crate) fn add(
        &mut self,
        pod: &PodInfo,
        slot: usize,
        namespaces: &HashMap<String, Labels>,
    ) -> usize {
        let identity = (
            pod.key.namespace.clone(),
            pod.labels.clone(),
            pod.terminating,
        );
        let id = match self.ids.get(&identity) {
            Some(id) => *id,
            None => self.make(identity),
        };
        if let Some(class) = &mut self.all[id] {
            class.pods += 1;
            *class.on.entry(slot).or_default() += 1;
        }
        self.count(id, slot, namespaces, true);
        id
    }

    /// Counts a pod out.
    pub(crate) fn remove(&mut self, id: usize, slot: usize, namespaces: &HashMap<String, Labels>) {
        self.count(id, slot, namespaces, false);
        let Some(class) = self.all.get_mut(id).and_then(Option::as_mut) else {
            return;
        };
        class.pods -= 1;
        if let Some(count) = class.on.get_mut(&slot) {
            *count -= 1;
            if *count == 0 {
                class.on.remove(&slot);
            }
        }
        if class.pods == 0 {
            self.ids.remove(&class.identity);
            self.all[id] = None;
            self.free.push(id);
        }
    }

    fn make(&mut self, identity: Identity) -> usize {
        let identity = Arc::new(identity);
        let class = Class {
            identity: identity.clone(),
            pods: 0,
            on: HashMap::new(),
        };
        let id = match self.free.pop() {
            Some(id) => {
                for counter in self.counters.values_mut() {
                    if let Some(memo) = Arc::make_mut(counter).memo.get_mut(id) {
                        *memo = 0;
                    }
                }
                self.all[id] = Some(class);
                id
            }
            None => {
                self.all.push(Some(class));
                self.all.len() - 1
            }
        };
        self.ids.insert(identity, id);
        id
    }

    fn count(&mut self, id: usize, slot: usize, namespaces: &HashMap<String, Labels>, comes: bool) {
        let Some(class) = &self.all[id] else {
            return;
        };
        for (matcher, counter) in &mut self.counters {
            let counter = Arc::make_mut(counter);
            if matches(matcher, &mut counter.memo, id, class, namespaces) {
                counter.add(slot, 1, comes);
            }
        }
    }

    /// The counter of a matcher; made from all classes when it is not there.
    pub(crate) fn counter(
        &mut self,
        matcher: &Matcher,
        namespaces: &HashMap<String, Labels>,
    ) -> Arc<Counter> {
        self.clock += 1;
        if let Some(counter) = self.counters.get_mut(matcher) {
            if let Some(counter) = Arc::get_mut(counter) {
                counter.used = self.clock;
            }
            return counter.clone();
        }
        let mut counter = Counter {
            per_node: Vec::new(),
            memo: Vec::new(),
            total: 0,
            used: self.clock,
        };
        for (id, class) in self.all.iter().enumerate() {
            let Some(class) = class else { continue };
            if matches(matcher, &mut counter.memo, id, class, namespaces) {
                for (slot, count) in &class.on {
                    counter.add(*slot, *count, true);
                }
            }
        }
        if self.counters.len() >= LIMIT {
            let oldest = self.counters.iter().min_by_key(|(_, counter)| counter.used);
            if let Some(oldest) = oldest.map(|(matcher, _)| matcher.clone()) {
                self.counters.remove(&oldest);
            }
        }
        let counter = Arc::new(counter);
        self.counters.insert(matcher.clone(), counter.clone());
        counter
    }

    /// A namespace changed its labels: what depends on them is counted anew when asked for.
    pub(crate) fn namespaces_changed(&mut self) {
        self.counters
            .retain(|matcher, _| !matcher.knows_namespaces());
    }
}

fn matches(
    matcher: &Matcher,
    memo: &mut Vec<u8>,
    id: usize,
    class: &Class,
    namespaces: &HashMap<String, Labels>,
) -> bool {
    if memo.len() <= id {
        memo.resize(id + 1, 0);
    }
    if memo[id] == 0 {
        let (namespace, labels, terminating) = &*class.identity;
        let none = Labels::default();
        let of_namespace = namespaces.get(namespace).unwrap_or(&none);
        let holds = matcher.matches(namespace, of_namespace, labels, *terminating);
        memo[id] = if holds { 1 } else { 2 };
    }
    memo[id] == 1
}
