//! Addresses and node ports of one Service.

use std::collections::HashSet;
use std::net::IpAddr;

use api::{FieldError, Path, Status};
use ipnet::IpNet;
use schema::{Dom, Ref, Value};

use crate::edit::{ensure_list, items, map, text};
use crate::hooks::{Context, Extra, Extras};

const NODE_PORTS: std::ops::RangeInclusive<i64> = 30000..=32767;
const ATTEMPTS: usize = 64;
const ADDRESSES: &str = "ipaddresses";

fn wants_address(spec: Ref<'_>) -> bool {
    spec.str("type") != "ExternalName" && spec.str("clusterIP") != "None"
}

fn addresses(object: Ref<'_>) -> Vec<String> {
    let spec = object.get("spec");
    let listed = spec.into_iter().flat_map(|spec| spec.items("clusterIPs"));
    let mut ips: Vec<String> = listed.filter_map(Ref::as_str).map(str::to_owned).collect();
    let first = spec.map_or("", |spec| spec.str("clusterIP"));
    if ips.is_empty() && !first.is_empty() {
        ips.push(first.to_owned());
    }
    ips.retain(|ip| ip != "None" && !ip.is_empty());
    ips
}

fn object(cx: &Context<'_>, ip: &str, service: &str) -> Dom {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    let meta = dom.new_map();
    dom.set(root, "metadata", meta);
    dom.set_str(meta, "name", ip);
    dom.set_str(meta, "uid", &uid(cx));
    dom.set_str(
        meta,
        "creationTimestamp",
        &api::time::format_seconds(cx.now),
    );
    let labels = dom.new_map();
    dom.set(meta, "labels", labels);
    dom.set_str(
        labels,
        "ipaddress.kubernetes.io/managed-by",
        "ipallocator.k8s.io",
    );
    let family = if ip.contains(':') { "IPv6" } else { "IPv4" };
    dom.set_str(labels, "ipaddress.kubernetes.io/ip-family", family);
    let spec = dom.new_map();
    dom.set(root, "spec", spec);
    let parent = dom.new_map();
    dom.set(spec, "parentRef", parent);
    dom.set_str(parent, "resource", "services");
    dom.set_str(parent, "namespace", cx.namespace);
    dom.set_str(parent, "name", service);
    dom
}

