//! A whole cluster in one thread: store, API server, controllers, scheduler, kubelets, runtimes.
//!
//! Time is virtual: when every task waits, the clock jumps to the next deadline. Parts meet as in
//! a real cluster, over requests and watches, only without sockets. The observer is one more
//! client: it writes the trace and watches the invariants that need both sides.

mod control;
mod node;
mod observer;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use base::{Clock, Rng, Shutdown};
use client::{Client, DeleteOptions, Error, Object, Propagation};
use schema::Dom;
use tempfile::TempDir;
use transport::{Body, Transport};

pub use self::control::Component;
use crate::clock::SimClock;
use crate::cluster::control::ControlPlane;
use crate::cluster::node::SimNode;
use crate::link::{Link, Weather};
use crate::resource::{self, Resource};
use crate::trace::Trace;

/// More than any answer in a simulation.
const ANSWER_LIMIT_BYTES: usize = 64 << 20;

/// What to simulate.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Nodes at the beginning: `node-0` …
    pub nodes: usize,
    /// Runtime calls take up to so long.
    pub latency: Duration,
    /// Requests take from one millisecond up to so long; zero: no time.
    pub way: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            nodes: 1,
            latency: Duration::ZERO,
            way: Duration::ZERO,
        }
    }
}

/// See the module's header.
pub struct SimCluster {
    options: Options,
    clock: SimClock,
    shutdown: Shutdown,
    control: ControlPlane,
    store: store::Store,
    nodes: BTreeMap<String, SimNode>,
    /// Nodes so far: each has a name and addresses of its own.
    nodes_made: usize,
    trace: Trace,
    rng: Rng,
    admin: Link,
    folder: TempDir,
    runtimes: observer::Runtimes,
    client: Client,
}

/// Runs `body` in a runtime of its own whose time is virtual.
pub fn simulate<R, F>(options: Options, body: impl FnOnce(SimCluster) -> F) -> Result<R>
where
    F: Future<Output = Result<R>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .context("start the simulation's runtime")?;
    runtime.block_on(async {
        let cluster = SimCluster::start(options).await?;
        body(cluster).await
    })
}

impl SimCluster {
    /// Starts everything and waits until the nodes are Ready.
    async fn start(options: Options) -> Result<Self> {
        let clock = SimClock::start();
        let shutdown = Shutdown::new();
        let store = store::Store::in_memory_marked(Arc::new(clock.clone()), apiserver::marks);
        let mut rng = Rng::new(options.seed);
        let trace = Trace::new(clock.clone());
        let control = ControlPlane::new(store.clone(), &options, &trace)?;
        let admin = control.link("sim-admin", &[], false);
        let client = Client::new(Arc::new(admin.clone()), "sim-admin");
        let folder = tempfile::Builder::new().prefix("transom-sim-").tempdir();
        let mut cluster = Self {
            folder: folder.context("make a folder for the kubelets")?,
            options,
            trace,
            clock,
            shutdown,
            control,
            store,
            nodes: BTreeMap::new(),
            nodes_made: 0,
            client: client.with_rng(rng.child("sim-admin")),
            admin,
            rng,
            runtimes: observer::Runtimes::default(),
        };
        cluster.start_component(Component::ApiServer).await?;
        observer::start(
            &cluster.client,
            &cluster.trace,
            &cluster.runtimes,
            &cluster.shutdown,
        );
        cluster.start_component(Component::Controllers).await?;
        cluster.start_component(Component::Scheduler).await?;
        for _ in 0..cluster.options.nodes {
            cluster.add_node()?;
        }
        cluster.tick(Duration::from_secs(1)).await;
        Ok(cluster)
    }

    /// One more node, whose kubelet runs; its name.
    pub fn add_node(&mut self) -> Result<String> {
        let number = self.nodes_made;
        self.nodes_made += 1;
        let name = format!("node-{number}");
        let node = SimNode::new(self, &name, number)?;
        self.runtimes.insert(&name, node.runtime.clone());
        self.nodes.insert(name.clone(), node);
        self.start_kubelet(&name)?;
        Ok(name)
    }

    /// Ends a part of the control plane at once; the store lives on.
    pub fn crash(&mut self, component: Component) {
        if self.control.crash(component) {
            self.trace
                .note("control plane", format!("{component:?} crashed"));
        }
    }

    /// Starts a part of the control plane that crashed.
    pub async fn start_component(&mut self, component: Component) -> Result<()> {
        self.control.start(component, &mut self.rng).await
    }

