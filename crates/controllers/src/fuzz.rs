//! A door for the fuzz targets (`fuzz/`): cron lines.

use jiff::Timestamp;

/// When a schedule comes next; none when it is no schedule, or never.
pub fn next(schedule: &str, zone: &str, after: Timestamp) -> Option<Timestamp> {
    crate::cronjob::next(schedule, zone, after)
}
