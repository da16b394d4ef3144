//! Wall time that follows the runtime's virtual time.
//!
//! Knows nothing of who asks. There is one source of time: tokio's paused clock. The wall clock
//! is an epoch plus what has elapsed on it, so the two can never disagree.

use base::Clock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Every simulation begins at this second.
pub const EPOCH: &str = "2026-01-01T00:00:00Z";

/// See the module's header.
#[derive(Clone, Copy, Debug)]
pub struct SimClock {
    epoch: Timestamp,
    start: Instant,
}

impl SimClock {
    /// Begins at [`EPOCH`] now.
    pub fn start() -> Self {
        Self {
            epoch: EPOCH.parse().unwrap_or(Timestamp::UNIX_EPOCH),
            start: Instant::now(),
        }
    }

    /// Milliseconds since the beginning.
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        SignedDuration::try_from(self.start.elapsed())
            .ok()
            .and_then(|elapsed| self.epoch.checked_add(elapsed).ok())
            .unwrap_or(Timestamp::MAX)
    }
}
