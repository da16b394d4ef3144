//! An API server in this process, as the product opens it: durable store sealed with a key, roles
//! and nodes decide. One thread beside the store's writer, and every random number is the same in
//! each run.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use apiserver::authn::{self, Anonymous};
use apiserver::{Config, Server, UserInfo};
use base::{Clock, Rng, Shutdown, SystemClock};
use bytes::Bytes;
use pki::jwt::KeySet;
use store::Store;
use transport::{Body, Response, Service};

/// The largest answer that is read.
const ANSWER_LIMIT: usize = 64 << 20;

/// What all requests are about.
pub(crate) const NAMESPACE: &str = "profile";

/// A body and what it is.
pub(crate) type Content<'a> = Option<(&'a str, &'a str)>;

pub(crate) struct Api {
    service: Arc<dyn Service>,
    store: Store,
    shutdown: Shutdown,
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the async runtime")
}

impl Api {
    /// With a namespace and what pods in it need.
    pub(crate) async fn open(folder: &Path) -> Result<Api> {
        let mut kept = store::Config::new(&folder.join("store.db"));
        kept.marker = apiserver::marks;
        let store = Store::open(&kept).context("open the store")?;
        let (shutdown, clock): (_, Arc<dyn Clock>) = (Shutdown::new(), Arc::new(SystemClock));
        let mut config = Config::new(store.clone(), clock, shutdown.clone());
        config.rng = Rng::new(1);
        let server = Server::open(config).await.context("open the API server")?;
        authn::secure(&server, KeySet::new([]), Anonymous::Everywhere).context("secure it")?;
        let admin = UserInfo {
            name: "kubernetes-admin".to_owned(),
            groups: vec![
                "system:masters".to_owned(),
                "system:authenticated".to_owned(),
            ],
            ..UserInfo::default()
        };
        let api = Api {
            service: server.as_user(admin),
            store,
            shutdown,
        };
        let namespace = format!(r#"{{"metadata":{{"name":"{NAMESPACE}"}}}}"#);
        api.create("/api/v1/namespaces", &namespace).await?;
        let account = r#"{"metadata":{"name":"default"}}"#;
        api.create(&path("serviceaccounts", ""), account).await?;
        Ok(api)
    }

    pub(crate) async fn create(&self, path: &str, json: &str) -> Result<Bytes> {
        let content = Some(("application/json", json));
        self.call("POST", path, content).await
    }

    /// The whole answer, which must be a success.
    pub(crate) async fn call(
        &self,
        method: &str,
        path: &str,
        content: Content<'_>,
    ) -> Result<Bytes> {
        let response = self.send(method, path, content).await?;
        let status = response.status();
        let body = response.into_body().collect(ANSWER_LIMIT).await;
        let body = body.with_context(|| format!("read the answer to {method} {path}"))?;
        ensure!(
            status.is_success(),
            "{method} {path}: {status} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        content: Content<'_>,
    ) -> Result<Response> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(path)
            .header(http::header::ACCEPT, "application/json");
        if let Some((mime, _)) = content {
            request = request.header(http::header::CONTENT_TYPE, mime);
        }
        let body = content.map_or_else(Body::empty, |(_, text)| Body::from(text.to_owned()));
        let request = request.body(body).context("make a request")?;
        Ok(self.service.call(request).await)
    }

    /// Everything is in its files afterwards.
    pub(crate) async fn close(self) -> Result<()> {
        self.shutdown.trigger();
        let store = self.store;
        tokio::task::spawn_blocking(move || store.close())
            .await
            .context("close the store")?;
        Ok(())
    }
}

/// Of a resource in the namespace; without a name, of the collection.
pub(crate) fn path(resource: &str, name: &str) -> String {
    let slash = if name.is_empty() { "" } else { "/" };
    format!("/api/v1/namespaces/{NAMESPACE}/{resource}{slash}{name}")
}
