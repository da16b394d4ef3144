//! Random worlds against a naive model: the definitions of the API, one pod and node at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::testing::{node, pod};
use crate::{NodeInfo, PodTerm};

/// Nodes and pods as plain lists.
#[derive(Default)]
struct Model {
    nodes: Vec<NodeInfo>,
    pods: Vec<PodInfo>,
}

impl Model {
    fn on<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a PodInfo> {
        self.pods.iter().filter(move |pod| pod.node_name == name)
    }

    fn node(&self, name: &str) -> &NodeInfo {
        self.nodes.iter().find(|node| node.name == name).unwrap()
    }

    /// Is there a pod that all `terms` speak of, at the same place as `node` by the first's key?
    fn near(&self, node: &NodeInfo, key: &str, holds: impl Fn(&PodInfo) -> bool) -> bool {
        let place = node.labels.get(key);
        place.is_some()
            && self
                .pods
                .iter()
                .any(|pod| self.node(&pod.node_name).labels.get(key) == place && holds(pod))
    }

    fn feasible(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        let sum = |amount: fn(&PodInfo) -> i64| self.on(&node.name).map(amount).sum::<i64>();
        let over = |wanted, used, total| wanted > 0 && wanted + used > total;
        let count = i64::try_from(self.on(&node.name).count()).unwrap();
        let allocatable = &node.allocatable;
        if over(
            pod.requests.millicores,
            sum(|p| p.requests.millicores),
            allocatable.millicores,
        ) || over(
            pod.requests.memory_bytes,
            sum(|p| p.requests.memory_bytes),
            allocatable.memory_bytes,
        ) || count + 1 > node.allowed_pods
            || (node.unschedulable && pod.tolerations.is_empty())
        {
            return false;
        }
        let tolerated = |taint: &crate::Taint| {
            let by = |t: &crate::Toleration| t.key == taint.key || t.key.is_empty();
            taint.effect == crate::Effect::PreferNoSchedule || pod.tolerations.iter().any(by)
        };
        let selected = pod
            .node_selector
            .iter()
            .all(|(key, value)| node.labels.get(key) == Some(value));
        if !node.taints.iter().all(tolerated) || !selected {
            return false;
        }
        self.friends(pod, node) && self.spread(pod, node)
    }

    fn friends(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        let none = crate::Labels::default();
        let speaks = |term: &PodTerm, other: &PodInfo| {
            term.who.matches(&other.key.namespace, &none, &other.labels)
        };
        for other in &self.pods {
            for term in other.affinity.iter().flat_map(|own| &own.required_anti) {
                let place = self.node(&other.node_name).labels.get(&term.topology_key);
                if speaks(term, pod)
                    && place.is_some()
                    && place == node.labels.get(&term.topology_key)
                {
                    return false;
                }
            }
        }
        let Some(own) = &pod.affinity else {
            return true;
        };
        for term in &own.required_anti {
            if self.near(node, &term.topology_key, |other| speaks(term, other)) {
                return false;
            }
        }
        let all = |other: &PodInfo| own.required.iter().all(|term| speaks(term, other));
        if own
            .required
            .iter()
            .any(|term| node.labels.get(&term.topology_key).is_none())
        {
            return false;
        }
        let near = |term: &PodTerm| self.near(node, &term.topology_key, all);
        let anywhere = self.pods.iter().any(|other| {
            let on = self.node(&other.node_name);
            all(other)
                && own
                    .required
                    .iter()
                    .any(|term| on.labels.get(&term.topology_key).is_some())
        });
        own.required.iter().all(near) || (!anywhere && all(pod))
    }

