//! Objects of the API as the zone needs them.

use std::net::IpAddr;

use client::{Change, Object};
use schema::Ref;

use super::{Kind, Port, Service, Slice, Zone, label};
use crate::message::wire;

const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl Zone {
    /// A change of a Namespace.
    pub fn on_namespace(&mut self, change: &Change) {
        self.set_namespace(&change.key().name, change.new.is_some());
    }

    /// A change of a Service.
    pub fn on_service(&mut self, change: &Change) {
        let service = change
            .new
            .as_ref()
            .and_then(|object| parse(object, service));
        let key = change.key();
        self.set_service(&key.namespace, &key.name, service);
    }

    /// A change of an EndpointSlice.
    pub fn on_slice(&mut self, change: &Change) {
        let read = change.new.as_ref().and_then(|object| parse(object, slice));
        let key = change.key();
        match read {
            Some((owner, slice)) => {
                self.set_slice(&key.namespace, &key.name, &owner, Some(slice));
            }
            None => self.set_slice(&key.namespace, &key.name, "", None),
        }
    }
}

fn parse<T>(object: &Object, read: impl FnOnce(Ref<'_>) -> Option<T>) -> Option<T> {
    let dom = object.parse().ok()?;
    read(dom.as_ref())
}

fn service(service: Ref<'_>) -> Option<Service> {
    let spec = service.get("spec")?;
    let kind = if spec.str("type") == "ExternalName" {
        let target = spec.str("externalName");
        let is_address = target.parse::<IpAddr>().is_ok();
        Kind::External(wire(target).filter(|wire| !is_address && wire.len() > 1))
    } else if spec.str("clusterIP") == "None" {
        Kind::Headless
    } else {
        let mut addresses: Vec<IpAddr> = spec
            .items("clusterIPs")
            .filter_map(|address| address.as_str()?.parse().ok())
            .collect();
        if addresses.is_empty() {
            addresses.extend(spec.str("clusterIP").parse::<IpAddr>());
        }
        Kind::Cluster(addresses)
    };
    let ports = spec.items("ports").map(port).collect();
    Some(Service { kind, ports })
}

fn port(port: Ref<'_>) -> Port {
    let protocol = match port.str("protocol") {
        "" => "tcp".to_owned(),
        protocol => protocol.to_ascii_lowercase(),
    };
    Port {
        name: port.str("name").to_ascii_lowercase().into(),
        protocol: protocol.into(),
        number: port.int("port").and_then(|number| number.try_into().ok()),
    }
}

/// The Service that a slice belongs to, and its ready endpoints.
fn slice(object: Ref<'_>) -> Option<(String, Slice)> {
    let labels = object.get("metadata")?.get("labels")?;
    let owner = labels.str(SERVICE_NAME);
    if owner.is_empty() || object.str("addressType") == "FQDN" {
        return None;
    }
    let mut slice = Slice {
        ports: object.items("ports").map(port).collect(),
        endpoints: Vec::new(),
    };
    for endpoint in object.items("endpoints") {
        let conditions = endpoint.get("conditions");
        // Absent means unknown, which counts as ready.
        if conditions.and_then(|conditions| conditions.bool("ready")) == Some(false) {
            continue;
        }
        for address in endpoint.items("addresses") {
            let Some(address) = address.as_str().and_then(|a| a.parse::<IpAddr>().ok()) else {
                continue;
            };
            let host = label(endpoint.str("hostname")).or_else(|| label(&dashed(address)));
            if let Some(host) = host {
                slice.endpoints.push((address, host));
            }
        }
    }
    Some((owner.to_owned(), slice))
}

/// The name of an endpoint without one: `10-244-1-2`, `fd00--1`.
fn dashed(address: IpAddr) -> String {
    let text = address.to_string().replace(['.', ':'], "-");
    // A label does not end in a dash.
    if text.ends_with('-') {
        text + "0"
    } else {
        text
    }
}
