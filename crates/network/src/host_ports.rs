//! Ports of the node that lead into pods (`hostPort`).
//!
//! One nft table per family, made anew in one transaction whenever a pod with such ports comes or
//! goes, which is rare; connections that exist go on. Which ports there are is a file, so that they
//! are known after a restart. Example: hostPort 80 of pod 10.244.0.5:8080 → whoever asks any address
//! of the node for port 80, from outside, from the node itself or from a pod, reaches the pod.
//! Source: kubernetes v1.36.3 pkg/apis/core/types.go (ContainerPort); containernetworking plugins
//! v1.7 plugins/meta/portmap (which packets are rewritten).

use std::fmt::Write as _;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use netlink::Namespace;
use netlink::nft::{
    Batch, Chain, ChainKind, CmpOp, Data, Element, Expr, Family, FibFlags, FibResult, Field, Hook,
    MetaKey, NatKind, Nft, PayloadBase, Register, Set, Table, Verdict, expr,
};
use nodeapi::cni::{PortMapping, Protocol};

const NAME: &str = "transom-host-ports";
const FILE: &str = "host-ports";
const PRIORITY_RAW: i32 = -300;
/// Before Services: a node port is taken from another range.
const PRIORITY_DSTNAT: i32 = -101;
const PRIORITY_SRCNAT: i32 = 100;

/// One port of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    sandbox: String,
    pod: IpAddr,
    port: PortMapping,
}

