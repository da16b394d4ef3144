//! Which tracked UDP connections lead nowhere. Pure.
//!
//! A datagram of a tracked connection is sent where the first one was sent, also when that
//! endpoint is gone; TCP notices, UDP does not. A connection to a frontend that is answered by
//! none of its serving endpoints is stale; so is one from before the Service had an endpoint.
//! A Service without serving endpoints has none to send it to instead.
//! Source: kubernetes v1.36 pkg/proxy/conntrack/cleanup.go.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use netlink::conntrack::Flow;

use crate::plan::UdpPort;

/// Where connections may be answered from, by what they were meant for.
#[derive(Debug, Default)]
pub(crate) struct Serving<'a> {
    frontends: HashMap<SocketAddr, &'a HashSet<SocketAddr>>,
    node_ports: HashMap<u16, &'a HashSet<SocketAddr>>,
}

impl<'a> Serving<'a> {
    pub(crate) fn add(&mut self, port: &'a UdpPort) {
        if port.serving.is_empty() {
            return;
        }
        for frontend in &port.frontends {
            self.frontends.insert(*frontend, &port.serving);
        }
        if port.node_port != 0 {
            self.node_ports.insert(port.node_port, &port.serving);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frontends.is_empty()
    }

    pub(crate) fn is_stale(&self, flow: &Flow) -> bool {
        let lost = |serving: &&HashSet<SocketAddr>| !serving.contains(&flow.reply_source);
        let by_address = self.frontends.get(&flow.destination).filter(|s| lost(s));
        let by_port = self.node_ports.get(&flow.destination.port());
        by_address.is_some() || by_port.is_some_and(lost)
    }
}
