//! The first minutes: a cluster of three nodes, an image that this binary is, a Deployment behind a
//! Service, its answer through a node's port, and a rolling update under load.

mod load;
mod objects;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use api::Gvr;
use bootstrap::install::Installed;
use bootstrap::local::Options;
use client::{Api, Cache, Key, ListOptions, Object, Patch, Reflector};
use kubectl::Connection;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cli::{Named, Up};
use crate::report::{progress, result};
use crate::{inbox, install, local};
use load::Load;
use objects::{DEPLOYMENT, IMAGE, NAMESPACE, SERVICE};

const NODES: usize = 3;
/// Small boards are slow; that it takes long is no failure.
const WITHIN: Duration = Duration::from_secs(180);
/// Requests that show which pods answer.
const ROUNDS: usize = 12;

pub(crate) fn run(named: &Named) -> Result<()> {
    let began = Instant::now();
    let there = bootstrap::local::cluster(&named.name, &Options::default());
    let nodes = there.map_or(NODES, |cluster| cluster.nodes.len().max(NODES));
    let cluster = local::bring_up(&Up::with_nodes(named, nodes))?;
    with_image(|archive| inbox::import(&named.name, archive))?;
    let connection = kubectl::connect(&cluster.admin_kubeconfig, None)?;
    let nodes = cluster.nodes.iter();
    let nodes: Vec<Ipv4Addr> = nodes.map(|node| node.address).collect();
    local::runtime()?.block_on(show(&nodes, &connection))?;
    result(&format!(
        "\nThat took {:.1} s. The cluster is yours: kubectl --context {} get pods -o wide; remove \
         it with `transom down -C {}`.",
        began.elapsed().as_secs_f32(),
        cluster.context,
        named.name
    ));
    Ok(())
}

/// The same on the cluster that `install` made of this machine.
pub(crate) fn run_installed() -> Result<()> {
    let installed = Installed::load()?;
    let installed = installed.context("nothing is installed on this machine: `transom install`")?;
    install::wait_for_node(&installed)?;
    with_image(|archive| inbox::put(&installed.data().join(inbox::FOLDER), archive).map(drop))?;
    let connection = kubectl::connect(&installed.kubeconfig(), None)?;
    local::runtime()?.block_on(show(&[installed.address], &connection))
}

/// Makes the demo's image for as long as `import` takes.
fn with_image(import: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    progress("making the demo's image from this program");
    let program = std::env::current_exe().context("find this program")?;
    let folder = tempfile::tempdir().context("make a folder for the image")?;
    let archive = folder.path().join("hello.tar");
    write_image(&program, &archive)?;
    import(&archive)
}

async fn show(nodes: &[Ipv4Addr], connection: &Connection) -> Result<()> {
    let api = |group, version, resource| {
        let gvr = Gvr::new(group, version, resource);
        connection.client.namespaced(&gvr, NAMESPACE)
    };
    let deployments = api("apps", "v1", "deployments");
    let services = api("", "v1", "services");
    progress("applying a Deployment of three replicas and a Service");
    apply(&services, SERVICE, objects::service()).await?;
    let first = apply(&deployments, DEPLOYMENT, objects::deployment("v1", NODES)).await?;
    let rollout = Rollout::follow(&deployments, &api("", "v1", "pods"));
    rollout.done(first, NODES).await?;
    for (resource, wide) in [("nodes", true), ("pods", true), ("services", false)] {
        print(connection, resource, wide).await?;
    }
    let service = services.get(SERVICE).await.context("read the Service")?;
    let port = node_port(&service)?;
    let targets = nodes.iter().map(|node| SocketAddr::from((*node, port)));
    let targets: Vec<SocketAddr> = targets.collect();
    answers(&targets).await?;

    progress("updating the Deployment while clients go on asking");
    let load = Load::start(&targets);
    let patch = objects::deployment("v2", NODES);
    let second = apply(&deployments, DEPLOYMENT, patch).await?;
    // The clients ask until the last old pod has ended: that is when requests get lost.
    let updated = rollout.done(second, NODES).await;
    let gone = rollout.only(NODES).await;
    let report = load.stop().await;
    updated?;
    gone?;
    result(&format!("\nRolling update to v2: {report}"));
    print(connection, "pods", true).await?;
    if report.failed() > 0 {
        bail!("{} requests failed during the update", report.failed());
    }
    Ok(())
}

/// Creates an object, or changes the one that is there; gives its generation.
async fn apply(api: &Api, name: &str, json: String) -> Result<i64> {
    let what = || format!("apply {} {name}", api.gvr().resource);
    let object = match api.create(json.clone()).await {
        Err(error) if error.is_already_exists() => {
            let patch = Patch::Merge(json.into());
            api.patch(name, "", patch).await.with_context(what)?
        }
        created => created.with_context(what)?,
    };
    Ok(api::meta::of(object.parse()?.as_ref()).generation())
}

/// The Deployment and its pods as the API shows them.
struct Rollout {
    cache: Cache,
    pods: Cache,
    changed: Arc<Notify>,
    shutdown: base::Shutdown,
}

