//! Steps of updates, as words; and that updates keep their bounds and end.

use expect_test::{Expect, expect};

use super::*;
use crate::workload::amount::Amount;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn deployment(replicas: i64, surge: Amount, unavailable: Amount) -> Deployment {
    Deployment {
        name: "web".to_owned(),
        generation: 1,
        deleting: false,
        paused: false,
        replicas,
        min_ready_seconds: 0,
        strategy: Strategy::Rolling { surge, unavailable },
        deadline_seconds: Some(600),
        history_limit: Some(10),
        annotations: Annotations::new(),
        status: Status::default(),
    }
}

fn three() -> Deployment {
    deployment(3, Amount::Percent(25), Amount::Percent(25))
}

fn recreating() -> Deployment {
    Deployment {
        strategy: Strategy::Recreate,
        deadline_seconds: None,
        ..three()
    }
}

/// `name[*] size/observed/available [rN] [dN] [mN]`: `*` has the template; revision, desired and max
/// annotations.
fn set(number: i64, text: &str) -> Set {
    let mut words = text.split(' ');
    let name = words.next().unwrap();
    let mut counts = words.next().unwrap().split('/').map(|n| n.parse().unwrap());
    let mut set = Set {
        name: name.trim_end_matches('*').to_owned(),
        matches: name.ends_with('*'),
        created: Some(at(number)),
        replicas: counts.next().unwrap(),
        observed: counts.next().unwrap(),
        available: counts.next().unwrap(),
        generation: 1,
        observed_generation: 1,
        terminating: Some(0),
        ..Set::default()
    };
    set.ready = set.available;
    for word in words {
        let key = match &word[..1] {
            "r" => REVISION,
            "d" => DESIRED_REPLICAS,
            _ => MAX_REPLICAS,
        };
        set.annotations.insert(key.to_owned(), word[1..].to_owned());
    }
    set
}

fn show(plan: &Plan, sets: &[Set]) -> String {
    let name = |at: &usize| sets.get(*at).map_or("new", |set| set.name.as_str());
    let mut lines: Vec<String> = plan
        .effects
        .iter()
        .map(|effect| match effect {
            Effect::Create {
                replicas,
                annotations,
            } => {
                format!("create {replicas} r{}", annotations[REVISION])
            }
            Effect::Update { set, annotations } => {
                format!("update {} r{}", name(set), annotations[REVISION])
            }
            Effect::Scale { set, from, to, .. } => format!("scale {} {from} → {to}", name(set)),
            Effect::Delete { set } => format!("delete {}", name(set)),
            Effect::Rollback { to, warning, done } => format!(
                "rollback {:?} {:?} {done:?}",
                to.as_ref().map(name),
                warning.as_ref().map(|(reason, _)| reason)
            ),
        })
        .collect();
    let status = &plan.status;
    lines.push(format!(
        "{} replicas, {} updated, {} available, {} unavailable",
        status.replicas, status.updated, status.available, status.unavailable
    ));
    for condition in &status.conditions {
        lines.push(format!(
            "{}={} {}: {}",
            condition.kind, condition.status, condition.reason, condition.message
        ));
    }
    lines.join("\n")
}

#[track_caller]
fn check(deployment: &Deployment, sets: &[&str], expected: Expect) {
    let sets: Vec<Set> = (0..).zip(sets).map(|(n, text)| set(n, text)).collect();
    let plan = plan(deployment, &sets, "web-new", at(1000));
    expected.assert_eq(&show(&plan, &sets));
}

