//! The program by an interpreter, and by the kernel where there is a unified tree.

use super::{
    ACCESS, AND, EXIT, Instruction, JUMP_UNEQUAL, KIND, LOAD_WORD, MOVE, MOVE_REGISTER,
    SHIFT_RIGHT, assemble,
};
use crate::device::{DeviceKind, DeviceRule};

const MKNOD: u32 = 1;
const READ: u32 = 2;
const WRITE: u32 = 4;
const BLOCK: u32 = 1;
const CHAR: u32 = 2;

/// Whether the program allows `access` to the device.
fn run(program: &[Instruction], kind: u32, major: u32, minor: u32, access: u32) -> bool {
    let context = [access << 16 | kind, major, minor];
    let (mut at, mut registers) = (0, [0i64; 16]);
    loop {
        let i = program[at];
        at += 1;
        let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
        let value = i64::from(i.immediate);
        match i.code {
            LOAD_WORD => registers[to] = context[i.offset as usize / 4].into(),
            MOVE => registers[to] = value,
            MOVE_REGISTER => registers[to] = registers[from],
            AND => registers[to] &= value,
            SHIFT_RIGHT => registers[to] >>= value,
            JUMP_UNEQUAL => {
                if registers[to] != value {
                    at = at.checked_add_signed(i.offset.into()).unwrap();
                }
            }
            EXIT => return registers[0] == 1,
            other => panic!("instruction {other:#x}"),
        }
        let _used = (KIND, ACCESS);
    }
}

fn rules() -> Vec<DeviceRule> {
    let make = DeviceRule::allow_char(None, None, "m");
    vec![
        DeviceRule::allow_all(),
        DeviceRule::deny_all(),
        DeviceRule {
            kind: DeviceKind::Block,
            ..make.clone()
        },
        make,
        DeviceRule::allow_char(Some(1), Some(3), "rwm"),
        DeviceRule::allow_char(Some(136), None, "rw"),
    ]
}

#[test]
fn last_match_counts() {
    let program = assemble(&rules());
    assert!(run(&program, CHAR, 1, 3, READ | WRITE));
    assert!(run(&program, CHAR, 1, 3, MKNOD));
    assert!(run(&program, CHAR, 136, 7, READ));
    assert!(!run(&program, CHAR, 1, 5, READ));
    assert!(run(&program, CHAR, 1, 5, MKNOD));
    assert!(!run(&program, CHAR, 1, 5, MKNOD | READ));
    assert!(run(&program, BLOCK, 8, 0, MKNOD));
    assert!(!run(&program, BLOCK, 8, 0, READ));
    assert!(run(
        &assemble(&[DeviceRule::allow_all()]),
        BLOCK,
        8,
        0,
        READ
    ));
    assert!(!run(&assemble(&[]), CHAR, 1, 3, READ));
}
