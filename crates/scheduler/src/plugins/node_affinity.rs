//! Node name, node selector and node affinity, compiled to comparisons of small numbers.
//!
//! Source: kubernetes v1.36.3 pkg/scheduler/framework/plugins/{nodename,nodeaffinity}.

use std::sync::Arc;

use crate::decide::{Cycle, View};
use crate::plugins::reason::Reason;
use crate::plugins::{Against, normalize};
use crate::pod::{NodeTerm, Operator, Requirement};
use crate::snapshot::{ABSENT, Column};
use crate::{PodInfo, Snapshot};

pub(super) fn node_name(cycle: &Cycle<'_>, view: &View<'_>) -> Option<Against> {
    let other = cycle.pod.node_name != view.facts().name;
    other.then(|| Against::for_good(Reason::NodeName))
}

/// What is worked out once a decision.
#[derive(Debug, Default)]
pub(crate) struct State {
    selector: Vec<Test>,
    required: Option<Vec<Term>>,
    preferred: Vec<(i64, Term)>,
}

#[derive(Debug)]
struct Term {
    labels: Vec<Test>,
    names: Vec<Requirement>,
    empty: bool,
}

#[derive(Debug)]
struct Test {
    column: Arc<Column>,
    holds: Holds,
}

#[derive(Debug)]
enum Holds {
    In(Vec<u32>),
    NotIn(Vec<u32>),
    Exists,
    Absent,
    Among(Vec<bool>),
}

impl State {
    pub(crate) fn new(snapshot: &mut Snapshot, pod: &PodInfo) -> Self {
        let mut term = |term: &NodeTerm| Term {
            labels: term.labels.iter().map(|r| Test::new(snapshot, r)).collect(),
            names: term.fields.clone(),
            empty: term.labels.is_empty() && term.fields.is_empty(),
        };
        let preferred = pod.preferred_affinity.iter();
        let preferred = preferred
            .map(|(weight, own)| (*weight, term(own)))
            .collect();
        let required = pod.required_affinity.as_ref();
        let required = required.map(|terms| terms.iter().map(&mut term).collect());
        let selector = pod.node_selector.iter().map(|(key, value)| {
            let column = snapshot.column(key);
            let holds = Holds::In(column.id(value).into_iter().collect());
            Test { column, holds }
        });
        Self {
            selector: selector.collect(),
            required,
            preferred,
        }
    }

    pub(crate) fn restricts(&self) -> bool {
        !self.selector.is_empty() || self.required.is_some()
    }

    /// Do selector and required affinity match the node?
    pub(crate) fn matches(&self, snapshot: &Snapshot, slot: usize) -> bool {
        self.selector.iter().all(|test| test.matches(slot))
            && self
                .required
                .as_ref()
                .is_none_or(|terms| terms.iter().any(|term| term.matches(snapshot, slot)))
    }
}

impl Term {
    fn matches(&self, snapshot: &Snapshot, slot: usize) -> bool {
        !self.empty
            && self.labels.iter().all(|test| test.matches(slot))
            && self
                .names
                .iter()
                .all(|r| r.holds_for_name(&snapshot.facts(slot).name))
    }
}

impl Test {
    fn new(snapshot: &mut Snapshot, requirement: &Requirement) -> Self {
        let column = snapshot.column(&requirement.key);
        let listed = || {
            let values = requirement.values.iter();
            values.filter_map(|value| column.id(value)).collect()
        };
        let holds = match requirement.operator {
            Operator::In => Holds::In(listed()),
            Operator::NotIn => Holds::NotIn(listed()),
            Operator::Exists => Holds::Exists,
            Operator::DoesNotExist => Holds::Absent,
            Operator::Gt | Operator::Lt | Operator::Unknown => {
                let mut among = vec![false; column.len()];
                for (value, id) in column.values() {
                    among[id as usize] = requirement.holds(Some(value));
                }
                Holds::Among(among)
            }
        };
        Self { column, holds }
    }

    fn matches(&self, slot: usize) -> bool {
        let value = self.column.at(slot);
        match &self.holds {
            Holds::In(ids) => ids.contains(&value),
            Holds::NotIn(ids) => !ids.contains(&value),
            Holds::Exists => value != ABSENT,
            Holds::Absent => value == ABSENT,
            Holds::Among(mask) => mask.get(value as usize).copied().unwrap_or(false),
        }
    }
}

pub(super) fn filter(cycle: &Cycle<'_>, view: &View<'_>) -> Option<Against> {
    let matches = cycle.node_affinity.matches(cycle.snapshot, view.slot);
    (!matches).then(|| Against::for_good(Reason::NodeAffinity))
}

/// The sum of the weights of the preferred terms that match.
pub(super) fn score(cycle: &Cycle<'_>, nodes: &[u32], scores: &mut [i64]) -> bool {
    let preferred = &cycle.node_affinity.preferred;
    if preferred.is_empty() {
        return false;
    }
    for (slot, score) in nodes.iter().zip(scores.iter_mut()) {
        let matching = preferred
            .iter()
            .filter(|(_, term)| term.matches(cycle.snapshot, *slot as usize));
        *score = matching.map(|(weight, _)| weight).sum();
    }
    normalize(scores, false);
    true
}

/// The nodes that a pod names, when each of its required terms names some. Such pods (those of
/// DaemonSets) need no search. An empty list: its terms contradict each other.
pub(crate) fn named(pod: &PodInfo) -> Option<Vec<String>> {
    let terms = pod.required_affinity.as_ref()?;
    let mut names: Option<Vec<String>> = None;
    for term in terms {
        let mut own: Option<Vec<String>> = None;
        let by_name = |r: &&Requirement| r.key == "metadata.name" && r.operator == Operator::In;
        for requirement in term.fields.iter().filter(by_name) {
            match &mut own {
                None => own = Some(requirement.values.clone()),
                Some(own) => own.retain(|name| requirement.values.contains(name)),
            }
        }
        names.get_or_insert_default().extend(own?);
    }
    if let Some(names) = &mut names {
        names.sort();
        names.dedup();
    }
    names
}
