//! The fields of a Service that hang together: type, addresses, families and their policy.
//!
//! Owns reading them out of an object and writing them back, and the questions that more than one
//! rule asks. Knows no range and no allocation; an absent list and an empty one are the same here.
//! Source: kubernetes v1.36.3 pkg/registry/core/service/{strategy,storage/alloc}.go.

use std::net::IpAddr;

use api::BadValue;
use api::names::parse_ip_sloppy;
use schema::{Dom, Ref};

use crate::edit;

/// What stands where an address would, when there is to be none.
pub(super) const NONE: &str = "None";
pub(super) const EXTERNAL_NAME: &str = "ExternalName";
pub(super) const SINGLE: &str = "SingleStack";
pub(super) const PREFER_DUAL: &str = "PreferDualStack";
pub(super) const REQUIRE_DUAL: &str = "RequireDualStack";
pub(super) const V4: &str = "IPv4";
pub(super) const V6: &str = "IPv6";

/// The linked fields of one Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stack {
    /// `spec.type`
    pub(super) kind: String,
    /// `spec.clusterIP`
    pub(super) ip: String,
    /// `spec.clusterIPs`
    pub(super) ips: Vec<String>,
    /// `spec.ipFamilies`
    pub(super) families: Vec<String>,
    /// `spec.ipFamilyPolicy`
    pub(super) policy: Option<String>,
    /// Nothing selects the endpoints.
    pub(super) selectorless: bool,
}

fn texts(spec: Ref<'_>, key: &str) -> Vec<String> {
    let items = spec
        .items(key)
        .map(|item| item.as_str().unwrap_or_default());
    items.map(str::to_owned).collect()
}

impl Stack {
    /// What the object says.
    pub(super) fn of(object: Ref<'_>) -> Self {
        let Some(spec) = object.get("spec") else {
            return Self::default();
        };
        let policy = spec.get("ipFamilyPolicy").and_then(Ref::as_str);
        Self {
            kind: spec.str("type").to_owned(),
            ip: spec.str("clusterIP").to_owned(),
            ips: texts(spec, "clusterIPs"),
            families: texts(spec, "ipFamilies"),
            policy: policy.map(str::to_owned),
            selectorless: spec.entries("selector").next().is_none(),
        }
    }

    /// Writes all but the type into the object.
    pub(super) fn put(&self, dom: &mut Dom) {
        let root = dom.root();
        let Some(spec) = edit::map(dom, root, "spec") else {
            return;
        };
        let policy = self.policy.as_deref();
        for (key, value) in [
            (
                "clusterIP",
                Some(self.ip.as_str()).filter(|ip| !ip.is_empty()),
            ),
            ("ipFamilyPolicy", policy),
        ] {
            match value {
                Some(value) => dom.set_str(spec, key, value),
                None => {
                    dom.remove(spec, key);
                }
            }
        }
        for (key, values) in [("clusterIPs", &self.ips), ("ipFamilies", &self.families)] {
            dom.remove(spec, key);
            if values.is_empty() {
                continue;
            }
            let list = dom.new_list();
            for value in values {
                let node = dom.new_str(value);
                dom.push(list, node);
            }
            dom.set(spec, key, list);
        }
    }

    /// Whether its type has addresses, or says that it has none.
    pub(super) fn needs_ip(&self) -> bool {
        self.kind != EXTERNAL_NAME
    }

    /// Whether it has no address by its own wish, as validation sees it.
    pub(super) fn is_headless(&self) -> bool {
        self.ips.len() == 1 && self.ips[0] == NONE
    }

    pub(super) fn is_single(&self) -> bool {
        self.policy.as_deref() == Some(SINGLE)
    }

    /// The addresses that it holds, by what their IPAddress objects are called.
    pub(super) fn held(&self) -> Vec<String> {
        if !self.needs_ip() || self.ips.first().is_some_and(|ip| ip == NONE) {
            return Vec::new();
        }
        let parsed = self.ips.iter().filter_map(|ip| parse_ip_sloppy(ip));
        parsed.map(|ip| ip.to_string()).collect()
    }

    /// The policy as messages show it.
    pub(super) fn shown_policy(&self) -> BadValue {
        match &self.policy {
            Some(policy) => BadValue::Text(policy.clone()),
            None => BadValue::Raw("null".to_owned()),
        }
    }
}

/// A list as messages show it.
pub(super) fn shown(values: &[String]) -> BadValue {
    if values.is_empty() {
        return BadValue::Raw("null".to_owned());
    }
    BadValue::from(values)
}

/// Whether the text is an IPv6 address.
pub(super) fn is_v6(ip: &str) -> bool {
    parse_ip_sloppy(ip).is_some_and(|ip| ip.is_ipv6())
}

/// The family of an address.
pub(super) fn family_of(ip: &str) -> &'static str {
    match parse_ip_sloppy(ip) {
        Some(IpAddr::V4(_)) => V4,
        Some(IpAddr::V6(_)) => V6,
        None => "unknown",
    }
}

/// The one that a Service of two stacks has besides.
pub(super) fn other_family(family: &str) -> Option<&'static str> {
    match family {
        V4 => Some(V6),
        V6 => Some(V4),
        _ => None,
    }
}
