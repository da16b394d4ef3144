//! System calls that change who a process is: capabilities, ids, limits, seccomp.
#![expect(
    unsafe_code,
    reason = "system calls that no safe wrapper in a small crate offers"
)]

use std::ffi::{CStr, CString};
use std::io;

use libc::{c_int, c_ulong};

use crate::sys::{check, check_int};

pub(crate) fn set_no_new_privs() -> io::Result<()> {
    // SAFETY: no memory is involved.
    check_int(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(drop)
}

/// A session keyring of this process's own, without a name by which others could join it.
pub(crate) fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_int = 1;
    let unnamed: *const libc::c_char = std::ptr::null();
    // SAFETY: a null name asks for a new keyring.
    let ret = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, unnamed) };
    match check(ret) {
        // A kernel without keys has none to share.
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        other => other.map(drop),
    }
}

pub(crate) fn keep_capabilities(keep: bool) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check_int(unsafe { libc::prctl(libc::PR_SET_KEEPCAPS, c_ulong::from(keep), 0, 0, 0) }).map(drop)
}

/// Whether the bounding set has it; an error for numbers the kernel does not know.
pub(crate) fn bounding_has(capability: u32) -> io::Result<bool> {
    // SAFETY: no memory is involved.
    check_int(unsafe { libc::prctl(libc::PR_CAPBSET_READ, c_ulong::from(capability), 0, 0, 0) })
        .map(|r| r == 1)
}

pub(crate) fn bounding_drop(capability: u32) -> io::Result<()> {
    // SAFETY: no memory is involved.
    check_int(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, c_ulong::from(capability), 0, 0, 0) })
        .map(drop)
}

pub(crate) fn ambient_raise(capability: u32) -> io::Result<()> {
    let (op, capability) = (
        libc::PR_CAP_AMBIENT_RAISE as c_ulong,
        c_ulong::from(capability),
    );
    // SAFETY: no memory is involved.
    check_int(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, op, capability, 0, 0) }).map(drop)
}

#[repr(C)]
struct CapHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const CAP_VERSION_3: u32 = 0x2008_0522;

/// Our own permitted set.
pub(crate) fn permitted_capabilities() -> io::Result<u64> {
    let mut header = CapHeader {
        version: CAP_VERSION_3,
        pid: 0,
    };
    let mut data = [CapData::default(), CapData::default()];
    // SAFETY: version 3 reads two data structs; both pointers are valid.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    Ok(u64::from(data[0].permitted) | u64::from(data[1].permitted) << 32)
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the mask is split into two words"
)]
pub(crate) fn set_capabilities(permitted: u64, inheritable: u64) -> io::Result<()> {
    let mut header = CapHeader {
        version: CAP_VERSION_3,
        pid: 0,
    };
    let word = |shift: u32| CapData {
        effective: (permitted >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let data = [word(0), word(32)];
    // SAFETY: version 3 reads two data structs; both pointers are valid.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) }).map(drop)
}

pub(crate) fn set_ids(uid: u32, gid: u32, groups: &[u32]) -> io::Result<()> {
    // SAFETY: the slice is valid for its length; raw system calls act on this one thread.
    unsafe {
        check(libc::syscall(
            libc::SYS_setgroups,
            groups.len(),
            groups.as_ptr(),
        ))?;
        check(libc::syscall(libc::SYS_setresgid, gid, gid, gid))?;
        check(libc::syscall(libc::SYS_setresuid, uid, uid, uid)).map(drop)
    }
}

pub(crate) fn set_rlimit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit64 {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: the struct is valid for the call.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            &raw const limit,
            std::ptr::null_mut::<libc::rlimit64>(),
        )
    };
    check(ret).map(drop)
}

/// Hard limit in force.
pub(crate) fn hard_limit(resource: u32) -> io::Result<u64> {
    let mut limit = libc::rlimit64 {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct is valid for the call.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            std::ptr::null::<libc::rlimit64>(),
            &raw mut limit,
        )
    };
    check(ret).map(|_| limit.rlim_max)
}

/// Installs a seccomp program (`struct sock_filter[]` as bytes).
pub(crate) fn set_seccomp(program: &[u8]) -> io::Result<()> {
    const SIZE: usize = size_of::<libc::sock_filter>();
    let mut filter: Vec<libc::sock_filter> = program
        .chunks_exact(SIZE)
        .map(|c| libc::sock_filter {
            code: u16::from_ne_bytes([c[0], c[1]]),
            jt: c[2],
            jf: c[3],
            k: u32::from_ne_bytes([c[4], c[5], c[6], c[7]]),
        })
        .collect();
    let len = u16::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let program = libc::sock_fprog {
        len,
        filter: filter.as_mut_ptr(),
    };
    const SECCOMP_SET_MODE_FILTER: c_int = 1;
    // SAFETY: the program points to `len` instructions that live during the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    })
    .map(drop)
}

/// execve; returns only on failure.
pub(crate) fn exec(program: &CStr, args: &[CString], env: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter()
            .map(|s| s.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let (args, env) = (pointers(args), pointers(env));
    // SAFETY: arrays of valid C strings that end with null.
    unsafe { libc::execve(program.as_ptr(), args.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}
