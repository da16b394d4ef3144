//! Wall time as a dependency. Monotonic time is `tokio::time`, which tests can pause.

use std::fmt::Debug;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

/// Tells the wall time.
pub trait Clock: Debug + Send + Sync {
    /// The current wall time.
    fn now(&self) -> Timestamp;
}

/// The moment `by` after `at` (before it, if negative). Who asks for more than a clock can show gets
/// its last moment: that is when nobody waits for it any more.
#[must_use]
pub fn after(at: Timestamp, by: impl TryInto<SignedDuration>) -> Timestamp {
    // Only a `Duration` may not fit.
    let by = by.try_into().unwrap_or(SignedDuration::MAX);
    let edge = match by.is_negative() {
        true => Timestamp::MIN,
        false => Timestamp::MAX,
    };
    at.checked_add(by).unwrap_or(edge)
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the wall clock"
    )]
    fn now(&self) -> Timestamp {
        Timestamp::try_from(std::time::SystemTime::now()).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// A clock that moves only when told to: for tests and the simulator.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<Timestamp>,
}

impl ManualClock {
    /// Starts at `start`.
    pub fn new(start: Timestamp) -> Self {
        Self {
            now: Mutex::new(start),
        }
    }

    /// Moves forward.
    pub fn advance(&self, by: Duration) {
        let mut now = self.now.lock();
        *now = after(*now, by);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock()
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::after;

    #[test]
    fn the_clock_ends_at_its_edges() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let shown = |seconds| after(now, SignedDuration::from_secs(seconds)).to_string();
        assert_eq!(shown(60), "2026-01-02T03:05:05Z");
        assert_eq!(shown(-60), "2026-01-02T03:03:05Z");
        assert_eq!(shown(i64::MAX), Timestamp::MAX.to_string());
        assert_eq!(shown(i64::MIN), Timestamp::MIN.to_string());
    }
}
