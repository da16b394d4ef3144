//! What a Job does next. Pure, in three steps around the requests: `decide` which pods to make or
//! delete, `settle` what to count and which pods to let go, `finish` when they are let go.
//!
//! A pod that ended is counted exactly once: its uid goes into `uncountedTerminatedPods` (for
//! indexed Jobs its index into `completedIndexes`), then its finalizer is taken, then the uid
//! becomes a number. A crash between any two of these loses and doubles nothing.
//! Example: pod a succeeded → status {uncounted: [a]} → finalizer gone → status {succeeded: 1}.
//! Source: kubernetes v1.36.3 pkg/controller/job/{job_controller,backoff_utils}.go.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::job::indexes::Indexes;
use crate::job::model::{Condition, Job, Pod, Status};
use crate::job::policy::{has_failed, success, verdict};
use crate::workload::control::BURST;
use crate::workload::pods::{Phase, first_to_go};

const FIRST_BACKOFF: Duration = Duration::from_secs(10);
const LONGEST_BACKOFF: Duration = Duration::from_secs(600);
/// Uids in the status at a time: 20 KB of them.
const UNCOUNTED: usize = 500;

/// Failures since the last success, remembered between looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Backoff {
    pub(super) failures: u32,
    pub(super) last: Option<Timestamp>,
}

/// Everything known when a Job is looked at.
pub(super) struct World<'a> {
    pub(super) job: &'a Job,
    pub(super) pods: &'a [Pod],
    /// Uids whose finalizer is gone, though the cache does not know.
    pub(super) released: &'a HashSet<String>,
    /// All creations and deletions were seen.
    pub(super) may_change: bool,
    pub(super) backoff: &'a Backoff,
    pub(super) now: Timestamp,
}

/// A pod to make.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct New {
    pub(super) index: Option<usize>,
    /// Failures of the index so far: counted, ignored.
    pub(super) failures: Option<(usize, usize)>,
}

/// What to do with pods; numbers are places in the world's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The Job is over: delete what is active.
    End(Vec<usize>),
    /// Delete without counting.
    Remove(Vec<usize>),
    Create(Vec<New>),
    Nothing,
}

/// The first step's result.
#[derive(Clone, Debug)]
pub(super) struct Decision {
    pub(super) step: Step,
    pub(super) again: Option<Duration>,
    pub(super) backoff: Backoff,
    status: Status,
    active: usize,
    ready: usize,
    terminating: usize,
    succeeded: usize,
    before: Indexes,
    succeeded_indexes: Indexes,
    failed_indexes: Option<Indexes>,
    delayed: BTreeMap<usize, usize>,
    end: Option<Condition>,
    managed: bool,
}

/// What became of the step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    pub(super) created: usize,
    pub(super) deleted: usize,
    pub(super) deleted_ready: usize,
}

/// The second step's result.
#[derive(Clone, Debug)]
pub(super) struct Settlement {
    pub(super) status: Status,
    /// Write the status before any finalizer goes.
    pub(super) flush: bool,
    /// Pods whose finalizer goes.
    pub(super) release: Vec<usize>,
    /// The condition that ends the Job when all is counted.
    end: Option<Condition>,
    /// More pods are to be counted.
    more: bool,
    pub(super) event: Option<(&'static str, &'static str)>,
}

pub(super) fn condition(kind: &str, reason: &str, message: &str, now: Timestamp) -> Condition {
    Condition {
        kind: kind.to_owned(),
        status: "True".to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        probed: Some(now),
        transitioned: Some(now),
    }
}