/// Why host ports could not be set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostPortError {
    #[error("host port {port} is in use by sandbox {holder}")]
    Taken { port: u16, holder: String },
    #[error("program host ports")]
    Kernel(#[from] netlink::Error),
    #[error("{operation} {}", path.display())]
    File {
        operation: &'static str,
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
}

/// All of a node.
#[derive(Debug)]
pub(crate) struct HostPorts {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl HostPorts {
    /// Reads what was there before; the kernel still has it.
    pub(crate) fn open(folder: &Path) -> Result<Self, HostPortError> {
        let path = folder.join(FILE);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(cause) => {
                let operation = "read";
                return Err(HostPortError::File {
                    operation,
                    path,
                    cause,
                });
            }
        };
        let entries = text.lines().filter_map(read).collect();
        Ok(Self { path, entries })
    }

    /// Leads the ports to the pod, unless another one has one of them.
    pub(crate) fn add(
        &mut self,
        node: &Namespace,
        sandbox: &str,
        pods: &[IpAddr],
        ports: &[PortMapping],
    ) -> Result<(), HostPortError> {
        let mut wanted = Vec::new();
        for (pod, port) in pods
            .iter()
            .flat_map(|pod| ports.iter().map(move |p| (pod, p)))
        {
            if port.host_ip.is_some_and(|ip| ip.is_ipv4() != pod.is_ipv4()) {
                continue;
            }
            wanted.push(Entry {
                sandbox: sandbox.to_owned(),
                pod: *pod,
                port: port.clone(),
            });
        }
        let others = || self.entries.iter().filter(|entry| entry.sandbox != sandbox);
        for entry in &wanted {
            if let Some(holder) = others().find(|other| entry.meets(other)) {
                return Err(HostPortError::Taken {
                    port: entry.port.host_port,
                    holder: holder.sandbox.clone(),
                });
            }
        }
        if wanted
            .iter()
            .eq(self.entries.iter().filter(|e| e.sandbox == sandbox))
        {
            return Ok(());
        }
        let mut next: Vec<Entry> = others().cloned().collect();
        next.extend(wanted);
        self.set(node, next)
    }

    /// Forgets the ports of all sandboxes but these.
    pub(crate) fn keep(
        &mut self,
        node: &Namespace,
        lives: impl Fn(&str) -> bool,
    ) -> Result<(), HostPortError> {
        let mut next = self.entries.clone();
        next.retain(|entry| lives(&entry.sandbox));
        if next == self.entries {
            return Ok(());
        }
        self.set(node, next)
    }

    fn set(&mut self, node: &Namespace, next: Vec<Entry>) -> Result<(), HostPortError> {
        program(node, &next)?;
        let text: String = next.iter().map(Entry::line).collect();
        let temporary = self.path.with_extension("new");
        let failed = |operation| {
            let path = self.path.clone();
            move |cause| HostPortError::File {
                operation,
                path,
                cause,
            }
        };
        std::fs::write(&temporary, text).map_err(failed("write"))?;
        std::fs::rename(&temporary, &self.path).map_err(failed("rename to"))?;
        self.entries = next;
        Ok(())
    }
}

impl Entry {
    fn meets(&self, other: &Self) -> bool {
        let (one, two) = (&self.port, &other.port);
        let same_address =
            one.host_ip.is_none() || two.host_ip.is_none() || one.host_ip == two.host_ip;
        self.pod.is_ipv4() == other.pod.is_ipv4()
            && one.host_port == two.host_port
            && one.protocol == two.protocol
            && same_address
    }

    fn line(&self) -> String {
        let PortMapping {
            host_port,
            container_port,
            protocol,
            host_ip,
        } = &self.port;
        let host = host_ip.map_or("*".to_owned(), |ip| ip.to_string());
        let mut line = String::new();
        let _ = writeln!(
            line,
            "{} {} {} {host} {host_port} {container_port}",
            self.sandbox,
            self.pod,
            number(*protocol)
        );
        line
    }
}

fn read(line: &str) -> Option<Entry> {
    let words: Vec<&str> = line.split(' ').collect();
    let [sandbox, pod, protocol, host, host_port, container_port] = words.as_slice() else {
        return None;
    };
    let protocol = match *protocol {
        "6" => Protocol::Tcp,
        "17" => Protocol::Udp,
        "132" => Protocol::Sctp,
        _ => return None,
    };
    let host_ip = match *host {
        "*" => None,
        address => Some(address.parse().ok()?),
    };
    Some(Entry {
        sandbox: (*sandbox).to_owned(),
        pod: pod.parse().ok()?,
        port: PortMapping {
            host_port: host_port.parse().ok()?,
            container_port: container_port.parse().ok()?,
            protocol,
            host_ip,
        },
    })
}

fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

fn program(node: &Namespace, entries: &[Entry]) -> Result<(), netlink::Error> {
    let mut nft = Nft::open_in(node.as_fd())?;
    let mut batch = Batch::new();
    for ipv4 in [true, false] {
        let of: Vec<&Entry> = entries.iter().filter(|e| e.pod.is_ipv4() == ipv4).collect();
        family(&mut batch, ipv4, &of);
    }
    nft.commit(batch)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

fn family(batch: &mut Batch, ipv4: bool, entries: &[&Entry]) {
    let (family, field, words) = match ipv4 {
        true => (Family::Ip, Field::Ipv4, 1),
        false => (Family::Ip6, Field::Ipv6, 4),
    };
    let table = Table::new(family, NAME);
    batch.destroy_table(&table);
    if entries.is_empty() {
        return;
    }
    batch.add_table(&table);
    let place = [field, Field::Port];
    let one = Set::map(
        &table,
        "one-address",
        &[field, Field::Protocol, Field::Port],
        &place,
    );
    let all = Set::map(
        &table,
        "all-addresses",
        &[Field::Protocol, Field::Port],
        &place,
    );
    let own = Set::new(&table, "own", &[field, field]);
    let (mut of_one, mut of_all, mut pods) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        let protocol = [number(entry.port.protocol)];
        let port = entry.port.host_port.to_be_bytes();
        let pod = octets(entry.pod);
        let to = Data::Value(Element::concat(&[
            &pod,
            &entry.port.container_port.to_be_bytes(),
        ]));
        match entry.port.host_ip {
            Some(address) => {
                let key = Element::concat(&[&octets(address), &protocol, &port]);
                of_one.push(Element::new(key).to(to));
            }
            None => of_all.push(Element::new(Element::concat(&[&protocol, &port])).to(to)),
        }
        let pair = Element::new(Element::concat(&[&pod, &pod]));
        if !pods.contains(&pair) {
            pods.push(pair);
        }
    }
    for (set, elements) in [(&one, &of_one), (&all, &of_all), (&own, &pods)] {
        batch.add_set(set);
        if !elements.is_empty() {
            batch.add_elements(set, elements);
        }
    }
    rules(batch, &table, ipv4, words);
}

fn rules(batch: &mut Batch, table: &Table, ipv4: bool, words: u32) {
    let base = |name: &str, kind, hook, priority| Chain::base(table, name, kind, hook, priority);
    let lookup = |set: &str, to: Option<u32>| Expr::Lookup {
        set: set.to_owned(),
        key: Register::word(0),
        to: to.map(Register::word),
        invert: false,
    };
    // Values of the maps stand behind the longest key.
    let value = 8;
    let translate = Expr::Nat {
        kind: NatKind::Destination,
        family: if ipv4 { 2 } else { 10 },
        address: Some(Register::word(value)),
        address_max: None,
        port: Some(Register::word(value + words)),
        port_max: None,
        flags: 0,
    };
    let port_at = |at: u32| {
        [
            Expr::Meta {
                key: MetaKey::L4Proto,
                to: Register::word(at),
            },
            Expr::Payload {
                base: PayloadBase::Transport,
                offset: 2,
                length: 2,
                to: Register::word(at + 1),
            },
        ]
    };
    batch.add_chain(&Chain::regular(table, "translate"));
    let mut addressed = vec![Expr::destination_address(ipv4, Register::word(0))];
    addressed.extend(port_at(words));
    addressed.extend([lookup("one-address", Some(value)), translate.clone()]);
    batch.add_commented_rule(
        table,
        "translate",
        &addressed,
        "one address of the node: to the pod",
    );
    let mut any = vec![
        Expr::Fib {
            to: Register::R1,
            result: FibResult::AddressType,
            flags: FibFlags::DESTINATION,
        },
        Expr::Cmp {
            register: Register::R1,
            op: CmpOp::Eq,
            data: Data::host32(expr::ADDRESS_TYPE_LOCAL),
        },
    ];
    any.extend(port_at(0));
    any.extend([lookup("all-addresses", Some(value)), translate]);
    batch.add_commented_rule(
        table,
        "translate",
        &any,
        "any address of the node: to the pod",
    );
    for (name, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
        batch.add_chain(&base(name, ChainKind::Nat, hook, PRIORITY_DSTNAT));
        let jump = [Expr::verdict(Verdict::Jump("translate".to_owned()))];
        batch.add_commented_rule(table, name, &jump, "ports of the node");
    }
    // The node may reach a pod from loopback, but nobody else the node's loopback.
    let loopback = |source, op| match ipv4 {
        true => Expr::in_prefix(source, [127, 0, 0, 0].into(), 8, op),
        false => Expr::in_prefix(source, std::net::Ipv6Addr::LOCALHOST.into(), 128, op),
    };
    batch.add_chain(&base(
        "guard",
        ChainKind::Filter,
        Hook::Prerouting,
        PRIORITY_RAW,
    ));
    let mut guard = loopback(false, CmpOp::Eq);
    guard.extend(Expr::interface(MetaKey::InputName, "lo", CmpOp::Neq));
    guard.push(Expr::verdict(Verdict::Drop));
    batch.add_commented_rule(table, "guard", &guard, "loopback is the node's own");
    batch.add_chain(&base(
        "postrouting",
        ChainKind::Nat,
        Hook::Postrouting,
        PRIORITY_SRCNAT,
    ));
    let masquerade = Expr::Masquerade { flags: 0 };
    let mut from_loopback = loopback(true, CmpOp::Eq);
    from_loopback.extend(Expr::interface(MetaKey::OutputName, "lo", CmpOp::Neq));
    from_loopback.push(masquerade.clone());
    batch.add_commented_rule(
        table,
        "postrouting",
        &from_loopback,
        "from loopback: as the node",
    );
    let to_itself = [
        Expr::source_address(ipv4, Register::word(0)),
        Expr::destination_address(ipv4, Register::word(words)),
        lookup("own", None),
        masquerade,
    ];
    batch.add_commented_rule(
        table,
        "postrouting",
        &to_itself,
        "a pod to itself: as the node",
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let port = |host_ip: Option<&str>, protocol| PortMapping {
            host_port: 80,
            container_port: 8080,
            protocol,
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
        };
        let entry = |port| Entry {
            sandbox: "a".to_owned(),
            pod: [10, 0, 0, 1].into(),
            port,
        };
        let all = entry(port(None, Protocol::Tcp));
        let one = entry(port(Some("127.0.0.1"), Protocol::Tcp));
        let two = entry(port(Some("127.0.0.2"), Protocol::Tcp));
        let udp = entry(port(None, Protocol::Udp));
        for entry in [&all, &one, &udp] {
            assert_eq!(read(entry.line().trim()).as_ref(), Some(entry));
        }
        assert!(all.meets(&one) && one.meets(&all) && one.meets(&one));
        assert!(!one.meets(&two) && !all.meets(&udp));
        assert_eq!(read("a b c"), None);
    }
}
