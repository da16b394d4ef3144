//! System calls with owned descriptors and named errors: the only `unsafe` of the shim.
//!
//! The process is single-threaded, so the child of a raw `clone3` may allocate. Constants that
//! libc lacks are from the kernel's uapi headers (6.18).
#![expect(
    unsafe_code,
    reason = "system calls that no safe wrapper in a small crate offers"
)]

use std::ffi::{CStr, CString};
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_int, c_long, c_ulong};

/// What failed, with its object and cause.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Adds operation and object to an error.
pub(crate) trait During<T> {
    fn during(self, operation: impl FnOnce() -> String) -> Result<T>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, operation: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Failure(format!("{}: {}", operation(), describe(&e))))
    }
}

/// The kernel's words without Rust's "(os error N)".
pub(crate) fn describe(e: &io::Error) -> String {
    let text = e.to_string();
    match text.rfind(" (os error") {
        Some(at) => text[..at].to_lowercase(),
        None => text,
    }
}

pub(crate) fn fail<T>(text: impl Into<String>) -> Result<T> {
    Err(Failure(text.into()))
}

pub(crate) fn check(ret: c_long) -> io::Result<c_long> {
    if ret < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(ret)
    }
}

pub(crate) fn check_int(ret: c_int) -> io::Result<c_int> {
    if ret < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(ret)
    }
}

fn own(ret: c_long) -> io::Result<OwnedFd> {
    let fd = RawFd::try_from(check(ret)?).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel just returned this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

pub(crate) fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

// ---- files ----

pub(crate) fn open(path: &str, flags: c_int, mode: u32) -> io::Result<OwnedFd> {
    open_at(libc::AT_FDCWD, path, flags, mode)
}

pub(crate) fn open_at(dir: RawFd, path: &str, flags: c_int, mode: u32) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    // SAFETY: a valid C string; the descriptor is owned at once.
    own(unsafe { libc::openat(dir, path.as_ptr(), flags | libc::O_CLOEXEC, mode) }.into())
}

pub(crate) const RESOLVE_IN_ROOT: u64 = 0x10;
pub(crate) const RESOLVE_NO_SYMLINKS: u64 = 0x04;
pub(crate) const RESOLVE_NO_MAGICLINKS: u64 = 0x02;

/// Opens `path` as if `root` were the root directory: no symlink leads out of it.
pub(crate) fn open_in(
    root: &OwnedFd,
    path: &str,
    flags: c_int,
    resolve: u64,
) -> io::Result<OwnedFd> {
    let path = c_string(path)?;
    // SAFETY: all-zero is a valid `open_how`.
    let mut how: libc::open_how = unsafe { zeroed() };
    how.flags = u64::from((flags | libc::O_CLOEXEC).cast_unsigned());
    how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve;
    loop {
        // SAFETY: pointers are valid for the call, the size is that of the struct.
        let ret = unsafe {
            libc::syscall(
                libc::SYS_openat2,
                root.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            )
        };
        match own(ret) {
            // A rename raced with the walk; the kernel asks to try again.
            Err(e) if e.raw_os_error() == Some(libc::EAGAIN) => {}
            other => return other,
        }
    }
}

pub(crate) fn mkdir_at(dir: &OwnedFd, name: &str, mode: u32) -> io::Result<()> {
    let name = c_string(name)?;
    // SAFETY: a valid C string.
    check_int(unsafe { libc::mkdirat(dir.as_raw_fd(), name.as_ptr(), mode) }).map(drop)
}

pub(crate) fn mknod_at(
    dir: &OwnedFd,
    name: &str,
    mode: u32,
    major: u32,
    minor: u32,
) -> io::Result<()> {
    let name = c_string(name)?;
    let device = libc::makedev(major, minor);
    // SAFETY: a valid C string.
    check_int(unsafe { libc::mknodat(dir.as_raw_fd(), name.as_ptr(), mode, device) }).map(drop)
}

