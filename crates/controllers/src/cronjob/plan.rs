//! Whether a run is due, when the next one is, and which finished Jobs are too many. Pure.
//!
//! Source: kubernetes v1.36.3 pkg/controller/cronjob/utils.go.

use std::time::Duration;

use api::cron::Schedule;
use jiff::Timestamp;

/// A look that comes too early would find nothing.
const LATE: Duration = Duration::from_millis(100);
/// Missed runs that deserve a warning.
const MANY: i64 = 100;

/// Times that matter to a CronJob.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub(super) created: Timestamp,
    pub(super) last: Option<Timestamp>,
    pub(super) deadline_seconds: Option<i64>,
    pub(super) now: Timestamp,
}

/// What a schedule says now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The newest time that was not served.
    pub(super) time: Option<Timestamp>,
    /// Very many were missed.
    pub(super) many: bool,
    /// When to look again.
    pub(super) again: Option<Duration>,
}

enum Missed {
    None {
        since: Timestamp,
    },
    Some {
        newest: Option<Timestamp>,
        many: bool,
    },
}

fn missed(schedule: &Schedule, times: &Times, with_deadline: bool) -> Missed {
    let now = times.now;
    let mut since = times.last.unwrap_or(times.created);
    if let Some(seconds) = times.deadline_seconds.filter(|_| with_deadline) {
        let earliest = now.as_second().saturating_sub(seconds);
        since = since.max(Timestamp::from_second(earliest).unwrap_or(since));
    }
    let Some(first) = schedule.next(since).filter(|first| *first <= now) else {
        return Missed::None { since };
    };
    let second = schedule.next(first).filter(|second| *second <= now);
    let Some(second) = second else {
        return Missed::Some {
            newest: Some(first),
            many: false,
        };
    };
    // The first two tell about how far apart runs are: begin shortly before the last one.
    let apart = (second.as_second() - first.as_second()).max(1);
    let count = (now.as_second() - first.as_second()) / apart + 1;
    let jump = first.as_second() + (count - 2).max(0) * apart;
    let (mut newest, mut time) = (None, Timestamp::from_second(jump).unwrap_or(first));
    while let Some(next) = schedule.next(time).filter(|next| *next <= now) {
        newest = Some(next);
        time = next;
    }
    Missed::Some {
        newest,
        many: count > MANY,
    }
}

pub(super) fn due(schedule: &Schedule, times: &Times) -> Due {
    let from = match missed(schedule, times, false) {
        Missed::None { since } => since,
        Missed::Some { newest, .. } => newest.unwrap_or(times.now),
    };
    let again = schedule.next(from).map(|next| {
        let wait = next.as_millisecond() - times.now.as_millisecond();
        Duration::from_millis(u64::try_from(wait).unwrap_or(0)) + LATE
    });
    let (time, many) = match missed(schedule, times, true) {
        Missed::None { .. } => (None, false),
        Missed::Some { newest, many } => (newest, many),
    };
    Due { time, many, again }
}

/// A Job that has finished.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finished {
    pub(super) started: Option<Timestamp>,
    pub(super) name: String,
    pub(super) uid: String,
}

/// The oldest beyond `limit`; those that never started count as the newest.
pub(super) fn surplus(mut jobs: Vec<Finished>, limit: usize) -> Vec<Finished> {
    jobs.sort_by_key(|job| (job.started.is_none(), job.started, job.name.clone()));
    let keep = jobs.len().saturating_sub(limit);
    jobs.truncate(keep);
    jobs
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use jiff::tz::TimeZone;

    use super::*;

    #[track_caller]
    fn check(
        schedule: &str,
        created: &str,
        last: &str,
        deadline: Option<i64>,
        now: &str,
        expected: Expect,
    ) {
        let time = |text: &str| api::time::parse(text).ok();
        let due = due(
            &Schedule::parse(schedule, TimeZone::UTC).unwrap(),
            &Times {
                created: time(created).unwrap(),
                last: time(last),
                deadline_seconds: deadline,
                now: time(now).unwrap(),
            },
        );
        let at = due
            .time
            .map_or_else(|| "-".to_owned(), api::time::format_seconds);
        expected.assert_eq(&format!("{at} {} {:?}", due.many, due.again));
    }

    #[test]
    fn runs() {
        let created = "2026-01-01T00:00:30Z";
        check(
            "* * * * *",
            created,
            "",
            None,
            "2026-01-01T00:00:40Z",
            expect!["- false Some(20.1s)"],
        );
        check(
            "* * * * *",
            created,
            "",
            None,
            "2026-01-01T00:01:05Z",
            expect!["2026-01-01T00:01:00Z false Some(55.1s)"],
        );
        check(
            "* * * * *",
            created,
            "2026-01-01T00:01:00Z",
            None,
            "2026-01-01T00:01:05Z",
            expect!["- false Some(55.1s)"],
        );
        check(
            "* * * * *",
            created,
            "",
            None,
            "2026-01-01T05:00:00Z",
            expect!["2026-01-01T05:00:00Z true Some(60.1s)"],
        );
        check(
            "0 * * * *",
            created,
            "",
            Some(30),
            "2026-01-01T01:01:00Z",
            expect!["- false Some(3540.1s)"],
        );
        check(
            "0 * * * *",
            created,
            "",
            Some(90),
            "2026-01-01T01:01:00Z",
            expect!["2026-01-01T01:00:00Z false Some(3540.1s)"],
        );
        check(
            "0 0 31 2 *",
            created,
            "",
            None,
            "2026-01-01T01:01:00Z",
            expect!["- false None"],
        );
    }

    #[test]
    fn old_jobs_go() {
        let job = |name: &str, started: Option<i64>| Finished {
            started: started.map(|s| Timestamp::from_second(s).unwrap()),
            name: name.to_owned(),
            uid: String::new(),
        };
        let jobs = vec![job("a", Some(3)), job("b", Some(1)), job("c", None)];
        let names: Vec<String> = surplus(jobs, 1).into_iter().map(|job| job.name).collect();
        assert_eq!(names, ["b", "a"]);
    }
}