impl World<'_> {
    /// Holds its finalizer for sure.
    fn is_tracked(&self, pod: &Pod) -> bool {
        pod.tracked && !self.released.contains(&pod.base.uid)
    }

    fn has_valid_index(&self, pod: &Pod) -> bool {
        let completions = self.job.completions.unwrap_or(0);
        !self.job.indexed || pod.index.is_some_and(|index| index < completions)
    }

    /// Pods that no count knows yet.
    fn fresh<'b>(&'b self, counted: &'b [String]) -> impl Iterator<Item = &'b Pod> {
        self.pods.iter().filter(move |pod| {
            self.is_tracked(pod) && !counted.contains(&pod.base.uid) && self.has_valid_index(pod)
        })
    }

    fn next_backoff(&self, succeeded: &[&Pod], failed: &[&Pod]) -> Backoff {
        let mut backoff = self.backoff.clone();
        let last_success = succeeded.iter().filter_map(|pod| pod.finished).max();
        if !succeeded.is_empty() {
            backoff = Backoff::default();
        }
        for pod in failed {
            if !succeeded.is_empty() && pod.finished <= last_success {
                continue;
            }
            backoff.failures = backoff.failures.saturating_add(1);
            backoff.last = backoff.last.max(pod.finished);
        }
        backoff
    }

    fn too_many_restarts(&self) -> bool {
        if !self.job.restarts {
            return false;
        }
        let lives = |pod: &&Pod| matches!(pod.base.phase, Phase::Running | Phase::Pending);
        let sum: i64 = self.pods.iter().filter(lives).map(|pod| pod.restarts).sum();
        let limit = i64::try_from(self.job.backoff_limit).unwrap_or(i64::MAX);
        sum >= limit.max(1)
    }

    /// Time until the deadline, once the Job runs.
    fn left(&self, started: Option<Timestamp>) -> Option<i64> {
        let seconds = self.job.deadline_seconds.filter(|_| !self.job.suspended)?;
        let passed = self.now.as_millisecond() - started?.as_millisecond();
        Some(seconds.saturating_mul(1000).saturating_sub(passed))
    }
}

fn wait_after(failures: u32, last: Option<Timestamp>, now: Timestamp) -> Duration {
    let Some(last) = last.filter(|_| failures > 0) else {
        return Duration::ZERO;
    };
    let wait = FIRST_BACKOFF
        .saturating_mul(1 << (failures - 1).min(16))
        .min(LONGEST_BACKOFF);
    // Nothing fails in the future: the clock was set back, and it has waited enough. Waiting for
    // the clock would take as long as it was set back.
    let passed = u64::try_from(now.as_millisecond() - last.as_millisecond());
    passed.map_or(Duration::ZERO, |passed| {
        wait.saturating_sub(Duration::from_millis(passed))
    })
}

/// See the module's header.
pub(super) fn decide(world: &World<'_>) -> Decision {
    let job = world.job;
    let mut status = job.status.clone();
    let active: Vec<usize> = places(world, |pod| pod.base.is_active());
    let new_succeeded: Vec<&Pod> = world
        .fresh(&status.uncounted_succeeded)
        .filter(|pod| pod.base.phase == Phase::Succeeded)
        .collect();
    let new_failed: Vec<&Pod> = world
        .fresh(&status.uncounted_failed)
        .filter(|pod| has_failed(job, pod))
        .collect();
    let counts = |pod: &&&Pod| !verdict(job, pod).ignored;
    let failed =
        status.failed + new_failed.iter().filter(counts).count() + status.uncounted_failed.len();
    if status.started.is_none() && !job.suspended {
        status.started = Some(world.now);
    }
    let mut decision = Decision {
        step: Step::Nothing,
        again: None,
        backoff: world.next_backoff(&new_succeeded, &new_failed),
        active: active.len(),
        ready: active
            .iter()
            .filter(|at| world.pods[**at].base.ready)
            .count(),
        terminating: world
            .pods
            .iter()
            .filter(|pod| pod.base.is_terminating())
            .count(),
        succeeded: status.succeeded + new_succeeded.len() + status.uncounted_succeeded.len(),
        before: Indexes::default(),
        succeeded_indexes: Indexes::default(),
        failed_indexes: None,
        delayed: BTreeMap::new(),
        end: None,
        managed: false,
        status,
    };
    if job.indexed {
        count_indexes(world, &mut decision);
    }
    decision.end = end(world, &mut decision, failed);
    if decision.end.is_some() {
        decision.step = Step::End(active);
    } else if world.may_change && !job.deleting {
        decision.managed = true;
        decision.step = manage(world, &mut decision, &active);
    }
    decision
}