#[test]
fn a_new_deployment_makes_its_set() {
    check(
        &three(),
        &[],
        expect![[r#"
            create 3 r1
            0 replicas, 0 updated, 0 available, 3 unavailable
            Progressing=True NewReplicaSetCreated: Created new replica set "web-new"
            Available=False MinimumReplicasUnavailable: Deployment does not have minimum availability."#]],
    );
}

#[test]
fn a_rolling_update_goes_step_by_step() {
    check(
        &three(),
        &["old 3/3/3 r1 d3 m4"],
        expect![[r#"
            create 1 r2
            3 replicas, 0 updated, 3 available, 1 unavailable
            Available=True MinimumReplicasAvailable: Deployment has minimum availability.
            Progressing=True ReplicaSetUpdated: ReplicaSet "web-new" is progressing."#]],
    );
    check(
        &three(),
        &["old 3/3/3 r1 d3 m4", "new* 1/1/1 r2 d3 m4"],
        expect![[r#"
            scale old 3 → 2
            4 replicas, 1 updated, 4 available, 0 unavailable
            Available=True MinimumReplicasAvailable: Deployment has minimum availability.
            Progressing=True ReplicaSetUpdated: ReplicaSet "new" is progressing."#]],
    );
}

/// Pods that do not serve are replaced first, although the new ones do not serve yet.
#[test]
fn sick_old_pods_make_room() {
    check(
        &deployment(10, Amount::Count(3), Amount::Count(2)),
        &["old 8/8/6 r1 d10 m13", "new* 5/5/4 r2 d10 m13"],
        expect![[r#"
            scale old 8 → 6
            scale old 6 → 4
            13 replicas, 5 updated, 10 available, 0 unavailable
            Available=True MinimumReplicasAvailable: Deployment has minimum availability.
            Progressing=True ReplicaSetUpdated: ReplicaSet "new" is progressing."#]],
    );
}

#[test]
fn an_old_template_gets_a_new_number_and_remembers_its_old_ones() {
    let mut one = set(0, "a* 0/0/0 r1");
    one.annotations
        .insert(REVISION_HISTORY.to_owned(), "7".to_owned());
    let sets = [one, set(1, "b 3/3/3 r2 d3 m4")];
    let plan = plan(&three(), &sets, "web-new", at(0));
    let Effect::Update { annotations, .. } = &plan.effects[0] else {
        panic!("{:?}", plan.effects);
    };
    assert_eq!(annotations[REVISION], "3");
    assert_eq!(annotations[REVISION_HISTORY], "7,1");
    assert_eq!(plan.revision.as_deref(), Some("3"));
}

#[test]
fn recreate_waits_for_the_end_of_old_pods() {
    let recreate = recreating();
    check(
        &recreate,
        &["old 3/3/3 r1 d3 m3"],
        expect![[r#"
            scale old 3 → 0
            3 replicas, 0 updated, 3 available, 0 unavailable
            Available=True MinimumReplicasAvailable: Deployment has minimum availability."#]],
    );
    check(
        &recreate,
        &["old 0/1/0 r1 d3 m3"],
        expect![[r#"
            1 replicas, 0 updated, 0 available, 0 unavailable
            Available=False MinimumReplicasUnavailable: Deployment does not have minimum availability."#]],
    );
    check(
        &recreate,
        &["old 0/0/0 r1 d3 m3"],
        expect![[r#"
            create 3 r2
            0 replicas, 0 updated, 0 available, 3 unavailable
            Available=False MinimumReplicasUnavailable: Deployment does not have minimum availability."#]],
    );
}

/// A set that was made and not seen yet is joined by another one when the template changes: who
/// then resizes the Deployment must not keep both for ever.
#[test]
fn a_resize_during_a_recreation_ends_all_old_sets() {
    let recreate = recreating();
    check(
        &recreate,
        &["older 2/2/2 r1 d2 m2", "old 2/2/2 r2 d2 m2"],
        expect![[r#"
            scale older 2 → 0
            scale old 2 → 0
            4 replicas, 0 updated, 4 available, 0 unavailable
            Available=True MinimumReplicasAvailable: Deployment has minimum availability."#]],
    );
    check(
        &recreate,
        &["old 2/2/2 r1 d2 m2", "new* 2/2/2 r2 d2 m2"],
        expect![[r#"
            scale old 2 → 0
            4 replicas, 2 updated, 4 available, 0 unavailable
            Available=True MinimumReplicasAvailable: Deployment has minimum availability."#]],
    );
}

#[test]
fn a_resize_during_an_update_keeps_the_proportions() {
    check(
        &deployment(20, Amount::Count(5), Amount::Count(2)),
        &["old 8/8/8 r1 d10 m15", "new* 7/7/2 r2 d10 m15"],
        expect![[r#"
            scale old 8 → 13
            scale new 7 → 12
            15 replicas, 7 updated, 10 available, 15 unavailable
            Progressing=True FoundNewReplicaSet: Found new replica set "new"
            Available=False MinimumReplicasUnavailable: Deployment does not have minimum availability."#]],
    );
    check(
        &deployment(5, Amount::Count(5), Amount::Count(2)),
        &["new* 10/10/10 r1 d10 m15"],
        expect![[r#"
            scale new 10 → 5
            10 replicas, 10 updated, 10 available, 0 unavailable
            Progressing=True FoundNewReplicaSet: Found new replica set "new"
            Available=True MinimumReplicasAvailable: Deployment has minimum availability."#]],
    );
}

#[test]
fn a_pause_stops_updates_but_not_resizes() {
    let paused = Deployment {
        paused: true,
        ..three()
    };
    check(
        &paused,
        &["old 2/2/2 r1 d2 m3"],
        expect![[r#"
            scale old 2 → 3
            2 replicas, 0 updated, 2 available, 1 unavailable
            Progressing=Unknown DeploymentPaused: Deployment is paused
            Available=False MinimumReplicasUnavailable: Deployment does not have minimum availability."#]],
    );
}

#[test]
fn complete_late_and_failed() {
    let mut done = three();
    done.status.replicas = 3;
    done.status.updated = 3;
    done.status.available = 3;
    done.status.observed_generation = 1;
    done.history_limit = Some(1);
    check(
        &done,
        &["a 0/0/0 r1", "b 0/0/0 r2", "new* 3/3/3 r3 d3 m4"],
        expect![[r#"
            delete a
            3 replicas, 3 updated, 3 available, 0 unavailable
            Available=True MinimumReplicasAvailable: Deployment has minimum availability.
            Progressing=True NewReplicaSetAvailable: ReplicaSet "new" has successfully progressed."#]],
    );
    let mut late = three();
    late.status.updated = 1;
    late.status.replicas = 1;
    let condition = Condition::new(
        "Progressing",
        "True",
        "ReplicaSetUpdated",
        String::new(),
        at(399),
    );
    late.status.conditions.push(condition);
    check(
        &late,
        &["new* 3/1/0 r1 d3 m4"],
        expect![[r#"
            1 replicas, 1 updated, 0 available, 3 unavailable
            Available=False MinimumReplicasUnavailable: Deployment does not have minimum availability.
            Progressing=False ProgressDeadlineExceeded: ReplicaSet "new" has timed out progressing."#]],
    );
    let sets = [set(0, "new* 3/1/0 r1 d3 m4")];
    late.status.conditions[0].updated = Some(at(900));
    let again = plan(&late, &sets, "", at(1000)).again;
    assert_eq!(again, Some(Duration::from_secs(501)));
}

#[test]
fn a_rollback_by_annotation() {
    let mut back = three();
    back.annotations.insert(
        "deprecated.deployment.rollback.to".to_owned(),
        "0".to_owned(),
    );
    check(
        &back,
        &["a 0/0/0 r1", "b* 3/3/3 r2 d3 m4"],
        expect![[r#"
            rollback Some("a") None Some("Rolled back deployment \"web\" to revision 1")
            0 replicas, 0 updated, 0 available, 0 unavailable
            Progressing=True FoundNewReplicaSet: Found new replica set "b""#]],
    );
}

#[test]
fn amounts_round_as_they_should() {
    for (percent, whole, up, down) in [
        (25, 3, 1, 0),
        (25, 4, 1, 1),
        (30, 10, 3, 3),
        (1, 1, 1, 0),
        (100, 7, 7, 7),
    ] {
        assert_eq!(Amount::Percent(percent).of(whole, true), up);
        assert_eq!(Amount::Percent(percent).of(whole, false), down);
    }
}

/// Plays ReplicaSets and pods by chance against the plan, with template changes on the way.
#[test]
fn updates_keep_their_bounds_and_end() {
    for seed in 0..120 {
        let mut rng = base::Rng::new(seed);
        let mut below = |n: u64| i64::try_from(rng.below(n)).unwrap();
        let amount = |percent: bool, n: i64| {
            if percent {
                Amount::Percent(n * 10)
            } else {
                Amount::Count(n)
            }
        };
        let mut deployment = deployment(1 + below(12), Amount::Count(0), Amount::Count(0));
        let surge = amount(below(2) == 0, below(5));
        let unavailable = amount(below(2) == 0, below(5));
        deployment.strategy = Strategy::Rolling { surge, unavailable };
        let mut sets: Vec<Set> = Vec::new();
        let changes = 1 + below(3);
        let mut template = 0;
        let mut served = false;
        for step in 0..600 {
            if step % 40 == 39 && template < changes {
                template += 1;
                deployment.generation += 1;
                for set in &mut sets {
                    set.matches = false;
                }
            }
            let plan = plan(&deployment, &sets, "new", at(step));
            for effect in plan.effects {
                match effect {
                    Effect::Create {
                        replicas,
                        annotations,
                    } => sets.push(Set {
                        name: format!("s{}", sets.len()),
                        created: Some(at(step)),
                        matches: true,
                        replicas,
                        annotations,
                        ..Set::default()
                    }),
                    Effect::Update { set, annotations } => sets[set].annotations = annotations,
                    Effect::Scale {
                        set,
                        from,
                        to,
                        annotations,
                    } => {
                        assert_eq!(sets[set].replicas, from);
                        assert!(to >= 0);
                        sets[set].replicas = to;
                        sets[set].annotations = annotations;
                    }
                    Effect::Delete { set } => {
                        assert_eq!(sets[set].replicas, 0);
                    }
                    Effect::Rollback { .. } => panic!("nobody asked"),
                }
            }
            deployment.status = plan.status;
            if let Some(revision) = plan.revision {
                deployment.annotations.insert(REVISION.to_owned(), revision);
            }
            let total: i64 = sets.iter().map(|set| set.replicas).sum();
            let most = deployment.replicas + deployment.max_surge();
            assert!(total <= most, "seed {seed}: {total} pods of at most {most}");
            // ReplicaSets follow at once in losing pods (available ones last), by chance in gaining.
            for set in &mut sets {
                set.observed = set.observed.min(set.replicas);
                if below(2) == 0 {
                    set.observed += (set.replicas - set.observed).min(1 + below(3));
                }
                set.available = set.available.min(set.observed);
                if below(2) == 0 {
                    set.available += (set.observed - set.available).min(1);
                }
                set.ready = set.available;
            }
            let available: i64 = sets.iter().map(|set| set.available).sum();
            served |= available >= deployment.replicas - deployment.max_unavailable();
            if served {
                let least = deployment.replicas - deployment.max_unavailable();
                assert!(
                    available >= least,
                    "seed {seed}: {available} serve, not {least}"
                );
            }
        }
        assert!(
            deployment.is_complete(&deployment.status),
            "seed {seed} never ends"
        );
        let reason = &deployment.status.condition("Progressing").unwrap().reason;
        assert_eq!(reason, "NewReplicaSetAvailable", "seed {seed}");
    }
}
