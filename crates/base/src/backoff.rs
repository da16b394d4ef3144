//! Exponential back-off with a ceiling, reset and optional jitter.

use std::time::Duration;

use crate::Rng;

/// How long to wait before the next attempt.
///
/// Example: `Backoff::new(1 s, 8 s)` yields 1, 2, 4, 8, 8 … until `reset`.
#[derive(Clone, Debug)]
pub struct Backoff {
    initial: Duration,
    ceiling: Duration,
    next: Duration,
}

impl Backoff {
    /// Starts at `initial`, doubles at each failure, never exceeds `ceiling`.
    pub const fn new(initial: Duration, ceiling: Duration) -> Self {
        Self {
            initial,
            ceiling,
            next: initial,
        }
    }

    /// The delay to wait now; the following one is twice as long.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (self.next * 2).min(self.ceiling);
        delay
    }

    /// As [`Self::next_delay`], spread over ±50 % so that many failing callers do not align.
    pub fn next_delay_with_jitter(&mut self, rng: &mut Rng) -> Duration {
        let delay = self.next_delay();
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX / 2);
        Duration::from_millis(millis / 2 + rng.below(millis.max(1)))
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
        self.next = self.initial;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_ceiling_and_resets() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        let delays: Vec<u64> = (0..4).map(|_| backoff.next_delay().as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 5]);
        backoff.reset();
        assert_eq!(backoff.next_delay().as_secs(), 1);
    }
}
