//! Who changed which table: the kernel's notifications of committed transactions.
//!
//! A listener learns that a table changed and by whom, not what changed: who repairs reads the
//! table. Example: `nft flush ruleset` by process 71 gives `Seen { table: ip t, port: …, removed:
//! true, process: "nft (71)" }`. Source: Linux UAPI `nfnetlink.h` (`NFNLGRP_NFTABLES`),
//! `nf_tables.h` (`enum nft_gen_attributes`), `net/netfilter/nf_tables_api.c`, `nft_commit_notify`.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use rustix::net::netlink::NETFILTER;

use crate::error::{Error, What};
use crate::nft::batch::DELTABLE;
use crate::nft::{Family, SUBSYSTEM, Table};
use crate::socket::Socket;
use crate::wire::{be32, find, text};

const NFNLGRP_NFTABLES: u32 = 7;
const NEWGEN: u16 = SUBSYSTEM | 15;

/// A table that one socket changed since the last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The table.
    pub table: Table,
    /// The kernel's number of the socket that changed it (`Nft::port`).
    pub port: u32,
    /// The table was deleted.
    pub removed: bool,
    /// Name and number of the thread, where the kernel tells.
    pub process: String,
}

/// A subscription to the changes of one network namespace's nftables. Wait for its descriptor to
/// become readable, then `read`.
#[derive(Debug)]
pub struct Monitor {
    socket: Socket,
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Monitor {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_fd().as_raw_fd()
    }
}

impl Monitor {
    /// Subscribes in the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        Self::with(None)
    }

    /// Subscribes in the given network namespace.
    pub fn open_in(namespace: BorrowedFd<'_>) -> Result<Self, Error> {
        Self::with(Some(namespace))
    }

    fn with(namespace: Option<BorrowedFd<'_>>) -> Result<Self, Error> {
        let groups = 1 << (NFNLGRP_NFTABLES - 1);
        Ok(Self {
            socket: Socket::open_with_groups(Some(NETFILTER), namespace, groups)?,
        })
    }

    /// What changed since the last read, without waiting. `None` when notifications were lost, so
    /// that anything may have changed.
    pub fn read(&mut self) -> Result<Option<Vec<Seen>>, Error> {
        let mut seen: BTreeMap<(Table, u32), bool> = BTreeMap::new();
        let mut processes: BTreeMap<u32, String> = BTreeMap::new();
        let what = What::new("read nftables notifications", "");
        let complete = self.socket.drain(&what, |received| {
            let Some(data) = received.payload.get(4..) else {
                return;
            };
            if received.kind == NEWGEN {
                let name = find(data, 3).map(text).unwrap_or_default();
                let id = find(data, 2).map(be32).unwrap_or_default();
                processes.insert(received.port, format!("{name} ({id})"));
                return;
            }
            let family = received.payload.first().copied();
            let Some(family) = family.and_then(Family::from_number) else {
                return;
            };
            // The first attribute of every kind of message names the table.
            let Some(name) = find(data, 1).map(text) else {
                return;
            };
            let removed = seen
                .entry((Table::new(family, name), received.port))
                .or_default();
            *removed |= received.kind == DELTABLE;
        })?;
        if !complete {
            return Ok(None);
        }
        let seen = seen.into_iter().map(|((table, port), removed)| Seen {
            table,
            port,
            removed,
            process: processes.get(&port).cloned().unwrap_or_default(),
        });
        Ok(Some(seen.collect()))
    }
}
