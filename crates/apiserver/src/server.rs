//! One control plane: its store, its catalog, and the entry point for requests.
//!
//! Owns the order of the filters (who, may they, what, encoding) and dispatch by path. Knows no
//! socket: `transport` serves it, in-process callers get it as a service with their own user.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use api::Status;
use arc_swap::ArcSwap;
use base::{Clock, Rng, Shutdown};
use ipnet::IpNet;
use parking_lot::Mutex;
use store::Store;
use transport::{Body, BoxFuture, Request, Response, Service};

use crate::access::{Minimal, anonymous};
use crate::admission::{Hooks, Policies};
use crate::aggregation::{Aggregation, Order};
use crate::catalog::Catalog;
use crate::flight::Flight;
use crate::frames::Frames;
use crate::lookup::StoreLookup;
use crate::negotiate::{self, Accepted, Form};
use crate::outbound::Outbound;
use crate::request::{self, Query};
use crate::verbs::Call;
use crate::{
    Authenticator, Authorizer, Decision, FrontProxy, RequestInfo, UserInfo, aggregation, answer,
    discovery, filters, health, openapi,
};

/// Makes service-account tokens.
pub trait Tokens: Send + Sync {
    /// A signed token with these claims in JSON.
    fn sign(&self, claims_json: &str) -> Result<String, String>;
    /// `iss` of its tokens.
    fn issuer(&self) -> String;
    /// Audiences when none are asked for.
    fn audiences(&self) -> Vec<String>;
    /// The public keys, for `/openid/v1/jwks`.
    fn jwks(&self) -> String;
}

/// What a control plane is made of.
#[derive(Clone)]
pub struct Config {
    /// Where objects are.
    pub store: Store,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Ends background work.
    pub shutdown: Shutdown,
    /// First part of every key: `/registry`, or `/tenants/ID/registry`.
    pub root: String,
    /// Ranges of Service addresses.
    pub service_ranges: Vec<IpNet>,
    /// Where the API is reached by pods: the endpoint of the `kubernetes` Service.
    pub advertise: Option<std::net::SocketAddr>,
    /// Signs service-account tokens.
    pub tokens: Option<Arc<dyn Tokens>>,
    /// PEM of the client CA, published for extension API servers.
    pub client_ca_pem: String,
    /// Who the API server is to servers that it aggregates; none: it shows them no certificate.
    pub front_proxy: Option<FrontProxy>,
    /// Reaches kubelets; the transport's request carries the whole URL.
    pub kubelets: Option<Arc<dyn transport::Transport>>,
    /// Draws uids and generated names.
    pub rng: Rng,
    /// Objects of other parts that a cluster starts with; those that exist stay as they are.
    pub initial: Vec<InitialObject>,
}

/// An object that is created when it is not there.
#[derive(Clone, Debug)]
pub struct InitialObject {
    /// API group, empty for core; its version is v1.
    pub group: &'static str,
    /// Resource.
    pub resource: &'static str,
    /// Empty for cluster-scoped ones.
    pub namespace: String,
    /// The object.
    pub json: String,
}

impl Config {
    /// A control plane on that store with nothing else set.
    pub fn new(store: Store, clock: Arc<dyn Clock>, shutdown: Shutdown) -> Config {
        Config {
            store,
            clock,
            shutdown,
            root: "/registry".to_owned(),
            service_ranges: "10.96.0.0/16".parse().into_iter().collect(),
            advertise: None,
            tokens: None,
            client_ca_pem: String::new(),
            front_proxy: None,
            kubelets: None,
            rng: Rng::from_os(),
            initial: Vec::new(),
        }
    }
}

type Shared<T> = ArcSwap<Arc<T>>;