pub(crate) fn symlink_at(target: &str, dir: &OwnedFd, name: &str) -> io::Result<()> {
    let (target, name) = (c_string(target)?, c_string(name)?);
    // SAFETY: valid C strings.
    check_int(unsafe { libc::symlinkat(target.as_ptr(), dir.as_raw_fd(), name.as_ptr()) }).map(drop)
}

pub(crate) fn chown_at(dir: &OwnedFd, name: &str, uid: u32, gid: u32) -> io::Result<()> {
    let name = c_string(name)?;
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    // SAFETY: a valid C string.
    check_int(unsafe { libc::fchownat(dir.as_raw_fd(), name.as_ptr(), uid, gid, flags) }).map(drop)
}

pub(crate) fn stat(fd: &OwnedFd) -> io::Result<libc::stat> {
    // SAFETY: all-zero is a valid `stat`; the pointer is valid for the call.
    unsafe {
        let mut out: libc::stat = zeroed();
        check_int(libc::fstat(fd.as_raw_fd(), &raw mut out))?;
        Ok(out)
    }
}

/// Type of the file system that holds `fd` (`statfs.f_type`).
pub(crate) fn fs_type(fd: &OwnedFd) -> io::Result<i64> {
    // SAFETY: all-zero is a valid `statfs`; the pointer is valid for the call.
    unsafe {
        let mut out: libc::statfs = zeroed();
        check_int(libc::fstatfs(fd.as_raw_fd(), &raw mut out))?;
        Ok(out.f_type as i64)
    }
}

pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: room for two descriptors, both owned at once.
    unsafe {
        check_int(libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC))?;
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

pub(crate) fn set_nonblocking(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: plain fcntl on an owned descriptor.
    unsafe {
        let flags = check_int(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        check_int(libc::fcntl(
            fd.as_raw_fd(),
            libc::F_SETFL,
            flags | libc::O_NONBLOCK,
        ))
        .map(drop)
    }
}

pub(crate) fn read(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the buffer is valid for its length.
    let n = unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) };
    check(n as c_long).map(|n| n as usize)
}

pub(crate) fn write(fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the bytes are valid for their length.
    let n = unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) };
    check(n as c_long).map(|n| n as usize)
}

pub(crate) fn dup(fd: &OwnedFd) -> io::Result<OwnedFd> {
    fd.try_clone()
}

/// Puts `fd` on the number `target` (0, 1 or 2), which an exec keeps.
pub(crate) fn dup_onto(fd: &OwnedFd, target: RawFd) -> io::Result<()> {
    // SAFETY: dup2 on valid descriptors; std's handles refer to numbers, not to files.
    check_int(unsafe { libc::dup2(fd.as_raw_fd(), target) })?;
    if fd.as_raw_fd() == target {
        // SAFETY: clears close-on-exec of a standard descriptor.
        check_int(unsafe { libc::fcntl(target, libc::F_SETFD, 0) })?;
    }
    Ok(())
}

/// Marks every descriptor from `first` on close-on-exec.
pub(crate) fn cloexec_from(first: u32) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: only sets flags.
    let ret = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) };
    check(ret).map(drop)
}

/// Closes every descriptor from `first` on; only where none of them is owned by a value.
pub(crate) fn close_from(first: u32) {
    // SAFETY: called right after a fork or at start, before anything there is owned.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

// ---- mounts ----

const AT_RECURSIVE: c_int = 0x8000;
pub(crate) const MOUNT_ATTR_RDONLY: u64 = 0x1;

/// A detached copy of the mount at `path` (with those below it if `recursive`).
pub(crate) fn open_tree(dir: RawFd, path: &str, recursive: bool) -> io::Result<OwnedFd> {
    const OPEN_TREE_CLONE: c_int = 1;
    let path = c_string(path)?;
    let mut flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_EMPTY_PATH;
    if recursive {
        flags |= AT_RECURSIVE;
    }
    // SAFETY: a valid C string.
    own(unsafe { libc::syscall(libc::SYS_open_tree, dir, path.as_ptr(), flags) })
}

#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

pub(crate) fn mount_setattr(
    fd: &OwnedFd,
    recursive: bool,
    set: u64,
    propagation: u64,
) -> io::Result<()> {
    let attr = MountAttr {
        attr_set: set,
        attr_clr: 0,
        propagation,
        userns_fd: 0,
    };
    let flags = libc::AT_EMPTY_PATH | if recursive { AT_RECURSIVE } else { 0 };
    // SAFETY: pointers are valid for the call, the size is that of the struct.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    check(ret).map(drop)
}

pub(crate) fn move_mount(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    const EMPTY_PATHS: c_int = 0x4 | 0x40;
    // SAFETY: empty C strings and owned descriptors.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from.as_raw_fd(),
            c"".as_ptr(),
            to.as_raw_fd(),
            c"".as_ptr(),
            EMPTY_PATHS,
        )
    };
    check(ret).map(drop)
}

