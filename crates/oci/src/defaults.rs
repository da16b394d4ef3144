//! What every container gets: mounts, masked and read-only paths.
//!
//! Source: containerd 2.x pkg/oci/{mounts,spec}.go; the OCI runtime specification.

use crate::spec::Mount;

/// `MOUNT_ATTR_RDONLY`.
pub const READ_ONLY: u64 = 0x1;
/// `MOUNT_ATTR_NOSUID`.
pub const NO_SUID: u64 = 0x2;
/// `MOUNT_ATTR_NODEV`.
pub const NO_DEV: u64 = 0x4;
/// `MOUNT_ATTR_NOEXEC`.
pub const NO_EXEC: u64 = 0x8;
/// `MS_PRIVATE`.
pub const PRIVATE: u64 = 1 << 18;
/// `MS_SLAVE`.
pub const SLAVE: u64 = 1 << 19;
/// `MS_SHARED`.
pub const SHARED: u64 = 1 << 20;

/// Hidden from every container that is not privileged.
pub const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];

/// Read-only in every container that is not privileged.
pub const READONLY_PATHS: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// The usual search path.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A mount of a kernel file system.
#[must_use]
pub fn file_system(kind: &str, target: &str, data: &str, flags: u64) -> Mount {
    Mount {
        kind: kind.into(),
        target: target.into(),
        data: data.into(),
        flags,
        ..Mount::default()
    }
}

/// A private recursive bind mount.
#[must_use]
pub fn bind(source: &str, target: &str, flags: u64) -> Mount {
    Mount {
        kind: "bind".into(),
        source: source.into(),
        target: target.into(),
        flags,
        recursive: true,
        recursive_flags: flags & READ_ONLY == 0,
        ..Mount::default()
    }
}

/// Kernel file systems of a container; a privileged one may write to /sys and its groups.
#[must_use]
pub fn mounts(privileged: bool, user_namespace: bool) -> Vec<Mount> {
    let hardened = NO_SUID | NO_DEV | NO_EXEC;
    let sys = if privileged {
        hardened
    } else {
        hardened | READ_ONLY
    };
    let pts = match user_namespace {
        true => "newinstance,ptmxmode=0666,mode=0620",
        false => "newinstance,ptmxmode=0666,mode=0620,gid=5",
    };
    vec![
        file_system("proc", "/proc", "", hardened),
        file_system("tmpfs", "/dev", "mode=755,size=65536k", NO_SUID),
        file_system("devpts", "/dev/pts", pts, NO_SUID | NO_EXEC),
        file_system("mqueue", "/dev/mqueue", "", hardened),
        file_system("sysfs", "/sys", "", sys),
        file_system("cgroup", "/sys/fs/cgroup", "", sys),
    ]
}
