//! A pod may only send from its own addresses.
//!
//! For IPv4 the kernel sees to it (`rp_filter` of each near end). It has no such setting for IPv6:
//! one rule asks whether the way back to the source is the link that the packet came from.
//! Example: pod fd00::5 sends as fd00::6 → the way back is the link of fd00::6 → dropped.
//! Source: nft(8), FIB expressions (reverse path filter).

use std::os::fd::AsFd as _;

use netlink::nft::{
    Batch, Chain, ChainKind, CmpOp, Data, Expr, Family, FibFlags, FibResult, Hook, MetaKey, Nft,
    Register, Table, Verdict,
};
use netlink::{Error, Namespace};

use crate::link::NEAR_PREFIX;

pub(crate) const NAME: &str = "transom-sources";
const PRIORITY_RAW: i32 = -300;

/// Drops what comes from a pod under an IPv6 address that is not its own.
pub(crate) fn guard(namespace: &Namespace) -> Result<(), Error> {
    let mut nft = Nft::open_in(namespace.as_fd())?;
    let mut batch = Batch::new();
    let table = Table::new(Family::Ip6, NAME);
    batch.destroy_table(&table);
    batch.add_table(&table);
    let chain = "prerouting";
    batch.add_chain(&Chain::base(
        &table,
        chain,
        ChainKind::Filter,
        Hook::Prerouting,
        PRIORITY_RAW,
    ));
    let to = Register::R1;
    let steps = [
        Expr::Meta {
            key: MetaKey::InputName,
            to,
        },
        Expr::Cmp {
            register: to,
            op: CmpOp::Eq,
            data: Data::interface_prefix(NEAR_PREFIX),
        },
        Expr::Fib {
            to,
            result: FibResult::OutputIndex,
            flags: FibFlags::SOURCE.and(FibFlags::INPUT),
        },
        Expr::Cmp {
            register: to,
            op: CmpOp::Eq,
            data: Data::host32(0),
        },
        Expr::verdict(Verdict::Drop),
    ];
    batch.add_commented_rule(&table, chain, &steps, "pods send from their own address");
    nft.commit(batch)
}
