//! What must be true once nothing happens any more: everything is at rest, as the specs say.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};

use crate::cluster::SimCluster;

/// What is not at rest, or not as the specs say.
pub(super) async fn unsettled(cluster: &SimCluster) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut known = BTreeSet::new();
    for object in cluster.list("pods", "default").await? {
        known.insert(object.uid().to_owned());
        let dom = object.parse().map_err(|error| anyhow!("{error}"))?;
        let (pod, name) = (dom.as_ref(), object.name());
        let mut violation = |text: String| found.push(format!("{name}: {text}"));
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
            violation(format!("is on {node}, which there is not any more"));
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
    let members = members(cluster).await?;
    found.extend(unsettled_workloads(cluster, &members).await?);
    found.extend(unsettled_jobs(cluster, &members).await?);
    found.extend(unsettled_services(cluster, &members).await?);
    found.extend(left_behind(cluster).await?);
    for node in cluster.kubelets(true) {
        let Some(runtime) = cluster.runtime(&node) else {
            continue;
        };
        for uid in runtime.uids() {
            if !known.contains(&uid) {
                found.push(format!("{node}: a pod without an object is left: {uid}"));
            }
        }
    }
    Ok(found)
}

/// What owners that are gone left behind: the garbage collector should have it.
async fn left_behind(cluster: &SimCluster) -> Result<Vec<String>> {
    let mut owners = BTreeSet::new();
    let kinds = [
        "deployments",
        "statefulsets",
        "daemonsets",
        "replicasets",
        "cronjobs",
        "jobs",
        "services",
    ];
    for kind in kinds {
        let all = cluster.list(kind, "default").await?;
        owners.extend(all.iter().map(|owner| owner.uid().to_owned()));
    }
    let mut found = Vec::new();
    for kind in ["pods", "replicasets", "jobs", "endpointslices"] {
        for object in cluster.list(kind, "default").await? {
            let dom = object.parse().map_err(|error| anyhow!("{error}"))?;
            let owner = api::meta::of(dom.as_ref()).controller();
            if let Some(owner) = owner.filter(|owner| !owners.contains(owner.uid)) {
                let (name, of) = (object.name(), owner.name);
                found.push(format!("{kind} {name} is left of {} {of}", owner.kind));
            }
        }
    }
    Ok(found)
}

/// A pod of a workload.
struct Member {
    addresses: BTreeSet<String>,
    has_node: bool,
    is_ready: bool,
}

/// Pods of workloads, by their label `app`.
#[derive(Default)]
struct Members {
    by_app: BTreeMap<String, Vec<Member>>,
}

impl Members {
    fn of(&self, app: &str) -> &[Member] {
        self.by_app.get(app).map_or(&[], Vec::as_slice)
    }
}

async fn members(cluster: &SimCluster) -> Result<Members> {
    let mut members = Members::default();
    for object in cluster.list("pods", "default").await? {
        let dom = object.parse().map_err(|error| anyhow!("{error}"))?;
        let pod = dom.as_ref();
        let labels = pod.at(&["metadata", "labels"]);
        let app = labels.map_or("", |labels| labels.str("app"));
        if app.is_empty() || api::pod::is_terminal(pod) || api::meta::of(pod).is_deleting() {
            continue;
        }
        let status = pod.get("status");
        let addresses = status.into_iter().flat_map(|status| status.items("podIPs"));
        members
            .by_app
            .entry(app.to_owned())
            .or_default()
            .push(Member {
                addresses: addresses.map(|ip| ip.str("ip").to_owned()).collect(),
                has_node: pod
                    .get("spec")
                    .is_some_and(|s| !s.str("nodeName").is_empty()),
                is_ready: api::pod::is_ready(pod),
            });
    }
    Ok(members)
}

/// Workloads whose pods stay: the fields of their status that count pods, and of those the ready.
const STAY: [(&str, [&str; 2], &str); 3] = [
    (
        "deployments",
        ["replicas", "updatedReplicas"],
        "readyReplicas",
    ),
    (
        "statefulsets",
        ["replicas", "updatedReplicas"],
        "readyReplicas",
    ),
    (
        "daemonsets",
        ["currentNumberScheduled", "updatedNumberScheduled"],
        "numberReady",
    ),
];

