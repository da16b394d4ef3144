//! When the change happened that made endpoints change: the base of network programming latency.
//!
//! Source: endpointslice v0.36.3 util/trigger_time_tracker.go.

use std::collections::HashMap;
use std::sync::Arc;

use client::Key;
use jiff::Timestamp;

use crate::endpoint::pod::Pod;
use crate::endpoint::service::Service;

pub(crate) const ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

#[derive(Debug, Default)]
pub(crate) struct TriggerTimes {
    services: HashMap<Key, Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    service: Option<Timestamp>,
    pods: HashMap<String, Timestamp>,
}

impl TriggerTimes {
    /// The earliest change since the last call; none when only something else changed.
    pub(crate) fn next(
        &mut self,
        key: &Key,
        service: &Service,
        pods: &[Arc<Pod>],
    ) -> Option<Timestamp> {
        let before = self.services.get(key);
        let mut earliest: Option<Timestamp> = None;
        let mut note = |time: Timestamp| {
            earliest = Some(earliest.map_or(time, |known| known.min(time)));
        };
        let mut seen = Seen {
            service: service.created,
            pods: HashMap::new(),
        };
        for pod in pods {
            let Some(changed) = pod.ready_changed else {
                continue;
            };
            let known = before.and_then(|seen| seen.pods.get(&pod.name));
            if known.is_none_or(|known| changed > *known) {
                note(changed);
            }
            seen.pods.insert(pod.name.clone(), changed);
        }
        if let Some(created) = service.created
            && before.and_then(|seen| seen.service) < Some(created)
        {
            note(created);
        }
        let is_new = before.is_none();
        self.services.insert(key.clone(), seen);
        if is_new { service.created } else { earliest }
    }

    pub(crate) fn forget(&mut self, key: &Key) {
        self.services.remove(key);
    }
}
