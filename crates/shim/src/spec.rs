//! What to run: a pod's namespaces, a container, a process in it.
//!
//! Our own shape, only what is needed; names follow the OCI runtime specification. Everything
//! that needs a decision (capability sets, the seccomp program, group directories) is decided
//! by the client; the shim only carries it out.
//! Namespace fields: empty = the host's, `new`, `pod` = the sandbox's, or the path of a file.

use crate::wire::{Blob, record};

record! {
    /// One mount inside the container, applied in order.
    pub struct Mount {
        /// `bind`, `proc`, `sysfs`, `tmpfs`, `devpts`, `mqueue`, `cgroup` or another file system.
        1 kind: String,
        /// Path on the host for `bind`.
        2 source: String,
        /// Absolute path inside the container; missing directories are made.
        3 target: String,
        /// File system options, separated by commas.
        4 data: String,
        /// `MOUNT_ATTR_*` bits.
        5 flags: u64,
        /// `MS_PRIVATE`, `MS_SLAVE` or `MS_SHARED`; 0 = private.
        6 propagation: u64,
        /// Whether a bind takes the mounts below its source along.
        7 recursive: bool,
        /// Whether read-only holds for these too.
        8 recursive_flags: bool,
        /// Whether a failure is a warning only.
        9 optional: bool,
    }

    /// One device node.
    pub struct Device {
        /// Path inside the container.
        1 path: String,
        /// Whether it is a block device.
        2 block: bool,
        /// Major number.
        3 major: u32,
        /// Minor number.
        4 minor: u32,
        /// Permission bits.
        5 mode: u32,
        /// Owner.
        6 uid: u32,
        /// Group.
        7 gid: u32,
    }

    /// A resource limit.
    pub struct Rlimit {
        /// `RLIMIT_*`.
        1 resource: u32,
        /// Soft limit.
        2 soft: u64,
        /// Hard limit.
        3 hard: u64,
    }

    /// Capability sets as bit masks.
    pub struct Capabilities {
        /// Bounding set.
        1 bounding: u64,
        /// Permitted and effective sets.
        2 permitted: u64,
        /// Inheritable set.
        3 inheritable: u64,
        /// Ambient set.
        4 ambient: u64,
    }

    /// A process of a container.
    pub struct Process {
        /// Program and arguments.
        1 args: Vec<String>,
        /// `NAME=value`.
        2 env: Vec<String>,
        /// Working directory; made if missing.
        3 cwd: String,
        /// Whether it gets a terminal.
        4 terminal: bool,
        /// `user[:group]`, names or numbers, looked up in the root file system; empty = 0:0.
        5 user: String,
        /// Supplementary groups.
        6 groups: Vec<u32>,
        /// Whether the user's groups in `/etc/group` are added.
        7 merge_groups: bool,
        /// Capabilities.
        8 capabilities: Capabilities,
        /// `no_new_privs`.
        9 no_new_privs: bool,
        /// A seccomp program as `struct sock_filter[]`; empty = none.
        10 seccomp: Blob,
        /// Resource limits.
        11 rlimits: Vec<Rlimit>,
        /// Score for the OOM killer.
        12 oom_score_adj: Option<i32>,
        /// Columns of the terminal.
        13 columns: u32,
        /// Rows of the terminal.
        14 rows: u32,
    }

    /// The root file system.
    pub struct Rootfs {
        /// Lower directories of an overlay, topmost first.
        1 lowers: Vec<String>,
        /// Upper directory; empty = a read-only overlay.
        2 upper: String,
        /// Work directory.
        3 work: String,
        /// An existing directory, used (by bind) if there are no lowers.
        4 directory: String,
        /// Empty directory of the host where the root is put together, in the container's own
        /// mount namespace.
        5 at: String,
        /// Whether the root is read-only in the end.
        6 read_only: bool,
    }

