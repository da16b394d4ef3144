//! Tells the API what the node sees of a pod, and when.
//!
//! What changes here is told at once; what others wrote over it is reverted ten seconds after it
//! was seen, so that a client sees its own change for a moment, as with upstream.
//! Source: kubernetes v1.36.3 pkg/kubelet/status/status_manager.go (syncBatch, needsReconcile,
//! isPodStatusByKubeletEqual); pkg/kubelet/types/pod_status.go.

use base::Chain;
use jiff::{SignedDuration, Timestamp};
use schema::{Dom, Ref};

use crate::pod::{Action, KillReason, Observed, PodSpec, status};
use crate::worker::Worker;

/// How long a status that others changed stays as it is.
const REVERT_SECONDS: i64 = 10;
/// Conditions that are this node's word.
const CONDITIONS: [&str; 6] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodResizePending",
    "PodResizeInProgress",
];

/// Members of `status` that are this node's word.
fn is_own(key: &str) -> bool {
    matches!(
        key,
        "message"
            | "reason"
            | "containerStatuses"
            | "initContainerStatuses"
            | "ephemeralContainerStatuses"
            | "podIP"
            | "podIPs"
            | "hostIP"
            | "hostIPs"
            | "startTime"
            | "phase"
            | "conditions"
            | "observedGeneration"
    )
}

/// What the API was told last, and when it is told again.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// The node's own part, as [`own_part`] writes it.
    own: Option<Vec<u8>>,
    revert_at: Option<Timestamp>,
}

impl Told {
    /// Whether `wanted` is to be written now over what the API has.
    fn is_due(&mut self, wanted: Ref<'_>, reported: Option<Ref<'_>>, now: Timestamp) -> bool {
        if reported.is_some_and(|reported| reported.equal(wanted)) {
            self.written(wanted);
            return false;
        }
        if self.own.as_ref().is_none_or(|own| *own != own_part(wanted)) {
            // What is wanted now says it all.
            self.revert_at = None;
            return true;
        }
        let later = base::after(now, SignedDuration::from_secs(REVERT_SECONDS));
        let at = *self.revert_at.get_or_insert(later);
        if at > now {
            return false;
        }
        // Whether it is written or refused: a time that has passed wakes the worker for ever.
        self.revert_at = None;
        true
    }

    /// The API has `status` now.
    fn written(&mut self, status: Ref<'_>) {
        self.own = Some(own_part(status));
        self.revert_at = None;
    }

    /// For a clock that was set.
    pub(super) fn revert_at_mut(&mut self) -> Option<&mut Timestamp> {
        self.revert_at.as_mut()
    }

    /// When what others wrote is reverted.
    pub(super) fn revert_at(&self) -> Option<Timestamp> {
        self.revert_at
    }
}

/// What this node says of a pod, without the times of transitions.
fn own_part(status: Ref<'_>) -> Vec<u8> {
    let mut own = Dom::new();
    let root = own.new_map();
    own.set_root(root);
    for (key, value) in status.map() {
        if is_own(key) && key != "conditions" {
            let copy = own.import(value.dom(), value.node());
            own.set(root, key, copy);
        }
    }
    let conditions = own.ensure_map(root, "conditions");
    for condition in status.items("conditions") {
        let name = condition.str("type");
        if CONDITIONS.contains(&name) {
            let words = own.new_list();
            for key in ["status", "reason", "message"] {
                let word = own.new_str(condition.str(key));
                own.push(words, word);
            }
            own.set(conditions, name, words);
        }
    }
    own.to_json(root)
}

/// `wanted` with what others wrote: nominatedNodeName, resize, resource claims.
fn merged(mut wanted: Dom, reported: Ref<'_>) -> Dom {
    let top = wanted.root();
    for (key, value) in reported.map() {
        if !is_own(key) && wanted.get(top, key).is_none() {
            let copy = wanted.import(value.dom(), value.node());
            wanted.set(top, key, copy);
        }
    }
    wanted
}

/// Whether these steps end containers that start again at once.
pub(super) fn replaces(kills: &[&Action]) -> bool {
    kills.iter().all(|kill| {
        matches!(
            kill,
            Action::KillContainer {
                reason: KillReason::Changed
                    | KillReason::Unhealthy
                    | KillReason::NotStarted
                    | KillReason::Resized,
                ..
            }
        )
    })
}

impl Worker {
    /// Whether nothing is told now: containers were ended only to be started anew, which happens
    /// next. Upstream does both in one step and tells nothing in between. While an image is
    /// pulled, the truth is told.
    pub(super) async fn is_replacing(&mut self, pod: &PodSpec, plan: &[Action]) -> bool {
        if !std::mem::take(&mut self.replacing) {
            return false;
        }
        let starts = plan.iter().filter_map(|action| match action {
            Action::StartContainer { name, .. } => pod.container(name),
            _ => None,
        });
        let mut any = false;
        for spec in starts {
            any = true;
            if !self.has_image(spec).await {
                return false;
            }
        }
        any
    }

