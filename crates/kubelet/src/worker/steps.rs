//! Notices that somebody set the wall clock.
//!
//! A worker's own deadlines are instants of the wall clock, because it compares them with those of
//! the API and of the runtime. When the clock is set they must move with it: else a pull that is
//! to be tried again in ten seconds is tried again in an hour. Slewing is too little to matter.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// A smaller difference is the clock's usual inaccuracy.
const LEAST: SignedDuration = SignedDuration::from_secs(1);

/// The wall clock beside the monotonic one.
#[derive(Debug)]
pub(super) struct Steps {
    wall: Timestamp,
    at: Instant,
}

impl Steps {
    pub(super) fn new(wall: Timestamp) -> Self {
        let at = Instant::now();
        Self { wall, at }
    }

    /// By how much the clock was set since this was asked last.
    pub(super) fn seen(&mut self, wall: Timestamp) -> Option<SignedDuration> {
        let before = std::mem::replace(self, Self::new(wall));
        let passed = SignedDuration::try_from(self.at.duration_since(before.at)).ok()?;
        let by = wall.duration_since(before.wall) - passed;
        (by.abs() >= LEAST).then_some(by)
    }
}

/// The same instant by a clock that was set.
pub(super) fn shift(at: &mut Timestamp, by: SignedDuration) {
    *at = base::after(*at, by);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_that_passes_is_no_step() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut steps = Steps::new(at(1000));
        tokio::time::advance(std::time::Duration::from_secs(60)).await;
        assert_eq!(steps.seen(at(1060)), None);
        tokio::time::advance(std::time::Duration::from_secs(5)).await;
        assert_eq!(
            steps.seen(at(1065 - 3600)),
            Some(SignedDuration::from_secs(-3600))
        );
        assert_eq!(steps.seen(at(1065 - 3600)), None);
    }
}
