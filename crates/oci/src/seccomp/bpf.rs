//! From a profile to classic BPF: a binary search over the call number. Pure.
//!
//! Calls with the same verdict and neighbouring numbers share a leaf. Example: allow 0..=20
//! except 10 → `jge 10 (jge 11 allow, deny) allow`. Each leaf is a return, or the tests of a
//! call's arguments, rule by rule.

use super::{Action, Condition, Profile, Rule, Test};
use crate::error::Error;

/// The kernel's limit of instructions.
const MAX_INSTRUCTIONS: usize = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) jt: u8,
    pub(super) jf: u8,
    pub(super) k: u32,
}

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP: u16 = 0x05;
const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;
const RETURN: u16 = 0x06;

const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGUMENTS: u32 = 16;

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

fn op(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn verdict(action: Action) -> Instruction {
    let value = match action {
        Action::Allow => 0x7fff_0000,
        Action::Log => 0x7ffc_0000,
        Action::Errno(number) => 0x0005_0000 | u32::from(number),
        Action::Trap => 0x0003_0000,
        Action::KillThread => 0,
        Action::KillProcess => 0x8000_0000,
    };
    op(RETURN, value, 0, 0)
}

pub(super) fn compile(profile: &Profile) -> Result<Vec<u8>, Error> {
    let program = assemble(profile)?;
    let mut bytes = Vec::with_capacity(program.len() * 8);
    for i in program {
        bytes.extend_from_slice(&i.code.to_ne_bytes());
        bytes.extend_from_slice(&[i.jt, i.jf]);
        bytes.extend_from_slice(&i.k.to_ne_bytes());
    }
    Ok(bytes)
}

pub(super) fn assemble(profile: &Profile) -> Result<Vec<Instruction>, Error> {
    let mut program = vec![
        op(LOAD, OFFSET_ARCH, 0, 0),
        op(JEQ, ARCH, 1, 0),
        verdict(Action::KillProcess),
        op(LOAD, OFFSET_NUMBER, 0, 0),
    ];
    if cfg!(target_arch = "x86_64") {
        // x32: bit 30 of the number.
        program.extend([
            op(JGE, 0x4000_0000, 0, 1),
            verdict(Action::Errno(super::ENOSYS)),
        ]);
    }
    let leaves = leaves(profile)?;
    program.extend(search(&leaves)?);
    if program.len() > MAX_INSTRUCTIONS {
        return Err(Error::Seccomp(format!(
            "{} instructions are too many",
            program.len()
        )));
    }
    Ok(program)
}

/// (first number, what to do from there up to the next leaf).
type Leaf = (u32, Vec<Instruction>);

fn leaves(profile: &Profile) -> Result<Vec<Leaf>, Error> {
    let mut sorted: Vec<&Rule> = profile.rules.iter().collect();
    sorted.sort_by_key(|rule| rule.number);
    let otherwise = || vec![verdict(profile.default)];
    let mut leaves: Vec<Leaf> = vec![(0, otherwise())];
    let mut push = |from: u32, code: Vec<Instruction>| match leaves.last_mut() {
        Some((start, last)) if *start == from => *last = code,
        Some((_, last)) if *last == code => {}
        _ => leaves.push((from, code)),
    };
    for group in sorted.chunk_by(|a, b| a.number == b.number) {
        let mut code = Vec::new();
        for rule in group {
            let certain = rule.conditions.is_empty();
            code.extend(tests(&rule.conditions, verdict(rule.action))?);
            if certain {
                break;
            }
        }
        if code.last().is_none_or(|i| i.code != RETURN)
            || group.iter().all(|r| !r.conditions.is_empty())
        {
            code.push(verdict(profile.default));
        }
        let number = group[0].number;
        push(number, code);
        push(number + 1, otherwise());
    }
    // Neighbours that became equal after a leaf was replaced.
    leaves.dedup_by(|next, kept| next.1 == kept.1);
    Ok(leaves)
}

/// Tests that fall through to the next rule when one fails, else return `verdict`.
fn tests(conditions: &[Condition], verdict: Instruction) -> Result<Vec<Instruction>, Error> {
    // Back to front, so that the distance to the end is known.
    let mut code = vec![verdict];
    for condition in conditions.iter().rev() {
        if condition.argument > 5 {
            return Err(Error::Seccomp(format!(
                "argument {} does not exist",
                condition.argument
            )));
        }
        let mut block = test(condition, code.len())?;
        block.extend(code);
        code = block;
    }
    Ok(code)
}

/// One condition, followed by `rest` instructions: success goes on, failure jumps over them.
#[expect(
    clippy::cast_possible_truncation,
    reason = "64-bit values are split into words"
)]
fn test(condition: &Condition, rest: usize) -> Result<Vec<Instruction>, Error> {
    let low = OFFSET_ARGUMENTS + 8 * u32::from(condition.argument);
    let (load_low, load_high) = (op(LOAD, low, 0, 0), op(LOAD, low + 4, 0, 0));
    let words = |v: u64| ((v >> 32) as u32, v as u32);
    let skip = |more: usize| {
        u8::try_from(rest + more)
            .map_err(|_| Error::Seccomp("too many conditions on a call".into()))
    };
    let block = match condition.test {
        Test::Equal(v) => {
            let (high, low) = words(v);
            vec![
                load_high,
                op(JEQ, high, 0, skip(2)?),
                load_low,
                op(JEQ, low, 0, skip(0)?),
            ]
        }
        Test::NotEqual(v) => {
            let (high, low) = words(v);
            vec![
                load_high,
                op(JEQ, high, 0, 2),
                load_low,
                op(JEQ, low, skip(0)?, 0),
            ]
        }
        Test::Masked { mask, value } => {
            let ((mask_high, mask_low), (high, low)) = (words(mask), words(value));
            vec![
                load_high,
                op(AND, mask_high, 0, 0),
                op(JEQ, high, 0, skip(3)?),
                load_low,
                op(AND, mask_low, 0, 0),
                op(JEQ, low, 0, skip(0)?),
            ]
        }
        Test::Greater(v) | Test::GreaterEqual(v) => {
            let ((high, low), code) = (
                words(v),
                if matches!(condition.test, Test::Greater(_)) {
                    JGT
                } else {
                    JGE
                },
            );
            let fail = skip(0)?;
            vec![
                load_high,
                op(JGT, high, 3, 0),
                op(JEQ, high, 0, skip(2)?),
                load_low,
                op(code, low, 0, fail),
            ]
        }
        Test::Less(v) | Test::LessEqual(v) => {
            let ((high, low), code) = (
                words(v),
                if matches!(condition.test, Test::Less(_)) {
                    JGE
                } else {
                    JGT
                },
            );
            let fail = skip(0)?;
            vec![
                load_high,
                op(JGT, high, skip(3)?, 0),
                op(JEQ, high, 0, 2),
                load_low,
                op(code, low, fail, 0),
            ]
        }
    };
    Ok(block)
}

