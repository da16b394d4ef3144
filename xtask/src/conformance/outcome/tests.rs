use std::fmt::Write as _;

use expect_test::{Expect, expect};
use serde_json::json;

use super::{End, Outcome, merge, of_log, of_report};

#[track_caller]
fn check(outcomes: &[Outcome], expect: Expect) {
    let mut text = String::new();
    for outcome in outcomes {
        let end = match &outcome.end {
            End::Passed => "passed".to_owned(),
            End::Failed(message) => format!("failed, {message}"),
            End::Unfinished(message) => format!("unfinished, {message}"),
        };
        let _ = writeln!(text, "{} ({} s): {end}", outcome.name, outcome.seconds);
    }
    expect.assert_eq(&text);
}

const LOG: &str = "S\n• [2.001 seconds]\n[sig-node] Pods [It] should run [Conformance] [sig-node, Conformance]\n\
    x\n• [FAILED] [1.500 seconds]\n[sig-apps] Jobs [It] end [Conformance] [sig-apps, Conformance]\n\
    • [PANICKED!] [0.5 seconds]\n[sig-cli] Kubectl [It] waits [Conformance] [sig-cli, Conformance]\n\
    • [INTERRUPTED] [9.000 seconds]\n[sig-apps] Cron [It] waits [Conformance] [sig-apps, Conformance]\n\
    • [2.000 seconds]";

/// A run that was killed has no report, and its log may end in the middle of a block.
#[test]
fn a_killed_run_still_counts() {
    check(
        &of_log(LOG),
        expect![[r#"
            [sig-apps] Cron waits [Conformance] (9 s): unfinished, interrupted
            [sig-apps] Jobs end [Conformance] (1.5 s): failed, failed: see the log
            [sig-cli] Kubectl waits [Conformance] (0.5 s): failed, panicked!: see the log
            [sig-node] Pods should run [Conformance] (2.001 s): passed
        "#]],
    );
}

/// A process that was killed is missing in the report, and what it had run stands in the log.
#[test]
fn the_report_knows_better_and_the_log_more() {
    let spec = |name: &str, state: &str| {
        json!({"LeafNodeType": "It", "ContainerHierarchyTexts": ["[sig-apps] Jobs"],
               "LeafNodeText": name, "State": state, "RunTime": 3e9,
               "Failure": {"Message": "why\nit failed"}})
    };
    let report = json!([{"SpecReports": [
        {"LeafNodeType": "SynchronizedBeforeSuite", "State": "passed"},
        spec("end [Conformance]", "failed"),
        spec("start [Conformance]", "passed"),
        spec("stop [Conformance]", "skipped"),
        spec("hang [Conformance]", "timedout"),
    ]}]);
    let report = of_report(&report).unwrap();
    check(
        &merge(report, of_log(LOG)),
        expect![[r#"
            [sig-apps] Cron waits [Conformance] (9 s): unfinished, interrupted
            [sig-apps] Jobs end [Conformance] (3 s): failed, failed: why
            it failed
            [sig-apps] Jobs hang [Conformance] (3 s): unfinished, timedout: why
            it failed
            [sig-apps] Jobs start [Conformance] (3 s): passed
            [sig-cli] Kubectl waits [Conformance] (0.5 s): failed, panicked!: see the log
            [sig-node] Pods should run [Conformance] (2.001 s): passed
        "#]],
    );
}

/// Ginkgo writes `[]` when a process of it was killed.
#[test]
fn a_report_without_specs_is_none() {
    for report in [json!([]), json!([{"SpecReports": null}]), json!({})] {
        assert_eq!(of_report(&report), None);
    }
}