/// A file system under construction.
pub(crate) struct FsContext(OwnedFd);

impl FsContext {
    pub(crate) fn open(kind: &str) -> io::Result<FsContext> {
        let kind = c_string(kind)?;
        // SAFETY: a valid C string; 1 is FSOPEN_CLOEXEC.
        own(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), 1) }).map(FsContext)
    }

    fn config(&self, command: c_int, key: Option<&CStr>, value: Option<&CStr>) -> io::Result<()> {
        let pointer = |s: Option<&CStr>| s.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: each pointer is null or a valid C string.
        let ret = unsafe {
            libc::syscall(
                libc::SYS_fsconfig,
                self.0.as_raw_fd(),
                command,
                pointer(key),
                pointer(value),
                0,
            )
        };
        check(ret).map(drop)
    }

    /// `key=value`, or a flag if `value` is `None`.
    pub(crate) fn set(&self, key: &str, value: Option<&str>) -> io::Result<()> {
        let key = c_string(key)?;
        match value {
            None => self.config(0, Some(&key), None),
            Some(value) => self.config(1, Some(&key), Some(&c_string(value)?)),
        }
    }

    /// Makes the file system and a detached mount of it.
    pub(crate) fn mount(self, flags: u64) -> io::Result<OwnedFd> {
        self.config(6, None, None)?;
        // SAFETY: an owned descriptor; 1 is FSMOUNT_CLOEXEC.
        own(unsafe { libc::syscall(libc::SYS_fsmount, self.0.as_raw_fd(), 1, flags) })
    }
}

/// mount(2).
pub(crate) fn mount(
    source: &str,
    target: &str,
    kind: &str,
    flags: c_ulong,
    data: &str,
) -> io::Result<()> {
    let (source, target, kind, data) = (
        c_string(source)?,
        c_string(target)?,
        c_string(kind)?,
        c_string(data)?,
    );
    // SAFETY: valid C strings.
    let ret = unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr().cast(),
        )
    };
    check_int(ret).map(drop)
}

pub(crate) fn unmount(path: &str) -> io::Result<()> {
    let path = c_string(path)?;
    // SAFETY: a valid C string.
    check_int(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

/// Makes the current directory the root and drops the old one.
pub(crate) fn pivot_to_current() -> io::Result<()> {
    // SAFETY: valid C strings.
    unsafe {
        check(libc::syscall(
            libc::SYS_pivot_root,
            c".".as_ptr(),
            c".".as_ptr(),
        ))?;
        check_int(libc::umount2(c".".as_ptr(), libc::MNT_DETACH))?;
        check_int(libc::chdir(c"/".as_ptr())).map(drop)
    }
}

pub(crate) fn change_dir(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: an owned descriptor.
    check_int(unsafe { libc::fchdir(fd.as_raw_fd()) }).map(drop)
}

// ---- processes and namespaces ----

/// Which side of a clone this is.
pub(crate) enum Cloned {
    Parent { pid: i32, pidfd: OwnedFd },
    Child,
}

/// clone3; with `CLONE_PARENT` in `flags` the child belongs to our parent.
pub(crate) fn clone3(flags: c_int, cgroup: Option<&OwnedFd>) -> io::Result<Cloned> {
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    let mut pidfd: c_int = -1;
    // SAFETY: all-zero is a valid `clone_args`.
    let mut args: libc::clone_args = unsafe { zeroed() };
    args.flags = u64::from(flags.cast_unsigned()) | u64::from(libc::CLONE_PIDFD.cast_unsigned());
    args.pidfd = (&raw mut pidfd) as u64;
    if flags & libc::CLONE_PARENT == 0 {
        args.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    }
    if let Some(cgroup) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(cgroup.as_raw_fd().cast_unsigned());
    }
    // SAFETY: no CLONE_VM: the child has its own copy of memory, and this process has one
    // thread, so no lock is held by a thread that the child lacks.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut args,
            size_of::<libc::clone_args>(),
        )
    };
    match check(ret)? {
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: the kernel stored a new descriptor.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent {
                pid: i32::try_from(pid).unwrap_or(-1),
                pidfd,
            })
        }
    }
}

