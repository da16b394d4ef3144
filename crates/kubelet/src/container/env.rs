//! A container's environment: services, `envFrom`, `env`, in this order, later ones win.
//!
//! First [`needs`] says which ConfigMaps and Secrets are wanted; the worker fetches them; then
//! [`environment`] is pure. Source: kubernetes v1.36 pkg/kubelet/kubelet_pods.go,
//! makeEnvironmentVariables; pkg/kubelet/envvars/envvars.go.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use client::Object;
use schema::{Dom, Ref};

use crate::container::downward::NodeFacts;
use crate::container::{ConfigError, expand, field, resource_field};

/// A referenced object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Need {
    /// A ConfigMap of the pod's namespace.
    ConfigMap(String),
    /// A Secret of the pod's namespace.
    Secret(String),
}

/// All references of a container or pod.
pub type Needs = BTreeSet<Need>;

/// The fetched objects; an object that does not exist is absent.
#[derive(Clone, Debug, Default)]
pub struct References {
    objects: HashMap<Need, Arc<Object>>,
}

/// A service as environment variables tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceInfo {
    /// Name.
    pub name: String,
    /// Cluster address.
    pub address: String,
    /// (name, protocol, port).
    pub ports: Vec<(String, String, i64)>,
}

impl References {
    /// Adds a fetched object.
    pub fn insert(&mut self, need: Need, object: Arc<Object>) {
        self.objects.insert(need, object);
    }

    /// The decoded data of an object: text of a ConfigMap, bytes of a Secret.
    pub fn data(&self, need: &Need) -> Option<Vec<(String, Vec<u8>)>> {
        let dom = self.objects.get(need)?.parse().ok()?;
        Some(decode(&dom, need))
    }
}

fn decode(dom: &Dom, need: &Need) -> Vec<(String, Vec<u8>)> {
    let object = dom.as_ref();
    let text = |value: Ref<'_>| value.as_str().unwrap_or_default().as_bytes().to_vec();
    let binary = |value: Ref<'_>| {
        BASE64
            .decode(value.as_str().unwrap_or_default())
            .unwrap_or_default()
    };
    let own = |(key, value): (&str, Vec<u8>)| (key.to_owned(), value);
    match need {
        Need::ConfigMap(_) => object
            .entries("data")
            .map(|(key, value)| own((key, text(value))))
            .chain(
                object
                    .entries("binaryData")
                    .map(|(key, value)| own((key, binary(value)))),
            )
            .collect(),
        Need::Secret(_) => object
            .entries("data")
            .map(|(key, value)| own((key, binary(value))))
            .collect(),
    }
}

/// What a container's environment refers to.
pub fn needs(container: Ref<'_>) -> Needs {
    let mut found = Needs::new();
    for source in container.items("envFrom") {
        found.extend(
            source
                .get("configMapRef")
                .map(|r| Need::ConfigMap(r.str("name").to_owned())),
        );
        found.extend(
            source
                .get("secretRef")
                .map(|r| Need::Secret(r.str("name").to_owned())),
        );
    }
    for from in container
        .items("env")
        .filter_map(|variable| variable.get("valueFrom"))
    {
        found.extend(
            from.get("configMapKeyRef")
                .map(|r| Need::ConfigMap(r.str("name").to_owned())),
        );
        found.extend(
            from.get("secretKeyRef")
                .map(|r| Need::Secret(r.str("name").to_owned())),
        );
    }
    found
}

