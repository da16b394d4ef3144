//! What plugins have against a node, in upstream's words, because people and tools search for
//! them. A search over thousands of nodes carries bits instead of texts.

use std::collections::BTreeMap;

use crate::PodInfo;

macro_rules! reasons {
    ($($name:ident = $text:literal,)*) => {
        /// One thing against a node.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Reason { $($name),* }
        const ALL: &[(Reason, &str)] = &[$((Reason::$name, $text)),*];
    };
}

reasons! {
    Unschedulable = "node(s) were unschedulable",
    NodeName = "node(s) didn't match the requested node name",
    Taint = "node(s) had untolerated taint(s)",
    NodeAffinity = "node(s) didn't match Pod's node affinity/selector",
    Ports = "node(s) didn't have free ports for the requested pod ports",
    TooManyPods = "Too many pods",
    Cpu = "Insufficient cpu",
    Memory = "Insufficient memory",
    EphemeralStorage = "Insufficient ephemeral-storage",
    Disk = "node(s) had no available disk",
    SinglePodClaim = "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod",
    VolumeNodes = "node(s) didn't match PersistentVolume's node affinity",
    NoVolume = "node(s) didn't find available persistent volumes to bind",
    VolumeGone = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)",
    VolumeZone = "node(s) had no available volume zone",
    Spread = "node(s) didn't match pod topology spread constraints",
    SpreadLabel = "node(s) didn't match pod topology spread constraints (missing required label)",
    PodAffinity = "node(s) didn't match pod affinity rules",
    PodAntiAffinity = "node(s) didn't match pod anti-affinity rules",
    OthersAntiAffinity = "node(s) didn't satisfy existing pods anti-affinity rules",
    NoVictims = "No preemption victims found for incoming pod",
    NotHelpful = "Preemption is not helpful for scheduling",
}

/// All that one plugin has against one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Against {
    bits: u32,
    /// By position in the pod's scalar requests.
    scalars: u64,
    /// No pod's end would help.
    pub(crate) unresolvable: bool,
    /// Row of the plugin.
    pub(crate) plugin: usize,
}

impl Against {
    /// Something that the end of pods may change.
    pub(crate) fn for_now(reason: Reason) -> Self {
        Self {
            bits: 1 << reason as u32,
            ..Self::default()
        }
    }

    /// Something that stays whichever pods end.
    pub(crate) fn for_good(reason: Reason) -> Self {
        Self {
            unresolvable: true,
            ..Self::for_now(reason)
        }
    }

    pub(crate) fn add(&mut self, reason: Reason) {
        self.bits |= 1 << reason as u32;
    }

    pub(crate) fn add_scalar(&mut self, position: usize) {
        self.scalars |= 1 << position.min(63);
    }

    /// Nothing is against it.
    pub(crate) fn is_empty(&self) -> bool {
        self.bits == 0 && self.scalars == 0
    }
}

/// Reason → number of nodes.
#[derive(Debug)]
pub(crate) struct Tally {
    nodes: [usize; 32],
    scalars: [usize; 64],
    texts: Vec<(&'static str, usize)>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            nodes: [0; 32],
            scalars: [0; 64],
            texts: Vec::new(),
        }
    }
}

impl Tally {
    pub(crate) fn add(&mut self, against: &Against) {
        let mut bits = against.bits;
        while bits != 0 {
            self.nodes[bits.trailing_zeros() as usize] += 1;
            bits &= bits - 1;
        }
        let mut scalars = against.scalars;
        while scalars != 0 {
            self.scalars[scalars.trailing_zeros() as usize] += 1;
            scalars &= scalars - 1;
        }
    }

    pub(crate) fn add_text(&mut self, text: &'static str, nodes: usize) {
        self.texts.push((text, nodes));
    }

    /// `1 Insufficient cpu, 2 Too many pods`, in upstream's order; empty without reasons.
    pub(crate) fn text(&self, pod: &PodInfo) -> String {
        let mut sums: BTreeMap<String, usize> = BTreeMap::new();
        let mut add = |text: String, nodes: usize| {
            if nodes > 0 {
                *sums.entry(text).or_default() += nodes;
            }
        };
        for (reason, text) in ALL {
            add((*text).to_owned(), self.nodes[*reason as usize]);
        }
        for (name, nodes) in pod.requests.scalars.keys().zip(self.scalars) {
            add(format!("Insufficient {name}"), nodes);
        }
        for (text, nodes) in &self.texts {
            add((*text).to_owned(), *nodes);
        }
        let mut parts: Vec<String> = sums
            .iter()
            .map(|(reason, count)| format!("{count} {reason}"))
            .collect();
        parts.sort();
        parts.join(", ")
    }
}
