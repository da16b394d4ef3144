//! Wall time that follows the runtime's virtual time.
//!
//! Knows nothing of who asks. There is one source of time: tokio's paused clock. The wall clock
//! is an epoch plus what has elapsed on it, plus what somebody has set it forward or back.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use base::Clock;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Every simulation begins at this second.
pub const EPOCH: &str = "2026-01-01T00:00:00Z";

/// See the module's header. Clones are one clock.
#[derive(Clone, Debug)]
pub struct SimClock {
    epoch: Timestamp,
    start: Instant,
    jumped_ms: Arc<AtomicI64>,
}

impl SimClock {
    /// Begins at [`EPOCH`] now.
    pub fn start() -> Self {
        Self {
            epoch: EPOCH.parse().unwrap_or(Timestamp::UNIX_EPOCH),
            start: Instant::now(),
            jumped_ms: Arc::default(),
        }
    }

    /// Milliseconds since the beginning, whatever the wall clock says.
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Somebody sets the wall clock; what waits for a span of time does not notice.
    pub fn jump(&self, by_ms: i64) {
        self.jumped_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let jumped = SignedDuration::from_millis(self.jumped_ms.load(Ordering::Relaxed));
        SignedDuration::try_from(self.start.elapsed())
            .ok()
            .and_then(|elapsed| self.epoch.checked_add(elapsed + jumped).ok())
            .unwrap_or(Timestamp::MAX)
    }
}