/// The variables in order of appearance, each name once.
pub fn environment(
    pod: Ref<'_>,
    container: Ref<'_>,
    references: &References,
    services: &[ServiceInfo],
    facts: &NodeFacts,
) -> Result<Vec<(String, String)>, ConfigError> {
    let namespace = pod
        .get("metadata")
        .map_or("", |metadata| metadata.str("namespace"));
    let links = pod
        .get("spec")
        .and_then(|spec| spec.bool("enableServiceLinks"))
        .unwrap_or(true);
    let mut vars = Variables::default();
    for service in services {
        // The API server's own address is told even to pods that want no links.
        if links || service.name == "kubernetes" {
            vars.add_service(service);
        }
    }
    for source in container.items("envFrom") {
        let prefix = source.str("prefix");
        let (reference, need) = match (source.get("configMapRef"), source.get("secretRef")) {
            (Some(reference), _) => (reference, Need::ConfigMap(reference.str("name").to_owned())),
            (None, Some(reference)) => (reference, Need::Secret(reference.str("name").to_owned())),
            (None, None) => continue,
        };
        match references.data(&need) {
            Some(data) => {
                for (key, value) in data {
                    vars.set(
                        format!("{prefix}{key}"),
                        String::from_utf8_lossy(&value).into_owned(),
                    );
                }
            }
            None if reference.bool("optional").unwrap_or(false) => {}
            None => return Err(ConfigError::missing(&need)),
        }
    }
    for variable in container.items("env") {
        let name = variable.str("name").to_owned();
        let Some(from) = variable.get("valueFrom") else {
            let value = expand(variable.str("value"), |name| vars.get(name));
            vars.set(name, value);
            continue;
        };
        if let Some(reference) = from.get("fieldRef") {
            let path = reference.str("fieldPath");
            let value = field(pod, path, facts).ok_or_else(|| ConfigError::Field {
                path: path.to_owned(),
            })?;
            vars.set(name, value);
        } else if let Some(reference) = from.get("resourceFieldRef") {
            let wanted = reference.str("containerName");
            let source = if wanted.is_empty() {
                container
            } else {
                let spec = pod.get("spec").ok_or(ConfigError::Malformed)?;
                spec.items("containers")
                    .chain(spec.items("initContainers"))
                    .find(|other| other.str("name") == wanted)
                    .ok_or(ConfigError::Malformed)?
            };
            let (resource, divisor) = (reference.str("resource"), reference.str("divisor"));
            let value = resource_field(source, resource, divisor, facts).ok_or_else(|| {
                ConfigError::Field {
                    path: resource.to_owned(),
                }
            })?;
            vars.set(name, value);
        } else {
            let (reference, need) = match (from.get("configMapKeyRef"), from.get("secretKeyRef")) {
                (Some(r), _) => (r, Need::ConfigMap(r.str("name").to_owned())),
                (None, Some(r)) => (r, Need::Secret(r.str("name").to_owned())),
                (None, None) => continue,
            };
            let optional = reference.bool("optional").unwrap_or(false);
            let key = reference.str("key");
            let Some(data) = references.data(&need) else {
                if optional {
                    continue;
                }
                return Err(ConfigError::missing(&need));
            };
            match data.into_iter().find(|(name, _)| name == key) {
                Some((_, value)) => vars.set(name, String::from_utf8_lossy(&value).into_owned()),
                None if optional => {}
                None => return Err(ConfigError::missing_key(&need, namespace, key)),
            }
        }
    }
    Ok(vars.in_order)
}

#[derive(Default)]
struct Variables {
    in_order: Vec<(String, String)>,
}

impl Variables {
    fn get(&self, name: &str) -> Option<String> {
        self.in_order
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.clone())
    }

    fn set(&mut self, name: String, value: String) {
        match self.in_order.iter_mut().find(|(known, _)| *known == name) {
            Some((_, slot)) => *slot = value,
            None => self.in_order.push((name, value)),
        }
    }

    fn add_service(&mut self, service: &ServiceInfo) {
        let Some((_, protocol, port)) = service.ports.first() else {
            return;
        };
        let prefix = variable_name(&service.name);
        let url = |protocol: &str, port: i64| {
            format!(
                "{}://{}",
                protocol.to_lowercase(),
                host_port(&service.address, port)
            )
        };
        self.set(format!("{prefix}_SERVICE_HOST"), service.address.clone());
        self.set(format!("{prefix}_SERVICE_PORT"), port.to_string());
        for (name, _, port) in service.ports.iter().filter(|(name, ..)| !name.is_empty()) {
            self.set(
                format!("{prefix}_SERVICE_PORT_{}", variable_name(name)),
                port.to_string(),
            );
        }
        self.set(format!("{prefix}_PORT"), url(protocol, *port));
        for (_, protocol, port) in &service.ports {
            let one = format!("{prefix}_PORT_{port}_{}", protocol.to_uppercase());
            self.set(one.clone(), url(protocol, *port));
            self.set(format!("{one}_PROTO"), protocol.to_lowercase());
            self.set(format!("{one}_PORT"), port.to_string());
            self.set(format!("{one}_ADDR"), service.address.clone());
        }
    }
}

fn variable_name(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

fn host_port(address: &str, port: i64) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

#[cfg(test)]
mod tests;
