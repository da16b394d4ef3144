//! Topology spread constraints: how many matching pods each place has, against the emptiest.
//!
//! A hard constraint refuses places that would get too far above the emptiest; a soft one scores
//! emptier places higher. Pods without constraints of their own are spread softly by the default
//! ones, when a Service or a controller selects them.
//! Source: kubernetes v1.36.3 pkg/scheduler/framework/plugins/podtopologyspread.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::decide::{Cycle, View};
use crate::plugins::reason::Reason;
use crate::plugins::{Against, MAX_SCORE, node_affinity, taints};
use crate::pod::{Spread, Who};
use crate::snapshot::{ABSENT, Column, Counter, Matcher};
use crate::{PodInfo, Snapshot};

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// No node that counts is at this place.
const NOWHERE: i64 = -1;

/// With no place at all nothing is skewed.
const NO_PLACE: i64 = i32::MAX as i64;

/// What is worked out once a decision.
#[derive(Debug, Default)]
pub(crate) struct State {
    hard: Vec<Hard>,
    soft: Vec<Constraint>,
    /// Soft constraints are the pod's own: nodes without their labels get nothing.
    own: bool,
}

#[derive(Debug)]
struct Constraint {
    spread: Spread,
    column: Arc<Column>,
    /// `None`: its selector counts no pod.
    counter: Option<Arc<Counter>>,
    hostname: bool,
}

#[derive(Debug)]
struct Hard {
    constraint: Constraint,
    /// Pods by place; [`NOWHERE`]: no node that counts is there.
    places: Vec<i64>,
    domains: usize,
    /// The emptiest place, while nothing was changed.
    least: i64,
    /// Pods → how many places have so many: made at the first change.
    levels: Option<BTreeMap<i64, usize>>,
    self_match: i64,
}

impl State {
    pub(crate) fn new(
        snapshot: &mut Snapshot,
        pod: &PodInfo,
        nodes: &node_affinity::State,
    ) -> Self {
        let mut state = Self {
            own: !pod.spread.is_empty(),
            ..Self::default()
        };
        let mut hard = Vec::new();
        for spread in &pod.spread {
            let constraint = Constraint::new(snapshot, pod, spread.clone());
            if spread.hard {
                hard.push(constraint);
            } else {
                state.soft.push(constraint);
            }
        }
        if !state.own
            && let Some(selector) = snapshot.objects.default_selector(pod)
        {
            for (key, skew) in [(HOSTNAME, 3), (ZONE, 5)] {
                let spread = Spread::new(key, skew, false, selector.clone());
                state.soft.push(Constraint::new(snapshot, pod, spread));
            }
        }
        let columns: Vec<Arc<Column>> = hard.iter().map(|c| c.column.clone()).collect();
        state.hard = hard
            .into_iter()
            .map(|constraint| Hard::new(snapshot, pod, nodes, constraint, &columns))
            .collect();
        state
    }

    pub(crate) fn restricts(&self) -> bool {
        !self.hard.is_empty()
    }

    /// A pod comes to (1) or leaves (-1) a node.
    pub(crate) fn count(
        &mut self,
        snapshot: &Snapshot,
        own: &PodInfo,
        nodes: &node_affinity::State,
        other: &PodInfo,
        slot: usize,
        sign: i64,
    ) {
        if self.hard.is_empty() || other.key.namespace != own.key.namespace || other.terminating {
            return;
        }
        let everywhere = |hard: &Hard| hard.constraint.column.at(slot) != ABSENT;
        if !self.hard.iter().all(everywhere) {
            return;
        }
        for hard in &mut self.hard {
            let selector = &hard.constraint.spread.selector;
            if !selector.is_empty()
                && selector.matches(|key| other.labels.get(key))
                && hard.constraint.includes(snapshot, own, nodes, slot)
            {
                hard.change(hard.constraint.column.at(slot), sign);
            }
        }
    }
}

impl Constraint {
    fn new(snapshot: &mut Snapshot, pod: &PodInfo, spread: Spread) -> Self {
        let column = snapshot.column(&spread.topology_key);
        let counts = !spread.selector.is_empty() && !spread.selector.is_nothing();
        let counter = counts.then(|| {
            let who = Who::in_namespace(&pod.key.namespace, spread.selector.clone());
            snapshot.counter(&Matcher {
                all: vec![who],
                live_only: true,
            })
        });
        Self {
            hostname: spread.topology_key == HOSTNAME,
            spread,
            column,
            counter,
        }
    }

    /// Do the pods of a node count?
    fn includes(
        &self,
        snapshot: &Snapshot,
        pod: &PodInfo,
        nodes: &node_affinity::State,
        slot: usize,
    ) -> bool {
        (!self.spread.honor_affinity || !nodes.restricts() || nodes.matches(snapshot, slot))
            && (!self.spread.honor_taints
                || !snapshot.hot(slot).tainted
                || taints::tolerates_all(pod, snapshot.facts(slot)))
    }

    fn pods_on(&self, slot: usize) -> i64 {
        self.counter.as_ref().map_or(0, |counter| counter.at(slot))
    }
}

