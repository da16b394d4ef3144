//! The Node object: registration, status, lease.
//!
//! The status is written when it changes, at latest every five minutes; the lease says every ten
//! seconds that the node lives. Source: kubernetes v1.36 pkg/kubelet/kubelet_node_status.go,
//! pkg/kubelet/nodestatus/setters.go, component-helpers/apimachinery/lease/controller.go.

mod facts;

use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use base::{Chain, Clock};
use client::{Client, Error, EventType, Patch, Recorder, Reference};
use nodeapi::cri::{ListImagesRequest, StatusRequest};
use nodeapi::{ImageService, RuntimeService};
use schema::{Dom, Node, Ref};
use tokio::time::Instant;

use crate::config::Config;

use facts::Facts;
pub use facts::Machine;
pub(crate) use facts::{LEAST_MEMORY_BYTES, meminfo, memory_bytes, processes};

const LEASE_SECONDS: i64 = 40;
const RENEW_EVERY: Duration = Duration::from_secs(10);
const REPORT_AT_LATEST: Duration = Duration::from_secs(300);
/// As many images as upstream reports.
const IMAGES_REPORTED: usize = 50;

/// Keeps one Node object and its lease.
pub(crate) struct NodeReporter {
    pub(crate) config: Config,
    pub(crate) client: Client,
    pub(crate) runtime: Arc<dyn RuntimeService>,
    pub(crate) images: Arc<dyn ImageService>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) recorder: Recorder,
    pub(crate) machine: Machine,
}

impl NodeReporter {
    /// Registers, then reports until the task is cancelled.
    pub(crate) async fn run(self) {
        let mut backoff = base::Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
        while let Err(error) = self.register().await {
            tracing::warn!(node = self.config.node_name, err = %Chain(&error), "not registered, retries");
            tokio::time::sleep(backoff.next_delay()).await;
        }
        let mut reported: Option<(Vec<u8>, Instant)> = None;
        let mut ready = None;
        let mut ticks = tokio::time::interval(RENEW_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.renew_lease().await {
                tracing::warn!(node = self.config.node_name, err = %Chain(&error), "lease not renewed");
            }
            let (status, is_ready) = self.status().await;
            let fingerprint = status.to_json(status.root());
            let due = reported.as_ref().is_none_or(|(earlier, at)| {
                *earlier != fingerprint || at.elapsed() >= REPORT_AT_LATEST
            }) || self.is_contradicted(&status).await;
            if due {
                match self.report(&status).await {
                    Ok(()) => reported = Some((fingerprint, Instant::now())),
                    Err(error) => {
                        reported = None;
                        tracing::warn!(node = self.config.node_name, err = %Chain(&error), "status not reported");
                    }
                }
            }
            if ready != Some(is_ready) {
                ready = Some(is_ready);
                let reason = if is_ready {
                    "NodeReady"
                } else {
                    "NodeNotReady"
                };
                let message = format!("Node {} status is now: {reason}", self.config.node_name);
                self.recorder
                    .record(&self.reference(), EventType::Normal, reason, message);
            }
            if !is_ready {
                // A node that comes up looks again soon.
                ticks.reset_after(Duration::from_millis(250));
            }
        }
    }

    fn reference(&self) -> Reference {
        Reference {
            kind: "Node".to_owned(),
            name: self.config.node_name.clone(),
            uid: self.config.node_name.clone(),
            ..Reference::default()
        }
    }

    async fn register(&self) -> Result<(), Error> {
        let nodes = self.client.resource(&Gvr::new("", "v1", "nodes"));
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        dom.set_str(root, "apiVersion", "v1");
        dom.set_str(root, "kind", "Node");
        let metadata = dom.ensure_map(root, "metadata");
        dom.set_str(metadata, "name", &self.config.node_name);
        let labels = dom.ensure_map(metadata, "labels");
        for (key, value) in self.labels() {
            dom.set_str(labels, &key, &value);
        }
        if !self.config.pod_cidr.is_empty() {
            let spec = dom.ensure_map(root, "spec");
            dom.set_str(spec, "podCIDR", &self.config.pod_cidr);
            let list = dom.ensure_list(spec, "podCIDRs");
            let range = dom.new_str(&self.config.pod_cidr);
            dom.push(list, range);
        }
        let (status, _) = self.status().await;
        let copy = dom.import(&status, status.root());
        self.stamp(&mut dom, copy, None);
        dom.set(root, "status", copy);
        match nodes.create(dom.to_json(root)).await {
            Ok(_) => {
                tracing::info!(node = self.config.node_name, "node registered");
                let message = "Starting kubelet.";
                self.recorder
                    .record(&self.reference(), EventType::Normal, "Starting", message);
                Ok(())
            }
            Err(error) if error.is_already_exists() => {
                let mut patch = Dom::new();
                let root = patch.new_map();
                patch.set_root(root);
                let metadata = patch.ensure_map(root, "metadata");
                let labels = patch.ensure_map(metadata, "labels");
                for (key, value) in self.labels() {
                    patch.set_str(labels, &key, &value);
                }
                let patch = Patch::Merge(patch.to_json(root).into());
                nodes
                    .patch(&self.config.node_name, "", patch)
                    .await
                    .map(|_| ())
            }
            Err(error) => Err(error),
        }
    }

