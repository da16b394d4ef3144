//! A node's DNS: zone and configuration kept equal to the API, sockets served.
//!
//! Identity: the service account `kube-system/coredns`, as upstream's pods have it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use api::Gvr;
use base::{Clock, Rng, Shutdown, tasks};
use client::{
    Cache, Change, Client, EventType, ListOptions, Object, Recorder, Reference, Reflector,
};
use ipnet::IpNet;
use tokio::sync::mpsc;

use crate::corefile::Corefile;
use crate::forward::Sockets;
use crate::manifests::{CONFIG_MAP, NAMESPACE, default_corefile};
use crate::server::{Server, Setup, listen};

/// Findings of one Corefile that become events.
const FINDINGS_TOLD: usize = 10;
/// Corefiles that wait to be read: only the last one counts.
const CONFIG_QUEUE: usize = 4;

/// What a node's DNS is told at its start.
pub struct Config {
    /// Addresses and ports to listen on.
    pub listen: Vec<SocketAddr>,
    /// `cluster.local`; only for a cluster without the ConfigMap.
    pub domain: String,
    /// Who is answered: pods, nodes, this machine. Everybody when empty.
    pub sources: Vec<IpNet>,
    /// What `/etc/resolv.conf` means in the Corefile.
    pub resolv_conf: PathBuf,
    /// Where questions to others leave from.
    pub sockets: Arc<dyn Sockets>,
    /// For events.
    pub node_name: String,
    /// Wall time, for events.
    pub clock: Arc<dyn Clock>,
    /// Draws numbers of questions.
    pub rng: Rng,
}

/// Serves until shutdown.
pub async fn run(client: Client, config: Config, shutdown: Shutdown) {
    let default = Corefile::parse(&default_corefile(&config.domain)).unwrap_or_default();
    let server = Arc::new(Server::with(
        Setup {
            own: config
                .listen
                .iter()
                .map(SocketAddr::ip)
                .collect::<Vec<IpAddr>>(),
            sources: config.sources.clone(),
            resolv_conf: config.resolv_conf.clone(),
            sockets: config.sockets.clone(),
            rng: config.rng.clone(),
        },
        default.clone(),
    ));
    for address in &config.listen {
        listen(&server, *address, &shutdown);
    }
    let (sender, receiver) = mpsc::channel(CONFIG_QUEUE);
    let maps = Reflector::new(
        client.namespaced(&Gvr::new("", "v1", "configmaps"), NAMESPACE),
        ListOptions {
            fields: format!("metadata.name={CONFIG_MAP}"),
            ..ListOptions::default()
        },
        Cache::new(Vec::new()),
    )
    .on_change(move |_| {
        // A full queue already has a reason to look.
        let _ = sender.try_send(());
    })
    .start(&shutdown);
    let caches = [
        reflect(
            &client,
            ("", "v1", "namespaces"),
            &server,
            &shutdown,
            |server, change| {
                server.zone().on_namespace(change);
            },
        ),
        reflect(
            &client,
            ("", "v1", "services"),
            &server,
            &shutdown,
            |server, change| {
                server.zone().on_service(change);
            },
        ),
        reflect(
            &client,
            ("discovery.k8s.io", "v1", "endpointslices"),
            &server,
            &shutdown,
            |server, change| {
                server.zone().on_slice(change);
            },
        ),
    ];
    let own = server.clone();
    tasks::spawn("dns-synced", &shutdown, async move {
        for cache in caches {
            cache.synced().await;
        }
        own.zone().mark_synced();
        tracing::info!("the names of the cluster are known");
    });
    let recorder = Recorder::start(
        client,
        "coredns",
        &config.node_name,
        config.clock.clone(),
        &shutdown,
    );
    follow(&server, &maps, receiver, &default, &recorder, &shutdown).await;
}

fn reflect(
    client: &Client,
    (group, version, resource): (&str, &str, &str),
    server: &Arc<Server>,
    shutdown: &Shutdown,
    on_change: fn(&Server, &Change),
) -> Cache {
    let server = server.clone();
    Reflector::new(
        client.resource(&Gvr::new(group, version, resource)),
        ListOptions::default(),
        Cache::new(Vec::new()),
    )
    .on_change(move |change| on_change(&server, change))
    .start(shutdown)
}

/// Takes each Corefile over; one that cannot be read leaves the last in force.
async fn follow(
    server: &Arc<Server>,
    maps: &Cache,
    mut changes: mpsc::Receiver<()>,
    default: &Corefile,
    recorder: &Recorder,
    shutdown: &Shutdown,
) {
    maps.synced().await;
    let mut current = String::new();
    apply(server, default.clone(), shutdown);
    loop {
        let map = maps.list().into_iter().next();
        let text = map.as_deref().and_then(corefile).unwrap_or_default();
        if text != current {
            current.clone_from(&text);
            match Corefile::parse(&text) {
                Ok(read) => {
                    tracing::info!(findings = read.findings.len(), "Corefile taken over");
                    for finding in read.findings.iter().take(FINDINGS_TOLD) {
                        tracing::warn!(err = %finding, "Corefile");
                        tell(
                            recorder,
                            map.as_deref(),
                            "CorefileNotSupported",
                            &finding.to_string(),
                        );
                    }
                    apply(server, read, shutdown);
                }
                Err(_) if text.is_empty() => apply(server, default.clone(), shutdown),
                Err(error) => {
                    tracing::error!(err = %error, "Corefile refused: the last one stays in force");
                    tell(
                        recorder,
                        map.as_deref(),
                        "CorefileRefused",
                        &error.to_string(),
                    );
                }
            }
        }
        if changes.recv().await.is_none() {
            return;
        }
    }
}

fn apply(server: &Arc<Server>, corefile: Corefile, shutdown: &Shutdown) {
    for (forwarder, question) in server.configure(corefile) {
        tasks::spawn("dns-loop-probe", shutdown, async move {
            // Whatever comes back: what counts is whether the question itself arrives here.
            let _ = forwarder.ask(&question, false).await;
        });
    }
}

fn corefile(map: &Object) -> Option<String> {
    let dom = map.parse().ok()?;
    Some(dom.as_ref().get("data")?.str("Corefile").to_owned())
}

fn tell(recorder: &Recorder, map: Option<&Object>, reason: &str, message: &str) {
    let about = Reference {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: NAMESPACE.to_owned(),
        name: CONFIG_MAP.to_owned(),
        uid: map.map_or_else(String::new, |map| map.uid().to_owned()),
        ..Reference::default()
    };
    recorder.record(&about, EventType::Warning, reason, message);
}
