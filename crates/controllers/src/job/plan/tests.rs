//! Steps of Jobs, as words; and that every end is counted once whatever happens.

use expect_test::{Expect, expect};

use super::*;
use crate::job::model::{Action, Pattern, SuccessRule};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// `name[:index] pending|running|succeeded|failed|going [code=N] [done=T] [free] [n=FAILURES]`.
fn pod(text: &str) -> Pod {
    let mut words = text.split(' ');
    let name = words.next().unwrap();
    let (name, index) = name
        .split_once(':')
        .map_or((name, None), |(n, i)| (n, i.parse().ok()));
    let mut pod = Pod {
        tracked: true,
        index,
        finished: Some(at(900)),
        ..Pod::default()
    };
    pod.base.name = name.to_owned();
    pod.base.uid = name.to_owned();
    pod.base.node = "n".to_owned();
    for word in words {
        match word {
            "pending" => {}
            "running" => pod.base.phase = Phase::Running,
            "succeeded" => pod.base.phase = Phase::Succeeded,
            "failed" => pod.base.phase = Phase::Failed,
            "going" => pod.base.deleting = true,
            "free" => pod.tracked = false,
            word => {
                let (key, value) = word.split_once('=').unwrap();
                let value: i64 = value.parse().unwrap();
                match key {
                    "code" => pod.exits.push(("c".to_owned(), value)),
                    "done" => pod.finished = Some(at(value)),
                    _ => pod.failures.0 = usize::try_from(value).unwrap(),
                }
            }
        }
    }
    pod
}

fn job(parallelism: usize, completions: Option<usize>) -> Job {
    Job {
        namespace: "default".to_owned(),
        parallelism,
        completions,
        backoff_limit: 6,
        status: Status {
            started: Some(at(0)),
            ready: Some(0),
            terminating: Some(0),
            ..Status::default()
        },
        ..Job::default()
    }
}

/// One look, all requests successful.
fn look(
    job: &Job,
    pods: &[Pod],
) -> (
    Step,
    Status,
    Option<Condition>,
    Vec<String>,
    Option<Duration>,
) {
    let (released, backoff) = (HashSet::new(), Backoff::default());
    let world = World {
        job,
        pods,
        released: &released,
        may_change: true,
        backoff: &backoff,
        now: at(1000),
    };
    let decision = decide(&world);
    let (step, again) = (decision.step.clone(), decision.again);
    let outcome = match &step {
        Step::End(doomed) | Step::Remove(doomed) => Outcome {
            deleted: doomed.len(),
            deleted_ready: doomed.iter().filter(|at| pods[**at].base.ready).count(),
            ..Outcome::default()
        },
        Step::Create(new) => Outcome {
            created: new.len(),
            ..Outcome::default()
        },
        Step::Nothing => Outcome::default(),
    };
    let settlement = settle(&world, decision, outcome);
    let freed: Vec<String> = settlement
        .release
        .iter()
        .map(|at| pods[*at].base.uid.clone())
        .collect();
    let (status, end) = finish(&world, &settlement, &freed.iter().cloned().collect());
    (step, status.unwrap_or(settlement.status), end, freed, again)
}

#[track_caller]
fn check(job: &Job, pods: &[&str], expected: Expect) {
    let pods: Vec<Pod> = pods.iter().map(|text| pod(text)).collect();
    let (step, status, end, freed, again) = look(job, &pods);
    let names = |places: &[usize]| -> String {
        let names = places.iter().map(|at| pods[*at].base.name.as_str());
        names.collect::<Vec<_>>().join(" ")
    };
    let step = match step {
        Step::End(doomed) => format!("end [{}]", names(&doomed)),
        Step::Remove(doomed) => format!("remove [{}]", names(&doomed)),
        Step::Create(new) => {
            let new = new.iter().map(|new| match (new.index, new.failures) {
                (None, _) => "+".to_owned(),
                (Some(index), None) => index.to_string(),
                (Some(index), Some((failures, _))) => format!("{index}(n={failures})"),
            });
            format!("create [{}]", new.collect::<Vec<_>>().join(" "))
        }
        Step::Nothing => "-".to_owned(),
    };
    let conditions: Vec<String> = status
        .conditions
        .iter()
        .map(|c| format!("{}={} {}", c.kind, c.status, c.reason))
        .collect();
    let mut text = format!(
        "{step}, free [{}], {} active, {} succeeded, {} failed",
        freed.join(" "),
        status.active,
        status.succeeded,
        status.failed
    );
    if !status.completed_indexes.is_empty() || status.failed_indexes.is_some() {
        let failed = status.failed_indexes.as_deref().unwrap_or("");
        text.push_str(&format!(", indexes {}/{failed}", status.completed_indexes));
    }
    if let Some(again) = again {
        text.push_str(&format!(", again in {again:?}"));
    }
    if let Some(end) = end {
        text.push_str(&format!(", {}", end.kind));
    }
    for condition in conditions {
        text.push_str(&format!("\n{condition}"));
    }
    expected.assert_eq(&text);
}