fn places(world: &World<'_>, which: impl Fn(&Pod) -> bool) -> Vec<usize> {
    let all = world.pods.iter().enumerate();
    all.filter(|(_, pod)| which(pod))
        .map(|(at, _)| at)
        .collect()
}

fn count_indexes(world: &World<'_>, decision: &mut Decision) {
    let job = world.job;
    let completions = job.completions.unwrap_or(0);
    let valid = |pod: &&Pod| pod.tracked && world.has_valid_index(pod);
    let of = |which: &dyn Fn(&Pod) -> bool| -> Vec<usize> {
        let all = world.pods.iter().filter(valid);
        all.filter(|pod| which(pod))
            .filter_map(|pod| pod.index)
            .collect()
    };
    decision.before = Indexes::parse(&job.status.completed_indexes, completions);
    let new = of(&|pod| pod.base.phase == Phase::Succeeded);
    decision.succeeded_indexes = decision.before.with(new);
    decision.succeeded = decision.succeeded_indexes.total();
    let Some(limit) = job.backoff_limit_per_index else {
        return;
    };
    let known = job.status.failed_indexes.as_deref().unwrap_or("");
    let new = of(&|pod| {
        let verdict = verdict(job, pod);
        has_failed(job, pod) && (verdict.fails_index || !verdict.ignored && pod.failures.0 >= limit)
    });
    let failed = Indexes::parse(known, completions).with(new);
    // A failed pod stays until its successor, which carries its count on, exists.
    let active: Vec<usize> = of(&|pod| pod.base.is_active());
    for (at, pod) in world.pods.iter().enumerate() {
        let Some(index) = pod
            .index
            .filter(|_| world.is_tracked(pod) && world.has_valid_index(pod))
        else {
            continue;
        };
        let over = decision.succeeded_indexes.has(index) || failed.has(index);
        if !has_failed(job, pod) || over || active.contains(&index) {
            continue;
        }
        let rank = |pod: &Pod| (pod.failures.0 + pod.failures.1, pod.finished);
        let known = decision.delayed.get(&index).map(|at| &world.pods[*at]);
        if known.is_none_or(|known| rank(known) <= rank(pod)) {
            decision.delayed.insert(index, at);
        }
    }
    decision.failed_indexes = Some(failed);
}

/// The condition that ends the Job, if anything does; pods that complete it are counted later.
fn end(world: &World<'_>, decision: &mut Decision, failed: usize) -> Option<Condition> {
    let (job, now) = (world.job, world.now);
    let target =
        |reason: &str, message: &str| Some(condition("FailureTarget", reason, message, now));
    if let Some(met) = job.status.holds("SuccessCriteriaMet") {
        return Some(met.clone());
    }
    if let Some(known) = job.status.holds("FailureTarget") {
        return Some(condition("Failed", &known.reason, &known.message, now));
    }
    let mut lost = world.pods.iter().filter(|pod| has_failed(job, pod));
    if let Some(message) = lost.find_map(|pod| verdict(job, pod).fails_job) {
        return target("PodFailurePolicy", &message);
    }
    if failed > job.backoff_limit || world.too_many_restarts() {
        let message = "Job has reached the specified backoff limit";
        return target("BackoffLimitExceeded", message);
    }
    if let Some(left) = world.left(decision.status.started) {
        if left <= 0 {
            let message = "Job was active longer than specified deadline";
            return target("DeadlineExceeded", message);
        }
        decision.again = Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)));
    }
    if !job.indexed {
        return None;
    }
    if let Some(failed) = &decision.failed_indexes {
        let (lost, done) = (failed.total(), decision.succeeded_indexes.total());
        if job.max_failed_indexes.is_some_and(|most| lost > most) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return target("MaxFailedIndexesExceeded", message);
        }
        if lost > 0 && lost + done >= job.completions.unwrap_or(0) {
            return target("FailedIndexes", "Job has failed indexes");
        }
    }
    let message = success(job, &decision.succeeded_indexes)?;
    Some(condition(
        "SuccessCriteriaMet",
        "SuccessPolicy",
        &message,
        now,
    ))
}