    /// From now on everybody's requests meet this; the administrator's and the observer's do not.
    pub fn set_weather(&self, weather: Weather) {
        if weather != Weather::default() {
            self.trace.note("network", format!("{weather:?}"));
        }
        self.control.set_weather(weather);
    }

    /// The store refuses puts, as on a full disk, or takes them again.
    pub fn fill_disk(&self, is_full: bool) {
        self.trace
            .note("disk", if is_full { "full" } else { "has room" });
        self.store.fill(is_full);
    }

    /// The store forgets what was before now: who watches from an older revision must list again.
    pub fn forget_history(&self) -> Result<()> {
        self.trace.note("store", "history compacted");
        Ok(self.store.compact(self.store.current_revision())?)
    }

    /// Everybody's wall clock is set forward or back.
    pub fn jump(&self, by_ms: i64) {
        self.trace.note("clock", format!("jumps by {by_ms} ms"));
        self.clock.jump(by_ms);
    }

    /// Ends the kubelet's tasks at once, as a crash would. Containers live on.
    pub fn kill_kubelet(&mut self, node: &str) -> Result<()> {
        self.node_mut(node)?.kill();
        self.trace.note(node, "kubelet killed");
        Ok(())
    }

    /// Starts a kubelet that was killed.
    pub fn start_kubelet(&mut self, node: &str) -> Result<()> {
        let rng = self.rng.child("kubelet");
        let client =
            Client::new(Arc::new(self.node_mut(node)?.link.clone()), "kubelet").with_rng(rng);
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        self.trace.note(node, "kubelet started");
        self.node_mut(node)?.start(client, clock);
        Ok(())
    }

    /// Cuts the node off the API server; everything on it goes on.
    pub fn cut(&mut self, node: &str) -> Result<()> {
        self.node_mut(node)?.link.cut();
        self.trace.note(node, "cut off");
        Ok(())
    }

    /// Ends [`Self::cut`].
    pub fn mend(&mut self, node: &str) -> Result<()> {
        self.node_mut(node)?.link.mend();
        self.trace.note(node, "connected again");
        Ok(())
    }

    /// The node loses power: kubelet and containers end. [`Self::start_kubelet`] boots it.
    pub fn power_off(&mut self, node: &str) -> Result<()> {
        let node_of = self.node_mut(node)?;
        node_of.kill();
        node_of.runtime.power_off();
        self.trace.note(node, "power lost");
        Ok(())
    }

    /// The machine is gone for good, and its Node is taken off the cluster; nobody ends its pods.
    pub async fn lose(&mut self, node: &str) -> Result<()> {
        self.power_off(node)?;
        self.cut(node)?;
        self.nodes.remove(node);
        self.runtimes.remove(node);
        self.trace.note(node, "lost for good");
        match self.find("node", "", node).await? {
            Some(_) => self.delete("node", "", node, None).await,
            // It had never been heard of.
            None => Ok(()),
        }
    }

    fn node_mut(&mut self, node: &str) -> Result<&mut SimNode> {
        self.nodes
            .get_mut(node)
            .ok_or_else(|| anyhow!("there is no node {node}"))
    }

    /// Names of the nodes whose kubelet runs, or does not.
    pub fn kubelets(&self, running: bool) -> Vec<String> {
        let nodes = self.nodes.iter().filter(|(_, node)| node.runs() == running);
        nodes.map(|(name, _)| name.clone()).collect()
    }

    /// Lets virtual time pass, and everything happen that happens in it; less when that does not
    /// end.
    pub async fn tick(&self, time: Duration) {
        tokio::select! {
            biased;
            () = self.trace.overrun() => {}
            () = tokio::time::sleep(time) => {}
        }
        self.store.expire();
    }

    /// Milliseconds since the beginning.
    pub fn now_ms(&self) -> u64 {
        self.clock.elapsed_ms()
    }

    /// The administrator's client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// What happened.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// A node's folder of pods: `<uid>/volumes/…`.
    pub fn pod_folder(&self, node: &str, uid: &str) -> std::path::PathBuf {
        let root = self.folder.path().join(node);
        root.join("kubelet").join("pods").join(uid)
    }

    /// A generator of the simulation's seed.
    pub fn rng(&mut self, name: &str) -> Rng {
        self.rng.child(name)
    }

    /// The runtime of a node, for looking at it.
    pub fn runtime(&self, node: &str) -> Option<&crate::FakeRuntime> {
        self.nodes.get(node).map(|node| &node.runtime)
    }

    fn api(&self, resource: &Resource, namespace: &str) -> client::Api {
        match resource.namespaced {
            true => self.client.namespaced(&resource.gvr, namespace),
            false => self.client.resource(&resource.gvr),
        }
    }