    fn spread(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        let hard: Vec<_> = pod.spread.iter().filter(|spread| spread.hard).collect();
        for spread in &hard {
            let mut places: BTreeMap<&str, i64> = BTreeMap::new();
            for candidate in &self.nodes {
                let labelled = |s: &&crate::Spread| candidate.labels.get(&s.topology_key).is_some();
                let selected = pod
                    .node_selector
                    .iter()
                    .all(|(key, value)| candidate.labels.get(key) == Some(value));
                if hard.iter().all(labelled) && selected {
                    let place = candidate.labels.get(&spread.topology_key).unwrap();
                    let matching = self.on(&candidate.name).filter(|other| {
                        other.key.namespace == pod.key.namespace
                            && !other.terminating
                            && spread.selector.matches(|key| other.labels.get(key))
                    });
                    *places.entry(place).or_default() += i64::try_from(matching.count()).unwrap();
                }
            }
            let Some(own) = node.labels.get(&spread.topology_key) else {
                return false;
            };
            let least = if places.len() < spread.min_domains {
                0
            } else {
                places.values().copied().min().unwrap_or(0)
            };
            let own = places.get(own).copied().unwrap_or(0);
            let matches = i64::from(spread.selector.matches(|key| pod.labels.get(key)));
            if own + matches - least > spread.max_skew {
                return false;
            }
        }
        true
    }
}

fn random_node(rng: &mut Rng, n: u64) -> NodeInfo {
    let mut line = format!(
        "n{n} cpu={} mem=8 pods={}",
        1 + rng.below(4),
        1 + rng.below(6)
    );
    if rng.below(4) > 0 {
        line += &format!(" zone=z{}", rng.below(3));
    }
    line += [
        "",
        "",
        " taint=t:NoSchedule",
        " taint=t:PreferNoSchedule",
        " cordoned",
    ][usize::try_from(rng.below(5)).unwrap()];
    line += &format!(
        " label=disk={}",
        ["a", "b"][usize::try_from(rng.below(2)).unwrap()]
    );
    node(&line)
}

fn random_pod(rng: &mut Rng, n: u64, on: &str) -> PodInfo {
    let app = rng.below(3);
    let mut line = format!(
        "p{n} app=a{app} cpu={}m prio={}",
        100 * rng.below(12),
        rng.below(4)
    );
    if rng.below(6) == 0 && !on.is_empty() {
        line += " terminating";
    }
    let key = ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        [usize::try_from(rng.below(2)).unwrap()];
    let term = format!(
        "{{labelSelector: {{matchLabels: {{app: a{}}}}}, topologyKey: {key}}}",
        rng.below(3)
    );
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    line += &match rng.below(6) {
        0 => format!(" affinity: {{podAntiAffinity: {{{REQUIRED}: [{term}]}}}}"),
        1 => format!(" affinity: {{podAffinity: {{{REQUIRED}: [{term}]}}}}"),
        2 => format!(
            " topologySpreadConstraints: [{{maxSkew: {}, minDomains: {}, topologyKey: {key}, whenUnsatisfiable: DoNotSchedule, labelSelector: {{matchLabels: {{app: a{app}}}}}}}]",
            1 + rng.below(2),
            1 + rng.below(3)
        ),
        3 => " nodeSelector: {disk: a}".to_owned(),
        4 => " tolerations: [{operator: Exists}]".to_owned(),
        _ => " terminationGracePeriodSeconds: 1".to_owned(),
    };
    pod(&line, on)
}

/// One snapshot lives through a random history of nodes and pods; every decision on the way is
/// what the definitions say, and every preemption makes the pod fit with no victim to spare.
#[test]
fn decisions_respect_every_constraint() {
    for seed in 0..150 {
        let mut rng = Rng::new(seed);
        let mut model = Model::default();
        let mut snapshot = Snapshot::default();
        for n in 0..1 + rng.below(6) {
            let node = random_node(&mut rng, n);
            snapshot.set_node(node.clone());
            model.nodes.push(node);
        }
        for n in 0..40 {
            match rng.below(10) {
                0 if !model.pods.is_empty() => {
                    let at = usize::try_from(rng.below(model.pods.len() as u64)).unwrap();
                    let gone = model.pods.swap_remove(at);
                    snapshot.remove_pod(&gone.key);
                }
                1 => {
                    let at = rng.below(model.nodes.len() as u64);
                    let node = random_node(&mut rng, at);
                    snapshot.set_node(node.clone());
                    let known = model.nodes.iter_mut().find(|known| known.name == node.name);
                    *known.unwrap() = node;
                }
                _ => {
                    let pod = random_pod(&mut rng, n, "");
                    step(&mut model, &mut snapshot, pod, &mut rng, seed);
                }
            }
        }
    }
}