    /// The groups that the container's processes join.
    pub struct Cgroup {
        /// Version 1 directories.
        1 v1: Vec<String>,
        /// Directory in the unified tree.
        2 unified: String,
        /// File with the `oom_kill` counter.
        3 oom_file: String,
        /// Whether the unified tree is the only one.
        4 pure_v2: bool,
        /// What the version 1 directories are called inside (`memory`), in their order.
        5 names: Vec<String>,
    }

    /// Namespaces of a container.
    pub struct Namespaces {
        /// Network.
        1 net: String,
        /// System V IPC and message queues.
        2 ipc: String,
        /// Host name.
        3 uts: String,
        /// Processes; also `container:ID`.
        4 pid: String,
        /// Users.
        5 user: String,
        /// Control groups: empty or `new`.
        6 cgroup: String,
    }

    /// A container.
    pub struct Container {
        /// Its id, unique in the pod.
        1 id: String,
        /// Its first process.
        2 process: Process,
        /// Root file system.
        3 rootfs: Rootfs,
        /// Mounts in order.
        4 mounts: Vec<Mount>,
        /// Device nodes besides the usual ones.
        5 devices: Vec<Device>,
        /// Paths hidden.
        6 masked_paths: Vec<String>,
        /// Paths made read-only.
        7 readonly_paths: Vec<String>,
        /// Kernel settings, `net.ipv4.x=1`.
        8 sysctls: Vec<String>,
        /// Namespaces.
        9 namespaces: Namespaces,
        /// Groups.
        10 cgroup: Cgroup,
        /// CRI log file; empty = output is only for those who attach.
        11 log_path: String,
        /// Whether standard input stays open.
        12 stdin: bool,
        /// Whether it closes with the first attached client.
        13 stdin_once: bool,
        /// Host name if `namespaces.uts` is `new`.
        14 hostname: String,
    }

    /// A range of a user namespace's map.
    pub struct IdMap {
        /// First id inside.
        1 inside: u32,
        /// First id outside.
        2 outside: u32,
        /// How many.
        3 count: u32,
    }

    /// A pod: the namespaces that its containers share.
    pub struct Pod {
        /// Its id.
        1 id: String,
        /// Directory of the shim: socket, state, namespace files.
        2 directory: String,
        /// Host name inside.
        3 hostname: String,
        /// `new`, empty (the host's) or the path of an existing one.
        4 net: String,
        /// `new` or empty.
        5 ipc: String,
        /// `new` or empty.
        6 uts: String,
        /// Whether containers share one process namespace.
        7 share_pid: bool,
        /// User map; empty = the host's users.
        8 uid_map: Vec<IdMap>,
        /// Group map.
        9 gid_map: Vec<IdMap>,
        /// Kernel settings of the pod's namespaces.
        10 sysctls: Vec<String>,
        /// Where to bind the network namespace; empty = `net` in `directory`.
        11 net_path: String,
    }

    /// A node of a local cluster.
    pub struct Node {
        /// Its name, also the host name inside.
        1 name: String,
        /// Directory of its state: pid file, log of the agent.
        2 directory: String,
        /// Lower directories of the root overlay; usually `/`.
        3 lowers: Vec<String>,
        /// Upper directory.
        4 upper: String,
        /// Work directory.
        5 work: String,
        /// Empty directory where the root is put together.
        6 at: String,
        /// Bind mounts into the root (`bind` kind), in order.
        7 mounts: Vec<Mount>,
        /// Network namespace: `new`, empty or a path.
        8 net: String,
        /// Groups that the node may use as its root.
        9 cgroup: Cgroup,
        /// Mount points of the hierarchies, in the order of `cgroup.v1`, then the unified one.
        10 cgroup_mounts: Vec<String>,
        /// The agent's command.
        11 args: Vec<String>,
        /// Its environment.
        12 env: Vec<String>,
        /// File for the output of the agent, as seen from the host.
        13 log_path: String,
        /// Grace for the agent when the node is told to stop.
        14 stop_grace_ms: u64,
        /// Kernel settings of the node's namespaces.
        15 sysctls: Vec<String>,
        /// User of a kept process; the agent of a node is root.
        16 uid: u32,
        /// Its group.
        17 gid: u32,
    }
}
