//! The control plane's process: store, API server, controllers, scheduler.

mod dns;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use apiserver::authn::{Anonymous, Authn, TokenChecks};
use apiserver::authz::Authz;
use apiserver::{SignedTokens, UserInfo};
use base::{Chain, Clock, Rng, Shutdown, SystemClock, tasks};
use bootstrap::certs;
use bootstrap::config::ServerConfig;
use client::{Client, Recorder};
use pki::KeyPair;
use pki::jwt::{KeySet, SigningKey};
use store::Store;
use tokio::signal::unix::{SignalKind, signal};
use transport::client::Hosts;
use transport::server::ServerConfig as ListenConfig;
use transport::tls::{ClientCas, ClientTls, ServerTls, Trust};

use crate::agent::{load_identity, read};

/// What every component reports.
pub(crate) const VERSION: &str = "v1.36.3+transom.0";

pub(crate) fn run(path: &Path) -> Result<()> {
    let config = ServerConfig::load(path)?;
    base::telemetry::init(&config.log);
    let threads = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .clamp(2, 8);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .max_blocking_threads(32)
        .thread_name("server")
        .enable_all()
        .build()
        .context("start the async runtime")?;
    runtime.block_on(serve(config))
}

async fn serve(config: ServerConfig) -> Result<()> {
    let shutdown = Shutdown::new();
    let ends = shutdown.clone();
    on_signal(&shutdown, move || ends.trigger());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let pki = |name: &str, extension: &str| config.pki_dir.join(format!("{name}.{extension}"));
    let ca = read(&pki(certs::CA, "crt"))?;
    std::fs::create_dir_all(&config.data_dir)
        .with_context(|| format!("create {}", config.data_dir.display()))?;
    let path = config.data_dir.join("store.db");
    let mut kept = store::Config::new(&path);
    kept.freed = give_back_memory;
    kept.marker = apiserver::marks;
    let store = Store::open(&kept).with_context(|| format!("open the store {}", path.display()))?;
    let pair = service_account_key(&pki(certs::SERVICE_ACCOUNT, "key"))?;
    let keys = KeySet::new([pair.public().context("use the service-account key")?]);
    let issuer = config.service_account_issuer.clone();
    let kubelet_identity = load_identity(
        &pki(certs::API_SERVER_KUBELET_CLIENT, "crt"),
        &pki(certs::API_SERVER_KUBELET_CLIENT, "key"),
    )?;
    let trust = Trust::from_pem(&ca).context("read the cluster's CA")?;
    let kubelet_tls = ClientTls::new(trust).with_identity(kubelet_identity);
    let mut front = apiserver::Config::new(store.clone(), clock.clone(), shutdown.clone());
    front.service_ranges.clone_from(&config.service_ranges);
    front.advertise = Some(config.advertise);
    front.tokens = Some(Arc::new(SignedTokens::new(
        SigningKey::new(pair),
        keys.clone(),
        &issuer,
    )));
    front.client_ca_pem = String::from_utf8_lossy(&ca).into_owned();
    front.front_proxy = Some(apiserver::FrontProxy {
        ca_pem: String::from_utf8_lossy(&read(&pki(certs::FRONT_PROXY_CA, "crt"))?).into_owned(),
        identity: load_identity(
            &pki(certs::FRONT_PROXY_CLIENT, "crt"),
            &pki(certs::FRONT_PROXY_CLIENT, "key"),
        )?,
        allowed_names: vec![certs::FRONT_PROXY_CLIENT.to_owned()],
    });
    front.kubelets = Some(Arc::new(Hosts::new(kubelet_tls)));
    front.initial = dns::initial(&config);
    let server = apiserver::Server::open(front)
        .await
        .context("start the API server")?;
    access(&server, keys, issuer, &clock)?;

    let serving = load_identity(
        &pki(certs::API_SERVER, "crt"),
        &pki(certs::API_SERVER, "key"),
    )?;
    let cas = ClientCas::from_pem(&ca).context("read the cluster's CA")?;
    let tls = ServerTls {
        certificates: serving,
        client_cas: Some(cas),
    };
    for address in &config.listen {
        let listener = tokio::net::TcpListener::bind(address)
            .await
            .with_context(|| format!("listen on {address}: is another server running there?"))?;
        let listen = ListenConfig {
            tls: Some(tls.clone()),
            ..ListenConfig::default()
        };
        let (service, ending) = (Arc::new(apiserver::Front(server.clone())), shutdown.clone());
        tasks::spawn("api-server", &Shutdown::new(), async move {
            if let Err(error) = transport::server::serve(listener, listen, service, ending).await {
                tracing::error!(err = %Chain(&error), "the API is no longer served");
            }
        });
        tracing::info!(%address, "the API is served");
    }

    let client_for = |identity: &str| -> Client {
        let service = server.as_user(component(identity));
        let transport = transport::InProcess::new(service, http::Extensions::new());
        Client::new(
            Arc::new(transport),
            identity.rsplit(':').next().unwrap_or(identity),
        )
    };
    start_controllers(&client_for, &ca, &config, &clock, &shutdown);
    start_scheduler(client_for("system:kube-scheduler"), &clock, &shutdown);
    if config.cluster_dns.is_some() {
        dns::start(client_for(::dns::PUBLISHER_USER), &shutdown);
    }
    shutdown.wait().await;
    tracing::info!("the control plane ends");
    store.close();
    Ok(())
}

