//! Plans of the endpoint controllers over small worlds in words.

mod endpoints;
mod gone;
mod mirror;
mod property;
mod slices;

use std::sync::Arc;

use schema::Dom;

use super::pod::Pod;
use super::service::Service;

fn service(json: &str) -> Service {
    let dom = Dom::parse_json(json.as_bytes()).unwrap();
    Service::of(dom.as_ref())
}

/// `NAME IP[,IP] [WORDS]`: ready, unready, ending, ended, host=NAME.SUBDOMAIN, node=NAME, zone from
/// the node's name, port=NAME:NUMBER. Pods are on node `n1` and ready unless they say otherwise.
fn pods(text: &str) -> Vec<Arc<Pod>> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| Arc::new(pod(line)))
        .collect()
}

fn pod(line: &str) -> Pod {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap();
    let addresses = words.next().unwrap_or_default();
    let mut pod = Pod {
        namespace: "default".to_owned(),
        name: name.to_owned(),
        uid: format!("uid-{name}"),
        node: "n1".to_owned(),
        ready: true,
        addresses: addresses
            .split(',')
            .filter_map(|ip| ip.parse().ok())
            .collect(),
        ..Pod::default()
    };
    for word in words {
        match word.split_once('=') {
            Some(("host", value)) => {
                let (host, subdomain) = value.split_once('.').unwrap();
                pod.hostname = host.to_owned();
                pod.subdomain = subdomain.to_owned();
            }
            Some(("node", node)) => pod.node = node.to_owned(),
            Some(("port", value)) => {
                let (name, port) = value.split_once(':').unwrap();
                let port = port.parse().unwrap();
                pod.ports.push((name.to_owned(), "TCP".to_owned(), port));
            }
            _ => match word {
                "unready" => pod.ready = false,
                "ending" => pod.terminating = true,
                "ended" => pod.ended = true,
                other => panic!("{other}"),
            },
        }
    }
    pod
}