pub(crate) fn unshare(flags: c_int) -> io::Result<()> {
    // SAFETY: no memory is involved; single-threaded.
    check_int(unsafe { libc::unshare(flags) }).map(drop)
}

/// Joins namespaces: of a namespace file, or those in `flags` of a pidfd.
pub(crate) fn join_namespaces(fd: &OwnedFd, flags: c_int) -> io::Result<()> {
    // SAFETY: an owned descriptor.
    check_int(unsafe { libc::setns(fd.as_raw_fd(), flags) }).map(drop)
}

pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved.
    own(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

pub(crate) fn pidfd_signal(pidfd: &OwnedFd, signal: c_int) -> io::Result<()> {
    let none: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: an owned descriptor and a null siginfo.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            none,
            0,
        )
    };
    check(ret).map(drop)
}

pub(crate) fn kill(pid: i32, signal: c_int) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check_int(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Reaps one child that ended: pid and wait status.
pub(crate) fn reap() -> Option<(i32, c_int)> {
    let mut status = 0;
    // SAFETY: the pointer is valid for the call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
    (pid > 0).then_some((pid, status))
}

/// Exit code (128 + signal for a killed process) and signal of a wait status.
pub(crate) fn exit_of(status: c_int) -> (i32, u32) {
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        return (128 + signal, signal.cast_unsigned());
    }
    (libc::WEXITSTATUS(status), 0)
}

pub(crate) fn exit(code: c_int) -> ! {
    // SAFETY: ends the process without running destructors or flushing, as a forked child must.
    unsafe { libc::_exit(code) }
}

pub(crate) fn pid() -> i32 {
    // SAFETY: cannot fail.
    unsafe { libc::getpid() }
}

pub(crate) fn set_session() -> io::Result<()> {
    // SAFETY: no memory is involved.
    check_int(unsafe { libc::setsid() }).map(drop)
}

pub(crate) fn set_umask(mask: u32) {
    // SAFETY: cannot fail.
    unsafe { libc::umask(mask) };
}

