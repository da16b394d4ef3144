//! The requests that are measured, and one run of them.

use anyhow::{Context as _, Result, ensure};
use stats_alloc::Region;
use transport::Body;

use crate::server::{Api, path};

/// Objects of a list.
pub(crate) const LISTED: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Create,
    Get,
    List,
    Patch,
    CreatePod,
    PodStatus,
}

/// Name, and what it is called in the tables.
pub(crate) const ALL: [(Work, &str, &str); 6] = [
    (Work::Get, "get", "get a ConfigMap"),
    (Work::List, "list", "list 500 ConfigMaps"),
    (Work::Create, "create", "create a ConfigMap"),
    (Work::Patch, "patch", "merge patch of a ConfigMap"),
    (Work::CreatePod, "create-pod", "create a Pod"),
    (Work::PodStatus, "pod-status", "patch of a Pod's status"),
];

impl Work {
    pub(crate) fn named(name: &str) -> Option<Work> {
        let found = ALL.iter().find(|(_, other, _)| *other == name);
        found.map(|(work, _, _)| *work)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) work: Work,
    pub(crate) requests: usize,
    /// Requests under way at a time.
    pub(crate) writers: usize,
    /// Watches of the collection that see every change.
    pub(crate) watchers: usize,
}

/// Of the requests alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
}

impl Counted {
    pub(crate) fn to_line(self) -> String {
        format!("{} {}", self.allocations, self.bytes)
    }
}

/// Runs the plan on a store of its own.
pub(crate) async fn run(plan: Plan) -> Result<Counted> {
    let folder = tempfile::tempdir_in("/var/tmp").context("make a folder for the store")?;
    let api = Api::open(folder.path()).await?;
    prepare(&api, plan.work).await?;
    let mut watches = Vec::new();
    for _ in 0..plan.watchers {
        let url = format!("{}?watch=true&resourceVersion=0", path("configmaps", ""));
        let mut body = api.send("GET", &url, None).await?.into_body();
        // What is there already.
        for _ in 0..existing(plan.work) {
            event(&mut body).await?;
        }
        watches.push(body);
    }
    // What is made on first use is there before it is counted.
    for number in 0..plan.writers {
        one(&api, plan.work, number).await?;
        for watch in &mut watches {
            event(watch).await?;
        }
    }
    let region = Region::new(&stats_alloc::INSTRUMENTED_SYSTEM);
    let mut next = plan.writers;
    while next < plan.writers + plan.requests {
        many(&api, plan.work, next, plan.writers).await?;
        next += plan.writers;
        for watch in &mut watches {
            event(watch).await?;
        }
    }
    let change = region.change();
    drop(watches);
    api.close().await?;
    Ok(Counted {
        allocations: (change.allocations + change.reallocations) as u64,
        bytes: change.bytes_allocated as u64,
    })
}

async fn event(watch: &mut Body) -> Result<()> {
    let event = watch.next().await.context("the watch ended")?;
    event.context("read an event")?;
    Ok(())
}

fn existing(work: Work) -> usize {
    match work {
        Work::Get | Work::Patch => 1,
        Work::List => LISTED,
        Work::Create | Work::CreatePod | Work::PodStatus => 0,
    }
}

async fn prepare(api: &Api, work: Work) -> Result<()> {
    for number in 0..existing(work) {
        let map = map(&format!("map-{number}"));
        api.create(&path("configmaps", ""), &map).await?;
    }
    if work == Work::PodStatus {
        api.create(&path("pods", ""), &pod("pod")).await?;
    }
    Ok(())
}

/// As many at a time.
pub(crate) async fn many(api: &Api, work: Work, first: usize, count: usize) -> Result<()> {
    if count == 1 {
        return one(api, work, first).await;
    }
    let mut all: Vec<_> = (first..first + count)
        .map(|number| Box::pin(one(api, work, number)))
        .collect();
    std::future::poll_fn(|cx| {
        let mut index = 0;
        while index < all.len() {
            match all[index].as_mut().poll(cx) {
                std::task::Poll::Ready(Ok(())) => drop(all.swap_remove(index)),
                std::task::Poll::Ready(Err(error)) => return std::task::Poll::Ready(Err(error)),
                std::task::Poll::Pending => index += 1,
            }
        }
        match all.is_empty() {
            true => std::task::Poll::Ready(Ok(())),
            false => std::task::Poll::Pending,
        }
    })
    .await
}

/// The `number`th request.
pub(crate) async fn one(api: &Api, work: Work, number: usize) -> Result<()> {
    let merge = "application/merge-patch+json";
    match work {
        Work::Create => {
            let map = map(&format!("new-{number}"));
            api.create(&path("configmaps", ""), &map).await?;
        }
        Work::Get => {
            api.call("GET", &path("configmaps", "map-0"), None).await?;
        }
        Work::List => {
            let list = api.call("GET", &path("configmaps", ""), None).await?;
            ensure!(list.len() > LISTED * 1000, "a short list");
        }
        Work::Patch => {
            let patch = format!(r#"{{"data":{{"changed":"{number}"}}}}"#);
            let url = path("configmaps", "map-0");
            api.call("PATCH", &url, Some((merge, &patch))).await?;
        }
        Work::CreatePod => {
            let pod = pod(&format!("pod-{number}"));
            api.create(&path("pods", ""), &pod).await?;
        }
        Work::PodStatus => {
            let url = format!("{}/status", path("pods", "pod"));
            let strategic = "application/strategic-merge-patch+json";
            let patch = status(number);
            api.call("PATCH", &url, Some((strategic, &patch))).await?;
        }
    }
    Ok(())
}

/// A ConfigMap with a kibibyte in it.
fn map(name: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"app": "profile"}},
        "data": {"content": "x".repeat(1024)},
    })
    .to_string()
}

/// A pod as Deployments make them.
fn pod(name: &str) -> String {
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "web", "pod-template-hash": "5d4f8c7b9"}},
        "spec": {
            "containers": [{
                "name": "web", "image": "registry.example/web:1.2.3",
                "ports": [{"name": "http", "containerPort": 8080}],
                "env": [
                    {"name": "LEVEL", "value": "info"},
                    {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                ],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5},
                "livenessProbe": {"httpGet": {"path": "/live", "port": "http"}},
                "volumeMounts": [{"name": "files", "mountPath": "/etc/web"}],
            }],
            "volumes": [{"name": "files", "configMap": {"name": "web"}}],
        },
    })
    .to_string()
}

/// What a kubelet writes of a running pod; something is always different.
fn status(number: usize) -> String {
    let at = "2026-01-02T03:04:05Z";
    let condition = |kind: &str| serde_json::json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": at});
    let conditions = [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]
    .map(condition);
    serde_json::json!({
        "status": {
            "phase": "Running", "startTime": at, "hostIP": "192.0.2.1", "podIP": "10.0.0.7",
            "podIPs": [{"ip": "10.0.0.7"}],
            "conditions": conditions,
            "containerStatuses": [{
                "name": "web", "image": "registry.example/web:1.2.3", "imageID": "sha256:0123", "ready": true,
                "started": true, "restartCount": number, "containerID": format!("transom://{number:064x}"),
                "state": {"running": {"startedAt": at}}, "lastState": {},
            }],
        },
    })
    .to_string()
}
