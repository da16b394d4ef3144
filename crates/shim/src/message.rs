//! Requests, replies, events and the state file.
//!
//! Kinds below 100 are requests (a reply has the same kind), 100 and above are sent by the shim
//! on its own. Descriptors travel with a request (`SCM_RIGHTS`) as its comment says.

use crate::spec::Process;
use crate::wire::record;

/// Version of the protocol.
pub const VERSION: u32 = 1;

/// First message each way: [`Hello`].
pub const HELLO: u16 = 1;
/// [`crate::spec::Container`] → [`Created`].
pub const CREATE: u16 = 2;
/// [`Target`] → [`Empty`].
pub const START: u16 = 3;
/// [`Kill`] → [`Empty`].
pub const KILL: u16 = 4;
/// [`Target`] → [`Empty`]; only of a container that does not run.
pub const DELETE: u16 = 5;
/// [`Empty`] → [`State`].
pub const STATE: u16 = 6;
/// [`Exec`] with stdin, stdout, stderr (not for a terminal) → [`Created`], with the terminal's
/// master if asked for; later an [`EXITED`] on the same connection.
pub const EXEC: u16 = 7;
/// [`Attach`] with the sinks for stdout and stderr → [`Empty`] with the write end of stdin if
/// asked for and open.
pub const ATTACH: u16 = 8;
/// [`Resize`] → [`Empty`].
pub const RESIZE: u16 = 9;
/// [`Target`] → [`Empty`].
pub const REOPEN_LOG: u16 = 10;
/// [`Empty`] → [`State`], then an [`EXITED`] for each container that ends.
pub const SUBSCRIBE: u16 = 11;
/// [`Empty`] → [`Empty`]: kill everything, release the namespaces, end.
pub const SHUTDOWN: u16 = 12;
/// The shim's word that a process ended: [`Status`].
pub const EXITED: u16 = 100;
/// Reply to a request that failed: [`Error`].
pub const ERROR: u16 = 255;

/// Created, not yet started.
pub const CREATED: u32 = 1;
/// Running.
pub const RUNNING: u32 = 2;
/// Ended.
pub const STOPPED: u32 = 3;

/// A request about something that is not there.
pub const NOT_FOUND: u32 = 1;
/// A request that does not fit the state.
pub const WRONG_STATE: u32 = 2;
/// The kernel or the specification refused.
pub const FAILED: u32 = 3;
/// Not a message that this shim knows.
pub const UNKNOWN: u32 = 4;

record! {
    /// Nothing.
    pub struct Empty {}

    /// Opens a connection.
    pub struct Hello {
        /// Protocol version of the sender.
        1 version: u32,
        /// For people.
        2 software: String,
    }

    /// Why a request failed.
    pub struct Error {
        /// One of the classes above.
        1 class: u32,
        /// Operation, object and cause.
        2 message: String,
    }

    /// Names a container.
    pub struct Target {
        /// Its id.
        1 id: String,
    }

    /// A process exists.
    pub struct Created {
        /// Its pid in the shim's process namespace.
        1 pid: u32,
        /// User.
        2 uid: u32,
        /// Group.
        3 gid: u32,
        /// Supplementary groups.
        4 groups: Vec<u32>,
        /// What could not be had but was not vital.
        5 warnings: Vec<String>,
    }

    /// Sends a signal.
    pub struct Kill {
        /// Container, or the id of an exec.
        1 id: String,
        /// Signal number.
        2 signal: u32,
        /// Whether every process of the container's group is killed (`signal` is then KILL).
        3 all: bool,
    }

    /// Runs another process in a container.
    pub struct Exec {
        /// The container.
        1 container: String,
        /// Id of this process, unique in the pod.
        2 id: String,
        /// What to run.
        3 process: Process,
    }

    /// Follows the output of a container.
    pub struct Attach {
        /// The container.
        1 id: String,
        /// Whether the client wants to write its standard input.
        2 stdin: bool,
        /// Whether a sink for stdout comes along.
        3 stdout: bool,
        /// Whether a sink for stderr comes along.
        4 stderr: bool,
    }

    /// Changes the size of a container's terminal.
    pub struct Resize {
        /// The container.
        1 id: String,
        /// Columns.
        2 columns: u32,
        /// Rows.
        3 rows: u32,
    }

    /// A container or an exec as it stands.
    pub struct Status {
        /// Its id.
        1 id: String,
        /// [`CREATED`], [`RUNNING`] or [`STOPPED`].
        2 state: u32,
        /// Pid in the shim's process namespace.
        3 pid: u32,
        /// Wall time in ns since 1970.
        4 created_at: i64,
        /// Wall time in ns since 1970.
        5 started_at: i64,
        /// Wall time in ns since 1970.
        6 finished_at: i64,
        /// Exit code; 128 + signal for a killed process.
        7 exit_code: i32,
        /// Signal that ended it.
        8 signal: u32,
        /// Whether the kernel's OOM killer was at work.
        9 oom_killed: bool,
        /// User.
        10 uid: u32,
        /// Group.
        11 gid: u32,
        /// Supplementary groups.
        12 groups: Vec<u32>,
        /// Start time of the pid in clock ticks: tells a reused pid.
        13 pid_started: u64,
        /// Why it could not be started.
        14 reason: String,
    }

    /// All containers; also the content of the file `state`.
    pub struct State {
        /// The boot it belongs to.
        1 boot_id: String,
        /// The shim.
        2 shim_pid: u32,
        /// Start time of the shim in clock ticks.
        3 shim_started: u64,
        /// Containers.
        4 containers: Vec<Status>,
        /// Pid of the process namespace's reaper, if the pod shares one.
        5 reaper_pid: u32,
    }
}