/// A control plane.
pub struct Server {
    pub(crate) config: Config,
    pub(crate) catalog: ArcSwap<Catalog>,
    pub(crate) lookup: StoreLookup,
    pub(crate) hooks: ArcSwap<Hooks>,
    pub(crate) policies: ArcSwap<Policies>,
    pub(crate) outbound: Outbound,
    pub(crate) aggregation: Aggregation,
    pub(crate) frames: Frames,
    flight: Flight,
    authenticator: ArcSwap<Option<Arc<dyn Authenticator>>>,
    authorizer: Shared<dyn Authorizer>,
    rng: Mutex<Rng>,
    bootstrapped: AtomicBool,
    requests: AtomicU64,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("root", &self.config.root)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Opens it: writes what every cluster starts with, and begins to serve custom resources.
    pub async fn open(config: Config) -> Result<Arc<Server>, crate::bootstrap::BootstrapError> {
        let lookup = StoreLookup {
            store: config.store.clone(),
            root: config.root.clone(),
        };
        let identity = config.front_proxy.as_ref();
        let identity = identity.map(|front| Arc::clone(&front.identity));
        let server = Arc::new(Server {
            catalog: ArcSwap::from_pointee(Catalog::new(Vec::new())),
            hooks: ArcSwap::from_pointee(Hooks::default()),
            policies: ArcSwap::from_pointee(Policies::default()),
            outbound: Outbound::new(lookup.clone(), identity),
            aggregation: Aggregation::default(),
            frames: Frames::default(),
            flight: Flight::default(),
            lookup,
            authenticator: ArcSwap::from_pointee(None),
            authorizer: ArcSwap::from_pointee(Arc::new(Minimal)),
            rng: Mutex::new(config.rng.clone()),
            bootstrapped: AtomicBool::new(false),
            requests: AtomicU64::new(0),
            config,
        });
        crate::bootstrap::run(&server).await?;
        crate::custom::start(&server);
        crate::admission::start(&server);
        aggregation::start(&server).await;
        server.bootstrapped.store(true, Ordering::Release);
        Ok(server)
    }

    /// Sets who finds out who asks.
    pub fn set_authenticator(&self, authenticator: Arc<dyn Authenticator>) {
        self.authenticator.store(Arc::new(Some(authenticator)));
    }

    /// Sets who decides what they may.
    pub fn set_authorizer(&self, authorizer: Arc<dyn Authorizer>) {
        self.authorizer.store(Arc::new(authorizer));
    }

    /// The same server with every request made by `user`: for callers in this process.
    pub fn as_user(self: &Arc<Self>, user: UserInfo) -> Arc<dyn Service> {
        Arc::new(AsUser {
            server: Arc::clone(self),
            user,
        })
    }

    /// Whether any webhook or policy must be asked about writes.
    pub(crate) fn has_hooks(&self) -> bool {
        let hooks = self.hooks.load();
        !hooks.mutating.is_empty()
            || !hooks.validating.is_empty()
            || !self.policies.load().is_empty()
    }

    /// The store, for caches of authenticators and authorizers.
    pub fn store(&self) -> &Store {
        &self.config.store
    }

    /// Objects as hooks see them.
    pub fn lookup(&self) -> Arc<dyn registry::Lookup> {
        Arc::new(self.lookup.clone())
    }

    /// First part of every key.
    pub fn root(&self) -> &str {
        &self.config.root
    }

    /// Whether everything a cluster starts with is there.
    pub fn is_bootstrapped(&self) -> bool {
        self.bootstrapped.load(Ordering::Acquire)
    }

    /// Asks the authorizer.
    pub fn authorize(&self, user: &UserInfo, info: &RequestInfo) -> Decision {
        self.authorizer.load().authorize(user, info)
    }

