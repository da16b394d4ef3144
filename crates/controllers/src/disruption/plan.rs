//! What a budget's status should say. Pure.
//!
//! Example: minAvailable 2, three ready pods, one of them evicted a moment ago → healthy 2,
//! desired 2, allowed 0, looked at again when the eviction should be over.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::disruption::budget::{Amount, Budget, Condition, Status};
use crate::endpoint::Pod;

/// An eviction that was allowed is over by then.
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) status: Status,
    /// Pods whose eviction was allowed and did not happen.
    pub(super) overdue: Vec<Arc<Pod>>,
    pub(super) recheck: Option<Duration>,
}

/// Is the number of expected pods what their controllers want?
pub(super) fn needs_scale(budget: &Budget) -> bool {
    let share = matches!(budget.min_available, Some(Amount::Percent(_)));
    budget.max_unavailable.is_some() || share
}

/// `pods` are those that it selects; `scale` what their controllers want.
pub(super) fn plan(budget: &Budget, pods: &[Arc<Pod>], scale: i64, now: Timestamp) -> Plan {
    let (expected, desired) = match (budget.max_unavailable, budget.min_available) {
        (Some(most), _) => (scale, (scale - most.of(scale)).max(0)),
        (None, Some(Amount::Number(least))) => {
            (i64::try_from(pods.len()).unwrap_or(i64::MAX), least)
        }
        (None, Some(least)) => (scale, least.of(scale)),
        (None, None) => (0, 0),
    };
    let mut plan = Plan {
        status: Status {
            desired,
            expected,
            observed: budget.generation,
            ..Status::default()
        },
        overdue: Vec::new(),
        recheck: None,
    };
    for pod in pods.iter().filter(|pod| !pod.terminating) {
        let evicted = budget.status.disrupted.get(&pod.name);
        let left = evicted.map(|since| {
            let age = Duration::try_from(now.duration_since(*since)).unwrap_or_default();
            DELETION_TIMEOUT.checked_sub(age)
        });
        match (evicted, left.flatten()) {
            (Some(since), Some(left)) => {
                plan.recheck = Some(plan.recheck.map_or(left, |known| known.min(left)));
                plan.status.disrupted.insert(pod.name.clone(), *since);
                if !left.is_zero() {
                    continue;
                }
            }
            (Some(_), None) => plan.overdue.push(pod.clone()),
            (None, _) => {}
        }
        plan.status.healthy += i64::from(pod.ready);
    }
    let spare = plan.status.healthy - desired;
    plan.status.allowed = if expected > 0 { spare.max(0) } else { 0 };
    plan.status.condition = Condition::of(plan.status.allowed, budget.generation);
    plan
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use schema::Dom;

    use super::*;

    /// Pods: `name`, `name!` unready, `name-` terminating.
    #[track_caller]
    fn check(spec: &str, status: &str, pods: &str, scale: i64, expected: Expect) {
        let json = format!(
            r#"{{"metadata":{{"namespace":"d","name":"b","generation":2}},"spec":{{{spec},"selector":{{}}}},"status":{{{status}}}}}"#
        );
        let dom = Dom::parse_json(json.as_bytes()).unwrap();
        let budget = Budget::of(dom.as_ref());
        let pods: Vec<Arc<Pod>> = pods
            .split_whitespace()
            .map(|word| {
                Arc::new(Pod {
                    name: word.trim_end_matches(['!', '-']).to_owned(),
                    ready: !word.ends_with('!'),
                    terminating: word.ends_with('-'),
                    ..Pod::default()
                })
            })
            .collect();
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        let Plan {
            status,
            overdue,
            recheck,
        } = plan(&budget, &pods, scale, now);
        let overdue: Vec<&str> = overdue.iter().map(|pod| pod.name.as_str()).collect();
        expected.assert_eq(&format!(
            "healthy {}/{} of {}, allowed {} ({}), disrupted {:?}, overdue {overdue:?}, recheck {recheck:?}",
            status.healthy,
            status.desired,
            status.expected,
            status.allowed,
            status.condition.reason,
            status.disrupted.keys().collect::<Vec<_>>(),
        ));
    }

    #[test]
    fn amounts() {
        check(
            r#""minAvailable":2"#,
            "",
            "a b c d!",
            0,
            expect![
                "healthy 3/2 of 4, allowed 1 (SufficientPods), disrupted [], overdue [], recheck None"
            ],
        );
        check(
            r#""minAvailable":2"#,
            "",
            "a b c-",
            0,
            expect![
                "healthy 2/2 of 3, allowed 0 (InsufficientPods), disrupted [], overdue [], recheck None"
            ],
        );
        check(
            r#""minAvailable":"51%""#,
            "",
            "a b c",
            3,
            expect![
                "healthy 3/2 of 3, allowed 1 (SufficientPods), disrupted [], overdue [], recheck None"
            ],
        );
        check(
            r#""maxUnavailable":1"#,
            "",
            "a b",
            3,
            expect![
                "healthy 2/2 of 3, allowed 0 (InsufficientPods), disrupted [], overdue [], recheck None"
            ],
        );
        check(
            r#""maxUnavailable":"30%""#,
            "",
            "a b c",
            3,
            expect![
                "healthy 3/2 of 3, allowed 1 (SufficientPods), disrupted [], overdue [], recheck None"
            ],
        );
        check(
            r#""minAvailable":0"#,
            "",
            "",
            0,
            expect![
                "healthy 0/0 of 0, allowed 0 (InsufficientPods), disrupted [], overdue [], recheck None"
            ],
        );
    }

    #[test]
    fn evictions_under_way_count_as_done() {
        let status = r#""disruptedPods":{"a":"2026-01-01T00:00:30Z","b":"2025-12-31T23:50:00Z","gone":"2026-01-01T00:00:30Z"}"#;
        check(
            r#""minAvailable":1"#,
            status,
            "a b c",
            0,
            expect![[
                r#"healthy 2/1 of 3, allowed 1 (SufficientPods), disrupted ["a"], overdue ["b"], recheck Some(90s)"#
            ]],
        );
    }
}