/// A random version 4 UUID.
pub(crate) fn uid(cx: &Context<'_>) -> String {
    let mut bytes = [0u8; 16];
    for byte in &mut bytes {
        *byte = u8::try_from((cx.below)(256)).unwrap_or(0);
    }
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let hex = hex.concat();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

fn nth(range: &IpNet, offset: u64) -> Option<IpAddr> {
    match range {
        IpNet::V4(net) => {
            let base = u32::from(net.network());
            let ip = base.checked_add(u32::try_from(offset).ok()?)?;
            let ip = std::net::Ipv4Addr::from(ip);
            (net.contains(&ip) && ip != net.broadcast()).then_some(IpAddr::V4(ip))
        }
        IpNet::V6(net) => {
            let ip = std::net::Ipv6Addr::from(
                u128::from(net.network()).checked_add(u128::from(offset))?,
            );
            net.contains(&ip).then_some(IpAddr::V6(ip))
        }
    }
}

/// Chooses an address: the upper part of the range first, as upstream, so that static ones can be
/// taken from the lower.
fn pick(cx: &Context<'_>, range: &IpNet) -> Option<String> {
    let bits = u32::from(range.max_prefix_len() - range.prefix_len()).min(20);
    let size = 1u64 << bits;
    let offset = (size / 16).clamp(16, 256).min(size / 2);
    let free = |ip: &IpAddr| cx.lookup.get(ADDRESSES, "", &ip.to_string()).is_none();
    for _ in 0..ATTEMPTS {
        let upper = offset + (cx.below)((size - offset).max(1));
        if let Some(ip) = nth(range, upper.max(1)).filter(free) {
            return Some(ip.to_string());
        }
    }
    (1..size)
        .rev()
        .filter_map(|offset| nth(range, offset))
        .find(free)
        .map(|ip| ip.to_string())
}

fn invalid(cx: &Context<'_>, name: &str, error: FieldError) -> Status {
    Status::invalid(&cx.resource.group_kind(), name, &[error])
}

/// See [`crate::strategy::Allocate`].
pub(crate) fn allocate(
    cx: &Context<'_>,
    new: Option<&mut Dom>,
    old: Option<Ref<'_>>,
    extras: &mut Extras,
) -> Result<(), Status> {
    let before = old.map(addresses).unwrap_or_default();
    let Some(dom) = new else {
        for name in before {
            extras.writes.push(Extra::Delete {
                prefix: ADDRESSES.into(),
                namespace: String::new(),
                name,
            });
        }
        return Ok(());
    };
    let root = dom.root();
    let Some(spec) = map(dom, root, "spec") else {
        return Ok(());
    };
    let name = api::meta::of(dom.as_ref()).name().to_owned();
    families(cx, dom);
    let wants = dom.as_ref().get("spec").is_some_and(wants_address);
    let mut after = addresses(dom.as_ref());
    if !wants {
        after.clear();
    }
    if wants && after.is_empty() {
        let Some(range) = cx.service_ranges.first() else {
            return Err(Status::internal(
                "failed to allocate a serviceIP: no service range",
            ));
        };
        let Some(ip) = pick(cx, range) else {
            return Err(Status::internal(
                "failed to allocate a serviceIP: range is full",
            ));
        };
        after.push(ip);
    }
    for (index, ip) in after.iter().enumerate() {
        if before.contains(ip) {
            continue;
        }
        let at = Path::new("spec").child("clusterIPs");
        let parsed: Option<IpAddr> = ip.parse().ok();
        let Some(parsed) = parsed else {
            let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            return Err(invalid(
                cx,
                &name,
                FieldError::invalid(&at.index(index), ip, detail),
            ));
        };
        if !cx
            .service_ranges
            .iter()
            .any(|range| range.contains(&parsed))
        {
            let ranges: Vec<String> = cx.service_ranges.iter().map(ToString::to_string).collect();
            let detail = format!(
                "failed to allocate IP {ip}: the provided IP ({ip}) is not in the valid range. The range of valid IPs is {}",
                ranges.join(",")
            );
            let shown = api::BadValue::Raw(format!("{after:?}"));
            return Err(invalid(cx, &name, FieldError::invalid(&at, shown, detail)));
        }
        if cx.lookup.get(ADDRESSES, "", ip).is_some() {
            let detail = format!("failed to allocate IP {ip}: provided IP is already allocated");
            let shown = api::BadValue::Raw(format!("{after:?}"));
            return Err(invalid(cx, &name, FieldError::invalid(&at, shown, detail)));
        }
        extras.writes.push(Extra::Create {
            prefix: ADDRESSES.into(),
            namespace: String::new(),
            name: ip.clone(),
            object: object(cx, ip, &name),
        });
    }
    for ip in before.iter().filter(|ip| !after.contains(ip)) {
        let name = ip.clone();
        extras.writes.push(Extra::Delete {
            prefix: ADDRESSES.into(),
            namespace: String::new(),
            name,
        });
    }
    if wants {
        dom.set_str(spec, "clusterIP", &after[0]);
        let list = dom.new_list();
        for ip in &after {
            let node = dom.new_str(ip);
            dom.push(list, node);
        }
        dom.set(spec, "clusterIPs", list);
    } else if text(dom, spec, "type") == "ExternalName" {
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            dom.remove(spec, key);
        }
    } else {
        let list = dom.new_list();
        let none = dom.new_str("None");
        dom.push(list, none);
        dom.set(spec, "clusterIPs", list);
    }
    node_ports(cx, dom, &name, old)
}

