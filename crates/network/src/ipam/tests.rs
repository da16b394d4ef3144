//! Reservations: order, exhaustion, restart, broken files.

use std::fs;

use expect_test::{Expect, expect};

use crate::ipam::{Ipam, IpamError};

/// Runs a script of `+id`, `-id` and `reopen` over `ranges` and compares the answers.
#[track_caller]
fn check(ranges: &[&str], script: &str, expect: Expect) {
    let folder = tempfile::tempdir().unwrap();
    let ranges: Vec<_> = ranges.iter().map(|range| range.parse().unwrap()).collect();
    let open = || {
        let mut ipam = Ipam::open(folder.path()).unwrap();
        ipam.set_ranges(ranges.clone());
        ipam
    };
    let mut ipam = Some(open());
    let mut out = String::new();
    for word in script.split_whitespace() {
        let one = ipam.as_mut().unwrap();
        let answer = match word.split_at(1) {
            ("+", id) => one.reserve(id, "ns/pod").map(|a| format!("{a:?}")),
            ("-", id) => one.release(id).map(|a| format!("{a:?}")),
            _ => {
                ipam = None;
                ipam.replace(open());
                Ok("ok".to_owned())
            }
        };
        out += &format!(
            "{word}: {}\n",
            answer.unwrap_or_else(|error| error.to_string())
        );
    }
    expect.assert_eq(&out);
}

/// Addresses rest before they are used again; a full range says so; a second ADD is the same.
#[test]
fn order() {
    check(
        &["10.1.0.0/29"],
        "+a +b +a -a +c +d +e +f +g +h +i -c +j +../x",
        expect![[r#"
            +a: [10.1.0.1]
            +b: [10.1.0.2]
            +a: [10.1.0.1]
            -a: [10.1.0.1]
            +c: [10.1.0.3]
            +d: [10.1.0.4]
            +e: [10.1.0.5]
            +f: [10.1.0.6]
            +g: [10.1.0.1]
            +h: no free address in 10.1.0.0/29
            +i: no free address in 10.1.0.0/29
            -c: [10.1.0.3]
            +j: [10.1.0.3]
            +../x: sandbox id "../x" is not a file name
        "#]],
    );
}

/// A restart remembers who has what.
#[test]
fn restart() {
    check(
        &["10.1.0.0/30", "fd00:1::/64"],
        "+a reopen +a +b -a reopen +c",
        expect![[r#"
            +a: [10.1.0.1, fd00:1::1]
            reopen: ok
            +a: [10.1.0.1, fd00:1::1]
            +b: [10.1.0.2, fd00:1::2]
            -a: [10.1.0.1, fd00:1::1]
            reopen: ok
            +c: [10.1.0.1, fd00:1::1]
        "#]],
    );
}

/// Without a range nothing is given, and that is not a failure of the folder.
#[test]
fn no_range() {
    check(
        &[],
        "+a -a",
        expect![[r#"
        +a: the node has no pod range yet
        -a: []
    "#]],
    );
}

/// What a crash left half written is dropped; a second process is refused.
#[test]
fn broken_files_and_lock() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("cut"), "10.1.0.1").unwrap();
    fs::write(folder.path().join(".newx"), "10.1.0.2\n# a/b\n").unwrap();
    fs::write(folder.path().join("good"), "10.1.0.1\n# a/b\n").unwrap();
    let ipam = Ipam::open(folder.path()).unwrap();
    assert_eq!(ipam.sandboxes().collect::<Vec<_>>(), ["good"]);
    assert!(!folder.path().join("cut").exists());
    assert!(matches!(
        Ipam::open(folder.path()),
        Err(IpamError::Locked(_))
    ));
}
