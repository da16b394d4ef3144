//! Worlds for tests, a few lines each.
//!
//! ```text
//! node a cpu=4 mem=8 zone=x taint=k=v:NoSchedule cordoned image=x:2000
//! on a web app=web prio=5 cpu=1 hostNetwork: true, tolerations: []
//! pod web2 app=web cpu=1 affinity: {…}
//! ```
//! What follows the `key=value` words is flow YAML of the pod's spec. `on` also takes
//! `terminating`, `preempted` and `start=` (seconds).

use base::Rng;
use client::Object;
use schema::yaml;

use crate::{Decision, NodeInfo, PodInfo, Snapshot, decide};

pub(crate) fn object(text: &str) -> Object {
    let limits = schema::Limits::default();
    let parsed = yaml::parse(text.as_bytes(), &limits).unwrap_or_else(|e| panic!("{text}: {e}"));
    let dom = parsed.dom;
    Object::new(dom.to_json(dom.root()).into()).unwrap()
}

pub(crate) fn node(line: &str) -> NodeInfo {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap();
    let mut labels = format!("kubernetes.io/hostname: \"{name}\"");
    let (mut taints, mut images, mut allocatable) = (String::new(), String::new(), String::new());
    let (mut pods, mut unschedulable) = ("110", false);
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "cpu" => allocatable += &format!("cpu: \"{value}\", "),
            "mem" => allocatable += &format!("memory: {value}Gi, "),
            "disk" => allocatable += &format!("ephemeral-storage: {value}Gi, "),
            "gpu" => allocatable += &format!("example.com/gpu: \"{value}\", "),
            "pods" => pods = value,
            "zone" => labels += &format!(", topology.kubernetes.io/zone: \"{value}\""),
            "cordoned" => unschedulable = true,
            "label" => {
                let (key, value) = value.split_once('=').unwrap();
                labels += &format!(", {key}: \"{value}\"");
            }
            "taint" => {
                let (pair, effect) = value.split_once(':').unwrap();
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                taints += &format!("{{key: {key}, value: \"{value}\", effect: {effect}}}, ");
            }
            "image" => {
                let (name, megabytes) = value.split_once(':').unwrap();
                let size = megabytes.parse::<i64>().unwrap() << 20;
                images += &format!("{{names: [\"{name}:latest\"], sizeBytes: {size}}}, ");
            }
            _ => panic!("{word}"),
        }
    }
    let text = format!(
        "{{metadata: {{name: \"{name}\", labels: {{{labels}}}}}, \
         spec: {{taints: [{taints}], unschedulable: {unschedulable}}}, \
         status: {{allocatable: {{{allocatable} pods: \"{pods}\"}}, images: [{images}]}}}}"
    );
    NodeInfo::read(&object(&text)).unwrap()
}

pub(crate) fn pod(line: &str, on: &str) -> PodInfo {
    let mut rest = line.trim();
    let mut next = || -> Option<&str> {
        let word = rest.split_whitespace().next()?;
        if word.ends_with(':') {
            return None;
        }
        rest = rest[word.len()..].trim_start();
        Some(word)
    };
    let name = next().unwrap();
    let (mut labels, mut requests, mut status) = (String::new(), String::new(), String::new());
    let (mut metadata, mut spec, mut namespace) = (String::new(), String::new(), "default");
    while let Some(word) = next() {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        match key {
            "cpu" => requests += &format!("cpu: \"{value}\", "),
            "mem" => requests += &format!("memory: {value}Gi, "),
            "gpu" => requests += &format!("example.com/gpu: \"{value}\", "),
            "prio" => spec += &format!("priority: {value}, "),
            "ns" => namespace = value,
            "owner" => {
                metadata += &format!(
                    ", ownerReferences: [{{apiVersion: apps/v1, kind: ReplicaSet, name: {value}, \
                     controller: true}}]"
                );
            }
            "terminating" => metadata += ", deletionTimestamp: 2026-01-01T00:00:00Z",
            "preempted" => {
                status += "conditions: [{type: DisruptionTarget, status: \"True\", \
                           reason: PreemptionByScheduler}], ";
            }
            "waits" => status += &format!("nominatedNodeName: {value}, "),
            "start" => status += &format!("startTime: 2026-01-01T00:00:{value}Z, "),
            _ => labels += &format!("{key}: \"{value}\", "),
        }
    }
    let more = if rest.contains("containers:") {
        rest.to_owned()
    } else {
        format!(
            "containers: [{{name: c, image: x, resources: {{requests: {{{requests}}}}}}}], {rest}"
        )
    };
    let on = if on.is_empty() {
        String::new()
    } else {
        format!("nodeName: {on}, ")
    };
    let text = format!(
        "{{metadata: {{name: \"{name}\", namespace: {namespace}, uid: \"{name}\", \
         labels: {{{labels}}}{metadata}}}, spec: {{{on}{spec}{more}}}, status: {{{status}}}}}"
    );
    PodInfo::read(&object(&text)).unwrap()
}

/// The snapshot that the lines describe, and the pods to decide on.
pub(crate) fn world(text: &str) -> (Snapshot, Vec<PodInfo>) {
    let mut snapshot = Snapshot::default();
    let mut pods = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (what, rest) = line.split_once(' ').unwrap();
        match what {
            "node" => {
                snapshot.set_node(node(rest));
            }
            "namespace" => {
                let mut words = rest.split(' ');
                let name = words.next().unwrap();
                let labels = words.map(|word| {
                    let (key, value) = word.split_once('=').unwrap();
                    (key.to_owned(), value.to_owned())
                });
                snapshot.set_namespace(name, Some(labels.collect()));
            }
            "on" => {
                let (on, rest) = rest.split_once(' ').unwrap();
                snapshot.set_pod(pod(rest, on));
            }
            "waiting" => {
                let other = std::sync::Arc::new(pod(rest, ""));
                let node = other.nominated.clone();
                snapshot.nominate(&other, Some(&node));
            }
            "pod" => pods.push(pod(rest, "")),
            _ => panic!("{line}"),
        }
    }
    (snapshot, pods)
}

/// What is decided for the last pod; earlier ones are put where they were decided to go.
pub(crate) fn decided(text: &str) -> String {
    let (mut snapshot, pods) = world(text);
    run(&mut snapshot, pods)
}

pub(crate) fn run(snapshot: &mut Snapshot, pods: Vec<PodInfo>) -> String {
    let mut rng = Rng::new(1);
    let mut last = String::new();
    for pod in pods {
        last = match decide(snapshot, &pod, &mut rng) {
            Decision::Node(node) => {
                let node_name = node.clone();
                snapshot.set_pod(PodInfo { node_name, ..pod });
                node
            }
            Decision::Unschedulable(failure) => match &failure.preemption {
                None => failure.message.clone(),
                Some(preemption) => {
                    let names = preemption.victims.iter().map(|v| v.key.name.as_str());
                    let names: Vec<_> = names.collect();
                    let node = &preemption.node;
                    format!("{} → {node} without {}", failure.message, names.join(" "))
                }
            },
        };
    }
    last
}