fn families(cx: &Context<'_>, dom: &mut Dom) {
    let root = dom.root();
    let Some(spec) = map(dom, root, "spec") else {
        return;
    };
    if text(dom, spec, "type") == "ExternalName" {
        return;
    }
    crate::edit::default_str(dom, spec, "ipFamilyPolicy", "SingleStack");
    if items(dom, spec, "ipFamilies").is_empty() {
        let given = text(dom, spec, "clusterIP");
        let v6 = match given {
            "" | "None" => cx
                .service_ranges
                .first()
                .is_some_and(|r| matches!(r, IpNet::V6(_))),
            ip => ip.contains(':'),
        };
        let list = ensure_list(dom, spec, "ipFamilies");
        let family = dom.new_str(if v6 { "IPv6" } else { "IPv4" });
        dom.push(list, family);
    }
}

fn used_ports(cx: &Context<'_>, name: &str) -> HashSet<i64> {
    let mut used = HashSet::new();
    for service in cx.lookup.list("services/specs", "") {
        let meta = api::meta::of(service.as_ref());
        if meta.namespace() == cx.namespace && meta.name() == name {
            continue;
        }
        let spec = service.as_ref().get("spec");
        for port in spec.into_iter().flat_map(|spec| spec.items("ports")) {
            used.extend(port.int("nodePort").filter(|port| *port != 0));
        }
        used.extend(
            spec.and_then(|s| s.int("healthCheckNodePort"))
                .filter(|port| *port != 0),
        );
    }
    used
}

fn node_ports(
    cx: &Context<'_>,
    dom: &mut Dom,
    name: &str,
    old: Option<Ref<'_>>,
) -> Result<(), Status> {
    let root = dom.root();
    let Some(spec) = map(dom, root, "spec") else {
        return Ok(());
    };
    let kind = text(dom, spec, "type").to_owned();
    let unwanted = dom
        .get(spec, "allocateLoadBalancerNodePorts")
        .map(|n| dom.value(n))
        == Some(Value::Bool(false));
    let ports = items(dom, spec, "ports");
    if !matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        // Ports that were allocated for the old type go; others are the client's mistake.
        if old.is_some() {
            for port in ports {
                dom.remove(port, "nodePort");
            }
        }
        return Ok(());
    }
    let mut used: Option<HashSet<i64>> = None;
    let mut own: HashSet<(i64, String)> = HashSet::new();
    for (index, port) in ports.into_iter().enumerate() {
        let given = match dom.get(port, "nodePort").map(|n| dom.value(n)) {
            Some(Value::Int(number)) => number,
            _ => 0,
        };
        let taken = used.get_or_insert_with(|| used_ports(cx, name));
        let protocol = text(dom, port, "protocol").to_owned();
        let at = Path::new("spec")
            .child("ports")
            .index(index)
            .child("nodePort");
        let number = if given != 0 {
            if !NODE_PORTS.contains(&given) {
                let detail = "provided port is not in the valid range. The range of valid ports is 30000-32767";
                return Err(invalid(cx, name, FieldError::invalid(&at, given, detail)));
            }
            if taken.contains(&given) {
                let detail = "provided port is already allocated";
                return Err(invalid(cx, name, FieldError::invalid(&at, given, detail)));
            }
            given
        } else if unwanted && kind == "LoadBalancer" {
            continue;
        } else {
            let free = |port: &i64| !taken.contains(port) && !own.iter().any(|(p, _)| p == port);
            let size = NODE_PORTS.end() - NODE_PORTS.start() + 1;
            let start = i64::try_from((cx.below)(size.unsigned_abs())).unwrap_or(0);
            let found = (0..size)
                .map(|i| NODE_PORTS.start() + (start + i) % size)
                .find(|p| free(p));
            match found {
                Some(port) => port,
                None => {
                    return Err(Status::internal(
                        "failed to allocate a nodePort: range is full",
                    ));
                }
            }
        };
        own.insert((number, protocol));
        dom.set_int(port, "nodePort", number);
    }
    Ok(())
}
