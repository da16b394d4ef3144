use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::super::ledger::tests::{ledger, outcome};
use super::run;

/// `calls` are the outcomes of the suite's calls in turn, a letter a spec that was asked for.
#[track_caller]
fn check(before: &str, budget: u64, calls: &str, expect: Expect) {
    let calls: RefCell<VecDeque<&str>> = RefCell::new(calls.split_whitespace().collect());
    let runner = |_: &str, wanted: &[String], _: Duration| {
        let letters = calls.borrow_mut().pop_front().unwrap();
        let each = letters.chars().zip(wanted);
        Ok(each
            .filter_map(|(letter, name)| outcome(letter, name))
            .collect())
    };
    let verdict = run(
        &ledger(before),
        "c",
        Duration::from_secs(budget),
        4,
        &runner,
    )
    .unwrap();
    assert!(calls.borrow().is_empty(), "calls that were not made");
    let text = verdict.summary();
    let (_, text) = text.split_once('\n').unwrap();
    expect.assert_eq(text);
}

#[test]
fn what_passes_again_is_said_and_no_failure() {
    check(
        "ppp",
        0,
        "pfp p",
        expect![[r#"
            passed only when run again: [sig-a] two
        "#]],
    );
}

#[test]
fn twice_is_a_failure() {
    check(
        "ppp",
        0,
        "pff pf",
        expect![[r#"
            passed only when run again: [sig-a] two
            failed twice: [sig-b] three
        "#]],
    );
}

/// Its third run failed and its fourth did not; three full runs later it is steady again.
#[test]
fn twice_is_a_suspect_if_it_did_so_before() {
    check(
        "ppp pfp ppp ppp ppp",
        0,
        "pff ff",
        expect![[r#"
            suspect: [sig-a] two
            failed twice: [sig-b] three
        "#]],
    );
}

/// A crash of the suite leaves specs without a verdict: they run again, and have to pass.
#[test]
fn a_verdict_that_is_missing_is_not_a_pass() {
    check(
        "ppp",
        0,
        "p.u p.",
        expect![[r#"
            passed only when run again: [sig-a] two
            failed twice: [sig-b] three
        "#]],
    );
}
