use expect_test::{Expect, expect};

use super::super::ledger::tests::{SPECS, ledger, outcome};
use super::super::outcome::Outcome;
use super::{junit, render};

fn outcomes(letters: &str) -> Vec<Outcome> {
    let each = letters.chars().zip(SPECS);
    each.filter_map(|(letter, name)| outcome(letter, name))
        .collect()
}

#[track_caller]
fn check(before: &str, letters: &str, expect: Expect) {
    expect.assert_eq(&render(&outcomes(letters), &ledger(before)));
}

#[test]
fn a_row_a_sig_with_what_changed() {
    check(
        "fp.",
        "pfu",
        expect![[r#"
            | sig | passed | failed | unfinished | seconds | change |
            |---|---|---|---|---|---|
            | sig-a | 1 | 1 | 0 | 2 | +1 −1 |
            | sig-b | 0 | 0 | 1 | 1 |  |
            | all | 1 | 1 | 1 | 4 | +1 −1 |

            FAILED (passed before) [sig-a] two
                failed: [sig-a] two of 10 did not

            UNFINISHED [sig-b] three
                interrupted
        "#]],
    );
}

#[test]
fn a_run_without_outcomes_has_a_table_too() {
    check(
        "",
        "",
        expect![[r#"
            | sig | passed | failed | unfinished | seconds | change |
            |---|---|---|---|---|---|
        "#]],
    );
}

#[test]
fn junit_of_a_run_that_was_cut_off() {
    let mut outcomes = outcomes("pfu");
    outcomes[0].name.push_str(" <&\">");
    expect![[r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuite name="conformance" tests="3" failures="1">
          <testcase classname="sig-a" name="[sig-a] one &lt;&amp;&quot;&gt;" time="1.2"></testcase>
          <testcase classname="sig-a" name="[sig-a] two" time="1.2"><failure message="failed: [sig-a] two of 10 did not"/></testcase>
          <testcase classname="sig-b" name="[sig-b] three" time="1.2"><skipped message="interrupted"/></testcase>
        </testsuite>
    "#]]
    .assert_eq(&junit(&outcomes));
}
