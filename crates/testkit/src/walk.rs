//! A seeded random walk: pods come and go, kubelets crash, nodes are cut off; then everything
//! settles and must be as it should.
//!
//! Invariants on the way are watched by the runtimes and the observer. At the end: every pod has
//! converged, deleted pods are gone everywhere, and runtimes hold nothing that the API does not.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, anyhow};
use base::Rng;

use crate::cluster::{Options, SimCluster, simulate};
use crate::trace::Fact;

/// How long things happen.
const WALK: Duration = Duration::from_secs(600);
/// How long everything has to settle: the longest back-off and then some.
const SETTLE: Duration = Duration::from_secs(700);
/// Pods that exist at a time.
const PODS_LIMIT: u64 = 25;

/// What a walk gave.
#[derive(Clone, Debug)]
pub struct Report {
    /// Everything that happened.
    pub facts: Vec<Fact>,
    /// Everything that should not be.
    pub violations: Vec<String>,
    /// Pods made.
    pub pods: u64,
}

/// Walks with this seed.
pub fn walk(seed: u64) -> Result<Report> {
    let options = Options {
        seed,
        nodes: 3,
        latency: Duration::from_millis(800),
    };
    simulate(options, |mut cluster| async move {
        let mut rng = cluster.rng("walk");
        let mut pods = 0;
        let mut passed = Duration::ZERO;
        while passed < WALK {
            one_step(&mut cluster, &mut rng, &mut pods).await?;
            let pause = Duration::from_millis(100 + rng.below(6000));
            cluster.tick(pause).await;
            passed += pause;
        }
        for node in cluster.kubelets(false) {
            cluster.start_kubelet(&node)?;
        }
        for node in cluster.kubelets(true) {
            cluster.mend(&node)?;
        }
        cluster.tick(SETTLE).await;
        check_settled(&cluster).await?;
        Ok(Report {
            facts: cluster.trace().facts(),
            violations: cluster.trace().violations(),
            pods,
        })
    })
}

async fn one_step(cluster: &mut SimCluster, rng: &mut Rng, pods: &mut u64) -> Result<()> {
    let names = pod_names(cluster).await?;
    match rng.below(100) {
        0..45 if (names.len() as u64) < PODS_LIMIT => {
            let name = format!("pod-{pods}");
            *pods += 1;
            cluster.apply(&pod(&name, rng)).await?;
        }
        0..75 => {
            let chosen = usize::try_from(rng.below(names.len() as u64)).unwrap_or(0);
            if let Some(name) = names.get(chosen) {
                cluster.delete("pod", "default", name, None).await?;
            }
        }
        75..85 => {
            if let Some(node) = choose(rng, cluster.kubelets(true)) {
                cluster.kill_kubelet(&node)?;
            }
        }
        85..93 => {
            if let Some(node) = choose(rng, cluster.kubelets(false)) {
                cluster.start_kubelet(&node)?;
            }
        }
        93..96 => {
            if let Some(node) = choose(rng, cluster.kubelets(true)) {
                cluster.cut(&node)?;
            }
        }
        _ => {
            for node in cluster.kubelets(true) {
                cluster.mend(&node)?;
            }
        }
    }
    Ok(())
}

fn choose(rng: &mut Rng, from: Vec<String>) -> Option<String> {
    let at = usize::try_from(rng.below(from.len() as u64)).ok()?;
    from.into_iter().nth(at)
}

async fn pod_names(cluster: &SimCluster) -> Result<Vec<String>> {
    let pods = cluster.list("pods", "default").await?;
    let mut names: Vec<String> = pods.iter().map(|pod| pod.name().to_owned()).collect();
    names.sort();
    Ok(names)
}

