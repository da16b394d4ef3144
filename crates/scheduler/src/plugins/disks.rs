//! Disks that two pods cannot share on a node, and claims that only one pod may use at all.
//! Source: kubernetes v1.36.3 pkg/scheduler/framework/plugins/volumerestrictions.

use std::collections::HashSet;

use client::Key;

use crate::decide::{Cycle, View};
use crate::plugins::Against;
use crate::plugins::reason::Reason;
use crate::{PodInfo, Snapshot};

/// What is worked out once a decision.
#[derive(Debug, Default)]
pub(crate) struct State {
    single_pod: HashSet<String>,
    conflicts: i64,
}

impl State {
    pub(crate) fn new(snapshot: &Snapshot, pod: &PodInfo) -> Self {
        let mut state = Self::default();
        for claim in pod.claims.iter().filter(|claim| !claim.ephemeral) {
            let key = Key::new(pod.key.namespace.clone(), claim.name.clone());
            let known = snapshot.objects.claims.get(&key);
            if known.is_some_and(|known| known.single_pod)
                && state.single_pod.insert(claim.name.clone())
                && snapshot.claim_is_used(&key)
            {
                state.conflicts += 1;
            }
        }
        state
    }

    pub(crate) fn concerns(&self, pod: &PodInfo) -> bool {
        !pod.disks.is_empty() || self.conflicts > 0
    }

    /// A pod comes to (1) or leaves (-1) some node.
    pub(crate) fn count(&mut self, own: &PodInfo, other: &PodInfo, sign: i64) {
        if self.single_pod.is_empty() || own.key.namespace != other.key.namespace {
            return;
        }
        let shared = |claim: &&crate::pod::ClaimName| self.single_pod.contains(&claim.name);
        let shared = other.claims.iter().filter(shared).count();
        self.conflicts += sign * i64::try_from(shared).unwrap_or(0);
    }
}

pub(super) fn filter(cycle: &Cycle<'_>, view: &View<'_>) -> Option<Against> {
    let taken = |disk: &crate::pod::Disk| {
        let others = &view.uses.disks;
        others.iter().any(|other| disk.conflicts(other))
    };
    if cycle.pod.disks.iter().any(taken) {
        return Some(Against::for_now(Reason::Disk));
    }
    (cycle.disks.conflicts > 0).then(|| Against::for_now(Reason::SinglePodClaim))
}
