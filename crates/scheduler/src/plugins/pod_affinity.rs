//! Affinity and anti-affinity between pods, in both directions.
//!
//! The newcomer's own terms are looked up in counters by node and summed by topology value; the
//! terms of the pods that are there come in groups. So the cost is nodes × distinct terms, not
//! nodes × pods. Example: required anti-affinity to app=db by zone, two such pods in zone x →
//! places x=2 y=0, so nodes of x are refused.
//! Source: kubernetes v1.36.3 pkg/scheduler/framework/plugins/interpodaffinity.

use std::sync::Arc;

use crate::decide::{Cycle, View};
use crate::plugins::reason::Reason;
use crate::plugins::{Against, MAX_SCORE};
use crate::pod::{PodAffinity, PodTerm};
use crate::snapshot::{ABSENT, Column, Counter, Kind, Matcher};
use crate::{Labels, PodInfo, Snapshot};

/// Pods by the values of one label.
#[derive(Debug)]
struct Places {
    column: Arc<Column>,
    pods: Vec<i64>,
}

/// What is worked out once a decision.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// For each required term: where pods are that all required terms speak of.
    required: Vec<Places>,
    /// The newcomer satisfies its own required terms.
    own: bool,
    /// For each required anti-affinity term: where pods are that it speaks of.
    anti: Vec<Places>,
    /// Where pods are that do not want the newcomer, by topology key.
    unwelcome: Vec<(String, Places)>,
    /// What draws or repels, with the counts still by node.
    preferred: Vec<(i64, Arc<Column>, Arc<Counter>)>,
    /// Where pods are that draw or repel the newcomer, by topology key.
    drawn: Vec<(String, Places)>,
    namespace_labels: Labels,
}

impl Places {
    fn new(column: Arc<Column>) -> Self {
        let pods = vec![0; column.len()];
        Self { column, pods }
    }

    fn add(&mut self, slot: usize, pods: i64) {
        if let Some(place) = self.pods.get_mut(self.column.at(slot) as usize) {
            *place += pods;
        }
    }

    fn add_all(&mut self, snapshot: &Snapshot, counter: &Counter, weight: i64) {
        if counter.is_empty() {
            return;
        }
        for slot in snapshot.order() {
            let slot = *slot as usize;
            let pods = counter.at(slot);
            if pods != 0 {
                self.add(slot, weight * pods);
            }
        }
    }

    fn at(&self, slot: usize) -> i64 {
        let place = self.column.at(slot) as usize;
        self.pods.get(place).copied().unwrap_or(0)
    }

    fn is_empty(&self) -> bool {
        self.pods.iter().all(|pods| *pods == 0)
    }
}

/// The places of a topology key, made when they are not there.
fn places_of<'a>(
    all: &'a mut Vec<(String, Places)>,
    snapshot: &mut Snapshot,
    key: &str,
) -> &'a mut Places {
    let at = match all.iter().position(|(own, _)| own == key) {
        Some(at) => at,
        None => {
            all.push((key.to_owned(), Places::new(snapshot.column(key))));
            all.len() - 1
        }
    };
    &mut all[at].1
}

impl State {
    pub(crate) fn new(snapshot: &mut Snapshot, pod: &PodInfo) -> Self {
        let mut state = Self {
            namespace_labels: snapshot.namespace_labels(&pod.key.namespace),
            ..Self::default()
        };
        if let Some(affinity) = &pod.affinity {
            state.read_own(snapshot, pod, affinity);
        }
        state.read_others(snapshot, pod);
        state
    }

    fn read_own(&mut self, snapshot: &mut Snapshot, pod: &PodInfo, affinity: &PodAffinity) {
        let matcher = |terms: &[PodTerm]| Matcher {
            all: terms.iter().map(|term| term.who.clone()).collect(),
            live_only: false,
        };
        if !affinity.required.is_empty() {
            let counter = snapshot.counter(&matcher(&affinity.required));
            for term in &affinity.required {
                let mut places = Places::new(snapshot.column(&term.topology_key));
                places.add_all(snapshot, &counter, 1);
                self.required.push(places);
            }
            self.own = affinity
                .required
                .iter()
                .all(|term| speaks_of(term, pod, &self.namespace_labels));
        }
        for term in &affinity.required_anti {
            let counter = snapshot.counter(&matcher(std::slice::from_ref(term)));
            let mut places = Places::new(snapshot.column(&term.topology_key));
            places.add_all(snapshot, &counter, 1);
            self.anti.push(places);
        }
        for (weight, term) in &affinity.preferred {
            let counter = snapshot.counter(&matcher(std::slice::from_ref(term)));
            if !counter.is_empty() {
                let column = snapshot.column(&term.topology_key);
                self.preferred.push((*weight, column, counter));
            }
        }
    }

