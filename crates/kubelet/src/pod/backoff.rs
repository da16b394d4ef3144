//! Delay between restarts of a container that keeps ending: 10 s, doubled up to 5 min, forgotten
//! after it has run for 10 min.
//!
//! Source: kubernetes v1.36 pkg/kubelet/kuberuntime/kuberuntime_manager.go, doBackOff;
//! client-go util/flowcontrol/backoff.go.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
const FORGET_AFTER: SignedDuration = SignedDuration::from_secs(600);

/// The restart delays of a pod's containers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrashBackoff {
    delays: HashMap<String, Delay>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Delay {
    current: Duration,
    updated: Timestamp,
}

impl CrashBackoff {
    /// Until when the container that ended at `finished` must wait, and how long that is.
    pub fn waits(
        &self,
        name: &str,
        finished: Timestamp,
        now: Timestamp,
    ) -> Option<(Timestamp, Duration)> {
        let delay = self.delays.get(name)?;
        if finished.duration_since(delay.updated) > FORGET_AFTER {
            return None;
        }
        let until = base::after(finished, delay.current);
        // Nobody ends in the future: the clock was set back since, and how long ago it ended is
        // unknown. It has waited enough.
        (until > now && finished <= now).then_some((until, delay.current))
    }

    /// A restart happens now: the next one waits longer.
    pub fn restarted(&mut self, name: &str, finished: Timestamp, now: Timestamp) {
        let current = match self.delays.get(name) {
            Some(delay) if finished.duration_since(delay.updated) <= FORGET_AFTER => {
                (delay.current * 2).min(LONGEST)
            }
            _ => FIRST,
        };
        self.delays.insert(
            name.to_owned(),
            Delay {
                current,
                updated: now,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_makes_nobody_wait_longer() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut backoff = CrashBackoff::default();
        backoff.restarted("app", at(5000), at(5000));
        let waits = |now| {
            backoff
                .waits("app", at(5010), at(now))
                .map(|(until, _)| until)
        };
        assert_eq!(waits(5012), Some(at(5020)));
        assert_eq!(waits(5020), None);
        assert_eq!(waits(1400), None);
    }
}
