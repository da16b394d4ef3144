use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::super::outcome::{End, Outcome};
use super::{Ledger, Texts};

pub(in crate::conformance) const SPECS: [&str; 3] = ["[sig-a] one", "[sig-a] two", "[sig-b] three"];

/// `runs` are a letter a spec: passed, failed, unfinished, `.` for not run; `@x` sets the commit.
pub(in crate::conformance) fn ledger(runs: &str) -> Ledger {
    let mut ledger = Ledger {
        specs: SPECS.map(str::to_owned).to_vec(),
        ..Ledger::default()
    };
    for (number, run) in runs.split_whitespace().enumerate() {
        let (letters, commit) = match run.split_once('@') {
            Some((letters, commit)) => (letters, commit.to_owned()),
            None => (run, format!("c{number}")),
        };
        let outcomes: Vec<Outcome> = letters
            .chars()
            .zip(SPECS)
            .filter_map(|(letter, name)| outcome(letter, name))
            .collect();
        ledger.add(&commit, &outcomes);
    }
    ledger
}

pub(in crate::conformance) fn outcome(letter: char, name: &str) -> Option<Outcome> {
    let end = match letter {
        'p' => End::Passed,
        'f' => End::Failed(format!("failed: {name} of 10 did not")),
        'u' => End::Unfinished("interrupted".to_owned()),
        _ => return None,
    };
    Some(Outcome {
        name: name.to_owned(),
        seconds: 1.25,
        end,
    })
}

#[track_caller]
fn check(runs: &str, expect: Expect) {
    let ledger = ledger(runs);
    let mut text = String::new();
    for spec in SPECS {
        let flag = |set: bool, word: &'static str| if set { word } else { "" };
        let _ = writeln!(
            text,
            "{spec}: {:?}{}{}",
            ledger.state(spec),
            flag(ledger.is_steady(spec), ", steady"),
            flag(ledger.is_flaky(spec), ", flaky"),
        );
    }
    let _ = writeln!(text, "full runs {:?}", ledger.full_runs());
    expect.assert_eq(&text);
}

#[test]
fn steady_is_what_never_failed_until_three_runs_are_full() {
    check(
        "ppf pp.",
        expect![[r#"
            [sig-a] one: Passed, steady
            [sig-a] two: Passed, steady
            [sig-b] three: Failed
            full runs [1]
        "#]],
    );
}

/// What was mended becomes steady with the third full run since; a failure later ends it.
#[test]
fn steady_is_what_passed_three_full_runs_and_all_since() {
    check(
        "pff ppp ppp ppp .f.",
        expect![[r#"
            [sig-a] one: Passed, steady
            [sig-a] two: Failed
            [sig-b] three: Passed, steady
            full runs [1, 2, 3, 4]
        "#]],
    );
}

#[test]
fn a_run_that_was_cut_off_is_not_full_and_judges_nobody() {
    check(
        "ppp puu p..",
        expect![[r#"
            [sig-a] one: Passed, steady
            [sig-a] two: Passed, steady
            [sig-b] three: Passed, steady
            full runs [1]
        "#]],
    );
}

/// Failures before the first pass are work that was not done yet.
#[test]
fn flaky_is_who_changes_by_himself() {
    check(
        "pff fpf pfp",
        expect![[r#"
            [sig-a] one: Passed, flaky
            [sig-a] two: Failed
            [sig-b] three: Passed
            full runs [1, 2, 3]
        "#]],
    );
    check(
        "ppf@x pfp@x",
        expect![[r#"
            [sig-a] one: Passed, steady
            [sig-a] two: Failed, flaky
            [sig-b] three: Passed, flaky
            full runs [1, 2]
        "#]],
    );
}

#[test]
fn the_files_come_back_as_they_were_written() {
    let mut ledger = Ledger::default();
    let outcomes: Vec<Outcome> = "pfu"
        .chars()
        .zip(SPECS)
        .filter_map(|(letter, name)| outcome(letter, name))
        .collect();
    let mut runs = ledger.add("c1", &outcomes[..1]);
    runs.push_str(&ledger.add("c2", &outcomes));
    let suspects = ledger.suspect(SPECS[0], "c2", "a\nlog").unwrap();
    assert_eq!(ledger.suspect(SPECS[0], "c3", "again"), None);
    expect![[r#"
        {"commit":"c1","result":"passed","run":1,"seconds":1.3,"spec":"[sig-a] one"}
        {"commit":"c2","result":"passed","run":2,"seconds":1.3,"spec":"[sig-a] one"}
        {"cause":"failed: [sig-a] two of 10 did not","commit":"c2","result":"failed","run":2,"seconds":1.3,"spec":"[sig-a] two"}
    "#]]
    .assert_eq(&runs);
    let texts = Texts {
        passing: ledger.passing_text(),
        runs: runs.clone(),
        suspects,
        ..Texts::default()
    };
    let mut again = Ledger::parse(&texts).unwrap();
    assert_eq!(again.passing, ledger.passing);
    assert_eq!(again.suspects[SPECS[0]].log, "a\nlog");
    // The next run has the next number.
    assert!(again.add("c3", &outcomes).contains("\"run\":3"));
}

#[test]
fn a_broken_line_is_named() {
    let texts = Texts {
        runs: "{\"commit\":\"c\",\"spec\":\"s\",\"result\":\"passed\",\"seconds\":1}\nhello\n"
            .to_owned(),
        ..Texts::default()
    };
    let error = Ledger::parse(&texts).err().unwrap();
    expect!["runs.jsonl:2: expected value at line 1 column 1"].assert_eq(&format!("{error:#}"));
}

/// What is committed can be read, knows no spec that does not exist, and is shown as it is.
#[test]
fn the_committed_ledger_is_whole() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap();
    let ledger = super::Files::of(root).read().unwrap();
    assert_eq!(ledger.specs.len(), 446);
    let unknown: Vec<&String> = ledger
        .passing
        .iter()
        .filter(|name| !ledger.specs.contains(name))
        .collect();
    assert!(
        unknown.is_empty(),
        "passing.txt holds no specs: {unknown:#?}"
    );
    let listed = std::fs::read_to_string(root.join("tests/conformance/passing.txt")).unwrap();
    assert_eq!(listed, ledger.passing_text(), "passing.txt is sorted");
    let page = std::fs::read_to_string(root.join("docs/CONFORMANCE.md")).unwrap();
    assert!(
        page == super::super::page::update(&page, &ledger),
        "docs/CONFORMANCE.md is old: run `cargo xtask conformance --page`"
    );
}
