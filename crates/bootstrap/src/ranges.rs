//! Address ranges of a cluster: chosen free of the host's routes, and checked against them.
//!
//! Pure: the routes come in, ranges or findings go out. Example: host routes 10.244.0.0/16 over
//! docker0 → pods get the next candidate, 10.245.0.0/16. A default route meets nothing.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use crate::error::Finding;

/// A range that is in use on the host, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// The range.
    pub range: IpNet,
    /// Who uses it, e.g. `a route over docker0`.
    pub by: String,
}

/// The ranges of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Ranges {
    /// Pods; each node gets a share.
    pub pods: Ipv4Net,
    /// Services.
    pub services: Ipv4Net,
    /// Nodes, the hub and the host's end.
    pub nodes: Ipv4Net,
}

/// What the user asked for; absent means: choose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Pods.
    pub pods: Option<String>,
    /// Services.
    pub services: Option<String>,
    /// Nodes.
    pub nodes: Option<String>,
}

/// Length of a node's share of the pod range.
pub const NODE_MASK: u8 = 24;
/// Most nodes of a local cluster.
pub const MOST_NODES: usize = 64;
/// Hosts of the node range: 1 is the host's end (the API), nodes start here.
const FIRST_NODE: u32 = 10;

impl Ranges {
    /// The host's end of the hub link: where nodes and pods reach the API.
    #[must_use]
    pub fn api_address(&self) -> Ipv4Addr {
        nth(self.nodes, 1)
    }

    /// The address of node `index`.
    #[must_use]
    pub fn node_address(&self, index: usize) -> Ipv4Addr {
        nth(
            self.nodes,
            FIRST_NODE.saturating_add(u32::try_from(index).unwrap_or(u32::MAX)),
        )
    }

    /// Node `index`'s share of the pod range.
    #[must_use]
    pub fn node_pods(&self, index: usize) -> Ipv4Net {
        let size = 1_u32 << (32 - NODE_MASK);
        let offset = size.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX));
        Ipv4Net::new_assert(nth(self.pods, offset), NODE_MASK)
    }

    /// The first Service address: `kubernetes.default`.
    #[must_use]
    pub fn kubernetes_service(&self) -> Ipv4Addr {
        nth(self.services, 1)
    }

    /// The address of the cluster's DNS Service.
    #[must_use]
    pub fn dns_service(&self) -> Ipv4Addr {
        nth(self.services, 10)
    }

    /// All three.
    #[must_use]
    pub fn all(&self) -> [Ipv4Net; 3] {
        [self.pods, self.services, self.nodes]
    }
}

fn nth(range: Ipv4Net, n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(range.network()).saturating_add(n))
}

/// Takes the wanted ranges and chooses the others, free of each other and of what is in use.
pub fn choose(wanted: &Wanted, in_use: &[InUse]) -> Result<Ranges, Vec<Finding>> {
    let mut findings = Vec::new();
    let mut parse = |what, text: &Option<String>, longest| {
        let text = text.as_deref()?;
        match check_text(what, text, longest) {
            Ok(range) => Some(range),
            Err(finding) => {
                findings.push(finding);
                None
            }
        }
    };
    let pods = parse("pod range", &wanted.pods, NODE_MASK);
    let services = parse("service range", &wanted.services, 28);
    let nodes = parse("node range", &wanted.nodes, 26);
    if !findings.is_empty() {
        return Err(findings);
    }
    let mut taken: Vec<Ipv4Net> = [pods, services, nodes].into_iter().flatten().collect();
    let mut pick = |given: Option<Ipv4Net>, what: What| {
        given.or_else(|| {
            let free = what.free(&taken, in_use);
            taken.extend(free);
            free
        })
    };
    let pods = pick(pods, What::Pods);
    let services = pick(services, What::Services);
    let nodes = pick(nodes, What::Nodes);
    let none = |what: &str| {
        Finding::new(
            what,
            "no private range is free of the host's routes",
            format!(
                "give one that no route of the host meets with --{}",
                what.replace(' ', "-")
            ),
        )
    };
    match (pods, services, nodes) {
        (Some(pods), Some(services), Some(nodes)) => {
            let ranges = Ranges {
                pods,
                services,
                nodes,
            };
            let findings = check(&ranges, in_use, Stage::New);
            if findings.is_empty() {
                Ok(ranges)
            } else {
                Err(findings)
            }
        }
        (pods, services, nodes) => {
            let missing = [
                ("pod range", pods),
                ("service range", services),
                ("node range", nodes),
            ];
            let missing = missing.iter().filter(|(_, range)| range.is_none());
            Err(missing.map(|(what, _)| none(what)).collect())
        }
    }
}

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Pods,
    Services,
    Nodes,
}

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Pods => "pod range",
            Self::Services => "service range",
            Self::Nodes => "node range",
        }
    }

    /// The first usual range that meets nothing of `taken` and `in_use`.
    fn free(self, taken: &[Ipv4Net], in_use: &[InUse]) -> Option<Ipv4Net> {
        let tens = |first: u8| -> Vec<Ipv4Net> {
            let at = |n| Ipv4Net::new_assert(Ipv4Addr::new(10, first.wrapping_add(n), 0, 0), 16);
            (0..=255_u8).map(at).collect()
        };
        let hubs = || -> Vec<Ipv4Net> {
            let of = |b: u8| {
                (0..=255_u8).map(move |c| Ipv4Net::new_assert(Ipv4Addr::new(172, b, c, 0), 24))
            };
            (16..32_u8).rev().flat_map(of).collect()
        };
        let candidates = match self {
            Self::Pods => tens(244),
            Self::Services => tens(96),
            Self::Nodes => hubs(),
        };
        candidates.into_iter().find(|candidate| {
            let meets = |other: IpNet| overlap((*candidate).into(), other);
            !taken.iter().any(|other| meets((*other).into()))
                && !in_use.iter().any(|used| meets(used.range))
        })
    }
}

