use std::time::Duration;

use expect_test::{Expect, expect};

use super::super::ledger::Ledger;
use super::super::outcome::{End, Outcome};
use super::{core, rotating};

/// `name=seconds`, all passed once; a name's first letter is its sig.
fn world(specs: &str) -> Ledger {
    let mut ledger = Ledger::default();
    let outcomes: Vec<Outcome> = specs
        .split_whitespace()
        .map(|word| {
            let (name, seconds) = word.split_once('=').unwrap();
            Outcome {
                name: format!("[sig-{}] {name}", &name[..1]),
                seconds: seconds.parse().unwrap(),
                end: End::Passed,
            }
        })
        .collect();
    ledger.specs = outcomes
        .iter()
        .map(|outcome| outcome.name.clone())
        .collect();
    ledger.add("c", &outcomes);
    ledger
}

#[track_caller]
fn check(specs: &str, seconds: u64, commit: &str, expect: Expect) {
    let ledger = world(specs);
    let limit = Duration::from_secs(seconds);
    let core = core(&ledger, limit, 1);
    let rest = rotating(&ledger, &core, commit, limit, 1);
    expect.assert_eq(&format!("core {core:?}\nrotating {rest:?}\n"));
}

/// The slow sig is seen too, though the other has more that is fast.
#[test]
fn every_sig_has_its_turn() {
    check(
        "a1=1 a2=2 a3=3 a4=4 b1=5 b2=50",
        20,
        "x",
        expect![[r#"
            core ["[sig-a] a1", "[sig-a] a2", "[sig-a] a3", "[sig-a] a4", "[sig-b] b1"]
            rotating []
        "#]],
    );
}

#[test]
fn another_commit_sees_others() {
    let specs = "a1=1 a2=6 a3=6 a4=6 b1=6 b2=6 b3=6";
    check(
        specs,
        9,
        "x",
        expect![[r#"
            core ["[sig-a] a1"]
            rotating ["[sig-b] b2"]
        "#]],
    );
    check(
        specs,
        9,
        "y",
        expect![[r#"
            core ["[sig-a] a1"]
            rotating ["[sig-a] a4"]
        "#]],
    );
}

/// Four at once need a quarter, serial ones their own time.
#[test]
fn parallel_specs_share_the_time() {
    let ledger = world("a1=10 a2=10 a3=10 a4=10 b[Serial]1=10");
    let chosen = core(&ledger, Duration::from_secs(23), 4);
    assert_eq!(chosen.len(), 5);
    assert_eq!(core(&ledger, Duration::from_secs(22), 4).len(), 4);
    // No spec ends before it ends.
    assert_eq!(core(&ledger, Duration::from_secs(9), 4).len(), 0);
}
