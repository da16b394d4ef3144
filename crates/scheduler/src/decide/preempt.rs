//! Which pods of lower priority to end so that a pod fits. Pure.
//!
//! On each node where that could help: take all pods of lower priority away, see whether the pod
//! fits, then give back as many as possible, those that a budget protects and the more important
//! first. Of the nodes, the one that loses least.
//! Source: kubernetes v1.36.3 pkg/scheduler/framework/preemption/preemption.go,
//! framework/plugins/defaultpreemption/default_preemption.go.

use std::cmp::Reverse;
use std::sync::Arc;

use base::Rng;
use jiff::Timestamp;

use crate::decide::cycle::{Cycle, Trial};
use crate::plugins::reason::{Against, Reason, Tally};
use crate::{PodInfo, Snapshot};

/// At least so many percent of the nodes in question are tried.
const CANDIDATES_PERCENT: usize = 10;
/// And at least so many.
const CANDIDATES: usize = 100;

const NEVER: &str = "not eligible due to preemptionPolicy=Never.";
const WAITING: &str = "not eligible due to a terminating pod on the nominated node.";

/// Pods to end on a node.
#[derive(Clone, Debug)]
pub struct Preemption {
    /// Where the pod will fit.
    pub node: String,
    /// The most important first.
    pub victims: Vec<Arc<PodInfo>>,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Attempt {
    NotEligible(&'static str),
    NotHelpful(String),
    Victims(Preemption),
}

struct Candidate {
    slot: usize,
    victims: Vec<Arc<PodInfo>>,
    violations: usize,
}

pub(super) fn attempt(cycle: &mut Cycle<'_>, against: &[(u32, Against)], rng: &mut Rng) -> Attempt {
    if let Err(why) = eligible(cycle, against) {
        return Attempt::NotEligible(why);
    }
    let nodes = cycle.snapshot.len();
    let mut potential = against.iter().filter(|(_, against)| !against.unresolvable);
    let potential: Vec<u32> = potential.by_ref().map(|(slot, _)| *slot).collect();
    let mut tally = Tally::default();
    let mut tried = 0;
    let mut candidates: Vec<Candidate> = Vec::new();
    if !potential.is_empty() {
        let wanted = (potential.len() * CANDIDATES_PERCENT / 100).max(CANDIDATES);
        let wanted = wanted.min(potential.len());
        let offset = rng.below(u64::try_from(potential.len()).unwrap_or(1));
        let offset = usize::try_from(offset).unwrap_or(0);
        let (tail, head) = potential.split_at(offset);
        let mut clean = false;
        for slot in head.iter().chain(tail) {
            match dry_run(cycle, *slot as usize) {
                Ok(candidate) => {
                    clean |= candidate.violations == 0;
                    candidates.push(candidate);
                    if clean && candidates.len() >= wanted {
                        break;
                    }
                }
                Err(against) => {
                    tried += 1;
                    tally.add(&against);
                }
            }
        }
    }
    match best(candidates) {
        Some(best) => Attempt::Victims(Preemption {
            node: cycle.snapshot.facts(best.slot).name.clone(),
            victims: best.victims,
        }),
        None => {
            tally.add_text("Preemption is not helpful for scheduling", nodes - tried);
            Attempt::NotHelpful(format!(
                "0/{nodes} nodes are available: {}.",
                tally.text(cycle.pod)
            ))
        }
    }
}

/// May the pod end others now?
fn eligible(cycle: &Cycle<'_>, against: &[(u32, Against)]) -> Result<(), &'static str> {
    if cycle.pod.never_preempts {
        return Err(NEVER);
    }
    let Some(slot) = cycle.waits_for() else {
        return Ok(());
    };
    let hopeless = |(own, against): &(u32, Against)| *own == slot && against.unresolvable;
    if against.iter().any(hopeless) {
        return Ok(());
    }
    let going = |other: &Arc<PodInfo>| {
        other.priority < cycle.pod.priority && other.terminating && other.preempted
    };
    if cycle.snapshot.load(slot as usize).pods.iter().any(going) {
        return Err(WAITING);
    }
    Ok(())
}

/// The fewest victims on a node, or what is against it even without them.
fn dry_run(cycle: &mut Cycle<'_>, slot: usize) -> Result<Candidate, Against> {
    let snapshot = cycle.snapshot;
    let priority = cycle.pod.priority;
    if snapshot.hot(slot).least_priority >= priority {
        return Err(Against::for_good(Reason::NoVictims));
    }
    let pods = snapshot.load(slot).pods.iter();
    let mut lower: Vec<&Arc<PodInfo>> = pods.filter(|other| other.priority < priority).collect();
    let mut trial = Trial::of(snapshot, slot);
    for other in &lower {
        cycle.remove(&mut trial, other);
    }
    let mut victims = Vec::new();
    let mut violations = 0;
    let against = cycle.check_trial(&mut trial);
    if against.is_none() {
        lower.sort_by_key(|other| importance(other));
        let (protected, free) = by_budget(cycle.snapshot, &lower);
        let count = protected.len();
        for (at, other) in protected.into_iter().chain(free).enumerate() {
            cycle.add(&mut trial, other);
            if cycle.check_trial(&mut trial).is_some() {
                cycle.remove(&mut trial, other);
                violations += usize::from(at < count);
                victims.push(other);
            }
        }
        lower.clone_from(&victims);
    }
    // The sums by place are the whole decision's: those that were taken away come back.
    for other in &lower {
        cycle.count(other, slot, 1);
    }
    match against {
        Some(against) => Err(against),
        // Cannot be: the node was refused with all of its pods.
        None if victims.is_empty() => Err(Against::for_good(Reason::NoVictims)),
        None => {
            victims.sort_by_key(|other| importance(other));
            Ok(Candidate {
                slot,
                victims: victims.into_iter().cloned().collect(),
                violations,
            })
        }
    }
}

/// The more important first: higher priority, then longer running.
fn importance(pod: &PodInfo) -> (Reverse<i64>, Timestamp) {
    (Reverse(pod.priority), started(pod))
}

fn started(pod: &PodInfo) -> Timestamp {
    pod.started.unwrap_or(Timestamp::MAX)
}

/// Those whose end a disruption budget forbids, and the others.
fn by_budget<'a>(
    snapshot: &Snapshot,
    pods: &[&'a Arc<PodInfo>],
) -> (Vec<&'a Arc<PodInfo>>, Vec<&'a Arc<PodInfo>>) {
    if snapshot.objects.budgets.is_empty() {
        return (Vec::new(), pods.to_vec());
    }
    let budgets: Vec<_> = snapshot.objects.budgets.iter().collect();
    let mut allowed: Vec<i64> = budgets.iter().map(|(_, budget)| budget.allowed).collect();
    pods.iter().copied().partition(|pod| {
        let mut forbidden = false;
        if pod.labels.is_empty() {
            return false;
        }
        for ((key, budget), allowed) in budgets.iter().zip(&mut allowed) {
            if key.namespace != pod.key.namespace
                || budget.selector.is_empty()
                || !budget.selector.matches(|label| pod.labels.get(label))
                || budget.disrupted.contains(&pod.key.name)
            {
                continue;
            }
            *allowed -= 1;
            forbidden |= *allowed < 0;
        }
        forbidden
    })
}

/// Fewest broken budgets, lowest highest priority, lowest sum of priorities, fewest pods, latest
/// start of the highest; then the first.
fn best(candidates: Vec<Candidate>) -> Option<Candidate> {
    candidates.into_iter().min_by_key(|candidate| {
        let victims = &candidate.victims;
        let highest = victims.iter().map(|pod| pod.priority).max().unwrap_or(0);
        // Shifted, so that few negative priorities do not weigh more than many.
        let sum: i128 = victims
            .iter()
            .map(|pod| i128::from(pod.priority) + (1 << 31))
            .sum();
        let earliest = victims
            .iter()
            .filter(|pod| pod.priority == highest)
            .map(|pod| started(pod))
            .min();
        (
            candidate.violations,
            highest,
            sum,
            victims.len(),
            Reverse(earliest),
        )
    })
}
