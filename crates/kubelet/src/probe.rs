//! One probe's state: results in a row, thresholds, when to probe next. Pure.
//!
//! pending → (success threshold) succeeded ⇄ (failure threshold) failed. Source: kubernetes v1.36
//! pkg/kubelet/prober/worker.go.

use std::time::Duration;

use crate::pod::Probe;

/// What a probe has settled on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Not enough results yet.
    #[default]
    Pending,
    /// Enough successes in a row.
    Success,
    /// Enough failures in a row.
    Failure,
}

/// Counts the results of one probe of one container.
#[derive(Clone, Debug)]
pub struct Counter {
    success_threshold: i64,
    failure_threshold: i64,
    last: Option<bool>,
    in_a_row: i64,
    outcome: Outcome,
}

impl Counter {
    /// No results yet.
    pub fn new(probe: &Probe) -> Self {
        Self {
            success_threshold: probe.success_threshold.max(1),
            failure_threshold: probe.failure_threshold.max(1),
            last: None,
            in_a_row: 0,
            outcome: Outcome::Pending,
        }
    }

    /// Takes one result; gives the outcome that now holds.
    pub fn record(&mut self, success: bool) -> Outcome {
        if self.last == Some(success) {
            self.in_a_row += 1;
        } else {
            self.last = Some(success);
            self.in_a_row = 1;
        }
        let (threshold, settled) = if success {
            (self.success_threshold, Outcome::Success)
        } else {
            (self.failure_threshold, Outcome::Failure)
        };
        if self.in_a_row >= threshold {
            self.outcome = settled;
        }
        self.outcome
    }
}

/// The wait before the first probe and between probes.
pub fn delays(probe: &Probe) -> (Duration, Duration) {
    let seconds = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    (
        seconds(probe.initial_delay_seconds),
        seconds(probe.period_seconds.max(1)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::Handler;

    #[test]
    fn thresholds_count_results_in_a_row() {
        let mut counter = Counter::new(&Probe {
            handler: Handler::Sleep(0),
            initial_delay_seconds: 0,
            period_seconds: 1,
            timeout_seconds: 1,
            success_threshold: 2,
            failure_threshold: 3,
            grace_seconds: None,
        });
        let outcomes: Vec<Outcome> = [
            true, false, true, true, false, false, true, false, false, false,
        ]
        .into_iter()
        .map(|result| counter.record(result))
        .collect();
        use Outcome::{Failure, Pending, Success};
        assert_eq!(
            outcomes,
            [
                Pending, Pending, Pending, Success, Success, Success, Success, Success, Success,
                Failure
            ]
        );
    }
}
