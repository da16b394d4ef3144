//! Links, addresses, routes, neighbours and nftables transactions over netlink.
//!
//! Owns a small encoder for `NETLINK_ROUTE` and for the nftables subsystem of
//! `NETLINK_NETFILTER`, and the network namespaces that such sockets live in. It is blocking with
//! bounded replies, runs no program and knows no Kubernetes object. `nft -j list ruleset` is only
//! the oracle of its tests.
//! Sources: Linux UAPI `linux/{netlink,rtnetlink,if_link,neighbour}.h`,
//! `linux/netfilter/{nfnetlink,nf_tables}.h`.

mod wire;

mod error;
pub mod namespace;
pub mod nft;
pub mod rt;
mod socket;

pub use error::{Error, What, ignore_exists, ignore_not_found};
pub use namespace::Namespace;
pub use nft::Nft;
pub use rt::Handle;

#[cfg(test)]
mod testing;
