//! When schedules come next, also where clocks change; what is refused, and in which words.

use expect_test::{Expect, expect};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::{any, proptest};

use super::{Schedule, time_zone};

#[track_caller]
fn check(schedule: &str, after: &str, expected: &str) {
    check_in("", schedule, after, expected);
}

#[track_caller]
fn check_in(zone: &str, schedule: &str, after: &str, expected: &str) {
    let schedule = Schedule::parse(schedule, time_zone(zone).unwrap()).unwrap();
    let next = schedule.next(crate::time::parse(after).unwrap());
    let next = next.map_or_else(|| "never".to_owned(), crate::time::format_seconds);
    assert_eq!(next, expected);
}

#[test]
fn next_times() {
    check("* * * * *", "2026-11-20T17:50:30Z", "2026-11-20T17:51:00Z");
    check(
        "*/15 9-17 * * MON-FRI",
        "2026-11-20T17:50:00Z",
        "2026-11-23T09:00:00Z",
    );
    check("0 0 29 2 *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z");
    check("0 0 13 * 5", "2026-11-14T00:00:00Z", "2026-11-20T00:00:00Z");
    check(
        "5,10 1 * jan-mar/2 ?",
        "2026-02-01T00:00:00Z",
        "2026-03-01T01:05:00Z",
    );
    check("0 0 31 2 *", "2026-01-01T00:00:00Z", "never");
    check("@hourly", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z");
    check(
        "@every 1h30m",
        "2026-01-01T00:00:01Z",
        "2026-01-01T01:30:01Z",
    );
}

/// Durations are Go's, in whole seconds.
#[test]
fn every_so_often() {
    let check = |every, expected| check(every, "2026-01-01T00:00:01Z", expected);
    check("@every 1.5h", "2026-01-01T01:30:01Z");
    check("@every 90m0.9s", "2026-01-01T01:30:01Z");
    check("@every 1ms", "2026-01-01T00:00:02Z");
    check("@every -5h", "2026-01-01T00:00:02Z");
}

/// A step may be larger than what a value fits into; it is a number, and there.
#[test]
fn steps() {
    for step in ["60", "4294967295", "9223372036854775807"] {
        let schedule = format!("1/{step} * * * *");
        check(&schedule, "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z");
        check(&schedule, "2026-01-01T00:01:00Z", "2026-01-01T01:01:00Z");
    }
    for step in ["", "0", "-1", "jan", "1/1", "9223372036854775808"] {
        let schedule = format!("* * * 1/{step} *");
        assert!(
            Schedule::parse(&schedule, TimeZone::UTC).is_err(),
            "{schedule}"
        );
    }
}

#[test]
fn zones() {
    let after = "2026-11-20T00:00:00Z";
    check_in("Etc/UTC", "30 6 * * *", after, "2026-11-20T06:30:00Z");
    check_in("Asia/Kolkata", "30 6 * * *", after, "2026-11-20T01:00:00Z");
    check_in(
        "America/New_York",
        "30 6 * * *",
        after,
        "2026-11-20T11:30:00Z",
    );
    check_in("Pacific/Apia", "0 0 * * *", after, "2026-11-20T11:00:00Z");
    check("TZ=Asia/Kolkata 30 6 * * *", after, "2026-11-20T01:00:00Z");
    let summer = "2026-07-01T00:00:00Z";
    check_in(
        "Europe/Berlin",
        "30 6 * * *",
        summer,
        "2026-07-01T04:30:00Z",
    );
}

/// On 29 March 2026 02:30 does not exist in Berlin; on 25 October it comes twice.
#[test]
fn clocks_change() {
    let zone = "Europe/Berlin";
    let check = |after, expected| check_in(zone, "30 2 * * *", after, expected);
    check("2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z");
    check("2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z");
    check("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z");
    check("2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z");
    let quarters = "*/30 * * * *";
    check_in(
        zone,
        quarters,
        "2026-03-29T00:30:00Z",
        "2026-03-29T01:00:00Z",
    );
    check_in(
        zone,
        quarters,
        "2026-10-25T00:30:00Z",
        "2026-10-25T01:00:00Z",
    );
}

#[test]
fn zones_that_are_none() {
    for zone in ["No/Where", "europe/berlin", "Local", "../etc/passwd"] {
        assert!(time_zone(zone).is_none(), "{zone}");
    }
}

#[track_caller]
fn refused(schedule: &str, expected: Expect) {
    let error = Schedule::parse(schedule, TimeZone::UTC).unwrap_err();
    expected.assert_eq(&error.to_string());
}

/// As github.com/robfig/cron/v3 v3.0.1 answered.
#[test]
fn nonsense_is_refused() {
    refused("", expect!["empty spec string"]);
    refused(
        "99 99 * * *",
        expect!["end of range (99) above maximum (59): 99"],
    );
    refused(
        "-1 * * * *",
        expect![r#"failed to parse int from : strconv.Atoi: parsing "": invalid syntax"#],
    );
    refused(
        "61 * * * *",
        expect!["end of range (61) above maximum (59): 61"],
    );
    refused(
        "* 24 * * *",
        expect!["end of range (24) above maximum (23): 24"],
    );
    refused(
        "* * 0 * *",
        expect!["beginning of range (0) below minimum (1): 0"],
    );
    refused(
        "* * * * 7",
        expect!["end of range (7) above maximum (6): 7"],
    );
    refused(
        "* * * febr *",
        expect![r#"failed to parse int from febr: strconv.Atoi: parsing "febr": invalid syntax"#],
    );
    refused(
        "5-1 * * * *",
        expect!["beginning of range (5) beyond end of range (1): 5-1"],
    );
    refused("1-2-3 * * * *", expect!["too many hyphens: 1-2-3"]);
    refused(
        "*/0 * * * *",
        expect!["step of range should be a positive number: */0"],
    );
    refused(
        "*/-1 * * * *",
        expect!["negative number (-1) not allowed: -1"],
    );
    refused("*/5/5 * * * *", expect!["too many slashes: */5/5"]);
    refused(
        "60/5 * * * *",
        expect!["beginning of range (60) beyond end of range (59): 60/5"],
    );
    refused("1-x-y * * * *", expect!["too many hyphens: 1-x-y"]);
    refused(
        "1/18446744073709551616 * * * *",
        expect![
            r#"failed to parse int from 18446744073709551616: strconv.Atoi: parsing "18446744073709551616": value out of range"#
        ],
    );
    refused(
        "9223372036854775808 * * * *",
        expect![
            r#"failed to parse int from 9223372036854775808: strconv.Atoi: parsing "9223372036854775808": value out of range"#
        ],
    );
    refused(
        "9223372036854775808x * * * *",
        expect![
            r#"failed to parse int from 9223372036854775808x: strconv.Atoi: parsing "9223372036854775808x": invalid syntax"#
        ],
    );
    refused("@often", expect!["unrecognized descriptor: @often"]);
    refused(
        "@every x",
        expect![r#"failed to parse duration @every x: time: invalid duration "x""#],
    );
    refused(
        "@every ",
        expect![r#"failed to parse duration @every : time: invalid duration """#],
    );
    refused(
        " @daily",
        expect!["expected exactly 5 fields, found 1: [@daily]"],
    );
    refused(
        "TZ=UTC",
        expect!["invalid schedule format: runtime error: slice bounds out of range [:-1]"],
    );
    refused(
        "CRON_TZ=",
        expect!["invalid schedule format: runtime error: slice bounds out of range [:-1]"],
    );
    refused(
        "TZ=No/Where * * * * *",
        expect!["provided bad location No/Where: unknown time zone No/Where"],
    );
    refused(
        "TZ=../x * * * * *",
        expect!["provided bad location ../x: time: invalid location name"],
    );
    refused(
        "TZ=UTC CRON_TZ=UTC * * * * *",
        expect!["expected exactly 5 fields, found 6: [CRON_TZ=UTC * * * * *]"],
    );
    refused("TZ=UTC ", expect!["expected exactly 5 fields, found 0: []"]);
    refused(
        "* * * * * *",
        expect!["expected exactly 5 fields, found 6: [* * * * * *]"],
    );
}

/// As the same library took them.
#[test]
fn oddities_are_taken() {
    check(", * * * *", "2026-01-01T00:00:00Z", "never");
    check(
        "0 0 1,,+2 * *",
        "2026-01-01T00:00:00Z",
        "2026-01-02T00:00:00Z",
    );
    check(
        "0 12 *-99 * *",
        "2026-01-01T00:00:00Z",
        "2026-01-01T12:00:00Z",
    );
    check(
        "0 0 ?-1/2 JaN *",
        "2026-01-01T00:00:00Z",
        "2026-01-03T00:00:00Z",
    );
    check(
        "0-0/30 5 * * *",
        "2026-01-01T00:00:00Z",
        "2026-01-01T05:00:00Z",
    );
    check(
        "TZ= 0 5 * * *",
        "2026-01-01T00:00:00Z",
        "2026-01-01T05:00:00Z",
    );
    check(
        "TZ=Local  @daily",
        "2026-01-01T00:00:00Z",
        "2026-01-02T00:00:00Z",
    );
    check("0 0 29 2 ?", "2099-01-01T00:00:00Z", "2104-02-29T00:00:00Z");
    check(
        "0 0 */40 * 1",
        "2026-01-01T00:00:00Z",
        "2026-01-05T00:00:00Z",
    );
}

proptest! {
    /// Whatever is written, a time lies after the one that was asked about.
    #[test]
    fn times_go_on(text in "[-0-9*?/, @a-zTZ=]{0,24}", second in any::<i32>()) {
        let after = Timestamp::from_second(i64::from(second)).unwrap();
        if let Ok(schedule) = Schedule::parse(&text, TimeZone::UTC) {
            assert!(schedule.next(after).is_none_or(|next| next > after), "{text}");
        }
    }
}