fn manage(world: &World<'_>, decision: &mut Decision, active: &[usize]) -> Step {
    let job = world.job;
    if job.suspended {
        return match active {
            [] => Step::Nothing,
            all => Step::Remove(all.to_vec()),
        };
    }
    let wanted = match job.completions {
        None if decision.succeeded > 0 => active.len(),
        None => job.parallelism,
        Some(completions) => completions
            .saturating_sub(decision.succeeded)
            .min(job.parallelism),
    };
    let doomed = surplus(world, active, active.len().saturating_sub(wanted));
    if !doomed.is_empty() {
        return Step::Remove(doomed);
    }
    let going = if job.only_replaces_failed {
        decision.terminating
    } else {
        0
    };
    let missing = wanted.saturating_sub(going + active.len()).min(BURST);
    if missing == 0 {
        return Step::Nothing;
    }
    let mut later = |wait: Duration| {
        decision.again = Some(decision.again.map_or(wait, |again| again.min(wait)));
        Step::Nothing
    };
    if job.backoff_limit_per_index.is_none() {
        let backoff = &decision.backoff;
        let wait = wait_after(backoff.failures, backoff.last, world.now);
        if !wait.is_zero() {
            return later(wait);
        }
    }
    if !job.indexed {
        return Step::Create(vec![New::default(); missing]);
    }
    let mut taken = decision.succeeded_indexes.clone();
    taken = taken.with(active.iter().filter_map(|at| world.pods[*at].index));
    if job.only_replaces_failed {
        let going = world.pods.iter().filter(|pod| pod.base.is_terminating());
        taken = taken.with(going.filter_map(|pod| pod.index));
    }
    if let Some(failed) = &decision.failed_indexes {
        taken = taken.union(failed);
    }
    let indexes = taken.first_missing(missing, job.completions.unwrap_or(0));
    if job.backoff_limit_per_index.is_none() {
        let new = |index| New {
            index: Some(index),
            failures: None,
        };
        return Step::Create(indexes.into_iter().map(new).collect());
    }
    let mut new = Vec::new();
    let mut shortest: Option<Duration> = None;
    for index in indexes {
        let before = decision.delayed.get(&index).map(|at| &world.pods[*at]);
        let wait = before.map_or(Duration::ZERO, |pod| {
            let failures = pod.failures.0 + pod.failures.1 + 1;
            let failures = u32::try_from(failures).unwrap_or(u32::MAX);
            wait_after(failures, pod.finished, world.now)
        });
        if !wait.is_zero() {
            shortest = Some(shortest.map_or(wait, |known| known.min(wait)));
            continue;
        }
        let failures = before.map_or((0, 0), |pod| match verdict(job, pod).ignored {
            true => (pod.failures.0, pod.failures.1 + 1),
            false => (pod.failures.0 + 1, pod.failures.1),
        });
        new.push(New {
            index: Some(index),
            failures: Some(failures),
        });
    }
    match shortest {
        Some(wait) if new.is_empty() => later(wait),
        _ => Step::Create(new),
    }
}

/// Active pods to delete: of an indexed Job those that double an index or have none, then the
/// usual ones.
fn surplus(world: &World<'_>, active: &[usize], least: usize) -> Vec<usize> {
    let mut left: Vec<usize> = active.to_vec();
    let mut doomed = Vec::new();
    if world.job.indexed {
        let mut by_index: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for at in active {
            match world.pods[*at]
                .index
                .filter(|_| world.has_valid_index(&world.pods[*at]))
            {
                Some(index) => by_index.entry(index).or_default().push(*at),
                None => doomed.push(*at),
            }
        }
        for twins in by_index.values().filter(|twins| twins.len() > 1) {
            doomed.extend(choose(world, twins, twins.len() - 1));
        }
        left.retain(|at| !doomed.contains(at));
    }
    if doomed.len() < least {
        let more = choose(world, &left, least - doomed.len());
        doomed.extend(more);
    }
    doomed.truncate(BURST);
    doomed
}