/// Who asks (certificates, service-account tokens; without either only health and version are
/// answered) and whether they may (Node and RBAC).
fn access(
    server: &Arc<apiserver::Server>,
    keys: KeySet,
    issuer: String,
    clock: &Arc<dyn Clock>,
) -> Result<()> {
    let checks = TokenChecks {
        keys,
        issuers: vec![issuer.clone()],
        audiences: vec![issuer],
        lookup: server.lookup(),
        clock: clock.clone(),
    };
    let anonymous = ["/livez", "/readyz", "/healthz", "/version", "/version/"];
    let anonymous = Anonymous::Paths(anonymous.map(str::to_owned).to_vec());
    server.set_authenticator(Arc::new(Authn::new(checks, anonymous)));
    let authz = Authz::new(server.store().clone(), server.root())
        .context("read the roles for authorization")?;
    server.set_authorizer(Arc::new(authz));
    Ok(())
}

fn service_account_key(path: &Path) -> Result<KeyPair> {
    let text = pki::files::load(path)?;
    KeyPair::from_pem(&text).with_context(|| format!("use {}", path.display()))
}

fn start_controllers(
    client_for: &dyn Fn(&str) -> Client,
    ca: &[u8],
    config: &ServerConfig,
    clock: &Arc<dyn Clock>,
    shutdown: &Shutdown,
) {
    let client = client_for("system:kube-controller-manager");
    let name = "kube-controller-manager";
    let context = controllers::Context {
        recorder: Recorder::start(client.clone(), name, "", clock.clone(), shutdown),
        informers: controllers::Informers::new(client.clone(), shutdown),
        client,
        clock: clock.clone(),
        shutdown: shutdown.clone(),
        root_ca: String::from_utf8_lossy(ca).into(),
        pod_ranges: Arc::new(pod_ranges(config)),
        signer: signer(config),
    };
    controllers::start_all(controllers::CONTROLLERS, &context, client_for);
}

/// A server without the CA's key signs nothing.
fn signer(config: &ServerConfig) -> Option<Arc<pki::Ca>> {
    match pki::files::load_ca(&config.pki_dir, certs::CA) {
        Ok(ca) => Some(Arc::new(ca)),
        Err(error) => {
            tracing::info!(err = %Chain(&error), "signing requests are left to others");
            None
        }
    }
}

fn pod_ranges(config: &ServerConfig) -> controllers::PodRanges {
    let settled = config.nodes.iter();
    controllers::PodRanges {
        ranges: config.pod_ranges.clone(),
        mask_v4: config.node_mask_v4,
        mask_v6: config.node_mask_v6,
        settled: settled
            .map(|node| (node.name.clone(), node.pod_ranges.clone()))
            .collect(),
    }
}

fn start_scheduler(client: Client, clock: &Arc<dyn Clock>, shutdown: &Shutdown) {
    let (ending, clock) = (shutdown.clone(), clock.clone());
    tasks::supervise("scheduler", shutdown, move || {
        let recorder = Recorder::start(
            client.clone(),
            "default-scheduler",
            "",
            clock.clone(),
            &ending,
        );
        let config = scheduler::Config {
            scheduler_name: "default-scheduler".to_owned(),
            recorder,
            rng: Rng::from_os(),
            clock: clock.clone(),
        };
        Box::pin(scheduler::run(client.clone(), config, ending.clone()))
    });
}

/// Of a burst of work the history stays for minutes; once it is gone the process shall be small
/// again. Beside the writer, who waits for nothing that it need not.
fn give_back_memory() {
    let thread = std::thread::Builder::new().name("give-back".to_owned());
    if let Err(error) = thread.spawn(cgroups::give_back_free_memory) {
        tracing::warn!(err = %Chain(&error), "freed memory stays with this process until the next time");
    }
}

/// A component's user with the groups that its kind of name has.
fn component(identity: &str) -> UserInfo {
    let mut groups = vec!["system:authenticated".to_owned()];
    if let Some(account) = identity.strip_prefix("system:serviceaccount:") {
        groups.push("system:serviceaccounts".to_owned());
        if let Some((namespace, _)) = account.split_once(':') {
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
    }
    UserInfo {
        name: identity.to_owned(),
        groups,
        ..UserInfo::default()
    }
}

/// Calls `then` at SIGTERM or SIGINT.
pub(crate) fn on_signal(shutdown: &Shutdown, then: impl FnOnce() + Send + 'static) {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        tracing::error!("signals cannot be received");
        return;
    };
    tasks::spawn("signals", shutdown, async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        then();
    });
}