impl Rollout {
    fn follow(deployments: &Api, pods: &Api) -> Self {
        let shutdown = base::Shutdown::new();
        let changed = Arc::new(Notify::new());
        let follow = |api: &Api, options: ListOptions| {
            let wake = changed.clone();
            Reflector::new(api.clone(), options, Cache::new(Vec::new()))
                .on_change(move |_| wake.notify_one())
                .start(&shutdown)
        };
        let deployment = ListOptions {
            fields: format!("metadata.name={DEPLOYMENT}"),
            ..ListOptions::default()
        };
        let its_pods = ListOptions {
            labels: "app=hello".to_owned(),
            ..ListOptions::default()
        };
        Self {
            cache: follow(deployments, deployment),
            pods: follow(pods, its_pods),
            changed,
            shutdown,
        }
    }

    /// Waits until there are no pods but `replicas`.
    async fn only(&self, replicas: usize) -> Result<()> {
        let gone = async {
            while self.pods.len() != replicas {
                self.changed.notified().await;
            }
        };
        tokio::time::timeout(WITHIN, gone)
            .await
            .map_err(|_| anyhow!("old pods of {DEPLOYMENT} have not ended after {WITHIN:?}"))
    }

    /// Waits until all replicas are of the newest template and available, and no other is left;
    /// `since` is the generation that asked for it.
    async fn done(&self, since: i64, replicas: usize) -> Result<()> {
        let complete = async {
            loop {
                let deployment = self.cache.get(&Key::new(NAMESPACE, DEPLOYMENT));
                if deployment.is_some_and(|one| is_complete(&one, since, replicas)) {
                    return;
                }
                self.changed.notified().await;
            }
        };
        tokio::time::timeout(WITHIN, complete).await.map_err(|_| {
            anyhow!(
                "Deployment {DEPLOYMENT} is not complete after {WITHIN:?}: `transom kubectl get \
                 events` says why"
            )
        })
    }
}

impl Drop for Rollout {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

/// Source: kubernetes v1.36 kubectl/pkg/polymorphichelpers/rollout_status.go.
fn is_complete(deployment: &Object, since: i64, replicas: usize) -> bool {
    let Ok(dom) = deployment.parse() else {
        return false;
    };
    let object = dom.as_ref();
    let Some(status) = object.get("status") else {
        return false;
    };
    let count = |field: &str| status.int(field).unwrap_or(0);
    let wanted = i64::try_from(replicas).unwrap_or(i64::MAX);
    count("observedGeneration") >= api::meta::of(object).generation().max(since)
        && ["replicas", "updatedReplicas", "availableReplicas"]
            .iter()
            .all(|field| count(field) == wanted)
}

async fn print(connection: &Connection, resource: &str, wide: bool) -> Result<()> {
    let command = kubectl::Command::Get {
        resource: resource.to_owned(),
        name: None,
        namespace: Some(NAMESPACE.to_owned()),
        all_namespaces: false,
        wide,
    };
    let text = kubectl::run(connection, command).await?;
    result(&format!("\n{text}"));
    Ok(())
}

fn node_port(service: &Object) -> Result<u16> {
    let dom = service.parse()?;
    let spec = dom
        .as_ref()
        .get("spec")
        .context("the Service has no spec")?;
    let port = spec.items("ports").find_map(|port| port.int("nodePort"));
    let port = port.and_then(|port| u16::try_from(port).ok());
    port.context("the Service has no node port")
}

/// Asks every node's port in turn, and shows who answered.
async fn answers(targets: &[SocketAddr]) -> Result<()> {
    let mut by: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    let mut last = String::new();
    for round in 0..ROUNDS {
        let target = targets[round % targets.len()];
        let text = first_answer(target)
            .await
            .with_context(|| format!("ask http://{target}/"))?;
        last = format!("http://{target}/ answers: {}", text.trim());
        *by.entry(text.trim().to_owned()).or_default() += 1;
    }
    result(&format!("\n{last}"));
    let counts: Vec<String> = by
        .iter()
        .map(|(text, n)| format!("  {n:>2} × {text}"))
        .collect();
    result(&format!(
        "{ROUNDS} requests to the nodes' ports were answered by {} pods:\n{}",
        by.len(),
        counts.join("\n")
    ));
    Ok(())
}

/// The answer of a port that has just been made: the nodes learn of it one after the other.
async fn first_answer(target: SocketAddr) -> Result<String> {
    let limit = Instant::now() + Duration::from_secs(10);
    loop {
        match load::ask(target).await {
            Ok(text) => return Ok(text),
            Err(error) if Instant::now() > limit => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// An OCI archive with this program as its only file.
fn write_image(program: &Path, archive: &Path) -> Result<()> {
    let image = images::build::single_binary(program, &["/transom", "hello"], IMAGE)
        .context("make the demo's image")?;
    std::fs::write(archive, image).with_context(|| format!("write {}", archive.display()))
}
