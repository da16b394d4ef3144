//! Links, addresses, routes, neighbours, nftables transactions and tracked connections over
//! netlink.
//!
//! Owns a small encoder for `NETLINK_ROUTE` and for the nftables and conntrack subsystems of
//! `NETLINK_NETFILTER`, and the network namespaces that such sockets live in. It is blocking with
//! bounded replies, runs no program and knows no Kubernetes object. `nft -j list ruleset` is only
//! the oracle of its tests.
//! Sources: Linux UAPI `linux/{netlink,rtnetlink,if_link,neighbour}.h`,
//! `linux/netfilter/{nfnetlink,nf_tables,nfnetlink_conntrack}.h`.

mod wire;

pub mod conntrack;
mod error;
pub mod namespace;
pub mod nft;
pub mod rt;
mod socket;

pub use conntrack::Conntrack;
pub use error::{Error, What, ignore_exists, ignore_not_found};
pub use namespace::Namespace;
pub use nft::Nft;
pub use rt::Handle;

#[cfg(test)]
mod testing;
