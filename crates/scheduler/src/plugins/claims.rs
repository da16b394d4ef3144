//! Claims of a pod: all there and bound, and their volumes reachable from the node.
//!
//! Knows no provisioning: a claim that waits for its first consumer and has no volume keeps its
//! pod pending with upstream's reason.
//! Source: kubernetes v1.36.3 pkg/scheduler/framework/plugins/{volumebinding,volumezone,
//! volumerestrictions}.

use client::Key;

use crate::decide::{Cycle, View};
use crate::plugins::reason::Reason;
use crate::plugins::{Against, row};
use crate::pod::NodeTerm;
use crate::snapshot::{Claim, Volume};
use crate::{PodInfo, Snapshot};

/// What is worked out once a decision.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Node terms of the volumes that have some.
    nodes: Vec<Vec<NodeTerm>>,
    zones: Vec<(String, Vec<String>)>,
    gone: bool,
    unbound: bool,
}

/// A pod that no node can take: the plugin's row and its words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) plugin: usize,
    pub(crate) message: String,
}

impl State {
    pub(crate) fn new(snapshot: &Snapshot, pod: &PodInfo) -> Result<Self, Refusal> {
        let objects = &snapshot.objects;
        let refuse = |plugin, message| Err(Refusal { plugin, message });
        let mut claims: Vec<&Claim> = Vec::new();
        for own in &pod.claims {
            let name = &own.name;
            let key = Key::new(pod.key.namespace.clone(), name.clone());
            let Some(claim) = objects.claims.get(&key) else {
                if own.ephemeral {
                    let what = "waiting for ephemeral volume controller to create the";
                    let message = format!("{what} persistentvolumeclaim {name:?}");
                    return refuse(row::VOLUME_BINDING, message);
                }
                let message = format!("persistentvolumeclaim {name:?} not found");
                return refuse(row::VOLUME_RESTRICTIONS, message);
            };
            let wrong = if claim.lost {
                let volume = &claim.volume;
                format!(
                    "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"
                )
            } else if claim.terminating {
                format!("persistentvolumeclaim {name:?} is being deleted")
            } else if own.ephemeral && claim.owner_uid != pod.uid {
                let (namespace, pod) = (&pod.key.namespace, &pod.key.name);
                format!(
                    "PVC {namespace}/{name} was not created for pod {namespace}/{pod} (pod is not owner)"
                )
            } else {
                claims.push(claim);
                continue;
            };
            return refuse(row::VOLUME_BINDING, wrong);
        }
        let delayed = |claim: &Claim| {
            let class = objects.classes.get(&claim.class);
            claim.volume.is_empty() && class.is_some_and(|class| class.delayed == Some(true))
        };
        if claims.iter().any(|claim| !claim.bound && !delayed(claim)) {
            let message = "pod has unbound immediate PersistentVolumeClaims";
            return refuse(row::VOLUME_BINDING, message.to_owned());
        }
        let mut state = Self::default();
        for claim in claims {
            if !claim.bound {
                state.unbound = true;
                continue;
            }
            match objects.volumes.get(&claim.volume) {
                Some(Volume { nodes, zones }) => {
                    state.nodes.extend(nodes.clone());
                    state.zones.extend(zones.iter().cloned());
                }
                None => state.gone = true,
            }
        }
        Ok(state)
    }

    pub(crate) fn concerns(&self) -> bool {
        self.gone || self.unbound || !self.nodes.is_empty()
    }

    pub(crate) fn has_zones(&self) -> bool {
        !self.zones.is_empty()
    }

    pub(crate) fn zones(&self) -> impl Iterator<Item = &(String, Vec<String>)> {
        self.zones.iter()
    }
}

pub(super) fn filter(cycle: &Cycle<'_>, view: &View<'_>) -> Option<Against> {
    let state = &cycle.claims;
    let node = view.facts();
    let mut against = Against::default();
    against.unresolvable = true;
    let reaches = |terms: &Vec<NodeTerm>| {
        let mut terms = terms.iter();
        terms.any(|term| term.matches(&node.name, &node.labels))
    };
    if !state.nodes.iter().all(reaches) {
        against.add(Reason::VolumeNodes);
    }
    if state.unbound {
        against.add(Reason::NoVolume);
    }
    if state.gone {
        against.add(Reason::VolumeGone);
    }
    (!against.is_empty()).then_some(against)
}
