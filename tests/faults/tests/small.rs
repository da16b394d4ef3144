//! A few of the faults of `make faults`, in every run of the tests.

use std::process::Command;

#[expect(
    clippy::disallowed_methods,
    reason = "the program is what is tested: it starts itself under strace"
)]
#[track_caller]
fn check(arguments: &[&str]) {
    let mut faults = Command::new(env!("CARGO_BIN_EXE_faults"));
    let output = faults.args(arguments).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let failed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}{failed}");
}

#[test]
fn power_cuts() {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .any(|folder| folder.join("strace").exists());
    if !found {
        println!("skipped: needs strace");
        return;
    }
    check(&["power", "--images", "240", "--lives", "3"]);
}

#[test]
fn model() {
    check(&["model", "--operations", "5000"]);
    check(&["model", "--operations", "1000", "--disk", "1"]);
}

#[test]
fn history() {
    check(&["history", "--calls", "1000"]);
}
