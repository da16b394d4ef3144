//! Who listens on a port: an answer of somebody else's server would be measured as ours.
//!
//! The kernel's table of sockets names the inode, a process's descriptors name the same inode.
//! Source: proc(5), /proc/net/tcp and /proc/PID/fd.

use std::collections::HashSet;
use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::usage::Process;

/// State LISTEN in the kernel's table.
const LISTEN: &str = "0A";

/// Fails unless every socket that takes connections to the port is held by one of `processes`.
pub(super) fn check(port: u16, processes: &[Process]) -> Result<()> {
    let mut sockets = HashSet::new();
    for file in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // Absent where IPv6 is off.
        let table = fs::read_to_string(file).unwrap_or_default();
        sockets.extend(listening(&table, port));
    }
    ensure!(!sockets.is_empty(), "nobody listens on port {port}");
    for process in processes {
        for socket in process.sockets().context("list descriptors")? {
            sockets.remove(&socket);
        }
    }
    ensure!(
        sockets.is_empty(),
        "port {port} is taken by a process that this run did not start"
    );
    Ok(())
}

/// Inodes of the sockets that listen on the port, whatever the address.
fn listening(table: &str, port: u16) -> Vec<u64> {
    let suffix = format!(":{port:04X}");
    let rows = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (address, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
        let matches = address.ends_with(&suffix) && *state == LISTEN;
        matches.then(|| inode.parse().ok())?
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::{check, listening};
    use crate::usage::Process;

    #[test]
    fn rows_of_the_kernel() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 77 1 0\n\
             1: 0100007F:192B 0100007F:A000 01 00000000:00000000 00:00000000 00000000     0        0 78 1 0\n\
             2: 0100007F:192C 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 79 1 0\n";
        assert_eq!(listening(table, 6443), [77]);
    }

    #[test]
    fn own_and_foreign() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        check(port, &[Process::new(std::process::id(), "this")]).unwrap();
        let error = check(port, &[]).unwrap_err().to_string();
        assert!(error.contains("did not start"), "{error}");
        drop(listener);
        let error = check(port, &[]).unwrap_err().to_string();
        assert!(error.contains("nobody listens"), "{error}");
    }
}
