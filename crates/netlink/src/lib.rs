//! Links, routes, neighbours and nftables transactions over netlink.