pub(crate) fn set_name(name: &CStr) {
    // SAFETY: a valid C string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Hides `/proc/PID/*` of this process from everyone without CAP_SYS_PTRACE over it.
pub(crate) fn set_undumpable() {
    // SAFETY: no memory is involved.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
}

pub(crate) fn set_subreaper() {
    // SAFETY: no memory is involved.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
}

/// Gives every signal its default action and an empty mask.
pub(crate) fn reset_signals() {
    // SAFETY: all-zero is a valid sigset; SIG_DFL is a valid handler.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set: libc::sigset_t = zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// Blocks `signals` and gives a descriptor that reads them.
pub(crate) fn signal_fd(signals: &[c_int]) -> io::Result<OwnedFd> {
    // SAFETY: all-zero is a valid sigset; pointers are valid for the calls.
    unsafe {
        let mut set: libc::sigset_t = zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            libc::sigaddset(&raw mut set, *signal);
        }
        check_int(libc::sigprocmask(
            libc::SIG_BLOCK,
            &raw const set,
            std::ptr::null_mut(),
        ))?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        own(libc::signalfd(-1, &raw const set, flags).into())
    }
}

/// Next signal of a `signal_fd`.
pub(crate) fn next_signal(fd: &OwnedFd) -> Option<u32> {
    let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
    match read(fd, &mut info) {
        Ok(n) if n == info.len() => Some(u32::from_ne_bytes([info[0], info[1], info[2], info[3]])),
        _ => None,
    }
}

pub(crate) const POLL_IN: i16 = libc::POLLIN;
pub(crate) const POLL_OUT: i16 = libc::POLLOUT;

/// One descriptor to wait for, and what happened to it.
pub(crate) type Poll = libc::pollfd;

pub(crate) fn poll_entry(fd: RawFd, events: i16) -> Poll {
    libc::pollfd {
        fd,
        events,
        revents: 0,
    }
}

/// Waits; `None` = for ever.
pub(crate) fn poll(entries: &mut [Poll], timeout_ms: Option<i32>) -> io::Result<usize> {
    let count = libc::nfds_t::try_from(entries.len()).unwrap_or(0);
    // SAFETY: the slice is valid for its length.
    let ret = unsafe { libc::poll(entries.as_mut_ptr(), count, timeout_ms.unwrap_or(-1)) };
    match check_int(ret) {
        Ok(n) => Ok(n.unsigned_abs() as usize),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(0),
        Err(e) => Err(e),
    }
}

// ---- sockets ----

/// A pair of connected sockets that keep message borders.
pub(crate) fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: room for two descriptors, both owned at once.
    unsafe {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        check_int(libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()))?;
        Ok((OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])))
    }
}

const MAX_FDS: usize = 4;
/// Room for four descriptors in a control message.
const CONTROL: usize = 64;

/// Sends bytes and descriptors; no SIGPIPE.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[&OwnedFd]) -> io::Result<usize> {
    let mut iov = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut control = [0u64; CONTROL / 8];
    // SAFETY: the header points to buffers that live during the call; the control buffer is
    // aligned and large enough for MAX_FDS descriptors.
    unsafe {
        let mut header: libc::msghdr = zeroed();
        header.msg_iov = &raw mut iov;
        header.msg_iovlen = 1;
        if !fds.is_empty() {
            let fds = &fds[..fds.len().min(MAX_FDS)];
            let size = u32::try_from(fds.len() * size_of::<c_int>()).unwrap_or(0);
            header.msg_control = control.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(size) as _;
            let message = libc::CMSG_FIRSTHDR(&raw const header);
            (*message).cmsg_level = libc::SOL_SOCKET;
            (*message).cmsg_type = libc::SCM_RIGHTS;
            (*message).cmsg_len = libc::CMSG_LEN(size) as _;
            let data: *mut c_int = libc::CMSG_DATA(message).cast();
            for (i, fd) in fds.iter().enumerate() {
                data.add(i).write_unaligned(fd.as_raw_fd());
            }
        }
        let n = libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL);
        check(n as c_long).map(|n| n as usize)
    }
}

/// Receives bytes; descriptors are appended to `fds`.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    fds: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut iov = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut control = [0u64; CONTROL / 8];
    // SAFETY: as in `send`; each descriptor in the control message is new and owned at once.
    unsafe {
        let mut header: libc::msghdr = zeroed();
        header.msg_iov = &raw mut iov;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = CONTROL as _;
        let n = libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_CMSG_CLOEXEC);
        let n = check(n as c_long)?;
        let mut message = libc::CMSG_FIRSTHDR(&raw const header);
        while !message.is_null() {
            if (*message).cmsg_level == libc::SOL_SOCKET && (*message).cmsg_type == libc::SCM_RIGHTS
            {
                let length = (*message).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                let data: *const c_int = libc::CMSG_DATA(message).cast();
                for i in 0..length / size_of::<c_int>() {
                    fds.push(OwnedFd::from_raw_fd(data.add(i).read_unaligned()));
                }
            }
            message = libc::CMSG_NXTHDR(&raw const header, message);
        }
        Ok(n as usize)
    }
}