/// A pod of any kind.
fn pod(name: &str, rng: &mut Rng) -> String {
    let scripts = [
        "sleep infinity",
        "trap 'exit 0' TERM; sleep infinity",
        "trap 'sleep 3; exit 0' TERM; sleep infinity",
        "sleep 5; exit 0",
        "sleep 20; exit 1",
        "exit 1",
        "sleep 90; exit 0",
    ];
    let policies = ["Always", "OnFailure", "Never"];
    let pick = |rng: &mut Rng, from: &[&'static str]| {
        from[usize::try_from(rng.below(from.len() as u64)).unwrap_or(0)]
    };
    let policy = pick(rng, &policies);
    let grace = 1 + rng.below(20);
    let image = match rng.below(12) {
        0 => "missing/busybox",
        1 => "slow/busybox",
        _ => "busybox",
    };
    let mut text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: {policy}\n  terminationGracePeriodSeconds: {grace}\n  automountServiceAccountToken: false\n"
    );
    if rng.below(4) == 0 {
        let script = pick(rng, &["sleep 2; exit 0", "sleep 1; exit 1", "exit 0"]);
        text.push_str("  initContainers:\n");
        text.push_str(&container("init", "busybox", script, 100, ""));
        if rng.below(2) == 0 {
            let script = "trap 'exit 0' TERM; sleep infinity";
            let sidecar = container("sidecar", "busybox", script, 100, "");
            text.push_str(&sidecar);
            text.push_str("    restartPolicy: Always\n");
        }
    }
    text.push_str("  containers:\n");
    for index in 0..1 + rng.below(2) {
        let probe = match rng.below(3) {
            0 => "    readinessProbe: {exec: {command: [cat, /ready]}, periodSeconds: 2}\n",
            _ => "",
        };
        let script = match probe {
            "" => pick(rng, &scripts).to_owned(),
            _ => format!("sleep 3; touch /ready; {}", pick(rng, &scripts)),
        };
        let millicores = 100 * (1 + rng.below(12));
        text.push_str(&container(
            &format!("c{index}"),
            image,
            &script,
            millicores,
            probe,
        ));
    }
    text
}

fn container(name: &str, image: &str, script: &str, millicores: u64, more: &str) -> String {
    format!(
        "  - name: {name}\n    image: {image}\n    command: [sh, -c, \"{script}\"]\n    resources: {{requests: {{cpu: {millicores}m, memory: 64Mi}}}}\n{more}"
    )
}

/// Everything is at rest, as the specs say.
async fn check_settled(cluster: &SimCluster) -> Result<()> {
    let mut known = BTreeSet::new();
    for object in cluster.list("pods", "default").await? {
        known.insert(object.uid().to_owned());
        let dom = object.parse().map_err(|error| anyhow!("{error}"))?;
        let (pod, name) = (dom.as_ref(), object.name());
        let violation = |text: String| cluster.trace().violation(format!("{name}: {text}"));
        if api::meta::of(pod).is_deleting() {
            violation("is still being deleted".to_owned());
            continue;
        }
        let (Some(spec), Some(status)) = (pod.get("spec"), pod.get("status")) else {
            violation("has no spec or status".to_owned());
            continue;
        };
        let node = spec.str("nodeName");
        if node.is_empty() {
            let scheduled = api::meta::condition(pod, "PodScheduled");
            let reason = scheduled.map_or("", |condition| condition.str("reason"));
            if reason != "Unschedulable" {
                violation("has no node, and nothing says why".to_owned());
            }
            continue;
        }
        let Some(runtime) = cluster.runtime(node) else {
            continue;
        };
        let running: BTreeSet<String> = runtime.running_of(object.uid()).into_iter().collect();
        let lists = ["initContainerStatuses", "containerStatuses"];
        let mut reported = BTreeSet::new();
        for container in lists.iter().flat_map(|list| status.items(list)) {
            if container.at(&["state", "running"]).is_some() {
                reported.insert(container.str("name").to_owned());
            }
        }
        if running != reported {
            violation(format!("runs {running:?}, reported are {reported:?}"));
        }
        let phase = status.str("phase");
        let policy = spec.str("restartPolicy");
        let waits = lists
            .iter()
            .flat_map(|list| status.items(list))
            .any(|container| {
                let reason = container
                    .at(&["state", "waiting"])
                    .map_or("", |w| w.str("reason"));
                ["CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull"].contains(&reason)
            });
        let moves = !running.is_empty() || waits;
        match phase {
            "Succeeded" | "Failed" if running.is_empty() => {}
            "Running" | "Pending" if moves => {}
            _ => violation(format!("phase {phase} (policy {policy}), runs {running:?}")),
        }
    }
    for node in cluster.kubelets(true) {
        let Some(runtime) = cluster.runtime(&node) else {
            continue;
        };
        for uid in runtime.uids() {
            if !known.contains(&uid) {
                cluster
                    .trace()
                    .violation(format!("{node}: a pod without an object is left: {uid}"));
            }
        }
    }
    Ok(())
}
