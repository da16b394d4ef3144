//! What endpoints and budgets need to know of a pod.
//!
//! Source: endpointslice v0.36.3 util/controller_utils.go (ShouldPodBeInEndpoints,
//! podEndpointsChanged).

use std::collections::BTreeMap;
use std::net::IpAddr;

use client::Object;
use jiff::Timestamp;
use schema::Ref;

use crate::context::Context;
use crate::facts::{Facts, Reader};

/// See the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) node: String,
    pub(crate) hostname: String,
    pub(crate) subdomain: String,
    pub(crate) addresses: Vec<IpAddr>,
    /// Condition Ready, and since when it is what it is.
    pub(crate) ready: bool,
    pub(crate) ready_changed: Option<Timestamp>,
    pub(crate) terminating: bool,
    /// Its phase is final.
    pub(crate) ended: bool,
    /// (name, protocol, port) of containers that run with the pod.
    pub(crate) ports: Vec<(String, String, u16)>,
    /// Who manages it.
    pub(crate) controller: Option<Owner>,
    /// Since when it is told that somebody is about to delete it; not by the kubelet.
    pub(crate) disrupted: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// The facts of all pods, by namespace.
pub(crate) fn pods(context: &Context) -> Facts<Pod> {
    Facts::of(context, ["", "v1", "pods"], Reader::by_namespace(Pod::read))
}

impl Pod {
    pub(crate) fn read(object: &Object) -> Option<Self> {
        let dom = object.parse().ok()?;
        Some(Self::of(dom.as_ref()))
    }

    pub(crate) fn of(pod: Ref<'_>) -> Self {
        let meta = api::meta::of(pod);
        let (spec, status) = (pod.get("spec"), pod.get("status"));
        let text = |key| spec.map_or("", |spec| spec.str(key)).to_owned();
        let ready = api::meta::condition(pod, "Ready");
        Self {
            namespace: meta.namespace().to_owned(),
            name: meta.name().to_owned(),
            uid: meta.uid().to_owned(),
            labels: owned(meta.labels()),
            node: text("nodeName"),
            hostname: text("hostname"),
            subdomain: text("subdomain"),
            addresses: status
                .into_iter()
                .flat_map(|status| status.items("podIPs"))
                .filter_map(|entry| parse_address(entry.str("ip")))
                .collect(),
            ready: ready.is_some_and(|ready| ready.str("status") == "True"),
            ready_changed: ready.and_then(|ready| api::time::field(ready, "lastTransitionTime")),
            terminating: meta.is_deleting(),
            ended: api::pod::is_terminal(pod),
            ports: spec
                .into_iter()
                .flat_map(api::pod::ports)
                .filter(|port| !port.name.is_empty())
                .map(|port| {
                    let (name, protocol) = (port.name.to_owned(), port.protocol.to_owned());
                    (name, protocol, port.container_port)
                })
                .collect(),
            controller: meta.controller().map(|owner| Owner {
                api_version: owner.api_version.to_owned(),
                kind: owner.kind.to_owned(),
                name: owner.name.to_owned(),
                uid: owner.uid.to_owned(),
            }),
            disrupted: api::meta::condition(pod, "DisruptionTarget")
                .filter(|target| target.str("status") == "True")
                .filter(|target| target.str("reason") != "TerminationByKubelet")
                .and_then(|target| api::time::field(target, "lastTransitionTime")),
        }
    }

    /// Has it an address that can be published at all?
    pub(crate) fn is_reachable(&self) -> bool {
        !self.ended && !self.addresses.is_empty()
    }

    /// Did a change from `old` alter what is published of it?
    pub(crate) fn differs(&self, old: &Self) -> bool {
        self.terminating != old.terminating
            || self.ended != old.ended
            || self.ready != old.ready
            || self.addresses != old.addresses
            || self.node != old.node
    }

    /// Did a change from `old` alter which Services it belongs to, or under which name?
    pub(crate) fn moved(&self, old: &Self) -> bool {
        self.labels != old.labels
            || self.hostname != old.hostname
            || self.subdomain != old.subdomain
    }
}

/// In the form that Go prints: IPv4 inside IPv6 is IPv4.
pub(super) fn parse_address(text: &str) -> Option<IpAddr> {
    text.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

pub(super) fn owned<'a>(
    entries: impl Iterator<Item = (&'a str, &'a str)>,
) -> BTreeMap<String, String> {
    entries
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
