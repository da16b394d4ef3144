//! Shared by the tests: the gate for root, and the `nft` program as oracle.

use std::process::Command;

use crate::Namespace;

/// A fresh network namespace, or `None` with the reason printed.
pub(crate) fn namespace() -> Option<Namespace> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: not root");
        return None;
    }
    Some(Namespace::anonymous().expect("a network namespace"))
}

/// `nft list ruleset` inside the namespace, or `None` with the reason printed.
#[expect(
    clippy::disallowed_methods,
    reason = "the oracle is an outside program"
)]
pub(crate) fn nft_list(namespace: &Namespace) -> Option<String> {
    let output = namespace
        .run(|| {
            Command::new("/usr/sbin/nft")
                .args(["--stateless", "list", "ruleset"])
                .current_dir("/")
                .output()
        })
        .expect("the helper thread runs");
    match output {
        Ok(output) if output.status.success() => {
            Some(String::from_utf8(output.stdout).expect("text"))
        }
        Ok(output) => panic!("nft: {}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => {
            eprintln!("skipped: nft(8) is not installed (Debian package nftables)");
            None
        }
    }
}
