//! The decision for one pod. Pure.
//!
//! prepare what plugins need → filter nodes until enough fit → score those → the best; when
//! none fits, look for pods of lower priority whose end would help ([`preempt`]).
//! Source: kubernetes v1.36.3 pkg/scheduler/schedule_one.go.

mod cycle;
mod failure;
mod preempt;

pub(crate) use cycle::{Cycle, View};
pub use failure::{Failure, Nomination};
pub use preempt::Preemption;

use base::Rng;

use crate::decide::cycle::Refused;
use crate::plugins::Against;
use crate::{PLUGINS, PodInfo, Snapshot};

/// Below so many nodes all are looked at.
const LEAST_CANDIDATES: usize = 100;
/// Percent of nodes that must fit at least before the search ends.
const LEAST_PERCENT: usize = 5;

/// Where a pod goes, or why nowhere.
#[derive(Debug)]
pub enum Decision {
    /// Bind to this node.
    Node(String),
    /// No node takes it now.
    Unschedulable(Box<Failure>),
}

impl std::fmt::Display for Decision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(node) => f.write_str(node),
            Self::Unschedulable(failure) => f.write_str(&failure.message),
        }
    }
}

/// What the search found.
#[derive(Debug, Default)]
struct Search {
    fit: Vec<u32>,
    against: Vec<(u32, Against)>,
}

/// Chooses among the nodes that pass all filters the one with the highest sum of scores; equal
/// sums are decided by `rng`.
pub fn decide(snapshot: &mut Snapshot, pod: &PodInfo, rng: &mut Rng) -> Decision {
    if snapshot.is_empty() {
        return Decision::Unschedulable(Box::new(Failure::no_nodes()));
    }
    snapshot.prepare();
    let refused = match Cycle::new(snapshot, pod) {
        Ok((mut cycle, only)) => {
            let mut search = Search::default();
            let at = cycle.waits_for();
            if let Some(slot) = at {
                search_in(&mut cycle, &[slot], 0, 1, &mut search);
                if search.fit.is_empty() {
                    search = Search::default();
                }
            }
            let named = only.is_some();
            if search.fit.is_empty() {
                let all = cycle.snapshot;
                let nodes = only.as_deref().unwrap_or(all.order());
                let enough = enough(nodes.len());
                search_in(&mut cycle, nodes, all.cursor, enough, &mut search);
            }
            let looked_at = search.fit.len() + search.against.len();
            let decision = match best(&cycle, &search.fit, rng) {
                Some(slot) => Decision::Node(cycle.snapshot.facts(slot).name.clone()),
                None => {
                    let failure = failure::of_search(&mut cycle, &search.against, named, rng);
                    Decision::Unschedulable(Box::new(failure))
                }
            };
            drop(cycle);
            snapshot.cursor = (snapshot.cursor + looked_at) % snapshot.len();
            return decision;
        }
        Err(refused) => refused,
    };
    let Refused { plugin, message } = refused;
    let failure = Failure::before_search(snapshot, plugin, &message);
    Decision::Unschedulable(Box::new(failure))
}

/// How many fitting nodes end the search: fewer percent the more nodes there are.
fn enough(nodes: usize) -> usize {
    if nodes < LEAST_CANDIDATES {
        return nodes;
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(LEAST_PERCENT);
    (nodes * percent / 100).max(LEAST_CANDIDATES)
}

fn search_in(
    cycle: &mut Cycle<'_>,
    nodes: &[u32],
    start: usize,
    enough: usize,
    found: &mut Search,
) {
    let start = if nodes.is_empty() {
        0
    } else {
        start % nodes.len()
    };
    for slot in nodes[start..].iter().chain(&nodes[..start]) {
        match cycle.check(*slot as usize) {
            Some(against) => found.against.push((*slot, against)),
            None => {
                found.fit.push(*slot);
                if found.fit.len() >= enough {
                    break;
                }
            }
        }
    }
}

fn best(cycle: &Cycle<'_>, fit: &[u32], rng: &mut Rng) -> Option<usize> {
    if let [only] = fit {
        return Some(*only as usize);
    }
    let mut sums = vec![0; fit.len()];
    let mut scores = vec![0; fit.len()];
    for plugin in PLUGINS {
        let Some(score) = plugin.score else { continue };
        scores.fill(0);
        if score(cycle, fit, &mut scores) {
            for (sum, score) in sums.iter_mut().zip(&scores) {
                *sum += plugin.weight * score;
            }
        }
    }
    let mut best = None;
    let mut equal = 1_u64;
    for (slot, sum) in fit.iter().zip(sums) {
        match best {
            Some((_, highest)) if sum < highest => {}
            // Reservoir sampling keeps each of the equal nodes with the same chance.
            Some((_, highest)) if sum == highest => {
                equal += 1;
                if rng.below(equal) == 0 {
                    best = Some((*slot as usize, sum));
                }
            }
            _ => {
                equal = 1;
                best = Some((*slot as usize, sum));
            }
        }
    }
    best.map(|(slot, _)| slot)
}

#[cfg(test)]
mod tests;
