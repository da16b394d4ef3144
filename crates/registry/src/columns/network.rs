//! Columns of services, endpoints, ingresses and policies.
//!
//! Source: kubernetes v1.36.3 pkg/printers/internalversion/printers.go.

use schema::Ref;

use super::{Cell, Columns, age, at, int_at, label_set, name, or_none, or_unset, scalar, selector};

fn ingress_addresses(o: Ref<'_>) -> Vec<&str> {
    let points = o
        .at(&["status", "loadBalancer"])
        .into_iter()
        .flat_map(|lb| lb.items("ingress"));
    points
        .filter_map(|point| {
            [point.str("ip"), point.str("hostname")]
                .into_iter()
                .find(|s| !s.is_empty())
        })
        .collect()
}

fn external(o: Ref<'_>) -> String {
    let listed: Vec<&str> = o
        .get("spec")
        .into_iter()
        .flat_map(|spec| spec.items("externalIPs"))
        .filter_map(Ref::as_str)
        .collect();
    match at(o, &["spec", "type"]) {
        "LoadBalancer" => {
            let mut all = ingress_addresses(o);
            all.extend(listed);
            if all.is_empty() {
                "<pending>".to_owned()
            } else {
                all.join(",")
            }
        }
        "ExternalName" => at(o, &["spec", "externalName"]).to_owned(),
        _ => or_none(&listed.join(",")),
    }
}

pub(crate) fn service() -> Columns {
    Columns::new(
        "Name|Type|Cluster-IP|External-IP|Port(s)|Age|Selector*",
        |_, o, now| {
            let ports = o
                .get("spec")
                .into_iter()
                .flat_map(|spec| spec.items("ports"));
            let ports: Vec<String> = ports
                .map(|port| {
                    let number = port.int("port").unwrap_or(0);
                    let protocol = port.str("protocol");
                    match port.int("nodePort").unwrap_or(0) {
                        0 => format!("{number}/{protocol}"),
                        node => format!("{number}:{node}/{protocol}"),
                    }
                })
                .collect();
            let ip = o
                .get("spec")
                .into_iter()
                .flat_map(|s| s.items("clusterIPs"))
                .next();
            vec![
                name(o),
                at(o, &["spec", "type"]).into(),
                or_none(ip.and_then(Ref::as_str).unwrap_or_default()).into(),
                external(o).into(),
                or_none(&ports.join(",")).into(),
                age(o, now),
                label_set(o.at(&["spec", "selector"])).into(),
            ]
        },
    )
}

fn endpoint_list(o: Ref<'_>) -> String {
    let subsets: Vec<_> = o.items("subsets").collect();
    if subsets.is_empty() {
        return "<none>".to_owned();
    }
    let mut list = Vec::new();
    for subset in subsets {
        let ports: Vec<_> = subset.items("ports").collect();
        for address in subset.items("addresses") {
            if ports.is_empty() {
                list.push(address.str("ip").to_owned());
            }
            for port in &ports {
                let number = port.int("port").unwrap_or(0);
                let ip = address.str("ip");
                list.push(if ip.contains(':') {
                    format!("[{ip}]:{number}")
                } else {
                    format!("{ip}:{number}")
                });
            }
        }
    }
    let total = list.len();
    list.truncate(3);
    let mut text = list.join(",");
    if total > 3 {
        text.push_str(&format!(" + {} more...", total - 3));
    }
    text
}

pub(crate) fn endpoints() -> Columns {
    Columns::new("Name|Endpoints|Age", |_, o, now| {
        vec![name(o), endpoint_list(o).into(), age(o, now)]
    })
}

fn some_of(list: Vec<String>, total: usize) -> String {
    let mut text = list.join(",");
    if total > 3 {
        text.push_str(&format!(" + {} more...", total - 3));
    }
    or_unset(&text)
}

