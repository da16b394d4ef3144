//! An API server in this process that can be restarted on its store while clients talk to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use apiserver::{Server, UserInfo};
use base::{Clock, Rng, Shutdown, SystemClock};
use client::Client;
use parking_lot::Mutex;
use store::{Revision, Store};
use transport::{BoxFuture, InProcess, Request, Response, Transport, TransportError};

use crate::power::writer::config;

/// See the module's header.
pub(crate) struct Restarting {
    folder: PathBuf,
    now: Arc<Mutex<Life>>,
    rng: Mutex<Rng>,
}

struct Life {
    store: Store,
    shutdown: Shutdown,
    inner: Arc<dyn Transport>,
}

/// Leads to whichever server there is now.
struct Switch(Arc<Mutex<Life>>);

impl Transport for Switch {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, TransportError>> {
        let inner = Arc::clone(&self.0.lock().inner);
        inner.call(request)
    }
}

impl Restarting {
    pub(crate) async fn start(folder: &Path, seed: u64) -> Result<Restarting> {
        let folder = folder.join("api");
        std::fs::create_dir_all(&folder).context("make a folder for the store")?;
        let mut rng = Rng::new(seed);
        let life = live(&folder, rng.child("life")).await?;
        Ok(Restarting {
            folder,
            now: Arc::new(Mutex::new(life)),
            rng: Mutex::new(rng),
        })
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(Arc::new(Switch(Arc::clone(&self.now))), "faults")
    }

    /// Ends the server under its clients; the next one begins with what is on disk.
    pub(crate) async fn restart(&self) -> Result<()> {
        self.stop().await;
        let rng = self.rng.lock().child("life");
        let life = live(&self.folder, rng).await?;
        *self.now.lock() = life;
        Ok(())
    }

    pub(crate) async fn stop(&self) {
        let (store, shutdown) = {
            let now = self.now.lock();
            (now.store.clone(), now.shutdown.clone())
        };
        shutdown.trigger();
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        base::always!(closed.is_ok(), "closing a store does not panic");
    }

    pub(crate) fn compact(&self, upto: u64) {
        let store = self.now.lock().store.clone();
        // It may be closed, or have done so before: nothing lost.
        drop(store.compact(Revision(upto)));
    }
}

async fn live(folder: &Path, rng: Rng) -> Result<Life> {
    let mut configuration = config(folder, "one boot");
    configuration.marker = apiserver::marks;
    let opened = tokio::task::spawn_blocking(move || Store::open(&configuration)).await;
    let store = opened
        .context("open the store")?
        .context("open the store")?;
    let (shutdown, clock): (_, Arc<dyn Clock>) = (Shutdown::new(), Arc::new(SystemClock));
    let mut config = apiserver::Config::new(store.clone(), clock, shutdown.clone());
    config.rng = rng;
    let server = Server::open(config).await.context("open the API server")?;
    let admin = UserInfo {
        name: "admin".to_owned(),
        groups: vec![
            "system:masters".to_owned(),
            "system:authenticated".to_owned(),
        ],
        ..UserInfo::default()
    };
    let inner = InProcess::new(server.as_user(admin), http::Extensions::new());
    Ok(Life {
        store,
        shutdown,
        inner: Arc::new(inner),
    })
}
