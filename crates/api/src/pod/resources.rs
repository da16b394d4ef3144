//! What a pod takes from its node: requests and limits over all its containers.
//!
//! Init containers run one after another before the main ones, but sidecars among them stay:
//! the sum is `max(mains + sidecars, max over each init of (it + sidecars before it))`, then
//! pod-level resources replace cpu, memory and huge pages, then the overhead is added.
//! Example: init 2, sidecar 1, init 3, main 1 → max(1+1, 2, 1, 3+1) = 4.
//! Source: component-helpers v0.36.3 resource/helpers.go.

use super::{ContainerKind, containers};
use crate::quantity::Quantity;
use schema::{Ref, Value};
use std::collections::BTreeMap;

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Quantity>;

/// What to count; the default is what the API server counts from the spec alone.
#[derive(Copy, Clone, Debug, Default)]
pub struct RequestOptions {
    /// Count what resizing containers still hold, as reported in the status (scheduler).
    pub use_status: bool,
    /// Leave the runtime's overhead out.
    pub exclude_overhead: bool,
    /// Take these for containers that ask for nothing (scheduler's scoring), in millicores
    /// and bytes.
    pub assume_missing: Option<(i64, i64)>,
}

/// A quantity in a document: text, or a number as Go accepts it. Nonsense counts as zero
/// (validation refused it long before).
pub(super) fn quantity(node: Ref<'_>) -> Quantity {
    match node.value() {
        Value::Str(text) => Quantity::parse(text.trim()).unwrap_or_default(),
        Value::Int(n) => Quantity::new(n, crate::quantity::Format::DecimalSi),
        Value::Float(n) => Quantity::parse(&n.to_string()).unwrap_or_default(),
        _ => Quantity::ZERO,
    }
}

fn read(list: Option<Ref<'_>>) -> Amounts {
    let entries = list.into_iter().flat_map(Ref::map);
    entries
        .map(|(name, value)| (name.to_owned(), quantity(value)))
        .collect()
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, quantity) in more {
        match sum.get_mut(name) {
            Some(value) => value.add(quantity),
            None => {
                sum.insert(name.clone(), quantity.clone());
            }
        }
    }
}

fn raise(max: &mut Amounts, other: &Amounts) {
    for (name, quantity) in other {
        if max.get(name).is_none_or(|value| quantity > value) {
            max.insert(name.clone(), quantity.clone());
        }
    }
}

/// Was the pending resize refused for good?
#[must_use]
pub fn is_resize_infeasible(pod: Ref<'_>) -> bool {
    crate::meta::condition(pod, "PodResizePending")
        .is_some_and(|condition| condition.str("reason") == "Infeasible")
}

fn pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum Side {
    Requests,
    Limits,
}

impl Side {
    const fn field(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Limits => "limits",
        }
    }
}

fn of_container(
    pod: Ref<'_>,
    spec: Ref<'_>,
    kind: ContainerKind,
    side: Side,
    status: bool,
) -> Amounts {
    let mut amounts = read(spec.at(&["resources", side.field()]));
    if !status || kind == ContainerKind::Init {
        return amounts;
    }
    let found = super::container_status(pod, kind, spec.str("name"));
    let Some((found, actual)) = found.and_then(|s| Some((s, s.get("resources")?))) else {
        return amounts;
    };
    if is_resize_infeasible(pod) {
        amounts = Amounts::new();
    }
    raise(&mut amounts, &read(actual.get(side.field())));
    if side == Side::Requests {
        raise(&mut amounts, &read(found.get("allocatedResources")));
    }
    amounts
}

fn aggregate(pod: Ref<'_>, spec: Ref<'_>, side: Side, options: &RequestOptions) -> Amounts {
    let mut sum = Amounts::new();
    let mut sidecars = Amounts::new();
    let mut init = Amounts::new();
    for container in containers(spec) {
        if container.kind == ContainerKind::Ephemeral {
            continue;
        }
        let mut own = of_container(
            pod,
            container.spec,
            container.kind,
            side,
            options.use_status,
        );
        if let Some((millicores, bytes)) = options.assume_missing {
            let si = crate::quantity::Format::DecimalSi;
            let cpu = || Quantity::from_millis(millicores, si);
            own.entry("cpu".to_owned()).or_insert_with(cpu);
            own.entry("memory".to_owned())
                .or_insert_with(|| Quantity::new(bytes, si));
        }
        match container.kind {
            ContainerKind::Main => add(&mut sum, &own),
            ContainerKind::Sidecar => {
                add(&mut sum, &own);
                add(&mut sidecars, &own);
                raise(&mut init, &sidecars);
            }
            _ => {
                add(&mut own, &sidecars);
                raise(&mut init, &own);
            }
        }
    }
    raise(&mut sum, &init);
    sum
}

/// What the pod asks for.
#[must_use]
pub fn requests(pod: Ref<'_>, options: &RequestOptions) -> Amounts {
    let Some(spec) = pod.get("spec") else {
        return Amounts::new();
    };
    let mut sum = aggregate(pod, spec, Side::Requests, options);
    for (name, quantity) in read(spec.at(&["resources", "requests"])) {
        if pod_level(&name) {
            sum.insert(name, quantity);
        }
    }
    if !options.exclude_overhead {
        add(&mut sum, &read(spec.get("overhead")));
    }
    sum
}

/// What the pod may use at most; resources without any limit are absent.
#[must_use]
pub fn limits(pod: Ref<'_>, options: &RequestOptions) -> Amounts {
    let Some(spec) = pod.get("spec") else {
        return Amounts::new();
    };
    let options = RequestOptions {
        assume_missing: None,
        ..*options
    };
    let mut sum = aggregate(pod, spec, Side::Limits, &options);
    for (name, quantity) in read(spec.at(&["resources", "limits"])) {
        if pod_level(&name) {
            sum.insert(name, quantity);
        }
    }
    if !options.exclude_overhead {
        for (name, quantity) in read(spec.get("overhead")) {
            if let Some(value) = sum.get_mut(&name).filter(|value| !value.is_zero()) {
                value.add(&quantity);
            }
        }
    }
    sum
}
