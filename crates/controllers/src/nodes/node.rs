//! What controllers need to know of a node.

use client::Object;
use schema::Ref;

use crate::context::Context;
use crate::facts::{Facts, Reader};

/// See the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) uid: String,
    /// Status of condition Ready; empty before the kubelet ever told.
    pub(crate) ready: String,
    pub(crate) taints: Vec<Taint>,
    /// Region and zone.
    pub(crate) zone: String,
    /// Does it count when the health of a zone is judged?
    pub(crate) counts: bool,
    /// `spec.podCIDRs`.
    pub(crate) pod_ranges: Vec<String>,
    pub(crate) terminating: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taint {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) effect: String,
}

/// The facts of all nodes.
pub(crate) fn nodes(context: &Context) -> Facts<Node> {
    Facts::of(context, ["", "v1", "nodes"], Reader::by_namespace(read))
}

fn read(object: &Object) -> Option<Node> {
    let dom = object.parse().ok()?;
    Some(Node::of(dom.as_ref()))
}

impl Node {
    pub(crate) fn of(node: Ref<'_>) -> Self {
        let meta = api::meta::of(node);
        let spec = node.get("spec").unwrap_or_else(|| Ref::null());
        let label = |key| meta.label(key).unwrap_or_default();
        let mut pod_ranges: Vec<String> = spec
            .items("podCIDRs")
            .map(|range| range.text().to_owned())
            .collect();
        if pod_ranges.is_empty() && !spec.str("podCIDR").is_empty() {
            pod_ranges.push(spec.str("podCIDR").to_owned());
        }
        Self {
            name: meta.name().to_owned(),
            uid: meta.uid().to_owned(),
            ready: api::meta::condition(node, "Ready")
                .map_or("", |ready| ready.str("status"))
                .to_owned(),
            taints: spec
                .items("taints")
                .map(|taint| Taint {
                    key: taint.str("key").to_owned(),
                    value: taint.str("value").to_owned(),
                    effect: taint.str("effect").to_owned(),
                })
                .collect(),
            zone: format!(
                "{}:{}",
                label("topology.kubernetes.io/region"),
                label("topology.kubernetes.io/zone")
            ),
            counts: meta
                .label("node.kubernetes.io/exclude-disruption")
                .is_none(),
            pod_ranges,
            terminating: meta.is_deleting(),
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready == "True"
    }

    pub(crate) fn has_taint(&self, key: &str) -> bool {
        self.taints.iter().any(|taint| taint.key == key)
    }

    /// Its taints that end pods.
    pub(crate) fn no_execute(&self) -> impl Iterator<Item = &Taint> {
        self.taints
            .iter()
            .filter(|taint| taint.effect == "NoExecute")
    }
}
