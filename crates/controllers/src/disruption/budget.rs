//! A PodDisruptionBudget as plain values.
//!
//! Source: component-helpers v0.36.3 apps/poddisruptionbudget/helpers.go (the condition).

use std::collections::BTreeMap;

use api::labels::Selector;
use client::{Key, Object};
use jiff::Timestamp;
use schema::{Dom, Node, Ref};

use crate::endpoint::Pod;

/// See the fields.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    pub(super) key: Key,
    pub(super) uid: String,
    pub(super) generation: i64,
    pub(super) selector: Selector,
    /// As Go prints it.
    pub(super) selector_text: String,
    pub(super) min_available: Option<Amount>,
    pub(super) max_unavailable: Option<Amount>,
    pub(super) status: Status,
}

/// A number or a share of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amount {
    Number(i64),
    Percent(i64),
}

/// The part that this controller writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) healthy: i64,
    pub(super) desired: i64,
    pub(super) expected: i64,
    pub(super) allowed: i64,
    pub(super) disrupted: BTreeMap<String, Timestamp>,
    pub(super) observed: i64,
    pub(super) condition: Condition,
}

/// Condition DisruptionAllowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) holds: bool,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) observed: i64,
}

impl Amount {
    /// Shares are rounded up.
    pub(super) fn of(self, whole: i64) -> i64 {
        match self {
            Self::Number(number) => number,
            Self::Percent(percent) => (percent * whole + 99).div_euclid(100),
        }
    }

    fn read(value: Ref<'_>) -> Option<Self> {
        match value.as_str() {
            Some(text) => text.strip_suffix('%')?.parse().ok().map(Self::Percent),
            None => value.as_int().map(Self::Number),
        }
    }
}

impl Condition {
    pub(super) fn of(allowed: i64, observed: i64) -> Self {
        let reason = if allowed > 0 {
            "SufficientPods"
        } else {
            "InsufficientPods"
        };
        Self {
            holds: allowed > 0,
            reason: reason.to_owned(),
            message: String::new(),
            observed,
        }
    }
}

impl Status {
    /// Nothing may be evicted while nobody knows.
    pub(super) fn failed(&self, why: String) -> Self {
        Self {
            allowed: 0,
            condition: Condition {
                holds: false,
                reason: "SyncFailed".to_owned(),
                message: why,
                observed: self.observed,
            },
            ..self.clone()
        }
    }
}

impl Budget {
    pub(super) fn read(object: &Object) -> Option<Self> {
        let dom = object.parse().ok()?;
        Some(Self::of(dom.as_ref()))
    }

    pub(super) fn of(budget: Ref<'_>) -> Self {
        let meta = api::meta::of(budget);
        let spec = budget.get("spec").unwrap_or_else(|| Ref::null());
        let selector = spec.get("selector");
        Self {
            key: Key::new(meta.namespace(), meta.name()),
            uid: meta.uid().to_owned(),
            generation: meta.generation(),
            selector: api::meta::label_selector(selector).unwrap_or_else(|_| Selector::nothing()),
            selector_text: print(selector),
            min_available: spec.get("minAvailable").and_then(Amount::read),
            max_unavailable: spec.get("maxUnavailable").and_then(Amount::read),
            status: read_status(budget),
        }
    }

    pub(super) fn selects(&self, pod: &Pod) -> bool {
        self.selector
            .matches(|key| pod.labels.get(key).map(String::as_str))
    }
}

fn read_status(budget: Ref<'_>) -> Status {
    let status = budget.get("status").unwrap_or_else(|| Ref::null());
    let number = |key| status.int(key).unwrap_or(0);
    let disrupted = status.entries("disruptedPods").filter_map(|(name, time)| {
        let time = api::time::parse(time.text()).ok()?;
        Some((name.to_owned(), time))
    });
    let condition = api::meta::condition(budget, "DisruptionAllowed");
    Status {
        healthy: number("currentHealthy"),
        desired: number("desiredHealthy"),
        expected: number("expectedPods"),
        allowed: number("disruptionsAllowed"),
        disrupted: disrupted.collect(),
        observed: number("observedGeneration"),
        condition: condition.map_or_else(Condition::default, |condition| Condition {
            holds: condition.str("status") == "True",
            reason: condition.str("reason").to_owned(),
            message: condition.str("message").to_owned(),
            observed: condition.int("observedGeneration").unwrap_or(0),
        }),
    }
}

/// `&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]…{},}`.
fn print(selector: Option<Ref<'_>>) -> String {
    let Some(selector) = selector else {
        return "nil".to_owned();
    };
    let labels: BTreeMap<&str, &str> = selector
        .entries("matchLabels")
        .map(|(key, value)| (key, value.text()))
        .collect();
    let labels: String = labels
        .iter()
        .map(|(key, value)| format!("{key}: {value},"))
        .collect();
    let expressions: String = selector
        .items("matchExpressions")
        .map(|expression| {
            let values: Vec<&str> = expression.items("values").map(Ref::text).collect();
            format!(
                "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
                expression.str("key"),
                expression.str("operator"),
                values.join(" ")
            )
        })
        .collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

/// The object with this status.
pub(super) fn document(object: &Object, status: &Status, now: &str) -> Option<Vec<u8>> {
    let mut dom = object.parse().ok()?;
    let root = dom.root();
    let node = dom.ensure_map(root, "status");
    for (key, number) in [
        ("currentHealthy", status.healthy),
        ("desiredHealthy", status.desired),
        ("expectedPods", status.expected),
        ("disruptionsAllowed", status.allowed),
        ("observedGeneration", status.observed),
    ] {
        dom.set_int(node, key, number);
    }
    dom.remove(node, "disruptedPods");
    for (pod, time) in &status.disrupted {
        let map = dom.ensure_map(node, "disruptedPods");
        dom.set_str(map, pod, &api::time::format_seconds(*time));
    }
    write_condition(&mut dom, node, &status.condition, now);
    Some(dom.to_json(root))
}

fn write_condition(dom: &mut Dom, status: Node, condition: &Condition, now: &str) {
    let list = dom.ensure_list(status, "conditions");
    let known = dom
        .items(list)
        .find(|item| dom.at_node(*item).str("type") == "DisruptionAllowed");
    let node = known.unwrap_or_else(|| {
        let node = dom.new_map();
        dom.set_str(node, "type", "DisruptionAllowed");
        dom.push(list, node);
        node
    });
    let text = if condition.holds { "True" } else { "False" };
    if dom.at_node(node).str("status") != text {
        dom.set_str(node, "status", text);
        dom.set_str(node, "lastTransitionTime", now);
    }
    dom.set_str(node, "reason", &condition.reason);
    dom.set_str(node, "message", &condition.message);
    dom.set_int(node, "observedGeneration", condition.observed);
}