/// Those whose pods stay are done as far as their pods found room.
async fn unsettled_workloads(cluster: &SimCluster, members: &Members) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut violation = |text: String| found.push(text);
    let nodes = i64::try_from(cluster.kubelets(true).len())?;
    for (kind, counts, count_of_ready) in STAY {
        for object in cluster.list(kind, "default").await? {
            let dom = object.parse().map_err(|error| anyhow!("{error}"))?;
            let (workload, name) = (dom.as_ref(), object.name());
            let pods = members.of(name);
            let number = |part: &str, field: &str| {
                let part = workload.get(part);
                part.and_then(|part| part.int(field)).unwrap_or(0)
            };
            let wanted = match kind {
                "daemonsets" => nodes,
                _ => number("spec", "replicas"),
            };
            let ready = i64::try_from(pods.iter().filter(|pod| pod.is_ready).count())?;
            if number("metadata", "generation") != number("status", "observedGeneration") {
                violation(format!("{kind} {name}: its newest generation was not seen"));
            }
            if number("status", count_of_ready) != ready {
                violation(format!(
                    "{kind} {name}: {ready} pods are ready, which its status does not say"
                ));
            }
            let [all, updated] = counts.map(|count| number("status", count));
            let numbers = [i64::try_from(pods.len())?, ready, all, updated];
            if pods.iter().all(|pod| pod.has_node) && numbers != [wanted; 4] {
                violation(format!(
                    "{kind} {name}: {wanted} wanted; pods, ready, all, updated are {numbers:?}"
                ));
            }
        }
    }
    Ok(found)
}

/// Jobs are done as far as their pods found room; CronJobs, which are suspended by now, keep no
/// more of them than they should.
async fn unsettled_jobs(cluster: &SimCluster, members: &Members) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut violation = |text: String| found.push(text);
    let mut complete_of: BTreeMap<String, i64> = BTreeMap::new();
    for object in cluster.list("jobs", "default").await? {
        let dom = object.parse().map_err(|error| anyhow!("{error}"))?;
        let (job, name) = (dom.as_ref(), object.name());
        let complete = api::meta::condition(job, "Complete");
        let complete = complete.is_some_and(|complete| complete.str("status") == "True");
        let labels = job.at(&["spec", "template", "metadata", "labels"]);
        let app = labels.map_or("", |labels| labels.str("app"));
        if complete {
            *complete_of.entry(app.to_owned()).or_default() += 1;
        } else if members.of(app).iter().all(|pod| pod.has_node) {
            violation(format!("job {name} is not complete"));
        }
    }
    for object in cluster.list("cronjobs", "default").await? {
        let dom = object.parse().map_err(|error| anyhow!("{error}"))?;
        let (cron_job, name) = (dom.as_ref(), object.name());
        let kept = cron_job
            .get("spec")
            .and_then(|spec| spec.int("successfulJobsHistoryLimit"));
        let complete = complete_of.get(name).copied().unwrap_or(0);
        if kept.is_none_or(|kept| complete > kept) {
            violation(format!(
                "cronjob {name}: {complete} complete Jobs, to be kept are {kept:?}"
            ));
        }
        let active = cron_job
            .get("status")
            .map_or(0, |status| status.items("active").count());
        if active > 0 && members.of(name).iter().all(|pod| pod.has_node) {
            violation(format!(
                "cronjob {name}: {active} Jobs are active, but nothing runs"
            ));
        }
    }
    Ok(found)
}

/// Services lead to exactly what is ready.
async fn unsettled_services(cluster: &SimCluster, members: &Members) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut violation = |text: String| found.push(text);
    let mut leads: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for object in cluster.list("endpointslices", "default").await? {
        let dom = object.parse().map_err(|error| anyhow!("{error}"))?;
        let slice = dom.as_ref();
        let labels = slice.at(&["metadata", "labels"]);
        let service = labels.map_or("", |labels| labels.str("kubernetes.io/service-name"));
        let ready = slice.items("endpoints").filter(|endpoint| {
            let conditions = endpoint.get("conditions");
            conditions.and_then(|c| c.bool("ready")).unwrap_or(true)
        });
        let addresses = leads.entry(service.to_owned()).or_default();
        for endpoint in ready {
            let of = endpoint.items("addresses");
            addresses.extend(of.filter_map(|address| address.as_str().map(str::to_owned)));
        }
    }
    for object in cluster.list("services", "default").await? {
        let name = object.name();
        if name == "kubernetes" {
            continue;
        }
        let ready = members.of(name).iter().filter(|pod| pod.is_ready);
        let ready: BTreeSet<String> = ready.flat_map(|pod| pod.addresses.clone()).collect();
        let leads = leads.remove(name).unwrap_or_default();
        if leads != ready {
            violation(format!(
                "service {name} leads to {leads:?}, ready are {ready:?}"
            ));
        }
    }
    Ok(found)
}