/// Effective user of the process at the other end.
pub(crate) fn peer_uid(socket: &OwnedFd) -> io::Result<u32> {
    // SAFETY: the struct and its length are valid for the call.
    unsafe {
        let mut credentials: libc::ucred = zeroed();
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        check_int(libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        ))?;
        Ok(credentials.uid)
    }
}

pub(crate) fn effective_uid() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() }
}

/// Brings `lo` of the current network namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    // SAFETY: all-zero is a valid `ifreq`; pointers are valid for the calls.
    unsafe {
        let socket =
            own(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0).into())
                .or_else(|_| {
                    own(
                        libc::socket(libc::AF_INET6, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
                            .into(),
                    )
                })?;
        let mut request: libc::ifreq = zeroed();
        request.ifr_name[0] = b'l' as _;
        request.ifr_name[1] = b'o' as _;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        check_int(libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw const request,
        ))
        .map(drop)
    }
}

pub(crate) fn set_hostname(name: &str) -> io::Result<()> {
    // SAFETY: the bytes are valid for their length.
    check_int(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

// ---- terminals ----

/// Unlocks a new pseudo terminal and opens its other end: slave and its number.
pub(crate) fn terminal_peer(master: &OwnedFd) -> io::Result<(OwnedFd, u32)> {
    let (fd, unlock, mut number) = (master.as_raw_fd(), 0 as c_int, 0 as c_int);
    // SAFETY: pointers are valid for the calls.
    unsafe {
        check_int(libc::ioctl(fd, libc::TIOCSPTLCK as _, &raw const unlock))?;
        check_int(libc::ioctl(fd, libc::TIOCGPTN as _, &raw mut number))?;
        let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
        let slave = own(libc::ioctl(fd, libc::TIOCGPTPEER as _, flags).into())?;
        Ok((slave, number.cast_unsigned()))
    }
}

pub(crate) fn set_controlling_terminal(slave: &OwnedFd) -> io::Result<()> {
    // SAFETY: an owned descriptor.
    check_int(unsafe { libc::ioctl(slave.as_raw_fd(), libc::TIOCSCTTY as _, 0) }).map(drop)
}

pub(crate) fn set_window(terminal: &OwnedFd, columns: u32, rows: u32) -> io::Result<()> {
    let clamp = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
    let size = libc::winsize {
        ws_col: clamp(columns),
        ws_row: clamp(rows),
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the struct is valid for the call.
    let ret = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ as _, &raw const size) };
    check_int(ret).map(drop)
}

// ---- time ----

/// Wall time in ns since 1970.
pub(crate) fn wall_ns() -> i64 {
    clock_ns(libc::CLOCK_REALTIME)
}

/// Monotonic time in ms.
pub(crate) fn mono_ms() -> i64 {
    clock_ns(libc::CLOCK_MONOTONIC) / 1_000_000
}

fn clock_ns(clock: libc::clockid_t) -> i64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the struct is valid for the call.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Closes everything but the standard streams and `keep`; for a fresh child, whose copies of
/// the shim's values are never dropped.
pub(crate) fn close_all_but(keep: &[RawFd]) {
    let mut keep: Vec<u32> = keep
        .iter()
        .filter(|fd| **fd > 2)
        .map(|fd| fd.cast_unsigned())
        .collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep {
        if fd > first {
            // SAFETY: closes copies that the child never uses.
            unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) };
        }
        first = first.max(fd + 1);
    }
    close_from(first);
}

/// Leaves the keys of the terminal to the program in front.
pub(crate) fn ignore_terminal_signals() {
    // SAFETY: SIG_IGN is a valid handler.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGQUIT, libc::SIG_IGN);
    }
}

/// Gives free memory back: a shim sleeps most of its life.
pub(crate) fn trim_memory() {
    // SAFETY: only touches the allocator's free lists; single-threaded.
    unsafe { libc::malloc_trim(0) };
}
