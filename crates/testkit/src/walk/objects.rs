//! What a walk creates: pods of any kind, and workloads whose pods behave.

use base::Rng;

const STAYS: &str = "trap 'exit 0' TERM; sleep infinity";

fn document(version: &str, kind: &str, name: &str, spec: &str) -> String {
    format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{spec}")
}

/// Of a workload whose pods stay.
fn stays_spec(name: &str, rng: &mut Rng) -> String {
    format!(
        "  selector: {{matchLabels: {{app: {name}}}}}\n{}",
        template("  ", name, rng.below(1000), STAYS, "Always")
    )
}

fn service(name: &str, more: &str) -> String {
    let spec = format!("  selector: {{app: {name}}}\n  ports: [{{port: 80}}]\n{more}");
    format!("---\n{}", document("v1", "Service", name, &spec))
}

/// With a Service in front of it.
pub(super) fn deployment(name: &str, rng: &mut Rng) -> String {
    let replicas = rng.below(5);
    let strategy = match rng.below(4) {
        0 => "{type: Recreate}",
        1 => "{rollingUpdate: {maxSurge: 2, maxUnavailable: 0}}",
        _ => "{}",
    };
    let more = stays_spec(name, rng);
    let spec = format!("  replicas: {replicas}\n  strategy: {strategy}\n{more}");
    document("apps/v1", "Deployment", name, &spec) + &service(name, "")
}

/// In order or all at once, with a headless Service.
pub(super) fn stateful_set(name: &str, rng: &mut Rng) -> String {
    let replicas = rng.below(4);
    let policy = ["OrderedReady", "Parallel"][usize::from(rng.below(2) == 0)];
    let more = stays_spec(name, rng);
    let spec = format!(
        "  replicas: {replicas}\n  podManagementPolicy: {policy}\n  serviceName: {name}\n{more}"
    );
    document("apps/v1", "StatefulSet", name, &spec) + &service(name, "  clusterIP: None\n")
}

/// A pod on each node.
pub(super) fn daemon_set(name: &str, rng: &mut Rng) -> String {
    let strategy = match rng.below(3) {
        0 => "{rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}",
        _ => "{}",
    };
    let more = stays_spec(name, rng);
    let spec = format!("  updateStrategy: {strategy}\n{more}");
    document("apps/v1", "DaemonSet", name, &spec)
}

/// Its Jobs take longer than its minutes when their pods wait for room or for a node.
pub(super) fn cron_job(name: &str, rng: &mut Rng) -> String {
    let policy = ["Allow", "Forbid", "Replace"][usize::try_from(rng.below(3)).unwrap_or(0)];
    let (minutes, kept) = (1 + rng.below(3), rng.below(3));
    let job = job_spec("    ", name, rng);
    let spec = format!(
        "  schedule: '*/{minutes} * * * *'\n  concurrencyPolicy: {policy}\n  successfulJobsHistoryLimit: {kept}\n  jobTemplate:\n    spec:\n{job}"
    );
    document("batch/v1", "CronJob", name, &spec)
}

/// One that ends well.
pub(super) fn job(name: &str, rng: &mut Rng) -> String {
    document("batch/v1", "Job", name, &job_spec("", name, rng))
}

fn job_spec(indent: &str, name: &str, rng: &mut Rng) -> String {
    let (completions, parallelism) = (1 + rng.below(4), 1 + rng.below(3));
    let numbers = format!(
        "{indent}  completions: {completions}\n{indent}  parallelism: {parallelism}\n{indent}  backoffLimit: 50\n"
    );
    let indent = format!("{indent}  ");
    numbers + &template(&indent, name, 0, "sleep 5; exit 0", "OnFailure")
}

/// A workload's new number of replicas, or new version of its template; to be merged.
pub(super) fn change(replicas: Option<u64>, version: Option<u64>) -> String {
    let mut spec = String::new();
    if let Some(replicas) = replicas {
        spec.push_str(&format!("  replicas: {replicas}\n"));
    }
    if let Some(version) = version {
        let annotations = format!("{{version: '{version}'}}");
        spec.push_str(&format!(
            "  template: {{metadata: {{annotations: {annotations}}}}}\n"
        ));
    }
    format!("spec:\n{spec}")
}

fn template(indent: &str, app: &str, version: u64, script: &str, policy: &str) -> String {
    let lines = format!(
        "template:\n  metadata: {{labels: {{app: {app}}}}}\n  spec:\n    restartPolicy: {policy}\n    automountServiceAccountToken: false\n    terminationGracePeriodSeconds: 5\n    containers:\n    - name: app\n      image: busybox\n      command: [sh, -c, \"{script}\"]\n      env: [{{name: VERSION, value: '{version}'}}]\n      resources: {{requests: {{cpu: 100m, memory: 64Mi}}}}\n"
    );
    let lines = lines.lines().map(|line| format!("{indent}{line}\n"));
    lines.collect()
}

/// A pod of any kind.
pub(super) fn pod(name: &str, rng: &mut Rng) -> String {
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