/// Whether the ranges may still be chosen otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The cluster is about to be made.
    New,
    /// The cluster exists and has them.
    Fixed,
}

/// Everything that is wrong with `ranges`: overlaps among them and with what is in use. The next
/// step names a range that is free.
#[must_use]
pub fn check(ranges: &Ranges, in_use: &[InUse], stage: Stage) -> Vec<Finding> {
    let named = [
        (What::Pods, ranges.pods),
        (What::Services, ranges.services),
        (What::Nodes, ranges.nodes),
    ];
    let instead = |what: What| {
        let others: Vec<Ipv4Net> = named.iter().map(|(_, range)| *range).collect();
        let option = what.name().replace(' ', "-");
        match what.free(&others, in_use) {
            Some(free) => format!("--{option} {free} is free"),
            None => format!("give another one with --{option}"),
        }
    };
    let mut findings = Vec::new();
    for (index, (what, range)) in named.iter().enumerate() {
        let name = what.name();
        for (other_what, other) in &named[index + 1..] {
            if overlap((*range).into(), (*other).into()) {
                findings.push(Finding::new(
                    format_args!("{name} {range}"),
                    format_args!("meets the {} {other}", other_what.name()),
                    instead(*what),
                ));
            }
        }
        for used in in_use {
            if overlap((*range).into(), used.range) {
                let next = match stage {
                    Stage::New => format!("{}, or remove what uses it", instead(*what)),
                    Stage::Fixed => "remove what uses it, or take the cluster down and make it \
                                     anew: its ranges are fixed"
                        .to_owned(),
                };
                findings.push(Finding::new(
                    format_args!("{name} {range}"),
                    format_args!("meets {}, which is {}", used.range, used.by),
                    next,
                ));
            }
        }
    }
    findings
}

fn check_text(what: &str, text: &str, longest: u8) -> Result<Ipv4Net, Finding> {
    let object = format!("{what} {text}");
    let example = "write it as in 10.244.0.0/16";
    let Ok(range) = text.parse::<IpNet>() else {
        return Err(Finding::new(object, "is not an address range", example));
    };
    let IpNet::V4(range) = range else {
        return Err(Finding::new(object, "is not an IPv4 range", example));
    };
    if range.trunc() != range {
        return Err(Finding::new(
            object,
            "has host bits set",
            format_args!("did you mean {}?", range.trunc()),
        ));
    }
    if range.prefix_len() > longest {
        return Err(Finding::new(
            object,
            "is too small",
            format_args!("give at least a /{longest}"),
        ));
    }
    if range.prefix_len() < 8 {
        return Err(Finding::new(object, "is too large", "give at most a /8"));
    }
    let network = range.network();
    if network.is_loopback() || network.is_multicast() || network.is_link_local() {
        return Err(Finding::new(
            object,
            "is loopback, link-local or multicast",
            "take one of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16",
        ));
    }
    Ok(range)
}

fn overlap(a: IpNet, b: IpNet) -> bool {
    let inside = |net: &IpNet, address: IpAddr| net.contains(&address);
    inside(&a, b.network()) || inside(&b, a.network())
}

#[cfg(test)]
mod tests;
