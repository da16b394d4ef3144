//! Why a pod has no node, in upstream's words.
//!
//! `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s). no new claims
//! to deallocate, preemption: 0/3 nodes are available: …`
//! The claims are those of devices: upstream always asks that plugin before preemption, and a pod
//! that was refused before the search gets its `not found`. People search for the whole text.
//! Source: kubernetes v1.36.3 pkg/scheduler/framework/types.go FitError, plugins/dynamicresources
//! PostFilter; compared with the v1.36.3 binary.

use base::Rng;

use crate::Snapshot;
use crate::decide::cycle::Cycle;
use crate::decide::preempt::{self, Attempt, Preemption};
use crate::plugins::reason::{Against, Tally};
use crate::plugins::row;

const BEFORE: &str = "no new claims to deallocate, preemption:";

/// See the module's header.
#[derive(Debug)]
pub struct Failure {
    /// For the condition and the event.
    pub message: String,
    /// Rows of the plugins that said no, as bits.
    pub plugins: u32,
    /// What becomes of the node that the pod waits for.
    pub nomination: Nomination,
    /// Pods to end for it.
    pub preemption: Option<Preemption>,
}

/// The node that a pod waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nomination {
    /// As before.
    Keep,
    /// None any more.
    Clear,
    /// This one.
    To(String),
}

impl Failure {
    pub(crate) fn no_nodes() -> Self {
        Self {
            message: "no nodes available to schedule pods".to_owned(),
            plugins: 1 << row::NO_NODES,
            nomination: Nomination::Clear,
            preemption: None,
        }
    }

    /// Something is against the pod whatever the node.
    pub(crate) fn before_search(snapshot: &Snapshot, plugin: usize, message: &str) -> Self {
        let nodes = snapshot.len();
        Self {
            message: format!("0/{nodes} nodes are available: {message}. not found"),
            plugins: 1 << plugin,
            nomination: Nomination::Keep,
            preemption: None,
        }
    }
}

/// No node passed; `named`: only nodes that the pod names were looked at.
pub(super) fn of_search(
    cycle: &mut Cycle<'_>,
    against: &[(u32, Against)],
    named: bool,
    rng: &mut Rng,
) -> Failure {
    let nodes = cycle.snapshot.len();
    let mut tally = Tally::default();
    let mut plugins = 0;
    for (_, against) in against {
        tally.add(against);
        plugins |= 1 << against.plugin;
    }
    if named {
        let rest = nodes - against.len().min(nodes);
        tally.add_text("node(s) didn't satisfy plugin(s) [NodeAffinity]", rest);
        plugins |= 1 << row::NODE_AFFINITY;
    }
    let mut message = format!("0/{nodes} nodes are available:");
    let reasons = tally.text(cycle.pod);
    if !reasons.is_empty() {
        message.push_str(&format!(" {reasons}."));
    }
    let (nomination, preemption) = match preempt::attempt(cycle, against, rng) {
        Attempt::NotEligible(why) => {
            message.push_str(&format!(" {BEFORE} {why}"));
            (Nomination::Keep, None)
        }
        Attempt::NotHelpful(why) => {
            message.push_str(&format!(" {BEFORE} {why}"));
            (Nomination::Clear, None)
        }
        Attempt::Victims(preemption) => (Nomination::To(preemption.node.clone()), Some(preemption)),
    };
    Failure {
        message,
        plugins,
        nomination,
        preemption,
    }
}