pub(crate) fn endpoint_slice() -> Columns {
    Columns::new("Name|AddressType|Ports|Endpoints|Age", |_, o, now| {
        let ports: Vec<_> = o.items("ports").collect();
        let numbers = ports.iter().take(3).map(|port| match port.int("port") {
            Some(number) => number.to_string(),
            None if !port.str("name").is_empty() => port.str("name").to_owned(),
            None => "*".to_owned(),
        });
        let addresses: Vec<&str> = o
            .items("endpoints")
            .flat_map(|e| e.items("addresses"))
            .filter_map(Ref::as_str)
            .collect();
        let shown = addresses.iter().take(3).map(|&a| a.to_owned()).collect();
        vec![
            name(o),
            o.str("addressType").into(),
            some_of(numbers.collect(), ports.len()).into(),
            some_of(shown, addresses.len()).into(),
            age(o, now),
        ]
    })
}

pub(crate) fn ingress() -> Columns {
    Columns::new("Name|Class|Hosts|Address|Ports|Age", |_, o, now| {
        let class = at(o, &["spec", "ingressClassName"]);
        let class = if class.is_empty() {
            api::meta::of(o)
                .annotation("kubernetes.io/ingress.class")
                .unwrap_or_default()
        } else {
            class
        };
        let spec = o.get("spec");
        let hosts: Vec<&str> = spec
            .into_iter()
            .flat_map(|s| s.items("rules"))
            .map(|r| r.str("host"))
            .filter(|h| !h.is_empty())
            .collect();
        let mut shown = hosts.iter().take(3).copied().collect::<Vec<_>>().join(",");
        if hosts.len() > 3 {
            shown.push_str(&format!(" + {} more...", hosts.len() - 3));
        }
        let tls = spec.is_some_and(|s| s.items("tls").next().is_some());
        vec![
            name(o),
            or_none(class).into(),
            if shown.is_empty() {
                "*".into()
            } else {
                shown.into()
            },
            ingress_addresses(o).join(",").into(),
            if tls { "80, 443".into() } else { "80".into() },
            age(o, now),
        ]
    })
}

pub(crate) fn ingress_class() -> Columns {
    Columns::new("Name|Controller|Parameters|Age", |_, o, now| {
        let parameters = o.at(&["spec", "parameters"]).map_or_else(String::new, |p| {
            let group = p.str("apiGroup");
            let group = if group.is_empty() {
                String::new()
            } else {
                format!(".{group}")
            };
            format!("{}{group}/{}", p.str("kind"), p.str("name"))
        });
        vec![
            name(o),
            at(o, &["spec", "controller"]).into(),
            or_none(&parameters).into(),
            age(o, now),
        ]
    })
}

pub(crate) fn network_policy() -> Columns {
    Columns::new("Name|Pod-Selector|Age", |_, o, now| {
        vec![
            name(o),
            selector(o.at(&["spec", "podSelector"])).into(),
            age(o, now),
        ]
    })
}

pub(crate) fn disruption_budget() -> Columns {
    Columns::new(
        "Name|Min Available|Max Unavailable|Allowed Disruptions:i|Age",
        |_, o, now| {
            let or_na = |key| {
                let text = scalar(o.at(&["spec", key]));
                if text.is_empty() {
                    "N/A".to_owned()
                } else {
                    text
                }
            };
            vec![
                name(o),
                or_na("minAvailable").into(),
                or_na("maxUnavailable").into(),
                int_at(o, &["status", "disruptionsAllowed"]).into(),
                age(o, now),
            ]
        },
    )
}

pub(crate) fn service_cidr() -> Columns {
    Columns::new("Name|CIDRs|Age", |_, o, now| {
        let ranges = o.get("spec").into_iter().flat_map(|s| s.items("cidrs"));
        let ranges: Vec<&str> = ranges.filter_map(Ref::as_str).collect();
        vec![name(o), ranges.join(",").into(), age(o, now)]
    })
}

pub(crate) fn ip_address() -> Columns {
    Columns::new("Name|ParentRef", |_, o, _| {
        let parent = o.at(&["spec", "parentRef"]);
        let parts = ["group", "resource", "namespace", "name"];
        let text = parent.map_or_else(
            || "<none>".to_owned(),
            |p| {
                let words: Vec<&str> = parts
                    .iter()
                    .map(|key| p.str(key))
                    .filter(|word| !word.is_empty())
                    .collect();
                words.join("/")
            },
        );
        vec![name(o), Cell::Str(text)]
    })
}
