//! Decisions of the scheduler's pure core per second: `cargo run --release -p benches --bin
//! schedule [NODES …]`. No API, no cluster: what remains is the decision itself.
//!
//! Each figure: NODES nodes in three zones, pods decided one after the other and put where they
//! were decided to go, as the scheduler itself does before the binding is seen.

use std::time::Duration;

use client::Object;
use scheduler::{Decision, NodeInfo, PodInfo, Snapshot, decide};

/// Decisions of a figure end after so long.
const AT_MOST: Duration = Duration::from_secs(5);

const ANTI: &str = r#""affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchLabels":{"app":"web"}},"topologyKey":"kubernetes.io/hostname"}]}},"#;
const ANTI_BY_NAMESPACE: &str = r#""affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchLabels":{"app":"web"}},"namespaceSelector":{"matchLabels":{"team":"a"}},"topologyKey":"kubernetes.io/hostname"}]}},"#;
const NEAR: &str = r#""affinity":{"podAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchLabels":{"app":"web"}},"topologyKey":"topology.kubernetes.io/zone"}]}},"#;
const SPREAD: &str = r#""topologySpreadConstraints":[{"maxSkew":5,"topologyKey":"topology.kubernetes.io/zone","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"web"}}}],"#;
const SPREAD_HOSTS: &str = r#""topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"kubernetes.io/hostname","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"web"}}}],"#;

fn main() {
    let mut sizes: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|n| n.parse().ok())
        .collect();
    if sizes.is_empty() {
        sizes = vec![1_000, 5_000];
    }
    line("| decisions | nodes | pods | per second | µs each |\n|---|---|---|---|---|");
    for nodes in sizes {
        measure("plain", nodes, 5_000, "");
        measure("anti-affinity by host", nodes, nodes, ANTI);
        measure(
            "anti-affinity by host, namespace selector",
            nodes,
            nodes,
            ANTI_BY_NAMESPACE,
        );
        measure("affinity by zone", nodes, 5_000, NEAR);
        measure("spreading over zones", nodes, 5_000, SPREAD);
        measure("spreading over hosts", nodes, 5_000, SPREAD_HOSTS);
        unschedulable(nodes);
        preemption(nodes);
    }
}

fn measure(name: &str, nodes: usize, pods: usize, spec: &str) {
    let mut snapshot = world(nodes);
    let mut rng = base::Rng::new(1);
    let pods: Vec<PodInfo> = (0..pods).map(|n| pod(n, "100m", 0, spec)).collect();
    let start = now();
    let mut done = 0;
    for pod in pods {
        if let Decision::Node(node_name) = decide(&mut snapshot, &pod, &mut rng) {
            snapshot.set_pod(PodInfo { node_name, ..pod });
        } else {
            line(&format!("{name}: a pod did not fit"));
        }
        done += 1;
        if start.elapsed() > AT_MOST {
            break;
        }
    }
    report(name, nodes, done, start.elapsed());
}

/// Every node is full of equals: each decision looks at all nodes and finds no victims.
fn unschedulable(nodes: usize) {
    let mut snapshot = full(nodes, 0);
    let mut rng = base::Rng::new(1);
    let start = now();
    let mut done = 0;
    while done < 2_000 && start.elapsed() < AT_MOST {
        let pod = pod(done, "4", 0, "");
        decide(&mut snapshot, &pod, &mut rng);
        done += 1;
    }
    report("no room", nodes, done, start.elapsed());
}

/// Every node is full of less important pods: each decision ends one and waits for the room.
fn preemption(nodes: usize) {
    let mut snapshot = full(nodes, 0);
    let mut rng = base::Rng::new(1);
    let start = now();
    let mut done = 0;
    while done < nodes && start.elapsed() < AT_MOST {
        let pod = std::sync::Arc::new(pod(done, "3", 10, ""));
        let Decision::Unschedulable(failure) = decide(&mut snapshot, &pod, &mut rng) else {
            break;
        };
        let Some(preemption) = failure.preemption else {
            line("preemption: no victims");
            break;
        };
        for victim in &preemption.victims {
            snapshot.remove_pod(&victim.key);
        }
        let mut placed = PodInfo::clone(&pod);
        placed.node_name = preemption.node;
        snapshot.set_pod(placed);
        done += 1;
    }
    report("preemption", nodes, done, start.elapsed());
}

fn full(nodes: usize, priority: i64) -> Snapshot {
    let mut snapshot = world(nodes);
    for n in 0..4 * nodes {
        let mut own = pod(1_000_000 + n, "1", priority, "");
        own.node_name = format!("node-{}", n % nodes);
        snapshot.set_pod(own);
    }
    snapshot
}

fn world(nodes: usize) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for n in 0..nodes {
        let zone = n % 3;
        let text = format!(
            r#"{{"metadata":{{"name":"node-{n}","labels":{{"kubernetes.io/hostname":"node-{n}","kubernetes.io/os":"linux","topology.kubernetes.io/zone":"zone-{zone}"}}}},"spec":{{}},"status":{{"allocatable":{{"cpu":"4","memory":"32Gi","pods":"110"}}}}}}"#
        );
        if let Some(node) = object(text).as_ref().and_then(NodeInfo::read) {
            snapshot.set_node(node);
        }
    }
    snapshot.set_namespace(
        "default",
        Some([("team".to_owned(), "a".to_owned())].into_iter().collect()),
    );
    snapshot
}

fn pod(n: usize, cpu: &str, priority: i64, spec: &str) -> PodInfo {
    let text = format!(
        r#"{{"metadata":{{"name":"pod-{n}","namespace":"default","uid":"{n}","labels":{{"app":"web"}}}},"spec":{{"priority":{priority},{spec}"containers":[{{"name":"c","image":"x","resources":{{"requests":{{"cpu":"{cpu}","memory":"500Mi"}}}}}}]}}}}"#
    );
    object(text)
        .as_ref()
        .and_then(PodInfo::read)
        .unwrap_or_default()
}

fn object(text: String) -> Option<Object> {
    Object::new(text.into_bytes().into())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn report(name: &str, nodes: usize, done: usize, elapsed: Duration) {
    let each = elapsed.as_secs_f64() / f64::from(u32::try_from(done.max(1)).unwrap_or(u32::MAX));
    line(&format!(
        "| {name} | {nodes} | {done} | {:.0} | {:.1} |",
        1.0 / each,
        each * 1e6
    ));
}

#[expect(clippy::print_stdout, reason = "the figures are the output")]
fn line(text: &str) {
    println!("{text}");
}