#[test]
fn pods_run_until_enough_have_succeeded() {
    let three = job(2, Some(3));
    check(
        &three,
        &[],
        expect!["create [+ +], free [], 2 active, 0 succeeded, 0 failed"],
    );
    check(
        &three,
        &["a succeeded", "b running"],
        expect!["create [+], free [a], 2 active, 1 succeeded, 0 failed"],
    );
    check(
        &three,
        &["a succeeded", "b succeeded", "c succeeded"],
        expect![[r#"
            -, free [a b c], 0 active, 3 succeeded, 0 failed, Complete
            SuccessCriteriaMet=True CompletionsReached
            Complete=True CompletionsReached"#]],
    );
    check(
        &job(2, None),
        &["a succeeded", "b running"],
        expect!["-, free [a], 1 active, 1 succeeded, 0 failed"],
    );
    check(
        &job(1, Some(3)),
        &["a pending", "b running"],
        expect!["remove [a], free [], 1 active, 0 succeeded, 0 failed"],
    );
}

#[test]
fn failures_wait_and_end_it() {
    check(
        &job(1, Some(1)),
        &["a failed done=995"],
        expect!["-, free [a], 0 active, 0 succeeded, 1 failed, again in 5s"],
    );
    let mut strict = job(2, Some(2));
    strict.backoff_limit = 0;
    check(
        &strict,
        &["a failed", "b running"],
        expect![[r#"
            end [b], free [a b], 0 active, 0 succeeded, 2 failed
            FailureTarget=True BackoffLimitExceeded"#]],
    );
    let mut late = job(1, Some(1));
    late.deadline_seconds = Some(1000);
    check(
        &late,
        &["a running"],
        expect![[r#"
            end [a], free [a], 0 active, 0 succeeded, 1 failed
            FailureTarget=True DeadlineExceeded"#]],
    );
    late.deadline_seconds = Some(1001);
    check(
        &late,
        &["a running"],
        expect!["-, free [], 1 active, 0 succeeded, 0 failed, again in 1s"],
    );
    // The pods are gone: now it has failed.
    let mut over = job(1, Some(1));
    over.status.failed = 1;
    over.status
        .conditions
        .push(condition("FailureTarget", "DeadlineExceeded", "", at(1)));
    check(
        &over,
        &[],
        expect![[r#"
            end [], free [], 0 active, 0 succeeded, 1 failed, Failed
            FailureTarget=True DeadlineExceeded
            Failed=True DeadlineExceeded"#]],
    );
}

#[test]
fn indexes() {
    let mut indexed = job(2, Some(3));
    indexed.indexed = true;
    check(
        &indexed,
        &[],
        expect!["create [0 1], free [], 2 active, 0 succeeded, 0 failed"],
    );
    check(
        &indexed,
        &["a:0 succeeded", "b:1 failed done=1"],
        expect!["create [1 2], free [a b], 2 active, 1 succeeded, 1 failed, indexes 0/"],
    );
    check(
        &indexed,
        &["a:0 running", "b:0 running", "c running"],
        expect!["remove [c a], free [], 1 active, 0 succeeded, 0 failed"],
    );
    indexed.backoff_limit_per_index = Some(1);
    check(
        &indexed,
        &["a:0 failed done=1", "b:1 running"],
        expect!["create [0(n=1)], free [], 2 active, 0 succeeded, 0 failed, indexes /"],
    );
    check(
        &indexed,
        &["a:0 failed n=1", "b:1 running"],
        expect!["create [2(n=0)], free [a], 2 active, 0 succeeded, 1 failed, indexes /0"],
    );
    indexed.success_policy.push(SuccessRule {
        indexes: Some("1-2".to_owned()),
        count: Some(1),
    });
    check(
        &indexed,
        &["b:1 succeeded", "c:2 running"],
        expect![[r#"
            end [c], free [b c], 0 active, 1 succeeded, 0 failed, indexes 1/
            SuccessCriteriaMet=True SuccessPolicy"#]],
    );
}

#[test]
fn a_policy_for_failures() {
    let mut guarded = job(2, Some(2));
    let codes = |codes: &[i64]| Pattern::ExitCodes {
        container: None,
        within: true,
        codes: codes.to_vec(),
    };
    guarded.only_replaces_failed = true;
    guarded.failure_policy = Some(vec![
        (codes(&[42]), Action::FailJob),
        (codes(&[1]), Action::Ignore),
    ]);
    check(
        &guarded,
        &["a failed code=1 done=1", "b running"],
        expect!["create [+], free [a], 2 active, 0 succeeded, 0 failed"],
    );
    check(
        &guarded,
        &["a failed code=42", "b running"],
        expect![[r#"
            end [b], free [a b], 0 active, 0 succeeded, 2 failed
            FailureTarget=True PodFailurePolicy"#]],
    );
    check(
        &guarded,
        &["a running going", "b running"],
        expect!["-, free [], 1 active, 0 succeeded, 0 failed"],
    );
}

#[test]
fn suspension() {
    let mut paused = job(2, Some(2));
    paused.suspended = true;
    check(
        &paused,
        &["a running", "b running"],
        expect![[r#"
            remove [a b], free [], 0 active, 0 succeeded, 0 failed
            Suspended=True JobSuspended"#]],
    );
    let mut back = job(1, Some(1));
    back.status.conditions.push(condition(
        "Suspended",
        "JobSuspended",
        "Job suspended",
        at(1),
    ));
    check(
        &back,
        &[],
        expect![[r#"
            create [+], free [], 1 active, 0 succeeded, 0 failed
            Suspended=False JobResumed"#]],
    );
}

/// Pods end by chance, requests and looks are lost by chance: no success is counted twice, and the
/// Job completes with exactly as many as it asks for.
#[test]
fn every_end_is_counted_once() {
    for seed in 0..100 {
        let mut rng = base::Rng::new(seed);
        let completions = usize::try_from(1 + rng.below(8)).unwrap();
        let mut job = job(
            usize::try_from(1 + rng.below(4)).unwrap(),
            Some(completions),
        );
        job.indexed = rng.below(2) == 0;
        job.backoff_limit = 10_000;
        let mut pods: Vec<Pod> = Vec::new();
        let (mut made, mut ended, mut failed) = (0, 0, 0);
        let backoff = Backoff::default();
        for second in 0..20_000 {
            let released = HashSet::new();
            let before = job.clone();
            let world = World {
                job: &before,
                pods: &pods,
                released: &released,
                may_change: true,
                backoff: &backoff,
                now: at(second),
            };
            let decision = decide(&world);
            let (mut outcome, mut new) = (Outcome::default(), Vec::new());
            if let Step::Create(wanted) = &decision.step {
                for pod in wanted.iter().take(usize::try_from(rng.below(3)).unwrap()) {
                    made += 1;
                    let mut fresh = super::tests::pod(&format!("p{made} running"));
                    fresh.index = pod.index;
                    new.push(fresh);
                }
                outcome.created = new.len();
            }
            let settlement = settle(&world, decision, outcome);
            // Now and then the process dies between two requests.
            let dies = rng.below(4);
            if dies > 0 {
                job.status = settlement.status.clone();
                let mut gone = HashSet::new();
                for place in &settlement.release {
                    if rng.below(3) > 0 {
                        gone.insert(pods[*place].base.uid.clone());
                    }
                }
                let (status, _) = finish(&world, &settlement, &gone);
                if dies > 1 {
                    job.status = status.unwrap_or(job.status);
                }
                for pod in &mut pods {
                    pod.tracked &= !gone.contains(&pod.base.uid);
                }
            }
            pods.extend(new);
            if job.status.is_finished() {
                break;
            }
            for pod in pods
                .iter_mut()
                .filter(|pod| pod.base.phase == Phase::Running)
            {
                if rng.below(4) == 0 {
                    let good = rng.below(3) > 0;
                    pod.base.phase = if good {
                        Phase::Succeeded
                    } else {
                        Phase::Failed
                    };
                    pod.finished = Some(at(second));
                    ended += usize::from(good);
                    failed += usize::from(!good);
                }
            }
        }
        assert!(
            job.status.holds("Complete").is_some(),
            "seed {seed}: {:?}",
            job.status
        );
        assert_eq!(job.status.succeeded, completions, "seed {seed}");
        assert!(
            ended >= completions && job.status.failed <= failed,
            "seed {seed}"
        );
    }
}

/// With the clock set back by an hour a failed pod is replaced at once, not in an hour.
#[test]
fn a_clock_that_is_set_back_delays_nothing() {
    let wait = |now| super::wait_after(1, Some(at(5000)), at(now));
    assert_eq!(wait(5004), Duration::from_secs(6));
    assert_eq!(wait(5010), Duration::ZERO);
    assert_eq!(wait(1400), Duration::ZERO);
}