    /// Creates the objects of a YAML stream, or merges them into those that exist.
    pub async fn apply(&self, yaml: &str) -> Result<()> {
        for text in schema::yaml::documents(yaml) {
            let parsed = schema::yaml::parse(text.as_bytes(), &schema::Limits::DEFAULT)?;
            let dom = parsed.dom;
            let root = dom.as_ref();
            if root.str("kind").is_empty() {
                continue;
            }
            let kind = root.str("kind");
            let resource = resource::find(kind).ok_or_else(|| anyhow!("unknown kind {kind}"))?;
            let metadata = api::meta::of(root);
            let namespace = match metadata.namespace() {
                "" => "default",
                namespace => namespace,
            };
            let api = self.api(&resource, namespace);
            let json = dom.to_json(dom.root());
            match api.create(json.clone()).await {
                Err(error) if error.is_already_exists() => {
                    api.patch(metadata.name(), "", client::Patch::Merge(json.into()))
                        .await?;
                }
                other => {
                    other.with_context(|| format!("create {kind} {}", metadata.name()))?;
                }
            }
        }
        Ok(())
    }

    /// Merges a document into an object that exists.
    pub async fn merge(&self, kind: &str, namespace: &str, name: &str, yaml: &str) -> Result<()> {
        let resource = resource::find(kind).ok_or_else(|| anyhow!("unknown resource {kind}"))?;
        let dom = schema::yaml::parse(yaml.as_bytes(), &schema::Limits::DEFAULT)?.dom;
        let patch = client::Patch::Merge(dom.to_json(dom.root()).into());
        let api = self.api(&resource, namespace);
        api.patch(name, "", patch).await?;
        Ok(())
    }

    /// Deletes as `kubectl delete` does, without waiting.
    pub async fn delete(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        grace_seconds: Option<i64>,
    ) -> Result<()> {
        let resource = resource::find(kind).ok_or_else(|| anyhow!("unknown resource {kind}"))?;
        let options = DeleteOptions {
            grace_period_seconds: grace_seconds,
            propagation: Some(Propagation::Background),
            ..DeleteOptions::default()
        };
        self.api(&resource, namespace)
            .delete(name, &options)
            .await?;
        Ok(())
    }

    /// Merges JSON into an object, or into its part that a subresource is for.
    pub async fn patch(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        subresource: &str,
        json: String,
    ) -> Result<()> {
        let resource = resource::find(kind).ok_or_else(|| anyhow!("unknown resource {kind}"))?;
        let api = self.api(&resource, namespace);
        let patch = client::Patch::Merge(json.into());
        api.patch(name, subresource, patch).await?;
        Ok(())
    }

    /// One object.
    pub async fn find(&self, kind: &str, namespace: &str, name: &str) -> Result<Option<Object>> {
        let resource = resource::find(kind).ok_or_else(|| anyhow!("unknown resource {kind}"))?;
        Ok(self.api(&resource, namespace).find(name).await?)
    }

    /// All objects of a namespace, or of the cluster when it is empty.
    pub async fn list(&self, kind: &str, namespace: &str) -> Result<Vec<Object>, Error> {
        let Some(resource) = resource::find(kind) else {
            return Ok(Vec::new());
        };
        let api = match namespace {
            "" => self.client.resource(&resource.gvr),
            namespace => self.api(&resource, namespace),
        };
        Ok(api.list(&client::ListOptions::default()).await?.items)
    }

    /// The table that `kubectl get` prints.
    pub async fn table(&self, kind: &str, namespace: &str, name: &str) -> Result<String> {
        const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        let resource = resource::find(kind).ok_or_else(|| anyhow!("unknown resource {kind}"))?;
        let path = self.api(&resource, namespace).path(name, "", &[]);
        let request = http::Request::get(&path)
            .header(http::header::ACCEPT, TABLE)
            .body(Body::empty())
            .with_context(|| format!("request {path}"))?;
        let response = self.admin.call(request).await?;
        let failed = response.status().as_u16() >= 400;
        let bytes = response.into_body().collect(ANSWER_LIMIT_BYTES).await?;
        let dom = Dom::parse_json(&bytes).map_err(|error| anyhow!("answer to {path}: {error}"))?;
        let table = dom.as_ref();
        if failed {
            bail!(
                "Error from server ({}): {}",
                table.str("reason"),
                table.str("message")
            );
        }
        if table.items("rows").next().is_none() {
            return Ok("No resources found\n".to_owned());
        }
        Ok(kubectl::print_table(table, false, false))
    }
}

impl Drop for SimCluster {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}
