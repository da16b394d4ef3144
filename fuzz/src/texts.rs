//! Short texts with a grammar: selectors, quantities, times, schedules.
//!
//! Law: what was read is printed so that it reads the same; of schedules, which are not printed,
//! that times go on.

use api::cron::{Schedule, time_zone};
use jiff::Timestamp;

use crate::{Heap, Target};

/// What is here.
pub const TARGETS: &[Target] = &[
    Target::new("label-selector", labels, 512, Heap::SMALL),
    Target::new("field-selector", fields, 512, Heap::SMALL),
    Target::new("quantity", quantity, 128, Heap::SMALL),
    Target::new("time", time, 64, Heap::SMALL),
    Target::new("duration", duration, 64, Heap::SMALL),
    Target::new("cron", cron, 128, Heap::SMALL),
];

pub(crate) fn labels(data: &[u8]) {
    let source = crate::text(data);
    let Ok(selector) = api::LabelSelector::parse(&source) else {
        return;
    };
    let printed = selector.to_string();
    let again = crate::again(&printed, api::LabelSelector::parse);
    assert_eq!(printed, again.to_string(), "another selector");
    for value in [None, Some(""), Some("a"), Some("5")] {
        assert_eq!(
            selector.matches(|_| value),
            again.matches(|_| value),
            "{printed:?} matches otherwise"
        );
    }
}

pub(crate) fn fields(data: &[u8]) {
    let source = crate::text(data);
    let Ok(selector) = api::fields::Selector::parse(&source) else {
        return;
    };
    let printed = selector.to_string();
    let again = crate::again(&printed, api::fields::Selector::parse);
    assert_eq!(selector.terms().len(), again.terms().len(), "{printed:?}");
    for value in ["", "a", "=", ","] {
        assert_eq!(
            selector.matches(|_| value),
            again.matches(|_| value),
            "{printed:?} matches otherwise"
        );
    }
}

pub(crate) fn quantity(data: &[u8]) {
    let source = crate::text(data);
    let Ok(quantity) = api::Quantity::parse(&source) else {
        return;
    };
    let printed = quantity.to_string();
    let again = crate::again(&printed, api::Quantity::parse);
    assert!(
        quantity == again,
        "{source:?} is printed as {printed:?}, which is another number"
    );
    let settled = again.to_string();
    if settled != printed {
        // A binary number that 1024 does not divide has no suffix, and is decimal once it is read
        // (upstream too: `937.5Ki`, `960000`, `960k`); then it stays.
        assert!(
            printed.ends_with(|last: char| last.is_ascii_digit()),
            "{source:?}: {printed:?} is printed as {settled:?}"
        );
        let third = crate::again(&settled, api::Quantity::parse);
        assert!(quantity == third, "{source:?} became {settled:?}");
        assert_eq!(settled, third.to_string(), "of {source:?}");
    }
    let mut sum = quantity.clone();
    sum.add(&again);
    sum.sub(&again);
    let _ = (sum.value(), sum.millis(), sum.as_f64(), sum.as_i64());
    sum.mul(3);
    sum.negate();
    sum.round_up(-3);
    let _ = sum.to_string();
}

pub(crate) fn time(data: &[u8]) {
    let source = crate::text(data);
    let Ok(time) = api::time::parse(&source) else {
        return;
    };
    let printed = api::time::format_micros(time);
    let again = crate::again(&printed, api::time::parse);
    assert_eq!(printed, api::time::format_micros(again), "of {source:?}");
    let printed = api::time::format_seconds(time);
    let again = crate::again(&printed, api::time::parse);
    assert_eq!(printed, api::time::format_seconds(again), "of {source:?}");
}

pub(crate) fn duration(data: &[u8]) {
    let source = crate::text(data);
    let Ok(nanos) = api::duration::parse_nanos(&source) else {
        return;
    };
    let printed = api::duration::format_nanos(nanos);
    assert_eq!(
        api::duration::parse_nanos(&printed),
        Ok(nanos),
        "{source:?} is printed as {printed:?}"
    );
    let _ = api::duration::human(nanos / 1_000_000_000);
}

/// A schedule, and on a second line its zone.
pub(crate) fn cron(data: &[u8]) {
    let source = crate::text(data);
    let (text, zone) = source.split_once('\n').unwrap_or((&source, ""));
    let Some(zone) = time_zone(zone) else {
        return;
    };
    let schedule = match Schedule::parse(text, zone) {
        Ok(schedule) => schedule,
        Err(error) => {
            let _ = error.to_string();
            return;
        }
    };
    for start in [0, 1_772_000_000, -62_135_596_800, 253_402_207_000] {
        let start = Timestamp::from_second(start).expect("a time");
        let Some(next) = schedule.next(start) else {
            continue;
        };
        assert!(next > start, "{text:?} after {start} is {next}");
    }
}
