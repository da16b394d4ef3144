//! Our side: the API server alone, over a store in memory, on a socket of loopback.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use apiserver::authz::Authz;
use apiserver::{Config, Server, SignedTokens, UserInfo};
use base::{Clock, Shutdown, SystemClock};
use pki::KeyPair;
use pki::jwt::{KeySet, SigningKey};
use transport::client::Endpoint;

use crate::side::Side;

/// Issuer of service-account tokens on both sides.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Serves until the process ends.
pub(crate) async fn start() -> Result<Side> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let shutdown = Shutdown::new();
    let store = store::Store::in_memory_marked(Arc::clone(&clock), apiserver::marks);
    let mut config = Config::new(store, clock, shutdown.clone());
    let pair = KeyPair::generate()?;
    let keys = KeySet::new([pair.public()?]);
    config.tokens = Some(Arc::new(SignedTokens::new(
        SigningKey::new(pair),
        keys,
        ISSUER,
    )));
    let server = Server::open(config).await.context("start the API server")?;
    let authz = Authz::new(server.store().clone(), server.root()).context("read the roles")?;
    server.set_authorizer(Arc::new(authz));
    let admin = UserInfo {
        name: "admin".to_owned(),
        groups: vec![
            "system:masters".to_owned(),
            "system:authenticated".to_owned(),
        ],
        ..UserInfo::default()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .context("listen")?;
    let port = listener.local_addr()?.port();
    let serving = transport::server::serve(
        listener,
        transport::server::ServerConfig::default(),
        server.as_user(admin),
        shutdown.clone(),
    );
    let _runs_on = base::tasks::spawn("api-server", &shutdown, async move {
        let _end = serving.await;
    });
    Side::new(Endpoint::http("127.0.0.1", port))
}
