//! The way out of pods: under the node's address, unless the destination is of the cluster.
//!
//! One nft table per family with a set of the cluster's ranges. Local clusters leave this to the
//! host's table. Example: pod 10.244.0.5 → 192.0.2.80 leaves as the node; → 10.244.1.7 as itself.
//! Source: kubernetes v1.36 pkg/kubelet/kubelet_network_linux.go (the chains that did this before),
//! ip-masq-agent (nonMasqueradeCIDRs).

use std::os::fd::AsFd as _;

use ipnet::IpNet;
use netlink::nft::{
    Batch, Chain, ChainKind, Element, Expr, Family, Field, Hook, Nft, Register, Set, Table, expr,
};
use netlink::{Error, Namespace};

const NAME: &str = "transom-network";
const PRIORITY_SRCNAT: i32 = 100;

/// Makes pods of `ranges` leave `namespace` under its address, except towards `cluster`. Replaces
/// what was there before.
pub fn set(namespace: &Namespace, ranges: &[IpNet], cluster: &[IpNet]) -> Result<(), Error> {
    let mut nft = Nft::open_in(namespace.as_fd())?;
    let mut batch = Batch::new();
    for ipv4 in [true, false] {
        let of = |all: &[IpNet]| -> Vec<IpNet> {
            let same = all.iter().filter(|net| net.addr().is_ipv4() == ipv4);
            same.copied().collect()
        };
        family(&mut batch, ipv4, &of(ranges), &of(cluster));
    }
    nft.commit(batch)
}

fn family(batch: &mut Batch, ipv4: bool, ranges: &[IpNet], cluster: &[IpNet]) {
    let (family, field) = match ipv4 {
        true => (Family::Ip, Field::Ipv4),
        false => (Family::Ip6, Field::Ipv6),
    };
    let table = Table::new(family, NAME);
    batch.destroy_table(&table);
    if ranges.is_empty() {
        return;
    }
    batch.add_table(&table);
    for (name, nets) in [("pods", ranges), ("cluster", cluster)] {
        let set = Set::new(&table, name, &[field]).with_intervals();
        batch.add_set(&set);
        let element = |net: &IpNet| Element::prefix(net.network(), net.prefix_len());
        let elements: Vec<Element> = IpNet::aggregate(&nets.to_vec())
            .iter()
            .map(element)
            .collect();
        if !elements.is_empty() {
            batch.add_elements(&set, &elements);
        }
    }
    let chain = "postrouting";
    batch.add_chain(&Chain::base(
        &table,
        chain,
        ChainKind::Nat,
        Hook::Postrouting,
        PRIORITY_SRCNAT,
    ));
    let lookup = |set: &str, invert| Expr::Lookup {
        set: set.to_owned(),
        key: Register::R1,
        to: None,
        invert,
    };
    let steps = [
        Expr::source_address(ipv4, Register::R1),
        lookup("pods", false),
        Expr::destination_address(ipv4, Register::R1),
        lookup("cluster", true),
        Expr::Masquerade {
            flags: expr::nat_flags::FULLY_RANDOM,
        },
    ];
    batch.add_commented_rule(&table, chain, &steps, "pods leave as the node");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Set twice, then taken away: one table, then none.
    #[test]
    fn in_the_kernel() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: not root");
            return;
        }
        let namespace = Namespace::anonymous().unwrap();
        let net = |text: &str| -> IpNet { text.parse().unwrap() };
        let cluster = [net("10.244.0.0/16"), net("10.244.3.0/24")];
        for _ in 0..2 {
            set(&namespace, &[net("10.244.1.0/24")], &cluster).unwrap();
        }
        let mut nft = Nft::open_in(namespace.as_fd()).unwrap();
        let table = Table::new(Family::Ip, NAME);
        assert_eq!(nft.tables().unwrap().len(), 1);
        assert_eq!(
            nft.rules(&table).unwrap()[0].comment,
            "pods leave as the node"
        );
        assert_eq!(nft.elements(&table, "pods").unwrap().len(), 2);
        set(&namespace, &[], &cluster).unwrap();
        assert!(nft.tables().unwrap().is_empty());
    }
}