    fn read_others(&mut self, snapshot: &mut Snapshot, pod: &PodInfo) {
        let labels = &self.namespace_labels;
        let mut concerned = Vec::new();
        for (id, group) in snapshot.groups() {
            let (kind, term) = &*group.identity;
            if speaks_of(term, pod, labels) {
                concerned.push((*kind, term.topology_key.clone(), id));
            }
        }
        for (kind, key, id) in concerned {
            let (all, weight) = match kind {
                Kind::RequiredAnti => (&mut self.unwelcome, 1),
                Kind::Weight(weight) => (&mut self.drawn, weight),
            };
            let places = places_of(all, snapshot, &key);
            let on = snapshot.group(id).into_iter().flat_map(|group| &group.on);
            for (slot, pods) in on {
                places.add(*slot, weight * pods);
            }
        }
        // Pods that wait for a node are tried on it later: their keys must be known.
        let waiting: Vec<Arc<PodInfo>> = snapshot.all_nominated().cloned().collect();
        for other in waiting {
            for term in anti_terms(&other) {
                if speaks_of(term, pod, &self.namespace_labels) {
                    places_of(&mut self.unwelcome, snapshot, &term.topology_key);
                }
            }
        }
    }

    pub(crate) fn restricts(&self) -> bool {
        !self.required.is_empty() || !self.anti.is_empty() || !self.unwelcome.is_empty()
    }

    /// A pod comes to (1) or leaves (-1) a node.
    pub(crate) fn count(
        &mut self,
        own: &PodInfo,
        other: &PodInfo,
        other_namespace: &Labels,
        slot: usize,
        sign: i64,
    ) {
        if let Some(affinity) = &own.affinity {
            let spoken_of = |term: &PodTerm| speaks_of(term, other, other_namespace);
            if !affinity.required.is_empty() && affinity.required.iter().all(spoken_of) {
                for places in &mut self.required {
                    places.add(slot, sign);
                }
            }
            for (term, places) in affinity.required_anti.iter().zip(&mut self.anti) {
                if spoken_of(term) {
                    places.add(slot, sign);
                }
            }
        }
        for term in anti_terms(other) {
            if speaks_of(term, own, &self.namespace_labels) {
                let found = self.unwelcome.iter_mut();
                let found = found.filter(|(key, _)| *key == term.topology_key);
                for (_, places) in found {
                    places.add(slot, sign);
                }
            }
        }
    }
}

fn anti_terms(pod: &PodInfo) -> impl Iterator<Item = &PodTerm> {
    let affinity = pod.affinity.as_deref();
    affinity.into_iter().flat_map(|own| &own.required_anti)
}

fn speaks_of(term: &PodTerm, pod: &PodInfo, namespace_labels: &Labels) -> bool {
    term.who
        .matches(&pod.key.namespace, namespace_labels, &pod.labels)
}

pub(super) fn filter(cycle: &Cycle<'_>, view: &View<'_>) -> Option<Against> {
    let state = &cycle.affinity;
    let slot = view.slot;
    let mut near = true;
    for places in &state.required {
        if places.column.at(slot) == ABSENT {
            return Some(Against::for_good(Reason::PodAffinity));
        }
        near &= places.at(slot) > 0;
    }
    // The first of a group that wants to be together may start anywhere.
    let first = || state.own && state.required.iter().all(Places::is_empty);
    if !near && !first() {
        return Some(Against::for_good(Reason::PodAffinity));
    }
    if state.anti.iter().any(|places| places.at(slot) > 0) {
        return Some(Against::for_now(Reason::PodAntiAffinity));
    }
    let unwelcome = |(_, places): &(String, Places)| places.at(slot) > 0;
    let unwelcome = state.unwelcome.iter().any(unwelcome);
    unwelcome.then(|| Against::for_now(Reason::OthersAntiAffinity))
}

/// The sum of what draws and repels at a node's places, scaled between the worst and the best.
pub(super) fn score(cycle: &Cycle<'_>, nodes: &[u32], scores: &mut [i64]) -> bool {
    let state = &cycle.affinity;
    if state.preferred.is_empty() && state.drawn.is_empty() {
        return false;
    }
    let mut own = Vec::new();
    for (weight, column, counter) in &state.preferred {
        let mut places = Places::new(column.clone());
        places.add_all(cycle.snapshot, counter, *weight);
        own.push(places);
    }
    let drawn = state.drawn.iter().map(|(_, places)| places);
    for places in own.iter().chain(drawn) {
        for (slot, score) in nodes.iter().zip(scores.iter_mut()) {
            *score += places.at(*slot as usize);
        }
    }
    stretch(scores);
    true
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "upstream scales in floating point and cuts the result"
)]
fn stretch(scores: &mut [i64]) {
    let least = scores.iter().copied().min().unwrap_or(0);
    let most = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let share = if most > least {
            (*score - least) as f64 / (most - least) as f64
        } else {
            0.0
        };
        *score = (MAX_SCORE as f64 * share) as i64;
    }
}
