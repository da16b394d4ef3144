//! What the controllers of nodes need to know of a pod. Filed by node; those without one under
//! the empty name.
//!
//! Source: api v0.36.3 core/v1/toleration.go (ToleratesTaint).

use client::{Key, Object};
use jiff::Timestamp;
use schema::Ref;

use crate::context::Context;
use crate::facts::{Facts, Reader};
use crate::nodes::Taint;

/// See the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) key: Key,
    pub(crate) uid: String,
    pub(crate) generation: i64,
    pub(crate) node: String,
    pub(crate) tolerations: Vec<Toleration>,
    pub(crate) ready: bool,
    pub(crate) terminating: bool,
    /// Its phase is final.
    pub(crate) ended: bool,
    /// It ended because the kubelet needed its room.
    pub(crate) evicted: bool,
    pub(crate) created: Option<Timestamp>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Toleration {
    pub(crate) key: String,
    pub(crate) operator: String,
    pub(crate) value: String,
    pub(crate) effect: String,
    pub(crate) seconds: Option<i64>,
}

/// The facts of all pods, by node.
pub(crate) fn placed(context: &Context) -> Facts<Placed> {
    let reader = Reader {
        read: |object: &Object| {
            let dom = object.parse().ok()?;
            Some(Placed::of(dom.as_ref()))
        },
        bin: |_: &Key, pod: &Placed| pod.node.clone(),
    };
    Facts::of(context, ["", "v1", "pods"], reader)
}

impl Placed {
    pub(crate) fn of(pod: Ref<'_>) -> Self {
        let meta = api::meta::of(pod);
        let spec = pod.get("spec").unwrap_or_else(|| Ref::null());
        let reason = pod.get("status").map_or("", |status| status.str("reason"));
        let ended = api::pod::is_terminal(pod);
        Self {
            key: Key::new(meta.namespace(), meta.name()),
            uid: meta.uid().to_owned(),
            generation: meta.generation(),
            node: spec.str("nodeName").to_owned(),
            tolerations: spec.items("tolerations").map(Toleration::of).collect(),
            ready: api::pod::is_ready(pod),
            terminating: meta.is_deleting(),
            ended,
            evicted: ended && reason == "Evicted",
            created: meta.created(),
        }
    }
}

impl Toleration {
    fn of(toleration: Ref<'_>) -> Self {
        Self {
            key: toleration.str("key").to_owned(),
            operator: toleration.str("operator").to_owned(),
            value: toleration.str("value").to_owned(),
            effect: toleration.str("effect").to_owned(),
            seconds: toleration.int("tolerationSeconds"),
        }
    }

    pub(crate) fn tolerates(&self, taint: &Taint) -> bool {
        let effect = self.effect.is_empty() || self.effect == taint.effect;
        let key = self.key.is_empty() || self.key == taint.key;
        let value = match self.operator.as_str() {
            "" | "Equal" => self.value == taint.value,
            "Exists" => true,
            // Lt and Gt are behind a feature gate that is off.
            _ => false,
        };
        effect && key && value
    }
}
