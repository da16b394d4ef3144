//! Capability names and the default set.
//!
//! Source: capabilities(7); containerd 2.x pkg/oci/spec.go, defaultUnixCaps.

/// Names by number, without `CAP_`.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What a container has unless it says otherwise.
const DEFAULT: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

/// The bit of a capability, with or without `CAP_`, in any case.
#[must_use]
pub fn bit(name: &str) -> Option<u64> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    NAMES.iter().position(|n| *n == short).map(|at| 1 << at)
}

/// All capabilities that this crate knows.
#[must_use]
pub fn all() -> u64 {
    (1 << NAMES.len()) - 1
}

/// The default set.
#[must_use]
pub fn default_set() -> u64 {
    DEFAULT
        .iter()
        .filter_map(|n| bit(n))
        .fold(0, |set, bit| set | bit)
}

/// A set changed by lists of names; `ALL` is all. Dropping comes first unless all are added.
///
/// # Errors
/// The first name that is no capability.
pub fn adjust(base: u64, add: &[String], drop: &[String]) -> Result<u64, String> {
    let is_all = |n: &&String| n.eq_ignore_ascii_case("ALL");
    let mut set = base;
    if add.iter().any(|n| is_all(&n)) {
        set = all();
    }
    if drop.iter().any(|n| is_all(&n)) {
        set = 0;
    }
    for name in add.iter().filter(|n| !is_all(n)) {
        set |= bit(name).ok_or_else(|| name.clone())?;
    }
    for name in drop.iter().filter(|n| !is_all(n)) {
        set &= !bit(name).ok_or_else(|| name.clone())?;
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::{adjust, all, bit, default_set};

    #[test]
    fn names_and_sets() {
        assert_eq!(bit("CAP_SYS_ADMIN"), Some(1 << 21));
        assert_eq!(bit("net_raw"), Some(1 << 13));
        assert_eq!(bit("nonsense"), None);
        assert_eq!(default_set(), 0xa804_25fb);
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            adjust(default_set(), &list(&["CHOWN"]), &list(&["ALL"])),
            Ok(1)
        );
        assert_eq!(
            adjust(0, &list(&["ALL"]), &list(&["CHOWN"])),
            Ok(all() & !1)
        );
        assert_eq!(adjust(0, &list(&["X"]), &[]), Err("X".into()));
    }
}