    /// Asks the authorizer for what can be listed.
    pub(crate) fn rules_for(&self, user: &UserInfo, namespace: &str) -> crate::access::Rules {
        self.authorizer.load().rules_for(user, namespace)
    }

    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.rng.lock().below(bound.max(1))
    }

    pub(crate) fn uid(&self) -> String {
        let mut rng = self.rng.lock();
        api::names::random_uid(|bound| rng.below(bound))
    }

    async fn who(&self, request: &mut Request) -> Result<UserInfo, Status> {
        if let Some(user) = request.extensions_mut().remove::<UserInfo>() {
            return Ok(user);
        }
        let Some(authenticator) = &**self.authenticator.load() else {
            return Ok(anonymous());
        };
        let authenticator = Arc::clone(authenticator);
        let (parts, ()) = parts_of(request).into_parts();
        match authenticator.authenticate(&parts).await {
            Ok(Some(mut user)) => {
                if !user.is_in("system:authenticated") && user.name != "system:anonymous" {
                    user.groups.push("system:authenticated".to_owned());
                }
                Ok(user)
            }
            Ok(None) => Ok(anonymous()),
            Err(error) => {
                tracing::warn!(err = %error, "credentials refused");
                Err(Status::unauthorized("Unauthorized"))
            }
        }
    }

    /// Who a bearer token belongs to.
    pub(crate) async fn authenticate_token(&self, token: &str) -> Result<Option<UserInfo>, String> {
        let Some(authenticator) = &**self.authenticator.load() else {
            return Ok(None);
        };
        let authenticator = Arc::clone(authenticator);
        let mut request = http::Request::new(());
        let value = http::HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| "the token is no header value".to_owned())?;
        request
            .headers_mut()
            .insert(http::header::AUTHORIZATION, value);
        let (parts, ()) = request.into_parts();
        authenticator.authenticate(&parts).await
    }

    async fn handle(self: Arc<Self>, request: Request) -> Response {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let gzip = filters::wants_gzip(&request);
        let plain = negotiate::accept(request.headers(), false, false);
        let clauses = negotiate::plain_is_accepted(request.headers());
        let response = match (self.route(request).await, plain) {
            (Ok(response), _) => response,
            (Err(status), Ok(plain)) => answer::status(&status, &plain),
            (Err(status), Err(_)) if clauses => answer::status(&status, &Accepted::JSON),
            // Not even the refusal can be said in what the client takes.
            (Err(_), Err(_)) => {
                let status = Status::no_representation(&negotiate::ALL);
                answer::status(&status, &Accepted::JSON)
            }
        };
        if gzip && filters::is_large(&response) {
            Box::pin(filters::gzip(response)).await
        } else {
            response
        }
    }

    async fn route(self: Arc<Self>, mut request: Request) -> Result<Response, Status> {
        let mut user = self.who(&mut request).await?;
        let query = request::query(request.uri().query().unwrap_or_default());
        let path = request.uri().path().to_owned();
        let info = RequestInfo::parse(request.method().as_str(), &path, &query);
        if let Some(other) = filters::impersonated(request.headers(), &user, &self)? {
            user = other;
        }
        let seat = self.flight.board(&user, &info).await?;
        match self.authorize(&user, &info) {
            Decision::Allow { .. } => {}
            Decision::Deny { reason } | Decision::NoOpinion { reason } => {
                return Err(filters::forbidden(&user, &info, &reason));
            }
        }
        let services = self.aggregation.services();
        if let Some(service) = services.of_path(&path) {
            // The server behind counts its own requests.
            drop(seat);
            return Ok(Box::pin(aggregation::run(&self, service, &user, request)).await);
        }
        if info.is_resource {
            let catalog = self.catalog.load_full();
            let Some(served) = catalog.find(&info.group, &info.version, &info.resource) else {
                if !catalog.has_group(&info.group) {
                    return Ok(answer::text(404, "404 page not found\n"));
                }
                return Err(Status::path_not_found());
            };
            let objects = served.resource.is_stored();
            let accepted = negotiate::accept(request.headers(), objects, false)?;
            let call = Call {
                server: self,
                info,
                query,
                user,
                accepted,
                served,
                warnings: Arc::default(),
            };
            return call.run(request).await;
        }
        if let Some(rest) = path.strip_prefix("/openapi/v3/")
            && let Some(service) = services.of_path(rest)
        {
            return Ok(Box::pin(aggregation::run(&self, service, &user, request)).await);
        }
        self.other(&request, &path, &query)
    }

    fn other(&self, request: &Request, path: &str, query: &Query) -> Result<Response, Status> {
        let method = request.method();
        if method != http::Method::GET && method != http::Method::HEAD {
            return Err(Status::method_not_allowed());
        }
        if let Some(response) = health::health(self, path, query) {
            return Ok(response);
        }
        let catalog = self.catalog.load();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let discovery = matches!(parts.as_slice(), ["api"] | ["apis"]);
        let json = |text: String| Ok(answer::bytes(200, "application/json", Body::from(text)));
        let raw = |bytes: Vec<u8>| Ok(answer::bytes(200, "application/json", Body::from(bytes)));
        match parts.as_slice() {
            ["version"] => return json(health::version()),
            ["metrics"] => return Ok(answer::text(200, self.metrics())),
            ["openapi", "v2"] => return openapi::respond(&catalog, request.headers()),
            ["openapi", "v3"] => return json(openapi::index(&catalog, &self.aggregation)),
            ["openapi", "v3", "api", version] => {
                let found = openapi::document(&catalog, "", version);
                return found.map_or_else(|| Err(Status::path_not_found()), raw);
            }
            ["openapi", "v3", "apis", group, version] => {
                let found = openapi::document(&catalog, group, version);
                return found.map_or_else(|| Err(Status::path_not_found()), raw);
            }
            ["openapi", "v3", rest @ ..] => {
                let found = openapi::single(&catalog, rest);
                return found.map_or_else(|| Err(Status::path_not_found()), raw);
            }
            ["openid", "v1", "jwks"] => {
                if let Some(tokens) = &self.config.tokens {
                    return json(tokens.jwks());
                }
            }
            [".well-known", "openid-configuration"] => {
                if let Some(tokens) = &self.config.tokens {
                    let issuer = tokens.issuer();
                    return json(format!(
                        r#"{{"issuer":"{issuer}","jwks_uri":"{issuer}/openid/v1/jwks","response_types_supported":["id_token"],"subject_types_supported":["public"],"id_token_signing_alg_values_supported":["ES256"]}}"#
                    ));
                }
            }
            _ => {}
        }
        let accepted = negotiate::accept(request.headers(), false, discovery)?;
        let address = self
            .config
            .advertise
            .map(|a| a.to_string())
            .unwrap_or_default();
        let services = self.aggregation.services();
        let order = match accepted.form {
            Form::Discovery(_) => Order::Group,
            _ => Order::Service,
        };
        // Only these need them.
        let groups = match parts.as_slice() {
            ["api"] | ["apis"] | ["apis", _] => services.groups(&catalog, order),
            _ => Vec::new(),
        };
        let dom = match (parts.as_slice(), &accepted.form) {
            (["api"], Form::Discovery(version)) => {
                discovery::aggregated(&catalog, &groups, &self.aggregation, true, version)
            }
            (["apis"], Form::Discovery(version)) => {
                discovery::aggregated(&catalog, &groups, &self.aggregation, false, version)
            }
            (["api"], _) => discovery::versions(&address),
            (["apis"], _) => discovery::groups(&groups),
            (["api", version], _) if catalog.has_version("", version) => {
                discovery::resources(&catalog, "", version)
            }
            (["apis", group], _) => {
                discovery::group(&groups, group).ok_or_else(Status::path_not_found)?
            }
            (["apis", group, version], _) if catalog.has_version(group, version) => {
                discovery::resources(&catalog, group, version)
            }
            ([""], _) => {
                let paths = [
                    "/api",
                    "/api/v1",
                    "/apis",
                    "/healthz",
                    "/livez",
                    "/metrics",
                    "/openapi/v2",
                    "/openapi/v3",
                    "/readyz",
                    "/version",
                ];
                return json(format!("{{\n  \"paths\": {paths:?}\n}}"));
            }
            (["apis", group, ..], _) if catalog.has_group(group) => {
                return Err(Status::path_not_found());
            }
            _ => return Ok(answer::text(404, "404 page not found\n")),
        };
        let mut response = answer::document(200, &dom, &accepted);
        if let Form::Discovery(version) = &accepted.form {
            let mime = format!(
                "{};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList",
                accepted.encoding.mime()
            );
            if let Ok(value) = http::HeaderValue::from_str(&mime) {
                response
                    .headers_mut()
                    .insert(http::header::CONTENT_TYPE, value);
            }
            response
                .headers_mut()
                .insert(http::header::VARY, http::HeaderValue::from_static("Accept"));
        }
        Ok(response)
    }

    fn metrics(&self) -> String {
        let stats = self.config.store.stats();
        format!(
            concat!(
                "# HELP apiserver_request_total Requests answered.\n",
                "# TYPE apiserver_request_total counter\napiserver_request_total {}\n",
                "# HELP apiserver_storage_objects Keys in the store.\n",
                "# TYPE apiserver_storage_objects gauge\napiserver_storage_objects {}\n",
                "# HELP apiserver_storage_size_bytes Bytes of keys and values.\n",
                "# TYPE apiserver_storage_size_bytes gauge\napiserver_storage_size_bytes {}\n"
            ),
            self.requests.load(Ordering::Relaxed),
            stats.keys,
            stats.live_bytes
        )
    }
}

fn parts_of(request: &Request) -> http::Request<()> {
    let mut copy = http::Request::new(());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    if let Some(peer) = request.extensions().get::<transport::PeerCertificates>() {
        copy.extensions_mut().insert(peer.clone());
    }
    if let Some(peer) = request.extensions().get::<transport::PeerAddr>() {
        copy.extensions_mut().insert(*peer);
    }
    copy
}

/// A server with every request made by one user.
struct AsUser {
    server: Arc<Server>,
    user: UserInfo,
}

impl Service for AsUser {
    fn call(&self, mut request: Request) -> BoxFuture<'static, Response> {
        request.extensions_mut().insert(self.user.clone());
        Box::pin(Arc::clone(&self.server).handle(request))
    }
}

/// What listens on a socket: a request cannot bring its own user.
pub struct Front(pub Arc<Server>);

impl Service for Front {
    fn call(&self, mut request: Request) -> BoxFuture<'static, Response> {
        request.extensions_mut().remove::<UserInfo>();
        Box::pin(Arc::clone(&self.0).handle(request))
    }
}
