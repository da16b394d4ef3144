//! API aggregation: group-versions that other servers serve behind this one.
//!
//! Owns the APIServices as they are now, in upstream's order: local ones are kept for all that the
//! catalog serves (`local`), remote ones are watched over by a task each (`remote`), which also
//! asks for what they serve (`discovery`); requests for them are passed on (`relay`). Example:
//! `v1beta1.metrics.k8s.io` with `spec.service` → its task finds the Service's endpoints, asks
//! them for `/apis/metrics.k8s.io/v1beta1` → Available; from then on requests below that path go
//! to one of these endpoints with the front proxy's certificate and the user in headers.
//! Source: kube-aggregator v0.36.3 pkg/apiserver/apiserver.go,
//! pkg/apis/apiregistration/v1/helper/helpers.go (order).

mod discovery;
mod local;
mod priorities;
mod relay;
mod remote;

use std::collections::HashMap;
use std::sync::Arc;

use api::meta;
use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use registry::Lookup;
use schema::{Dom, Ref};
use tokio::sync::Notify;

pub(crate) use discovery::Found;
pub(crate) use local::start;
pub(crate) use relay::run;

use crate::catalog::{self, Catalog, Group};
use crate::outbound::{self, Backend};

/// Where APIServices are stored.
const PREFIX: &str = "apiregistration.k8s.io/apiservices";
/// Their group.
const GROUP: &str = "apiregistration.k8s.io";

/// Who the API server is to the servers behind it.
#[derive(Clone, Debug)]
pub struct FrontProxy {
    /// PEM of the CA of its client certificate.
    pub ca_pem: String,
    /// That certificate.
    pub identity: Arc<transport::tls::Certificates>,
    /// The names in such certificates that extension servers believe.
    pub allowed_names: Vec<String>,
}

impl FrontProxy {
    /// What the ConfigMap `extension-apiserver-authentication` tells extension servers.
    pub(crate) fn data(&self) -> Vec<(&'static str, String)> {
        let list = |names: &[&str]| {
            let mut text = String::from("[");
            for (index, name) in names.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                api::text::json_string(&mut text, name);
            }
            text.push(']');
            text
        };
        let names: Vec<&str> = self.allowed_names.iter().map(String::as_str).collect();
        vec![
            ("requestheader-allowed-names", list(&names)),
            ("requestheader-client-ca-file", self.ca_pem.clone()),
            (
                "requestheader-extra-headers-prefix",
                list(&["X-Remote-Extra-"]),
            ),
            ("requestheader-group-headers", list(&["X-Remote-Group"])),
            ("requestheader-uid-headers", list(&["X-Remote-Uid"])),
            ("requestheader-username-headers", list(&["X-Remote-User"])),
        ]
    }
}

/// What is known of the servers behind this one.
#[derive(Default)]
pub(crate) struct Aggregation {
    services: ArcSwap<Services>,
    /// What remote ones serve, by the name of the APIService.
    found: Mutex<HashMap<String, Arc<Found>>>,
    /// The catalog is another one.
    pub(crate) catalog_changed: Arc<Notify>,
}

impl Aggregation {
    /// The APIServices.
    pub(crate) fn services(&self) -> Arc<Services> {
        self.services.load_full()
    }

    /// What a remote one serves, if that was ever asked.
    pub(crate) fn found(&self, name: &str) -> Option<Arc<Found>> {
        self.found.lock().get(name).cloned()
    }

    fn set_found(&self, name: &str, found: Found) {
        self.found.lock().insert(name.to_owned(), Arc::new(found));
    }

    fn forget(&self, name: &str) {
        self.found.lock().remove(name);
    }
}

/// One APIService.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiService {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) version: String,
    group_priority: i64,
    version_priority: i64,
    /// None: served here.
    pub(crate) backend: Option<Backend>,
    pub(crate) available: bool,
}

impl ApiService {
    fn of(object: Ref<'_>) -> ApiService {
        let spec = object.get("spec").unwrap_or_else(|| Ref::null());
        let backend = spec.get("service").map(|service| Backend {
            server: outbound::Server::Service {
                namespace: service.str("namespace").to_owned(),
                name: service.str("name").to_owned(),
                port: outbound::port(service),
                path: String::new(),
            },
            ca: STANDARD.decode(spec.str("caBundle")).unwrap_or_default(),
            insecure: spec.bool("insecureSkipTLSVerify").unwrap_or(false),
            front_proxy: true,
        });
        ApiService {
            name: meta::of(object).name().to_owned(),
            group: spec.str("group").to_owned(),
            version: spec.str("version").to_owned(),
            group_priority: spec.int("groupPriorityMinimum").unwrap_or(0),
            version_priority: spec.int("versionPriority").unwrap_or(0),
            backend,
            available: meta::condition_is_true(object, "Available"),
        }
    }

