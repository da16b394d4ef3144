//! The node's process: network, images, runtime, kubelet, DNS, Services.

mod connection;
mod dns;
mod host_sockets;
mod proxy;

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use base::{Clock, Shutdown, SystemClock, tasks};
use bootstrap::config::AgentConfig;
use client::Recorder;
use kubelet::{Kubelet, Parts};
use nodeapi::RuntimeService as _;
use nodeapi::cri::DnsConfig;
use transport::server::ServerConfig;
use transport::tls::{Certificates, ClientCas, ServerTls};

use crate::server::{VERSION, on_signal};

pub(crate) fn run(path: &Path) -> Result<()> {
    let config = AgentConfig::load(path)?;
    base::telemetry::init(&config.log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(64)
        .thread_name("agent")
        .enable_all()
        .build()
        .context("start the async runtime")?;
    runtime.block_on(serve(config))
}

async fn serve(config: AgentConfig) -> Result<()> {
    let shutdown = Shutdown::new();
    let ends = shutdown.clone();
    on_signal(&shutdown, move || ends.trigger());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let ca = read(&config.ca_file)?;
    let (certificate, key) = (&config.client_cert_file, &config.client_key_file);
    let client = connection::connect(&config, &ca, certificate, key, "transom-kubelet")?;
    if config.host_network.is_none() {
        bootstrap::install::settings().context("prepare the machine's network")?;
    }
    let network = network::Network::open(network::Config {
        folder: config.data_dir.join("network"),
        ranges: config.pod_ranges.clone(),
        mtu: config.pod_mtu,
        masquerade: config.masquerade.then(|| config.cluster_pod_ranges.clone()),
    })
    .context("open the pod network")?;
    let store = images::Images::open(
        images::Config::new(config.data_dir.join("images")),
        clock.clone(),
    )
    .context("open the image store")?;
    let mut registries = images::Registries::default();
    if let Some(path) = &config.host_network {
        registries = registries.with_connector(host_sockets::connector(path)?);
    }
    let images = Arc::new(runtime::NodeImages::new(store, registries));
    let runtime = runtime::Runtime::open(
        runtime::Config {
            root: config.data_dir.join("runtime"),
            cgroup_parent: group_below(&config.cgroup_root, "kubepods"),
            version: VERSION.to_owned(),
            seccomp_profiles: config.kubelet_dir.join("seccomp"),
        },
        images.clone(),
        Arc::new(network.clone()),
        clock.clone(),
        shutdown.clone(),
    )
    .await
    .context("open the container runtime")?;
    let live = sandbox_ids(&runtime).await?;
    network
        .reconcile(live)
        .await
        .context("give back addresses of pods that are gone")?;
    let follow = network::peers::Follow {
        node: config.node_name.clone(),
        ranges: config.pod_ranges.is_empty(),
        routes: config.node_routes,
    };
    if follow.ranges || follow.routes {
        network::peers::follow(&client, &network, follow, &shutdown);
    }
    let recorder = Recorder::start(
        client.clone(),
        "kubelet",
        &config.node_name,
        clock.clone(),
        &shutdown,
    );
    let inbox = config.data_dir.join(crate::inbox::FOLDER);
    let importer = images.clone();
    let handle = tokio::runtime::Handle::current();
    std::thread::Builder::new()
        .name("inbox".to_owned())
        .spawn(move || {
            let served = crate::inbox::serve(&inbox, |archive| {
                handle.block_on(import(&importer, archive))
            });
            if let Err(error) = served {
                tracing::error!(err = format!("{error:#}"), "the inbox of images ended");
            }
        })
        .context("start the inbox of images")?;
    dns::start(&config, &ca, &clock, &shutdown)?;
    proxy::start(&config, &ca, &clock, &shutdown)?;
    let (millicores, memory_bytes) = kubelet::machine_resources();
    let runtime = Arc::new(runtime);
    serve_cri(&config.run_dir, runtime.clone(), images.clone(), &shutdown);
    let kubelet = Kubelet::start(
        Parts {
            config: kubelet::Config {
                node_name: config.node_name.clone(),
                addresses: config.node_addresses.clone(),
                hostname: config.node_name.clone(),
                root: config.kubelet_dir.clone(),
                logs: config.pod_log_dir.clone(),
                cluster_dns: config.cluster_dns.iter().map(ToString::to_string).collect(),
                cluster_domain: config.cluster_domain.clone(),
                host_dns: host_dns(),
                max_pods: config.max_pods,
                port: config.kubelet_port,
                labels: labels(&config.labels),
                cgroup_root: group_below(&config.cgroup_root, "kubepods"),
                pod_cidr: config
                    .pod_ranges
                    .first()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                version: VERSION.to_owned(),
                millicores,
                memory_bytes,
            },
            client,
            runtime: runtime.clone(),
            images,
            streams: runtime,
            recorder,
            clock,
        },
        &shutdown,
    );
    let certificates = load_identity(&config.serving_cert_file, &config.serving_key_file)?;
    let cas = ClientCas::from_pem(&ca).context("read the cluster's CA")?;
    let server_config = ServerConfig {
        tls: Some(ServerTls {
            certificates,
            client_cas: Some(cas),
        }),
        ..ServerConfig::default()
    };
    let address = SocketAddr::new(
        config
            .node_addresses
            .first()
            .copied()
            .context("the configuration names no node address")?,
        config.kubelet_port,
    );
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address} for the kubelet's API"))?;
    let server = Arc::new(kubelet.server());
    let serving = shutdown.clone();
    tasks::spawn("kubelet-server", &shutdown, async move {
        if let Err(error) = transport::server::serve(listener, server_config, server, serving).await
        {
            tracing::error!(err = %base::Chain(&error), "the kubelet's API is no longer served");
        }
    });
    shutdown.wait().await;
    Ok(())
}