    fn labels(&self) -> Vec<(String, String)> {
        let arch = facts::architecture();
        let mut labels: Vec<(String, String)> = [
            ("beta.kubernetes.io/arch", arch),
            ("beta.kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", arch),
            ("kubernetes.io/hostname", self.config.hostname.as_str()),
            ("kubernetes.io/os", "linux"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .to_vec();
        labels.extend(self.config.labels.iter().cloned());
        labels
    }

    /// The status without times, so that equal states are equal bytes; and whether it is Ready.
    async fn status(&self) -> (Dom, bool) {
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        let facts = Facts::read(&self.config, self.machine);
        facts.write_resources(&mut dom, root, &self.config);
        let problems = self.runtime_problems().await;
        let ready = problems.is_none();
        let list = dom.ensure_list(root, "conditions");
        let pressure = [
            (
                "MemoryPressure",
                facts.memory_is_short(),
                ["KubeletHasSufficientMemory", "KubeletHasInsufficientMemory"],
                [
                    "kubelet has sufficient memory available",
                    "kubelet has insufficient memory available",
                ],
            ),
            (
                "DiskPressure",
                facts.disk_is_short(),
                ["KubeletHasNoDiskPressure", "KubeletHasDiskPressure"],
                ["kubelet has no disk pressure", "kubelet has disk pressure"],
            ),
            (
                "PIDPressure",
                facts.pids_are_short(),
                ["KubeletHasSufficientPID", "KubeletHasInsufficientPID"],
                [
                    "kubelet has sufficient PID available",
                    "kubelet has insufficient PID available",
                ],
            ),
        ];
        for (name, holds, reasons, messages) in pressure {
            let at = usize::from(holds);
            push_condition(&mut dom, list, name, holds, reasons[at], messages[at]);
        }
        match &problems {
            None => {
                let message = "kubelet is posting ready status";
                push_condition(&mut dom, list, "Ready", true, "KubeletReady", message);
            }
            Some(why) => push_condition(&mut dom, list, "Ready", false, "KubeletNotReady", why),
        }
        let addresses = dom.ensure_list(root, "addresses");
        for address in &self.config.addresses {
            push_address(&mut dom, addresses, "InternalIP", &address.to_string());
        }
        push_address(&mut dom, addresses, "Hostname", &self.config.hostname);
        let endpoints = dom.ensure_map(root, "daemonEndpoints");
        let endpoint = dom.ensure_map(endpoints, "kubeletEndpoint");
        dom.set_int(endpoint, "Port", i64::from(self.config.port));
        facts.write_node_info(&mut dom, root, &self.config);
        self.write_images(&mut dom, root).await;
        (dom, ready)
    }

    /// Why containers cannot run now.
    async fn runtime_problems(&self) -> Option<String> {
        let status = match self.runtime.status(StatusRequest { verbose: false }).await {
            Ok(answer) => answer.status?,
            Err(error) => return Some(format!("container runtime is down: {}", Chain(&error))),
        };
        let bad: Vec<String> = status
            .conditions
            .iter()
            .filter(|condition| !condition.status)
            .map(|condition| {
                let prefix = match condition.r#type.as_str() {
                    "NetworkReady" => "container runtime network not ready",
                    _ => "container runtime not ready",
                };
                format!(
                    "{prefix}: {}=false reason:{} message:{}",
                    condition.r#type, condition.reason, condition.message
                )
            })
            .collect();
        (!bad.is_empty()).then(|| bad.join(", "))
    }

    async fn write_images(&self, dom: &mut Dom, root: Node) {
        let Ok(answer) = self.images.list_images(ListImagesRequest::default()).await else {
            return;
        };
        let mut images = answer.images;
        images.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
        let list = dom.ensure_list(root, "images");
        for image in images.into_iter().take(IMAGES_REPORTED) {
            let entry = dom.new_map();
            let names = dom.ensure_list(entry, "names");
            for name in image.repo_digests.iter().chain(&image.repo_tags) {
                let name = dom.new_str(name);
                dom.push(names, name);
            }
            dom.set_int(
                entry,
                "sizeBytes",
                i64::try_from(image.size).unwrap_or(i64::MAX),
            );
            dom.push(list, entry);
        }
    }

    /// Puts heartbeat and transition times into a status.
    fn stamp(&self, dom: &mut Dom, status: Node, reported: Option<Ref<'_>>) {
        let now = api::time::format_seconds(self.clock.now());
        let Some(list) = dom.get(status, "conditions") else {
            return;
        };
        let conditions: Vec<Node> = dom.items(list).collect();
        for condition in conditions {
            let kind = dom.at_node(condition).str("type").to_owned();
            let value = dom.at_node(condition).str("status").to_owned();
            let since = reported
                .and_then(|node| {
                    node.get("status")?
                        .items("conditions")
                        .find(|c| c.str("type") == kind)
                })
                .filter(|before| before.str("status") == value)
                .map_or(now.clone(), |before| {
                    before.str("lastTransitionTime").to_owned()
                });
            dom.set_str(condition, "lastHeartbeatTime", &now);
            dom.set_str(condition, "lastTransitionTime", &since);
        }
    }

    /// Whether the API shows other conditions, as after the node was given up (Unknown), or no
    /// node at all.
    async fn is_contradicted(&self, status: &Dom) -> bool {
        let nodes = self.client.resource(&Gvr::new("", "v1", "nodes"));
        match nodes.find(&self.config.node_name).await {
            Ok(Some(object)) => object.parse().is_ok_and(|shown| {
                let mut ours = status.as_ref().items("conditions");
                ours.any(|condition| {
                    let shown = api::meta::condition(shown.as_ref(), condition.str("type"));
                    shown.is_none_or(|shown| shown.str("status") != condition.str("status"))
                })
            }),
            Ok(None) => true,
            Err(_) => false,
        }
    }

    async fn report(&self, status: &Dom) -> Result<(), Error> {
        let nodes = self.client.resource(&Gvr::new("", "v1", "nodes"));
        let object = match nodes.get(&self.config.node_name).await {
            Ok(object) => object,
            Err(error) if error.is_not_found() => {
                // Somebody deleted the object of a node that lives.
                return self.register().await;
            }
            Err(error) => return Err(error),
        };
        let reported = object.parse().unwrap_or_default();
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        let copy = dom.import(status, status.root());
        self.stamp(&mut dom, copy, Some(reported.as_ref()));
        dom.set(root, "status", copy);
        let patch = Patch::Strategic(dom.to_json(root).into());
        nodes
            .patch(&self.config.node_name, "status", patch)
            .await
            .map(|_| ())
    }

    async fn renew_lease(&self) -> Result<(), Error> {
        let gvr = Gvr::new("coordination.k8s.io", "v1", "leases");
        let leases = self.client.namespaced(&gvr, "kube-node-lease");
        let name = &self.config.node_name;
        let time = api::time::format_micros(self.clock.now());
        let patch = format!(
            r#"{{"spec":{{"holderIdentity":{name:?},"leaseDurationSeconds":{LEASE_SECONDS},"renewTime":"{time}"}}}}"#
        );
        match leases.patch(name, "", Patch::Merge(patch.into())).await {
            Err(error) if error.is_not_found() => {}
            other => return other.map(|_| ()),
        }
        let node = self
            .client
            .resource(&Gvr::new("", "v1", "nodes"))
            .get(name)
            .await?;
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        dom.set_str(root, "apiVersion", "coordination.k8s.io/v1");
        dom.set_str(root, "kind", "Lease");
        let metadata = dom.ensure_map(root, "metadata");
        dom.set_str(metadata, "name", name);
        dom.set_str(metadata, "namespace", "kube-node-lease");
        let owners = dom.ensure_list(metadata, "ownerReferences");
        let owner = dom.new_map();
        dom.set_str(owner, "apiVersion", "v1");
        dom.set_str(owner, "kind", "Node");
        dom.set_str(owner, "name", name);
        dom.set_str(owner, "uid", node.uid());
        dom.push(owners, owner);
        let spec = dom.ensure_map(root, "spec");
        dom.set_str(spec, "holderIdentity", name);
        dom.set_int(spec, "leaseDurationSeconds", LEASE_SECONDS);
        dom.set_str(spec, "renewTime", &time);
        leases.create(dom.to_json(root)).await.map(|_| ())
    }
}

fn push_condition(dom: &mut Dom, list: Node, kind: &str, holds: bool, reason: &str, message: &str) {
    let condition = dom.new_map();
    dom.set_str(condition, "type", kind);
    dom.set_str(condition, "status", if holds { "True" } else { "False" });
    dom.set_str(condition, "reason", reason);
    dom.set_str(condition, "message", message);
    dom.push(list, condition);
}

fn push_address(dom: &mut Dom, list: Node, kind: &str, address: &str) {
    let entry = dom.new_map();
    dom.set_str(entry, "type", kind);
    dom.set_str(entry, "address", address);
    dom.push(list, entry);
}
