//! The default profile, executed by an interpreter of its program.

use super::{Action, Condition, Profile, Rule, Test, bpf, number};
use crate::capabilities;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;

#[track_caller]
fn check(capabilities: u64, call: &str, arguments: &[u64], expect: u32) {
    let program = bpf::assemble(&Profile::runtime_default(capabilities)).unwrap();
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    assert_eq!(
        bpf::run(&program, number(call).unwrap(), all),
        expect,
        "{call}"
    );
}

#[test]
fn default_profile() {
    let base = capabilities::default_set();
    let admin = base | capabilities::bit("SYS_ADMIN").unwrap();
    check(base, "read", &[], ALLOW);
    check(base, "execve", &[], ALLOW);
    check(base, "mount", &[], EPERM);
    check(admin, "mount", &[], ALLOW);
    check(base, "unshare", &[], EPERM);
    check(base, "io_uring_setup", &[], EPERM);
    check(base, "chroot", &[], ALLOW);
    check(0, "chroot", &[], EPERM);
    check(base, "clone", &[0x11], ALLOW);
    check(base, "clone", &[0x1000_0011], EPERM);
    check(admin, "clone", &[0x1000_0011], ALLOW);
    check(base, "clone3", &[], ENOSYS);
    check(admin, "clone3", &[], ALLOW);
    check(base, "socket", &[2], ALLOW);
    check(base, "socket", &[40], EPERM);
    check(base, "personality", &[0xffff_ffff], ALLOW);
    check(base, "personality", &[0x1234], EPERM);
    check(base, "personality", &[1 << 40], EPERM);
    check(base, "fchmodat2", &[], ALLOW);
    check(base, "mseal", &[], ALLOW);
}

#[test]
fn unknown_numbers_and_x32_are_refused() {
    let program = bpf::assemble(&Profile::runtime_default(0)).unwrap();
    assert_eq!(bpf::run(&program, 9999, [0; 6]), EPERM);
    assert_eq!(bpf::run(&program, 0x4000_0000, [0; 6]), ENOSYS);
    assert!(program.len() < 1000, "{} instructions", program.len());
}

/// Every comparison against a plain evaluation, over values at the word borders.
#[test]
fn comparisons_follow_arithmetic() {
    let values = [0, 1, 2, 0xffff_ffff, 1 << 32, (1 << 32) + 1, u64::MAX];
    for v in values {
        for x in values {
            let tests = [
                (Test::Equal(v), x == v),
                (Test::NotEqual(v), x != v),
                (Test::Greater(v), x > v),
                (Test::GreaterEqual(v), x >= v),
                (Test::Less(v), x < v),
                (Test::LessEqual(v), x <= v),
                (
                    Test::Masked {
                        mask: 0xff_0000_00ff,
                        value: v,
                    },
                    x & 0xff_0000_00ff == v,
                ),
            ];
            for (test, expect) in tests {
                let conditions = vec![
                    Condition {
                        argument: 0,
                        test: Test::Equal(7),
                    },
                    Condition { argument: 5, test },
                ];
                let rule = Rule {
                    number: 300,
                    conditions,
                    action: Action::Errno(5),
                };
                let later = Rule {
                    number: 300,
                    conditions: Vec::new(),
                    action: Action::Log,
                };
                let profile = Profile {
                    default: Action::Allow,
                    rules: vec![rule, later],
                };
                let program = bpf::assemble(&profile).unwrap();
                let got = bpf::run(&program, 300, [7, 0, 0, 0, 0, x]);
                assert_eq!(
                    got,
                    if expect { 0x0005_0005 } else { 0x7ffc_0000 },
                    "{test:?} {x:#x}"
                );
                assert_eq!(bpf::run(&program, 300, [8, 0, 0, 0, 0, x]), 0x7ffc_0000);
                assert_eq!(bpf::run(&program, 301, [7; 6]), 0x7fff_0000);
            }
        }
    }
}