fn choose(world: &World<'_>, among: &[usize], count: usize) -> Vec<usize> {
    let pods: Vec<_> = among.iter().map(|at| &world.pods[*at].base).collect();
    let none = std::collections::HashMap::new();
    let gone = first_to_go(&pods, &none, count, world.now);
    let place = |uid: &str| {
        among
            .iter()
            .copied()
            .find(|at| world.pods[*at].base.uid == uid)
    };
    gone.iter().filter_map(|pod| place(&pod.uid)).collect()
}

/// See the module's header.
pub(super) fn settle(world: &World<'_>, decision: Decision, outcome: Outcome) -> Settlement {
    let (job, now) = (world.job, world.now);
    let before = decision.active;
    let active = (before + outcome.created).saturating_sub(outcome.deleted);
    let ready = decision.ready.saturating_sub(outcome.deleted_ready);
    let terminating = decision.terminating + outcome.deleted;
    let mut status = decision.status;
    let mut end = decision.end;
    let mut event = None;
    let mut flush = false;
    if matches!(decision.step, Step::End(_)) {
        // Pods may be left, or not be in the cache yet.
        if outcome.deleted != before || !world.may_change {
            end = None;
        }
    } else {
        let enough = match job.completions {
            None => decision.succeeded > 0,
            Some(completions) => decision.succeeded >= completions,
        };
        if enough && active == 0 {
            let message = "Reached expected number of succeeded pods";
            end = Some(condition(
                "SuccessCriteriaMet",
                "CompletionsReached",
                message,
                now,
            ));
        } else if decision.managed {
            event = note_suspension(world, &mut status);
            flush = event.is_some();
        }
    }
    flush |= active != status.active
        || status.ready != Some(ready)
        || status.terminating != Some(terminating);
    status.active = active;
    status.ready = Some(ready);
    status.terminating = Some(terminating);
    let mut settlement = Settlement {
        flush,
        release: Vec::new(),
        end,
        more: false,
        event,
        status,
    };
    let known = |uid: &str| {
        let mut pods = world.pods.iter();
        pods.any(|pod| pod.base.uid == uid && world.is_tracked(pod))
    };
    settlement.flush |= settlement.status.count(known);
    let done = count_ended(world, &mut settlement, &decision.before, &decision.delayed);
    if job.indexed {
        let indexes = decision.before.with(done);
        let text = indexes.to_string();
        let failed = decision.failed_indexes.map(|failed| failed.to_string());
        let status = &mut settlement.status;
        settlement.flush |= text != status.completed_indexes || failed != status.failed_indexes;
        status.succeeded = indexes.total();
        status.completed_indexes = text;
        status.failed_indexes = failed;
    }
    announce(&mut settlement, now);
    settlement
}

/// Suspension and resumption are conditions; a Job's clock starts again when it is resumed.
fn note_suspension(world: &World<'_>, status: &mut Status) -> Option<(&'static str, &'static str)> {
    let now = world.now;
    if world.job.suspended {
        let new = condition("Suspended", "JobSuspended", "Job suspended", now);
        return status.ensure(new).then(|| {
            status.started = None;
            ("Suspended", "Job suspended")
        });
    }
    let new = Condition {
        status: "False".to_owned(),
        ..condition("Suspended", "JobResumed", "Job resumed", now)
    };
    status.ensure(new).then(|| {
        status.started = Some(now);
        ("Resumed", "Job resumed")
    })
}

