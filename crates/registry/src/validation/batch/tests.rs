//! CronJobs that are refused, created and changed.

use expect_test::{Expect, expect};
use schema::Dom;

use crate::strategy::Strategy;

/// A CronJob of these members of its spec, in JSON.
fn cron_job(name: &str, members: &str) -> Dom {
    let template = r#"{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}}}"#;
    let text = format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"n"}},"spec":{{{members},"jobTemplate":{template}}}}}"#
    );
    let mut dom = Dom::parse_json(text.as_bytes()).unwrap();
    crate::defaults::workload::cron_job(&mut dom);
    dom
}

fn findings(new: &Dom, old: Option<&Dom>) -> String {
    let mut rows = crate::RESOURCES.iter();
    let resource = rows.find(|row| row.kind == "CronJob").unwrap();
    let strategy: &Strategy = &resource.strategy;
    let mut errors = Vec::new();
    (strategy.validate)(new.as_ref(), &mut errors);
    match old {
        None => (strategy.validate_create)(new.as_ref(), &mut errors),
        Some(old) => (strategy.validate_update)(new.as_ref(), old.as_ref(), &mut errors),
    }
    // What the rest of a pod's template lacks is not of interest here.
    let lines = errors.iter().map(ToString::to_string);
    let lines = lines.filter(|line| !line.starts_with("spec.jobTemplate"));
    lines.collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn create(members: &str, expected: Expect) {
    expected.assert_eq(&findings(&cron_job("c", members), None));
}

#[track_caller]
fn update(old: &str, new: &str, expected: Expect) {
    let (old, new) = (cron_job("c", old), cron_job("c", new));
    expected.assert_eq(&findings(&new, Some(&old)));
}

/// What is accepted runs: the reader is the controller's.
#[test]
fn schedules() {
    create(r#""schedule":"*/15 9-17 * * MON-FRI""#, expect![""]);
    create(r#""schedule":"@every 1h30m""#, expect![""]);
    create(
        r#""schedule":"99 99 * * *""#,
        expect![[
            r#"spec.schedule: Invalid value: "99 99 * * *": end of range (99) above maximum (59): 99"#
        ]],
    );
    create(
        r#""schedule":"* * * * 7""#,
        expect![[
            r#"spec.schedule: Invalid value: "* * * * 7": end of range (7) above maximum (6): 7"#
        ]],
    );
    create(
        r#""schedule":"* * * 0-x *""#,
        expect![[
            r#"spec.schedule: Invalid value: "* * * 0-x *": failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax"#
        ]],
    );
    create(
        r#""schedule":"*/0 * * * *""#,
        expect![[
            r#"spec.schedule: Invalid value: "*/0 * * * *": step of range should be a positive number: */0"#
        ]],
    );
    create(
        r#""schedule":"* * * *""#,
        expect![[
            r#"spec.schedule: Invalid value: "* * * *": expected exactly 5 fields, found 4: [* * * *]"#
        ]],
    );
    create(
        r#""schedule":"@often""#,
        expect![[r#"spec.schedule: Invalid value: "@often": unrecognized descriptor: @often"#]],
    );
    create(
        r#""schedule":"@every day""#,
        expect![[
            r#"spec.schedule: Invalid value: "@every day": failed to parse duration @every day: time: invalid duration "day""#
        ]],
    );
    create(
        r#""schedule":" @daily""#,
        expect![[
            r#"spec.schedule: Invalid value: " @daily": expected exactly 5 fields, found 1: [@daily]"#
        ]],
    );
    create(r#""schedule":"""#, expect!["spec.schedule: Required value"]);
}

#[test]
fn zones() {
    create(
        r#""schedule":"0 5 * * *","timeZone":"Europe/Berlin""#,
        expect![""],
    );
    create(
        r#""schedule":"0 5 * * *","timeZone":"europe/berlin""#,
        expect![[
            r#"spec.timeZone: Invalid value: "europe/berlin": unknown time zone europe/berlin"#
        ]],
    );
    create(
        r#""schedule":"0 5 * * *","timeZone":"local""#,
        expect![[r#"
        spec.timeZone: Invalid value: "local": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones
        spec.timeZone: Invalid value: "local": unknown time zone local"#]],
    );
    create(
        r#""schedule":"TZ=UTC 0 5 * * *""#,
        expect![[
            r#"spec.schedule: Invalid value: "TZ=UTC 0 5 * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"#
        ]],
    );
    create(
        r#""schedule":"CRON_TZ=No/Where 0 5 * * *""#,
        expect![[r#"
        spec.schedule: Invalid value: "CRON_TZ=No/Where 0 5 * * *": provided bad location No/Where: unknown time zone No/Where
        spec.schedule: Invalid value: "CRON_TZ=No/Where 0 5 * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"#]],
    );
    create(
        r#""schedule":"TZ=UTC""#,
        expect![[r#"
        spec.schedule: Invalid value: "TZ=UTC": invalid schedule format: runtime error: slice bounds out of range [:-1]
        spec.schedule: Invalid value: "TZ=UTC": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"#]],
    );
}

/// What was stored by rules that were less strict can still be changed elsewhere.
#[test]
fn changes() {
    let (plain, zoned) = (
        r#""schedule":"0 5 * * *""#,
        r#""schedule":"TZ=UTC 0 5 * * *""#,
    );
    update(zoned, zoned, expect![""]);
    update(zoned, plain, expect![""]);
    update(
        plain,
        zoned,
        expect![[
            r#"spec.schedule: Invalid value: "TZ=UTC 0 5 * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"#
        ]],
    );
    update(
        zoned,
        r#""schedule":"TZ=UTC 0 5 * * *","timeZone":"Asia/Tokyo""#,
        expect![[
            r#"spec.schedule: Invalid value: "TZ=UTC 0 5 * * *": cannot use both timeZone field and TZ or CRON_TZ in schedule"#
        ]],
    );
    let gone = r#""schedule":"0 5 * * *","timeZone":"Mars/Base""#;
    update(gone, gone, expect![""]);
    update(
        plain,
        gone,
        expect![[r#"spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base"#]],
    );
    update(
        plain,
        r#""schedule":"99 5 * * *""#,
        expect![[
            r#"spec.schedule: Invalid value: "99 5 * * *": end of range (99) above maximum (59): 99"#
        ]],
    );
}

#[test]
fn long_names() {
    let long = cron_job(&"n".repeat(53), r#""schedule":"99 5 * * *""#);
    expect![[r#"
        spec.schedule: Invalid value: "99 5 * * *": end of range (99) above maximum (59): 99
        metadata.name: Invalid value: "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn": must be no more than 52 characters"#]].assert_eq(&findings(&long, None));
    let long = cron_job(&"n".repeat(53), r#""schedule":"0 5 * * *""#);
    expect![""].assert_eq(&findings(&long, Some(&long)));
}