    /// The root of what it serves.
    pub(crate) fn path(&self) -> String {
        if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        }
    }
}

/// All APIServices.
#[derive(Debug, Default)]
pub(crate) struct Services {
    all: Vec<ApiService>,
    /// Those of them that other servers serve.
    remote: Vec<ApiService>,
}

/// Which groups come first among equals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// By the names of their APIServices, which begin with the version: the lists of old.
    Service,
    /// By their own names: aggregated discovery.
    Group,
}

impl Services {
    fn new(all: Vec<ApiService>) -> Services {
        let remote = all.iter().filter(|one| one.backend.is_some());
        Services {
            remote: remote.cloned().collect(),
            all,
        }
    }

    fn read(lookup: &dyn Lookup) -> (Services, Vec<Dom>) {
        let objects = lookup.list(PREFIX, "");
        let all = objects.iter().map(|dom| ApiService::of(dom.as_ref()));
        (Services::new(all.collect()), objects)
    }

    /// Those that other servers serve.
    pub(crate) fn remote(&self) -> impl Iterator<Item = &ApiService> {
        self.remote.iter()
    }

    /// Who serves that version of a group, if it is another server.
    pub(crate) fn of(&self, group: &str, version: &str) -> Option<&ApiService> {
        self.remote()
            .find(|one| one.group == group && one.version == version)
    }

    /// Who answers a request for that path, if it is another server.
    pub(crate) fn of_path(&self, path: &str) -> Option<&ApiService> {
        let mut parts = path.trim_start_matches('/').split('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("apis"), Some(group), Some(version)) if !version.is_empty() => {
                self.of(group, version)
            }
            (Some("api"), Some(version), _) => self.of("", version),
            _ => None,
        }
    }

    /// What is served here and by others, in order of preference.
    pub(crate) fn groups(&self, catalog: &Catalog, order: Order) -> Vec<Group> {
        struct Entry<'a> {
            group: &'a str,
            version: &'a str,
            name: String,
            priorities: (i64, i64),
        }
        let all = self.all.iter().map(|one| (one.name.as_str(), one));
        let all: HashMap<&str, &ApiService> = all.collect();
        let mut entries: Vec<Entry<'_>> = Vec::new();
        for group in catalog.groups() {
            for version in &group.versions {
                let name = name_of(&group.name, version);
                let own = all.get(name.as_str());
                let priorities = match own {
                    Some(own) => (own.group_priority, own.version_priority),
                    None => priorities::of(&group.name, version),
                };
                entries.push(Entry {
                    group: &group.name,
                    version,
                    name,
                    priorities,
                });
            }
        }
        for one in self.remote() {
            if !catalog.has_version(&one.group, &one.version) {
                entries.push(Entry {
                    group: &one.group,
                    version: &one.version,
                    name: one.name.clone(),
                    priorities: (one.group_priority, one.version_priority),
                });
            }
        }
        entries.sort_by(|a, b| {
            let by_name = match order {
                Order::Service => a.name.cmp(&b.name),
                Order::Group => a.group.cmp(b.group),
            };
            b.priorities.0.cmp(&a.priorities.0).then(by_name)
        });
        let mut groups: Vec<(Group, Vec<(i64, &str)>)> = Vec::new();
        for entry in &entries {
            let at = groups.iter().position(|(of, _)| of.name == entry.group);
            let at = at.unwrap_or_else(|| {
                let group = Group {
                    name: entry.group.to_owned(),
                    versions: Vec::new(),
                };
                groups.push((group, Vec::new()));
                groups.len() - 1
            });
            groups[at].1.push((entry.priorities.1, entry.version));
        }
        groups
            .into_iter()
            .map(|(mut group, mut versions)| {
                versions.sort_by(|a, b| {
                    let kube = |version| catalog::version_order(version);
                    b.0.cmp(&a.0).then_with(|| kube(b.1).cmp(&kube(a.1)))
                });
                group.versions = versions
                    .iter()
                    .map(|(_, name)| (*name).to_owned())
                    .collect();
                group
            })
            .collect()
    }
}

/// What the APIService of a group's version is called.
fn name_of(group: &str, version: &str) -> String {
    format!("{version}.{group}")
}

#[cfg(test)]
mod tests;
