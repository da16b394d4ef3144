//! Device rules as a BPF program: version 2 has no device controller.
//!
//! The program sees `struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; }` with
//! `access_type = access << 16 | kind`. Rules are tested from the last to the first, so that the
//! first hit is the one that counts; without a hit the access is denied. One program a group,
//! added to those of its ancestors (all must agree).
//! Source: kernel 6.18 include/uapi/linux/bpf.h; opencontainers/cgroups devices/devicefilter.go.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use crate::device::{DeviceKind, DeviceRule};

/// One eBPF instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high one.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP_UNEQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

/// Registers: 2 kind, 3 access, 4 major, 5 minor, 6 scratch.
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const SCRATCH: u8 = 6;

fn op(code: u8, registers: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers,
        offset,
        immediate,
    }
}

/// The program for `rules`. Pure.
pub(crate) fn assemble(rules: &[DeviceRule]) -> Vec<Instruction> {
    // access_type is at 0, major at 4, minor at 8 of the context in register 1.
    let mut out = vec![
        op(LOAD_WORD, 0x10 | KIND, 0, 0),
        op(MOVE_REGISTER, KIND << 4 | ACCESS, 0, 0),
        op(AND, KIND, 0, 0xffff),
        op(SHIFT_RIGHT, ACCESS, 0, 16),
        op(LOAD_WORD, 0x10 | MAJOR, 4, 0),
        op(LOAD_WORD, 0x10 | MINOR, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let mut tests = Vec::new();
        let mut unless = |register: u8, value: u32| {
            tests.push(op(JUMP_UNEQUAL, register, 0, value.cast_signed()));
        };
        match rule.kind {
            DeviceKind::All => {}
            DeviceKind::Block => unless(KIND, 1),
            DeviceKind::Char => unless(KIND, 2),
        }
        if rule.kind != DeviceKind::All {
            for (register, wanted) in [(MAJOR, rule.major), (MINOR, rule.minor)] {
                if let Some(wanted) = wanted {
                    unless(register, wanted);
                }
            }
        }
        let bits = [('m', 1), ('r', 2), ('w', 4)];
        let granted: i32 = bits
            .iter()
            .filter(|(c, _)| rule.access.contains(*c))
            .map(|b| b.1)
            .sum();
        if rule.kind != DeviceKind::All && granted != 7 {
            // An access with a bit that the rule does not speak of is another rule's.
            tests.push(op(MOVE_REGISTER, ACCESS << 4 | SCRATCH, 0, 0));
            tests.push(op(AND, SCRATCH, 0, !granted & 7));
            tests.push(op(JUMP_UNEQUAL, SCRATCH, 0, 0));
        }
        let length = tests.len();
        for (at, test) in tests
            .iter_mut()
            .enumerate()
            .filter(|(_, t)| t.code == JUMP_UNEQUAL)
        {
            // Over the other tests and the two instructions of the verdict.
            test.offset = i16::try_from(length - at - 1 + 2).unwrap_or(i16::MAX);
        }
        out.extend(tests);
        out.extend([op(MOVE, 0, 0, i32::from(rule.allow)), op(EXIT, 0, 0, 0)]);
        if rule.kind == DeviceKind::All {
            // It fits always: what comes before it counts no more (and dead code is refused).
            return out;
        }
    }
    out.extend([op(MOVE, 0, 0, 0), op(EXIT, 0, 0, 0)]);
    out
}

/// Loads the program and puts it on a group; it goes with the group.
pub(crate) fn attach(group: &OwnedFd, program: &[Instruction]) -> io::Result<()> {
    #[repr(C)]
    #[derive(Default)]
    struct Load {
        program_type: u32,
        count: u32,
        instructions: u64,
        license: u64,
        log_level: u32,
        log_size: u32,
        log: u64,
        kernel_version: u32,
        flags: u32,
    }
    #[repr(C)]
    struct Attach {
        target: u32,
        program: u32,
        kind: u32,
        flags: u32,
    }
    const PROG_LOAD: i32 = 5;
    const PROG_ATTACH: i32 = 8;
    const CGROUP_DEVICE_PROGRAM: u32 = 15;
    const CGROUP_DEVICE: u32 = 6;
    const ALLOW_MULTI: u32 = 2;
    fn bpf<T>(command: i32, attributes: &T) -> io::Result<i32> {
        // SAFETY: the kernel reads `size_of::<T>()` bytes of the struct, whose pointers live
        // during the call.
        let ret = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                command,
                std::ptr::from_ref(attributes),
                size_of::<T>(),
            )
        };
        if ret < 0 {
            return Err(io::Error::last_os_error());
        }
        i32::try_from(ret).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))
    }
    let load = Load {
        program_type: CGROUP_DEVICE_PROGRAM,
        count: u32::try_from(program.len()).unwrap_or(u32::MAX),
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        ..Load::default()
    };
    let fd = bpf(PROG_LOAD, &load)?;
    // SAFETY: the kernel just returned this descriptor; nobody else owns it.
    let program = unsafe { OwnedFd::from_raw_fd(fd) };
    let attach = Attach {
        target: group.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        kind: CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    bpf(PROG_ATTACH, &attach).map(drop)
}

#[cfg(test)]
mod tests;
