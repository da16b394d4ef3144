//! One decision's working state: what each plugin worked out, and trials with pods added to or
//! taken from a node.

use std::sync::Arc;

use crate::node::{Hot, Uses};
use crate::plugins::{Against, claims, disks, node_affinity, pod_affinity, row, spread};
use crate::{NodeInfo, PLUGINS, PodInfo, Snapshot};

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Cycle<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) pod: &'a PodInfo,
    pub(crate) node_affinity: node_affinity::State,
    pub(crate) disks: disks::State,
    pub(crate) claims: claims::State,
    pub(crate) spread: spread::State,
    pub(crate) affinity: pod_affinity::State,
    /// Rows of the plugins whose filter has something to do.
    active: Vec<usize>,
}

/// A node as filters see it.
#[derive(Debug)]
pub(crate) struct View<'a> {
    snapshot: &'a Snapshot,
    pub(crate) slot: usize,
    pub(crate) hot: &'a Hot,
    pub(crate) uses: &'a Uses,
}

impl<'a> View<'a> {
    pub(crate) fn facts(&self) -> &'a NodeInfo {
        self.snapshot.facts(self.slot)
    }
}

/// A pod that no node can take, known before any node was looked at.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) plugin: usize,
    pub(crate) message: String,
}

/// A node with pods added or taken away, for as long as one question takes.
#[derive(Debug)]
pub(crate) struct Trial {
    pub(crate) slot: usize,
    hot: Hot,
    uses: Uses,
}

impl<'a> Cycle<'a> {
    /// Lets the plugins work out what they need; with it the nodes that the pod names, when it
    /// names some.
    pub(crate) fn new(
        snapshot: &'a mut Snapshot,
        pod: &'a PodInfo,
    ) -> Result<(Self, Option<Vec<u32>>), Refused> {
        if pod.resource_claims {
            return Err(Refused {
                plugin: row::CLAIMED_DEVICES,
                message: "pod has resource claims, and devices are not allocated here".into(),
            });
        }
        let named = node_affinity::named(pod);
        if named.as_ref().is_some_and(Vec::is_empty) && pod.required_affinity_is_not_empty() {
            return Err(Refused {
                plugin: row::NODE_AFFINITY,
                message: "pod affinity terms conflict".into(),
            });
        }
        let claims = claims::State::new(snapshot, pod).map_err(|refusal| Refused {
            plugin: refusal.plugin,
            message: refusal.message,
        })?;
        let node_affinity = node_affinity::State::new(snapshot, pod);
        let spread = spread::State::new(snapshot, pod, &node_affinity);
        let affinity = pod_affinity::State::new(snapshot, pod);
        let snapshot: &'a Snapshot = snapshot;
        let mut cycle = Self {
            snapshot,
            pod,
            node_affinity,
            disks: disks::State::new(snapshot, pod),
            claims,
            spread,
            affinity,
            active: Vec::new(),
        };
        cycle.active = PLUGINS
            .iter()
            .enumerate()
            .filter(|(_, plugin)| plugin.filter.is_some() && (plugin.concerns)(&cycle))
            .map(|(row, _)| row)
            .collect();
        let only = named.filter(|named| !named.is_empty()).map(|named| {
            let slots = named.iter().filter_map(|name| snapshot.slot(name));
            slots.filter_map(|slot| u32::try_from(slot).ok()).collect()
        });
        Ok((cycle, only))
    }

    /// The node that earlier victims made room on.
    pub(crate) fn waits_for(&self) -> Option<u32> {
        let own = Some(self.pod.nominated.as_str()).filter(|node| !node.is_empty());
        let node = self.snapshot.nomination(&self.pod.key).or(own)?;
        u32::try_from(self.snapshot.slot(node)?).ok()
    }

    /// What is against a node, counting the pods of at least the same priority that wait for it.
    pub(crate) fn check(&mut self, slot: usize) -> Option<Against> {
        if !self.snapshot.nobody_nominated() {
            let waiting = self.waiting_before(slot);
            if !waiting.is_empty() {
                let mut trial = Trial::of(self.snapshot, slot);
                return self.check_trial_with(&mut trial, &waiting);
            }
        }
        self.filter(&View {
            snapshot: self.snapshot,
            slot,
            hot: self.snapshot.hot(slot),
            uses: &self.snapshot.load(slot).uses,
        })
    }

    /// The same for a trial.
    pub(crate) fn check_trial(&mut self, trial: &mut Trial) -> Option<Against> {
        let waiting = self.waiting_before(trial.slot);
        self.check_trial_with(trial, &waiting)
    }

    fn waiting_before(&self, slot: usize) -> Vec<Arc<PodInfo>> {
        if self.snapshot.nobody_nominated() {
            return Vec::new();
        }
        let name = &self.snapshot.facts(slot).name;
        let waiting = self.snapshot.nominated_to(name).iter();
        let before = waiting
            .filter(|other| other.priority >= self.pod.priority && other.key != self.pod.key);
        before.cloned().collect()
    }

    /// With the waiting pods, because they may use the room, and without, because affinity to
    /// them must not count before they are there.
    fn check_trial_with(&mut self, trial: &mut Trial, waiting: &[Arc<PodInfo>]) -> Option<Against> {
        if !waiting.is_empty() {
            for other in waiting {
                self.add(trial, other);
            }
            let against = self.filter(&trial.view(self.snapshot));
            for other in waiting {
                self.remove(trial, other);
            }
            if against.is_some() {
                return against;
            }
        }
        self.filter(&trial.view(self.snapshot))
    }

    fn filter(&self, view: &View<'_>) -> Option<Against> {
        for row in &self.active {
            let against = PLUGINS[*row].filter.and_then(|filter| filter(self, view));
            if let Some(mut against) = against {
                against.plugin = *row;
                return Some(against);
            }
        }
        None
    }

    /// Adds a pod to a trial.
    pub(crate) fn add(&mut self, trial: &mut Trial, other: &PodInfo) {
        trial.hot.count(other, 1);
        trial.uses.add(other);
        self.count(other, trial.slot, 1);
    }

    /// Takes a pod from a trial.
    pub(crate) fn remove(&mut self, trial: &mut Trial, other: &PodInfo) {
        trial.hot.count(other, -1);
        trial.uses.remove(other);
        self.count(other, trial.slot, -1);
    }

    /// Sums by place change with every pod of a trial, and must be changed back after it.
    pub(crate) fn count(&mut self, other: &PodInfo, slot: usize, sign: i64) {
        let (snapshot, pod) = (self.snapshot, self.pod);
        self.disks.count(pod, other, sign);
        self.spread
            .count(snapshot, pod, &self.node_affinity, other, slot, sign);
        if pod.affinity.is_some() || other.affinity.is_some() {
            let namespace = snapshot.namespace_labels(&other.key.namespace);
            self.affinity.count(pod, other, &namespace, slot, sign);
        }
    }
}

impl Trial {
    pub(crate) fn of(snapshot: &Snapshot, slot: usize) -> Self {
        Self {
            slot,
            hot: *snapshot.hot(slot),
            uses: snapshot.load(slot).uses.clone(),
        }
    }

    fn view<'a>(&'a self, snapshot: &'a Snapshot) -> View<'a> {
        View {
            snapshot,
            slot: self.slot,
            hot: &self.hot,
            uses: &self.uses,
        }
    }
}

impl PodInfo {
    fn required_affinity_is_not_empty(&self) -> bool {
        let terms = self.required_affinity.as_ref();
        terms.is_some_and(|terms| !terms.is_empty())
    }
}