impl Status {
    /// Turns uids of pods that let go of their finalizer into numbers.
    fn count(&mut self, is_tracked: impl Fn(&str) -> bool) -> bool {
        let mut changed = false;
        for (uids, count) in [
            (&mut self.uncounted_succeeded, &mut self.succeeded),
            (&mut self.uncounted_failed, &mut self.failed),
        ] {
            let before = uids.len();
            uids.retain(|uid| is_tracked(uid));
            *count += before - uids.len();
            changed |= before != uids.len();
        }
        changed
    }
}

/// Lists pods that ended as uncounted, and as ready to be let go; gives newly completed indexes.
fn count_ended(
    world: &World<'_>,
    settlement: &mut Settlement,
    before: &Indexes,
    delayed: &BTreeMap<usize, usize>,
) -> Vec<usize> {
    let job = world.job;
    let mut done = Vec::new();
    let fails = settlement
        .end
        .as_ref()
        .is_some_and(|end| end.kind != "SuccessCriteriaMet");
    let mut order: Vec<usize> = places(world, |pod| world.is_tracked(pod));
    order.sort_by_key(|at| world.pods[*at].index);
    for at in order {
        let pod = &world.pods[at];
        let uid = &pod.base.uid;
        let failed = has_failed(job, pod);
        let succeeded = pod.base.phase == Phase::Succeeded;
        let kept = pod
            .index
            .is_some_and(|index| delayed.get(&index) == Some(&at));
        let over = job.deleting || settlement.end.is_some() || succeeded;
        if !over && (!failed || kept) {
            continue;
        }
        settlement.release.push(at);
        let status = &mut settlement.status;
        let known_failed = status.uncounted_failed.contains(uid);
        if succeeded && !known_failed {
            if job.indexed {
                let index = pod.index.filter(|index| {
                    world.has_valid_index(pod) && !before.has(*index) && !done.contains(index)
                });
                settlement.flush |= index.is_some();
                done.extend(index);
            } else if !status.uncounted_succeeded.contains(uid) {
                status.uncounted_succeeded.push(uid.clone());
                settlement.flush = true;
            }
        } else if (failed || fails)
            && !known_failed
            && world.has_valid_index(pod)
            && !verdict(job, pod).ignored
        {
            status.uncounted_failed.push(uid.clone());
            settlement.flush = true;
        }
        let uncounted = status.uncounted_succeeded.len() + status.uncounted_failed.len();
        if done.len() + uncounted >= UNCOUNTED {
            settlement.more = true;
            break;
        }
    }
    done
}

/// Says in the status why the Job will end, before it has.
fn announce(settlement: &mut Settlement, now: Timestamp) {
    let Some(end) = &settlement.end else { return };
    let last = match end.kind.as_str() {
        "FailureTarget" => "Failed",
        "SuccessCriteriaMet" => "Complete",
        _ => return,
    };
    let last = condition(last, &end.reason, &end.message, now);
    if settlement.status.holds(&end.kind).is_none() {
        settlement.status.conditions.push(end.clone());
        settlement.flush = true;
    }
    settlement.end = Some(last);
}

/// After finalizers are gone (`released`: their uids): the status to write, if it changed, and the
/// condition that ended the Job, if it did.
pub(super) fn finish(
    world: &World<'_>,
    settlement: &Settlement,
    released: &HashSet<String>,
) -> (Option<Status>, Option<Condition>) {
    let mut status = settlement.status.clone();
    let still = |uid: &str| {
        let mut pods = world.pods.iter();
        !released.contains(uid) && pods.any(|pod| pod.base.uid == uid && world.is_tracked(pod))
    };
    let mut changed = status.count(still);
    let open = status.uncounted_succeeded.len() + status.uncounted_failed.len();
    let end = settlement
        .end
        .clone()
        .filter(|_| !settlement.more && open == 0 && status.terminating.unwrap_or(0) == 0);
    if let Some(end) = &end {
        status.ensure(end.clone());
        if end.kind == "Complete" {
            status.completed = end.transitioned;
        }
        changed = true;
    }
    (changed.then_some(status), end)
}

#[cfg(test)]
mod tests;