impl Hard {
    fn new(
        snapshot: &Snapshot,
        pod: &PodInfo,
        nodes: &node_affinity::State,
        constraint: Constraint,
        columns: &[Arc<Column>],
    ) -> Self {
        let mut places = vec![NOWHERE; constraint.column.len()];
        for slot in snapshot.order() {
            let slot = *slot as usize;
            if columns.iter().any(|column| column.at(slot) == ABSENT)
                || !constraint.includes(snapshot, pod, nodes, slot)
            {
                continue;
            }
            let place = &mut places[constraint.column.at(slot) as usize];
            *place = (*place).max(0) + constraint.pods_on(slot);
        }
        let counted = || places.iter().copied().filter(|pods| *pods != NOWHERE);
        let selector = &constraint.spread.selector;
        Self {
            self_match: i64::from(selector.matches(|key| pod.labels.get(key))),
            domains: counted().count(),
            least: counted().min().unwrap_or(NO_PLACE),
            levels: None,
            constraint,
            places,
        }
    }

    fn least(&self) -> i64 {
        if self.domains < self.constraint.spread.min_domains {
            return 0;
        }
        match &self.levels {
            None => self.least,
            Some(levels) => levels.keys().next().copied().unwrap_or(NO_PLACE),
        }
    }

    fn change(&mut self, place: u32, sign: i64) {
        let levels = self.levels.get_or_insert_with(|| {
            let mut levels = BTreeMap::new();
            for pods in self.places.iter().filter(|pods| **pods != NOWHERE) {
                *levels.entry(*pods).or_default() += 1;
            }
            levels
        });
        let pods = &mut self.places[place as usize];
        if *pods == NOWHERE {
            self.domains += 1;
            *pods = 0;
        } else if let Some(count) = levels.get_mut(pods) {
            *count -= 1;
            if *count == 0 {
                levels.remove(pods);
            }
        }
        *pods += sign;
        *levels.entry(*pods).or_default() += 1;
    }
}

pub(super) fn filter(cycle: &Cycle<'_>, view: &View<'_>) -> Option<Against> {
    for hard in &cycle.spread.hard {
        let place = hard.constraint.column.at(view.slot);
        if place == ABSENT {
            return Some(Against::for_good(Reason::SpreadLabel));
        }
        let pods = hard.places[place as usize].max(0);
        let skew = pods + hard.self_match - hard.least();
        if skew > hard.constraint.spread.max_skew {
            return Some(Against::for_now(Reason::Spread));
        }
    }
    None
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "upstream weighs counts by a logarithm and rounds the sum"
)]
pub(super) fn score(cycle: &Cycle<'_>, nodes: &[u32], scores: &mut [i64]) -> bool {
    let state = &cycle.spread;
    if state.soft.is_empty() {
        return false;
    }
    let labelled = |slot: usize| state.soft.iter().all(|c| c.column.at(slot) != ABSENT);
    let ignored = |slot: u32| state.own && !labelled(slot as usize);
    let counted = nodes.iter().filter(|slot| !ignored(**slot)).count();
    let mut sums = vec![0.0; nodes.len()];
    for constraint in &state.soft {
        let column = &constraint.column;
        let mut places: Vec<Option<i64>> = vec![None; column.len()];
        let mut unlabelled = false;
        if !constraint.hostname {
            for slot in nodes.iter().filter(|slot| !ignored(**slot)) {
                match column.at(*slot as usize) {
                    ABSENT => unlabelled = true,
                    place => places[place as usize] = Some(0),
                }
            }
            add_pods(cycle, constraint, &mut places, |slot| {
                !state.own || labelled(slot)
            });
        }
        let size = if constraint.hostname {
            counted
        } else {
            places.iter().flatten().count() + usize::from(unlabelled)
        };
        let weight = ((size + 2) as f64).ln();
        let slack = (constraint.spread.max_skew - 1) as f64;
        for (slot, sum) in nodes.iter().zip(&mut sums) {
            let slot = *slot as usize;
            let place = column.at(slot);
            if place == ABSENT {
                continue;
            }
            let pods = if constraint.hostname {
                constraint.pods_on(slot)
            } else {
                places[place as usize].unwrap_or(0)
            };
            *sum += pods as f64 * weight + slack;
        }
    }
    for ((slot, score), sum) in nodes.iter().zip(scores.iter_mut()).zip(&sums) {
        *score = if ignored(*slot) {
            -1
        } else {
            sum.round() as i64
        };
    }
    invert(scores);
    true
}

/// Adds up the pods of all nodes in the places that candidates are in.
fn add_pods(
    cycle: &Cycle<'_>,
    constraint: &Constraint,
    places: &mut [Option<i64>],
    labelled: impl Fn(usize) -> bool,
) {
    let Some(counter) = &constraint.counter else {
        return;
    };
    if counter.is_empty() {
        return;
    }
    for slot in cycle.snapshot.order() {
        let slot = *slot as usize;
        let pods = counter.at(slot);
        let place = constraint.column.at(slot);
        if pods == 0
            || place == ABSENT
            || !labelled(slot)
            || !constraint.includes(cycle.snapshot, cycle.pod, &cycle.node_affinity, slot)
        {
            continue;
        }
        if let Some(sum) = &mut places[place as usize] {
            *sum += pods;
        }
    }
}

/// Few pods become a high score; -1 (not in the game) becomes 0.
fn invert(scores: &mut [i64]) {
    let valid = || scores.iter().copied().filter(|score| *score >= 0);
    let least = valid().min().unwrap_or(0);
    let most = valid().max().unwrap_or(0);
    for score in scores {
        *score = match *score {
            -1 => 0,
            _ if most == 0 => MAX_SCORE,
            own => MAX_SCORE * (most + least - own) / most,
        };
    }
}