    /// Writes `status` when it is due.
    pub(super) async fn report(&mut self, pod: &PodSpec, observed: &Observed, now: Timestamp) {
        let Ok(mut dom) = self.object.parse() else {
            return;
        };
        let root = dom.root();
        let wanted = {
            let reported = dom.get(root, "status").map(|node| dom.at_node(node));
            let mut wanted = status(pod, observed, &self.known, reported, now);
            if let Some(reported) = reported {
                wanted = merged(wanted, reported);
            }
            if !self.told.is_due(wanted.as_ref(), reported, now) {
                return;
            }
            wanted
        };
        let copy = dom.import(&wanted, wanted.root());
        dom.set(root, "status", copy);
        let api = self.pods_api();
        match api
            .update_subresource(&self.key.name, "status", dom.to_json(root))
            .await
        {
            Ok(_) => self.told.written(wanted.as_ref()),
            // A newer revision is on its way and wakes the worker.
            Err(error) if error.is_conflict() || error.is_not_found() => {}
            Err(error) => {
                tracing::warn!(pod = %self.key, err = %Chain(&error), "status not written, retries");
                self.mailbox.wake();
                tokio::time::sleep(std::time::Duration::from_millis(500)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = r#"{"phase":"Running","conditions":[
        {"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}]}"#;
    const FOREIGN: &str = r#"{"phase":"Running","reason":"E2E","conditions":[
        {"type":"Ready","status":"False","lastTransitionTime":"2026-01-01T00:00:00Z"}]}"#;
    const RETRANSITED: &str = r#"{"phase":"Running","conditions":[
        {"type":"Ready","status":"True","lastTransitionTime":"2026-01-01T00:01:00Z"}]}"#;
    const CHANGED: &str = r#"{"phase":"Succeeded","conditions":[]}"#;

    /// (wanted, what the API has, second, whether it is written) one after the other.
    #[track_caller]
    fn check(steps: &[(&str, &str, i64, bool)]) {
        let mut told = Told::default();
        for (wanted, reported, second, due) in steps {
            let wanted = Dom::parse_json(wanted.as_bytes()).unwrap();
            let reported = Dom::parse_json(reported.as_bytes()).unwrap();
            let now = Timestamp::from_second(*second).unwrap();
            let got = told.is_due(wanted.as_ref(), Some(reported.as_ref()), now);
            assert_eq!(got, *due, "at {second}");
            if got {
                told.written(wanted.as_ref());
            }
        }
    }

    #[test]
    fn what_changes_here_is_told_at_once() {
        check(&[
            (OURS, "{}", 1, true),
            // The write is not in the cache yet.
            (OURS, "{}", 1, false),
            (OURS, OURS, 2, false),
            (CHANGED, OURS, 3, true),
        ]);
    }

    /// A revert that is refused (the object has changed or gone, and this node does not know yet)
    /// waits for another ten seconds or for news; it is no loop.
    #[test]
    fn a_refused_revert_waits() {
        let dom = |text: &str| Dom::parse_json(text.as_bytes()).unwrap();
        let (ours, foreign) = (dom(OURS), dom(FOREIGN));
        let mut told = Told::default();
        told.written(ours.as_ref());
        let mut due = |second| {
            let now = Timestamp::from_second(second).unwrap();
            let due = told.is_due(ours.as_ref(), Some(foreign.as_ref()), now);
            (due, told.revert_at().map(Timestamp::as_second))
        };
        assert_eq!(due(0), (false, Some(10)));
        assert_eq!(due(10), (true, None));
        assert_eq!(due(10), (false, Some(20)));
        // Nor is one that is overtaken by a change here which is refused.
        let now = Timestamp::from_second(20).unwrap();
        let changed = dom(CHANGED);
        assert!(told.is_due(changed.as_ref(), Some(foreign.as_ref()), now));
        assert_eq!(told.revert_at(), None);
    }

    #[test]
    fn what_others_change_stays_for_ten_seconds() {
        check(&[
            (OURS, OURS, 1, false),
            (RETRANSITED, FOREIGN, 2, false),
            (RETRANSITED, FOREIGN, 11, false),
            (RETRANSITED, FOREIGN, 12, true),
            (RETRANSITED, RETRANSITED, 13, false),
            // Anew, and the clock begins anew.
            (RETRANSITED, FOREIGN, 20, false),
            (RETRANSITED, FOREIGN, 29, false),
            // A change here does not wait.
            (CHANGED, FOREIGN, 29, true),
        ]);
    }
}
