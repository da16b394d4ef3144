//! Whom a pod wants to be with or away from: terms on nodes and terms on other pods.
//!
//! Source: component-helpers v0.36.3 scheduling/corev1/nodeaffinity, kube-scheduler v0.36.3
//! framework/types.go (AffinityTerm).

use api::labels::Selector;
use client::Key;
use schema::Ref;

use crate::Labels;

/// A node selector term: all requirements must hold. One without any matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeTerm {
    /// On labels.
    pub labels: Vec<Requirement>,
    /// On fields (`metadata.name`).
    pub fields: Vec<Requirement>,
}

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// One of the values.
    In,
    /// None of the values, or no label.
    NotIn,
    /// Any value.
    Exists,
    /// No label.
    DoesNotExist,
    /// Greater than the number.
    Gt,
    /// Less than the number.
    Lt,
    /// Nothing that this version knows: never holds.
    Unknown,
}

/// One requirement on a node's label or field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Label or field.
    pub key: String,
    /// How to compare.
    pub operator: Operator,
    /// Values.
    pub values: Vec<String>,
}

impl NodeTerm {
    pub(crate) fn read(term: Ref<'_>) -> Self {
        let read = |list| term.items(list).map(Requirement::read).collect();
        Self {
            labels: read("matchExpressions"),
            fields: read("matchFields"),
        }
    }

    /// Does a node of that name and those labels match?
    pub fn matches(&self, name: &str, labels: &Labels) -> bool {
        (!self.labels.is_empty() || !self.fields.is_empty())
            && self.labels.iter().all(|r| r.holds(labels.get(&r.key)))
            && self.fields.iter().all(|r| r.holds_for_name(name))
    }
}

impl Requirement {
    fn read(requirement: Ref<'_>) -> Self {
        Self {
            key: requirement.str("key").to_owned(),
            operator: match requirement.str("operator") {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                "Gt" => Operator::Gt,
                "Lt" => Operator::Lt,
                _ => Operator::Unknown,
            },
            values: strings(requirement, "values"),
        }
    }

    /// Does the label's value (`None` without the label) satisfy it?
    pub fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|own| own == value);
        let compare = |order| {
            let bound = self.values.first().and_then(|text| text.parse().ok());
            let number = value.and_then(|text| text.parse::<i64>().ok());
            match (number, bound) {
                (Some(number), Some(bound)) => number.cmp(&bound) == order,
                _ => false,
            }
        };
        match self.operator {
            Operator::In => value.is_some_and(listed),
            Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::Gt => compare(std::cmp::Ordering::Greater),
            Operator::Lt => compare(std::cmp::Ordering::Less),
            Operator::Unknown => false,
        }
    }

    /// Fields know only `metadata.name`, and only one value each.
    pub(crate) fn holds_for_name(&self, name: &str) -> bool {
        self.key == "metadata.name" && self.values.len() == 1 && self.holds(Some(name))
    }
}

/// Which pods a term speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    /// Namespaces by name, sorted.
    pub namespaces: Vec<String>,
    /// Namespaces by label.
    pub namespace_selector: Selector,
    /// Pods.
    pub selector: Selector,
}

/// A pod affinity or anti-affinity term.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodTerm {
    /// Which pods.
    pub who: Who,
    /// Nodes with the same value of this label are one place.
    pub topology_key: String,
}

/// `spec.affinity.podAffinity` and `.podAntiAffinity`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodAffinity {
    /// Must be beside each of these.
    pub required: Vec<PodTerm>,
    /// Must not be beside any of these.
    pub required_anti: Vec<PodTerm>,
    /// Weights: positive draws, negative repels.
    pub preferred: Vec<(i64, PodTerm)>,
}

impl Who {
    /// Pods of one namespace.
    pub fn in_namespace(namespace: &str, selector: Selector) -> Self {
        Self {
            namespaces: vec![namespace.to_owned()],
            namespace_selector: Selector::nothing(),
            selector,
        }
    }

    /// Does it speak of a pod with those labels in that namespace?
    pub fn matches(&self, namespace: &str, namespace_labels: &Labels, labels: &Labels) -> bool {
        (self.namespaces.iter().any(|own| own == namespace)
            || self
                .namespace_selector
                .matches(|key| namespace_labels.get(key)))
            && self.selector.matches(|key| labels.get(key))
    }
}

impl PodAffinity {
    pub(crate) fn read(affinity: Ref<'_>, pod: &Key) -> Option<Box<Self>> {
        const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
        const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
        let mut own = Self::default();
        if let Some(near) = affinity.get("podAffinity") {
            let terms = near.items(REQUIRED).map(|term| PodTerm::read(term, pod));
            own.required.extend(terms);
            own.preferred.extend(weighted(near, PREFERRED, pod, 1));
        }
        if let Some(far) = affinity.get("podAntiAffinity") {
            let terms = far.items(REQUIRED).map(|term| PodTerm::read(term, pod));
            own.required_anti.extend(terms);
            own.preferred.extend(weighted(far, PREFERRED, pod, -1));
        }
        (own != Self::default()).then(|| Box::new(own))
    }
}

fn weighted<'a>(
    affinity: Ref<'a>,
    field: &'static str,
    pod: &'a Key,
    sign: i64,
) -> impl Iterator<Item = (i64, PodTerm)> {
    affinity.items(field).filter_map(move |preferred| {
        let term = preferred.get("podAffinityTerm")?;
        let weight = preferred.int("weight").unwrap_or(0);
        Some((sign * weight, PodTerm::read(term, pod)))
    })
}

impl PodTerm {
    fn read(term: Ref<'_>, pod: &Key) -> Self {
        let mut namespaces = strings(term, "namespaces");
        let by_label = term.get("namespaceSelector");
        if namespaces.is_empty() && by_label.is_none() {
            namespaces.push(pod.namespace.clone());
        }
        namespaces.sort();
        namespaces.dedup();
        Self {
            who: Who {
                namespaces,
                namespace_selector: selector(by_label),
                selector: selector(term.get("labelSelector")),
            },
            topology_key: term.str("topologyKey").to_owned(),
        }
    }
}

/// A LabelSelector; an absent or invalid one matches nothing.
pub(crate) fn selector(selector: Option<Ref<'_>>) -> Selector {
    let Some(selector) = selector else {
        return Selector::nothing();
    };
    let labels = selector.entries("matchLabels");
    let expressions: Vec<(&str, &str, Vec<&str>)> = selector
        .items("matchExpressions")
        .map(|e| {
            let values = e.items("values").filter_map(|v| v.as_str()).collect();
            (e.str("key"), e.str("operator"), values)
        })
        .collect();
    Selector::from_parts(
        labels.map(|(key, value)| (key, value.as_str().unwrap_or_default())),
        expressions,
    )
    .unwrap_or(Selector::nothing())
}

pub(crate) fn strings(owner: Ref<'_>, field: &str) -> Vec<String> {
    owner
        .items(field)
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}