fn step(model: &mut Model, snapshot: &mut Snapshot, pod: PodInfo, rng: &mut Rng, seed: u64) {
    match decide(snapshot, &pod, rng) {
        Decision::Node(node) => {
            let fits = model.feasible(&pod, model.node(&node));
            assert!(fits, "seed {seed}: {} on {node}: {pod:#?}", pod.key);
            let mut bound = pod;
            bound.node_name = node;
            bound.terminating = rng.below(8) == 0;
            snapshot.set_pod(bound.clone());
            model.pods.push(bound);
        }
        Decision::Unschedulable(failure) => {
            for node in &model.nodes {
                let fits = model.feasible(&pod, node);
                assert!(
                    !fits,
                    "seed {seed}: {} fits {}: {}\n{pod:#?}",
                    pod.key, node.name, failure.message
                );
            }
            if let Some(preemption) = &failure.preemption {
                check_victims(model, &pod, preemption, seed);
            }
        }
    }
}

fn check_victims(model: &mut Model, pod: &PodInfo, preemption: &Preemption, seed: u64) {
    let node = model.node(&preemption.node).clone();
    let is_victim = |other: &PodInfo, victims: &[Arc<PodInfo>]| {
        victims.iter().any(|victim| victim.key == other.key)
    };
    let all = model.pods.clone();
    assert!(!preemption.victims.is_empty());
    assert!(
        preemption
            .victims
            .iter()
            .all(|victim| victim.priority < pod.priority)
    );
    model
        .pods
        .retain(|other| !is_victim(other, &preemption.victims));
    assert!(
        model.feasible(pod, &node),
        "seed {seed}: victims make room for {}",
        pod.key
    );
    for spared in &preemption.victims {
        model.pods.push(PodInfo::clone(spared));
        // Affinity to a victim is not looked for, as upstream.
        let needless =
            pod.affinity.is_none() && pod.spread.is_empty() && model.feasible(pod, &node);
        assert!(
            !needless,
            "seed {seed}: {} need not go for {}",
            spared.key, pod.key
        );
        model.pods.pop();
    }
    model.pods = all;
}

/// However pods and nodes come, the places never differ by more than the constraint says.
#[test]
fn skew_stays_bounded() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let skew = 1 + rng.below(3);
        let mut snapshot = Snapshot::default();
        let mut zones: BTreeMap<String, i64> = BTreeMap::new();
        for n in 0..9 {
            let zone = format!("z{}", rng.below(4));
            snapshot.set_node(node(&format!("n{n} cpu=64 mem=64 zone={zone}")));
            zones.insert(zone, 0);
        }
        for n in 0..60 {
            let pod = pod(
                &format!(
                    "p{n} app=a topologySpreadConstraints: [{{maxSkew: {skew}, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {{matchLabels: {{app: a}}}}}}]"
                ),
                "",
            );
            let Decision::Node(node_name) = decide(&mut snapshot, &pod, &mut rng) else {
                panic!("seed {seed}: there is room");
            };
            let zone = snapshot
                .node(&node_name)
                .unwrap()
                .labels
                .get("topology.kubernetes.io/zone");
            *zones.get_mut(zone.unwrap()).unwrap() += 1;
            snapshot.set_pod(PodInfo { node_name, ..pod });
            let (least, most) = (zones.values().min().unwrap(), zones.values().max().unwrap());
            assert!(
                most - least <= i64::try_from(skew).unwrap(),
                "seed {seed}: {zones:?}"
            );
        }
    }
}