fn search(leaves: &[Leaf]) -> Result<Vec<Instruction>, Error> {
    let [leaf] = leaves else {
        let (left, right) = leaves.split_at(leaves.len() / 2);
        let pivot = right[0].0;
        let (left, right) = (search(left)?, search(right)?);
        let distance = u32::try_from(left.len()).unwrap_or(u32::MAX);
        let mut code = match u8::try_from(distance) {
            Ok(near) => vec![op(JGE, pivot, near, 0)],
            Err(_) => vec![op(JGE, pivot, 0, 1), op(JUMP, distance, 0, 0)],
        };
        code.extend(left);
        code.extend(right);
        return Ok(code);
    };
    Ok(leaf.1.clone())
}

/// Runs a program as the kernel would: for tests.
#[cfg(test)]
pub(super) fn run(program: &[Instruction], number: u32, arguments: [u64; 6]) -> u32 {
    let (mut at, mut accumulator) = (0, 0);
    loop {
        let i = program[at];
        at += 1;
        let word = |offset: u32| match offset {
            OFFSET_NUMBER => number,
            OFFSET_ARCH => ARCH,
            other => {
                let argument = arguments[((other - OFFSET_ARGUMENTS) / 8) as usize];
                (if other % 8 == 0 {
                    argument & 0xffff_ffff
                } else {
                    argument >> 32
                }) as u32
            }
        };
        let mut jump = |taken: bool| at += usize::from(if taken { i.jt } else { i.jf });
        match i.code {
            LOAD => accumulator = word(i.k),
            AND => accumulator &= i.k,
            JUMP => at += i.k as usize,
            JEQ => jump(accumulator == i.k),
            JGT => jump(accumulator > i.k),
            JGE => jump(accumulator >= i.k),
            RETURN => return i.k,
            other => panic!("instruction {other:#x}"),
        }
    }
}
