//! Whether an event can help a pod against the plugins that refused it.
//!
//! A pod that no event helps stays where it is: with 5,000 pods waiting for CPU, a new label on
//! a node costs nothing.
//! Source: kubernetes v1.36.3, EventsToRegister and isSchedulableAfter… of
//! pkg/scheduler/framework/plugins.

use crate::plugins::{fit, row, taints};
use crate::pod::{PodTerm, Who};
use crate::{Labels, NodeInfo, PodInfo};

/// Something that changed in the cluster.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A node appeared.
    NodeAdded(&'a NodeInfo),
    /// A node changed.
    NodeUpdated(&'a NodeInfo, &'a NodeInfo),
    /// A node went.
    NodeRemoved(&'a NodeInfo),
    /// A pod came to a node.
    PodAdded(&'a PodInfo),
    /// A pod on a node changed.
    PodUpdated(&'a PodInfo, &'a PodInfo),
    /// A pod left its node, or gave up the node it waited for.
    PodRemoved(&'a PodInfo),
    /// A claim, a volume or a class appeared or changed.
    Storage,
}

const fn bit(row: usize) -> u32 {
    1 << row
}

const VOLUMES: u32 =
    bit(row::VOLUME_RESTRICTIONS) | bit(row::VOLUME_BINDING) | bit(row::VOLUME_ZONE);

/// The plugins whose refusal such an event may lift, as bits.
pub(super) fn interested(event: &Event<'_>) -> u32 {
    let places = bit(row::SPREAD) | bit(row::POD_AFFINITY);
    let node = bit(row::NODE_UNSCHEDULABLE)
        | bit(row::TAINT_TOLERATION)
        | bit(row::NODE_AFFINITY)
        | bit(row::FIT)
        | bit(row::VOLUME_BINDING)
        | bit(row::VOLUME_ZONE)
        | places;
    match event {
        Event::NodeAdded(_) => {
            node | bit(row::NODE_NAME)
                | bit(row::NODE_PORTS)
                | bit(row::VOLUME_RESTRICTIONS)
                | bit(row::NO_NODES)
        }
        Event::NodeUpdated(..) => node,
        Event::NodeRemoved(_) => bit(row::SPREAD),
        Event::PodAdded(_) => places,
        Event::PodUpdated(..) => places | bit(row::FIT),
        Event::PodRemoved(_) => {
            places | bit(row::FIT) | bit(row::NODE_PORTS) | bit(row::VOLUME_RESTRICTIONS)
        }
        Event::Storage => VOLUMES,
    }
}

/// Does the event help `pod` against one of the plugins (bits)?
pub(super) fn helps(event: &Event<'_>, plugins: u32, pod: &PodInfo) -> bool {
    let against = |row| plugins & bit(row) != 0;
    match *event {
        Event::NodeAdded(node) => {
            against(row::NODE_NAME)
                || against(row::NODE_PORTS)
                || against(row::NO_NODES)
                || plugins & VOLUMES != 0
                || node_helps(None, node, plugins, pod)
        }
        Event::NodeUpdated(old, new) => node_helps(Some(old), new, plugins, pod),
        Event::NodeRemoved(node) => against(row::SPREAD) && has_keys(pod, &node.labels),
        Event::PodAdded(other) => {
            (against(row::SPREAD) && counts(pod, other))
                || (against(row::POD_AFFINITY) && wanted_by(pod, other))
        }
        Event::PodUpdated(old, new) => {
            let relabelled = old.labels != new.labels;
            (against(row::FIT) && new.requests.freed(&old.requests, &pod.requests))
                || (against(row::SPREAD) && relabelled && counts(pod, old) != counts(pod, new))
                || (against(row::POD_AFFINITY)
                    && relabelled
                    && ((!wanted_by(pod, old) && wanted_by(pod, new))
                        || (avoided_by(pod, old) && !avoided_by(pod, new))))
        }
        Event::PodRemoved(other) => {
            against(row::FIT)
                || (against(row::NODE_PORTS) && ports_clash(pod, other))
                || (against(row::VOLUME_RESTRICTIONS) && shares_storage(pod, other))
                || (against(row::SPREAD) && counts(pod, other))
                || (against(row::POD_AFFINITY)
                    && (avoided_by(pod, other) || avoided_by(other, pod)))
        }
        Event::Storage => plugins & VOLUMES != 0,
    }
}

/// Does a change of the pod itself help it?
pub(super) fn helps_itself(plugins: u32, old: &PodInfo, new: &PodInfo) -> bool {
    let against = |row| plugins & bit(row) != 0;
    let tolerates = old.tolerations != new.tolerations;
    let relabelled = old.labels != new.labels;
    (tolerates && against(row::TAINT_TOLERATION))
        || (tolerates && against(row::NODE_UNSCHEDULABLE) && taints::tolerates_cordon(new))
        || (tolerates && against(row::SPREAD) && new.spread.iter().any(|s| s.honor_taints))
        || (relabelled && against(row::SPREAD))
        || (relabelled && against(row::POD_AFFINITY))
        || (against(row::FIT) && new.requests.freed(&old.requests, &old.requests))
}

fn node_helps(old: Option<&NodeInfo>, new: &NodeInfo, plugins: u32, pod: &PodInfo) -> bool {
    let against = |row| plugins & bit(row) != 0;
    let relabelled = old.is_none_or(|old| old.labels != new.labels);
    let open = |node: &NodeInfo| !node.unschedulable;
    let tolerated = |node: &NodeInfo| taints::tolerates_all(pod, node);
    let matches = |node: &NodeInfo| selects(pod, node);
    let becomes = |holds: &dyn Fn(&NodeInfo) -> bool| holds(new) && !old.is_some_and(holds);
    (against(row::NODE_UNSCHEDULABLE) && becomes(&open))
        || (against(row::TAINT_TOLERATION) && becomes(&tolerated))
        || (against(row::NODE_AFFINITY) && becomes(&matches))
        || (against(row::FIT) && room_grows(old, new, pod))
        || (relabelled && (against(row::VOLUME_BINDING) || against(row::VOLUME_ZONE)))
        || (against(row::SPREAD) && spread_changes(old, new, pod))
        || (against(row::POD_AFFINITY) && places_change(old, new, pod))
}

fn selects(pod: &PodInfo, node: &NodeInfo) -> bool {
    let selector = &pod.node_selector;
    selector
        .iter()
        .all(|(key, value)| node.labels.get(key) == Some(value))
        && pod.required_affinity.as_ref().is_none_or(|terms| {
            let mut terms = terms.iter();
            terms.any(|term| term.matches(&node.name, &node.labels))
        })
}

fn room_grows(old: Option<&NodeInfo>, new: &NodeInfo, pod: &PodInfo) -> bool {
    fit::fits_empty(pod, new)
        && old.is_none_or(|old| {
            new.allowed_pods > old.allowed_pods
                || old.allocatable.freed(&new.allocatable, &pod.requests)
        })
}

fn has_keys(pod: &PodInfo, labels: &Labels) -> bool {
    let mut hard = pod.spread.iter().filter(|spread| spread.hard);
    hard.all(|spread| labels.get(&spread.topology_key).is_some())
}

fn spread_changes(old: Option<&NodeInfo>, new: &NodeInfo, pod: &PodInfo) -> bool {
    let Some(old) = old else {
        return has_keys(pod, &new.labels);
    };
    let before = has_keys(pod, &old.labels);
    let moved = |spread: &crate::Spread| {
        old.labels.get(&spread.topology_key) != new.labels.get(&spread.topology_key)
    };
    before != has_keys(pod, &new.labels)
        || (before && (pod.spread.iter().any(moved) || old.taints != new.taints))
}

fn places_change(old: Option<&NodeInfo>, new: &NodeInfo, pod: &PodInfo) -> bool {
    let Some(affinity) = &pod.affinity else {
        // Refused by other pods' anti-affinity: any move of nodes may help.
        return old.is_none_or(|old| old.labels != new.labels);
    };
    let value = |node: &NodeInfo, term: &PodTerm| {
        let value = node.labels.get(&term.topology_key);
        value.map(str::to_owned)
    };
    let Some(old) = old else {
        let reachable = |term| value(new, term).is_some();
        return !affinity.required_anti.is_empty() || affinity.required.iter().any(reachable);
    };
    let moved = |term: &PodTerm| value(old, term) != value(new, term);
    affinity
        .required
        .iter()
        .any(|term| moved(term) && value(new, term).is_some())
        || affinity
            .required_anti
            .iter()
            .any(|term| moved(term) && value(old, term).is_some())
}

/// Does the pod's spreading count the other one?
fn counts(pod: &PodInfo, other: &PodInfo) -> bool {
    pod.key.namespace == other.key.namespace
        && pod
            .spread
            .iter()
            .any(|spread| spread.hard && spread.selector.matches(|key| other.labels.get(key)))
}

/// Namespaces by label are taken to match: a needless try costs less than a forgotten pod.
fn speaks_of(who: &Who, other: &PodInfo) -> bool {
    (!who.namespace_selector.is_nothing() || who.namespaces.contains(&other.key.namespace))
        && who.selector.matches(|key| other.labels.get(key))
}

fn wanted_by(pod: &PodInfo, other: &PodInfo) -> bool {
    pod.affinity.as_ref().is_some_and(|affinity| {
        !affinity.required.is_empty()
            && affinity
                .required
                .iter()
                .all(|term| speaks_of(&term.who, other))
    })
}

fn avoided_by(pod: &PodInfo, other: &PodInfo) -> bool {
    pod.affinity.as_ref().is_some_and(|affinity| {
        let mut terms = affinity.required_anti.iter();
        terms.any(|term| speaks_of(&term.who, other))
    })
}

fn ports_clash(pod: &PodInfo, other: &PodInfo) -> bool {
    let clash = |port| other.host_ports.iter().any(|used| used.conflicts(port));
    pod.host_ports.iter().any(clash)
}

fn shares_storage(pod: &PodInfo, other: &PodInfo) -> bool {
    let claim = |claim| other.claims.contains(claim);
    let disk = |disk: &crate::Disk| other.disks.iter().any(|own| own.conflicts(disk));
    (pod.key.namespace == other.key.namespace && pod.claims.iter().any(claim))
        || pod.disks.iter().any(disk)
}
