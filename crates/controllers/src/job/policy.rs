//! What a failed pod means to its Job, and when enough indexes have succeeded.
//!
//! Source: kubernetes v1.36.3 pkg/controller/job/{pod_failure_policy,success_policy}.go.

use crate::job::indexes::Indexes;
use crate::job::model::{Action, Job, Pattern, Pod};
use crate::workload::pods::Phase;

/// A failed pod under the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Why the whole Job fails.
    pub(super) fails_job: Option<String>,
    /// It is no failure to count.
    pub(super) ignored: bool,
    /// Its index fails, however often it may.
    pub(super) fails_index: bool,
}

/// Failed, or going without having ended.
pub(super) fn has_failed(job: &Job, pod: &Pod) -> bool {
    match pod.base.phase {
        Phase::Failed => true,
        Phase::Succeeded => false,
        _ => !job.only_replaces_failed && pod.base.deleting,
    }
}

pub(super) fn verdict(job: &Job, pod: &Pod) -> Verdict {
    let mut verdict = Verdict::default();
    let rules = job.failure_policy.iter().flatten().enumerate();
    for (at, (pattern, action)) in rules {
        let Some(what) = matching(pattern, pod) else {
            continue;
        };
        match action {
            Action::FailJob => {
                let pod = format!("{}/{}", job.namespace, pod.base.name);
                let text = match what {
                    Match::Exit(name, code) => format!(
                        "Container {name} for pod {pod} failed with exit code {code} matching FailJob rule at index {at}"
                    ),
                    Match::Condition(kind) => {
                        format!(
                            "Pod {pod} has condition {kind} matching FailJob rule at index {at}"
                        )
                    }
                };
                verdict.fails_job = Some(text);
            }
            Action::FailIndex => verdict.fails_index = true,
            Action::Ignore => verdict.ignored = true,
            Action::Count => {}
        }
        break;
    }
    verdict
}

enum Match<'a> {
    Exit(&'a str, i64),
    Condition(&'a str),
}

fn matching<'a>(pattern: &Pattern, pod: &'a Pod) -> Option<Match<'a>> {
    match pattern {
        Pattern::ExitCodes {
            container,
            within,
            codes,
        } => {
            let found = pod.exits.iter().find(|(name, code)| {
                container.as_ref().is_none_or(|wanted| wanted == name)
                    && *code != 0
                    && codes.contains(code) == *within
            });
            found.map(|(name, code)| Match::Exit(name, *code))
        }
        Pattern::Conditions(wanted) => {
            let found = pod.conditions.iter().find(|has| wanted.contains(has));
            found.map(|(kind, _)| Match::Condition(kind))
        }
    }
}

/// The message of the first rule that is met.
pub(super) fn success(job: &Job, succeeded: &Indexes) -> Option<String> {
    let completions = job.completions.unwrap_or(0);
    if succeeded.total() == 0 {
        return None;
    }
    let met = job
        .success_policy
        .iter()
        .position(|rule| match &rule.indexes {
            Some(text) => {
                let wanted = Indexes::parse(text, completions);
                let done = wanted.overlap(succeeded);
                wanted.total() > 0
                    && (done == wanted.total() || rule.count.is_some_and(|count| done >= count))
            }
            None => rule.count.is_some_and(|count| succeeded.total() >= count),
        })?;
    Some(format!("Matched rules at index {met}"))
}