async fn sandbox_ids(runtime: &runtime::Runtime) -> Result<HashSet<String>> {
    let request = nodeapi::cri::ListPodSandboxRequest::default();
    let answer = runtime
        .list_pod_sandbox(request)
        .await
        .context("list the node's pods")?;
    Ok(answer.items.into_iter().map(|sandbox| sandbox.id).collect())
}

/// The runtime for other clients: `transom image`, crictl.
fn serve_cri(
    folder: &Path,
    runtime: Arc<runtime::Runtime>,
    images: Arc<runtime::NodeImages>,
    shutdown: &Shutdown,
) {
    let path = folder.join(crate::images::SOCKET);
    let ending = shutdown.clone();
    tasks::spawn("cri-socket", shutdown, async move {
        if let Err(error) = runtime::serve(&path, runtime, images, ending).await {
            tracing::error!(err = %base::Chain(&error), "the CRI socket is not served");
        }
    });
}

/// Imports an archive; gives the references that it brought.
async fn import(images: &runtime::NodeImages, archive: std::fs::File) -> Result<String> {
    let found = images.store().import(archive, None).await?;
    let names: Vec<String> = found
        .into_iter()
        .flat_map(|image| image.repo_tags)
        .collect();
    Ok(names.join(" "))
}

fn group_below(root: &str, name: &str) -> String {
    format!("{}/{name}", root.trim_end_matches('/'))
}

fn labels(pairs: &[String]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The node's own name resolution.
fn host_dns() -> DnsConfig {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let mut dns = DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => dns.servers.extend(words.next().map(str::to_owned)),
            Some("search") => dns.searches = words.map(str::to_owned).collect(),
            Some("options") => dns.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    dns
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("read {}", path.display()))
}

pub(crate) fn load_identity(cert: &Path, key: &Path) -> Result<Arc<Certificates>> {
    Certificates::from_pem(&read(cert)?, &read(key)?)
        .with_context(|| format!("use certificate {}", cert.display()))
}
