//! The control plane of a simulated cluster: three components that can crash and start again.
//!
//! The store outlives them, as a database whose every acknowledged write is on the disk does.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use apiserver::{Config, Server, UserInfo};
use base::{Clock, Rng, Shutdown, tasks};
use client::{Client, Recorder};

use crate::clock::SimClock;
use crate::cluster::Options;
use crate::link::{Door, Link, Sky, Weather};
use crate::trace::Trace;

const ISSUER: &str = "https://kubernetes.default.svc";

/// A part of the control plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// All requests.
    ApiServer,
    /// All controllers.
    Controllers,
    /// The scheduler.
    Scheduler,
}

impl Component {
    /// All of them, in the order in which they start.
    pub const ALL: [Component; 3] = [
        Component::ApiServer,
        Component::Controllers,
        Component::Scheduler,
    ];
}

pub(super) struct ControlPlane {
    store: store::Store,
    clock: SimClock,
    keys: pki::jwt::KeySet,
    tokens: Arc<apiserver::SignedTokens>,
    door: Door,
    sky: Sky,
    trace: Trace,
    controllers: Option<Shutdown>,
    scheduler: Option<Shutdown>,
}

impl ControlPlane {
    /// Nothing runs yet. The key of tokens is new each time: no trace shows a token.
    pub(super) fn new(store: store::Store, options: &Options, trace: &Trace) -> Result<Self> {
        let clock = trace.clock().clone();
        let key = pki::jwt::SigningKey::new(pki::KeyPair::generate()?);
        let keys = pki::jwt::KeySet::new([key.key().public()?]);
        let tokens = apiserver::SignedTokens::new(key, keys.clone(), ISSUER);
        Ok(Self {
            store,
            sky: Sky::new(options.seed, clock.clone(), options.way),
            trace: trace.clone(),
            clock,
            keys,
            tokens: Arc::new(tokens),
            door: Door::default(),
            controllers: None,
            scheduler: None,
        })
    }

    pub(super) fn set_weather(&self, weather: Weather) {
        self.sky.set(weather);
    }

    /// The way to the API server under a name. Administrators all: what the simulator looks at is
    /// not who may do what.
    pub(super) fn link(&self, name: &str, groups: &[&str], in_weather: bool) -> Link {
        let mut all = vec![
            "system:masters".to_owned(),
            "system:authenticated".to_owned(),
        ];
        all.extend(groups.iter().map(|group| (*group).to_owned()));
        let user = UserInfo {
            name: name.to_owned(),
            groups: all,
            ..UserInfo::default()
        };
        Link::new(
            &self.door,
            user,
            in_weather.then_some(&self.sky),
            &self.trace,
        )
    }

    fn client(&self, name: &str, rng: &mut Rng) -> Client {
        Client::new(Arc::new(self.link(name, &[], true)), name).with_rng(rng.child(name))
    }

    /// Ends a component at once, as a crash would. False: it did not run.
    pub(super) fn crash(&mut self, component: Component) -> bool {
        let life = match component {
            Component::ApiServer => return self.door.close(),
            Component::Controllers => self.controllers.take(),
            Component::Scheduler => self.scheduler.take(),
        };
        life.map(|life| life.trigger()).is_some()
    }

    /// Starts a component; one that runs crashes before.
    pub(super) async fn start(&mut self, component: Component, rng: &mut Rng) -> Result<()> {
        self.crash(component);
        let life = Shutdown::new();
        match component {
            Component::ApiServer => {
                let server = self.open_server(rng.child("api-server"), &life).await?;
                self.door.open(server, life);
            }
            Component::Controllers => {
                self.start_controllers(rng, &life);
                self.controllers = Some(life);
            }
            Component::Scheduler => {
                self.start_scheduler(rng, &life);
                self.scheduler = Some(life);
            }
        }
        Ok(())
    }

    /// A server that makes and knows service accounts' tokens.
    async fn open_server(&self, rng: Rng, life: &Shutdown) -> Result<Arc<Server>> {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let mut config = Config::new(self.store.clone(), clock.clone(), life.clone());
        config.rng = rng;
        config.tokens = Some(self.tokens.clone());
        let server = Server::open(config).await;
        let server = server.map_err(|error| anyhow!("{error}"))?;
        let checks = apiserver::authn::TokenChecks {
            keys: self.keys.clone(),
            issuers: vec![ISSUER.to_owned()],
            audiences: vec![ISSUER.to_owned()],
            lookup: server.lookup(),
            clock,
        };
        let authn = apiserver::authn::Authn::new(checks, apiserver::authn::Anonymous::Everywhere);
        server.set_authenticator(Arc::new(authn));
        Ok(server)
    }

    fn start_controllers(&self, rng: &mut Rng, life: &Shutdown) {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let client = self.client("sim-controllers", rng);
        let context = controllers::Context {
            informers: controllers::Informers::new(client.clone(), life),
            client: client.clone(),
            recorder: Recorder::start(client, "controllers", "", clock.clone(), life),
            clock,
            shutdown: life.clone(),
            root_ca: "simulated CA".into(),
            pod_ranges: Arc::default(),
            signer: None,
        };
        controllers::start_all(controllers::CONTROLLERS, &context, |identity| {
            self.client(identity, rng)
        });
    }

    fn start_scheduler(&self, rng: &mut Rng, life: &Shutdown) {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let own = self.client("system:kube-scheduler", rng);
        let config = scheduler::Config {
            clock: clock.clone(),
            scheduler_name: "default-scheduler".to_owned(),
            recorder: Recorder::start(own.clone(), "default-scheduler", "", clock, life),
            rng: rng.child("scheduler"),
        };
        let ends = life.clone();
        tasks::spawn("scheduler", life, async move {
            scheduler::run(own, config, ends).await;
        });
    }
}
