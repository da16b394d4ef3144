//! What happens to one object. Pure.
//!
//! Source: kubernetes v1.36 pkg/controller/garbagecollector/garbagecollector.go,
//! attemptToDeleteItem, processDeletingDependentsItem, attemptToOrphan.

use crate::garbage::graph::{Entry, Graph};

pub(super) const ORPHAN: &str = "orphan";
pub(super) const FOREGROUND: &str = "foregroundDeletion";

/// How a delete treats dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Policy {
    Background,
    Foreground,
    Orphan,
}

/// See the variants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// All is as it should be.
    Nothing,
    /// Look at these: they block a foreground deletion.
    Dependents(Vec<String>),
    /// No owner is left.
    Delete(Policy),
    /// It waits for its dependents and one of them, in the end, for it: its owners no longer wait
    /// for it, then it goes with its dependents.
    BreakCircle,
    /// Other owners are left; these are gone.
    RemoveOwners(Vec<String>),
    /// Nothing blocks the deletion any more.
    RemoveFinalizer(&'static str),
    /// Cut the dependents loose, then let the owner go.
    Orphan,
}

/// `absent`: owners that are known not to exist.
pub(super) fn decide(entry: &Entry, graph: &Graph, absent: &[String]) -> Decision {
    if entry.deleting && entry.has_finalizer(ORPHAN) {
        return Decision::Orphan;
    }
    if entry.deleting && entry.has_finalizer(FOREGROUND) {
        let blocking: Vec<String> = graph
            .dependents(&entry.uid)
            .into_iter()
            .filter(|dependent| {
                dependent
                    .owners
                    .iter()
                    .any(|owner| owner.uid == entry.uid && owner.blocks)
            })
            .map(|dependent| dependent.uid)
            .collect();
        if blocking.is_empty() {
            return Decision::RemoveFinalizer(FOREGROUND);
        }
        return Decision::Dependents(blocking);
    }
    if entry.deleting || entry.owners.is_empty() {
        return Decision::Nothing;
    }
    let (mut solid, mut gone, mut waiting) = (0, Vec::new(), Vec::new());
    for owner in &entry.owners {
        match graph.get(&owner.uid) {
            Some(known) if known.deleting && known.has_finalizer(FOREGROUND) => {
                waiting.push(owner.uid.clone());
            }
            Some(_) => solid += 1,
            None if absent.contains(&owner.uid) => gone.push(owner.uid.clone()),
            None => solid += 1,
        }
    }
    if solid > 0 {
        if gone.is_empty() && waiting.is_empty() {
            return Decision::Nothing;
        }
        gone.append(&mut waiting);
        return Decision::RemoveOwners(gone);
    }
    let dependents = graph.dependents(&entry.uid);
    if !waiting.is_empty() && !dependents.is_empty() {
        let waits = |entry: &Entry| entry.deleting && entry.has_finalizer(FOREGROUND);
        return match dependents.iter().any(waits) {
            true => Decision::BreakCircle,
            false => Decision::Delete(Policy::Foreground),
        };
    }
    let policy = if entry.has_finalizer(ORPHAN) {
        Policy::Orphan
    } else if entry.has_finalizer(FOREGROUND) {
        Policy::Foreground
    } else {
        Policy::Background
    };
    Decision::Delete(policy)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::garbage::graph::Owner;

    /// `name[<owner,owner!][:d][+finalizer]`: `!` blocks its owner, `:d` is being deleted.
    #[track_caller]
    fn check(world: &str, about: &str, absent: &[&str], expected: Expect) {
        let mut graph = Graph::default();
        for word in world.split_whitespace() {
            let (word, finalizer) = word.split_once('+').unwrap_or((word, ""));
            let (word, deleting) = match word.strip_suffix(":d") {
                Some(word) => (word, true),
                None => (word, false),
            };
            let (name, owners) = word.split_once('<').unwrap_or((word, ""));
            graph.set(Entry {
                uid: name.into(),
                deleting,
                finalizers: finalizer
                    .split('+')
                    .filter(|f| !f.is_empty())
                    .map(Into::into)
                    .collect(),
                owners: owners
                    .split(',')
                    .filter(|owner| !owner.is_empty())
                    .map(|owner| Owner {
                        uid: owner.trim_end_matches('!').into(),
                        blocks: owner.ends_with('!'),
                        ..Owner::default()
                    })
                    .collect(),
                ..Entry::default()
            });
        }
        let absent: Vec<String> = absent.iter().map(|uid| (*uid).into()).collect();
        let entry = graph.get(about).unwrap();
        expected.assert_eq(&format!("{:?}", decide(entry, &graph, &absent)));
    }

    #[test]
    fn an_object_lives_as_long_as_one_owner_does() {
        check("rs pod<rs", "pod", &[], expect!["Nothing"]);
        check("pod<rs", "pod", &["rs"], expect!["Delete(Background)"]);
        check("pod<rs", "pod", &[], expect!["Nothing"]);
        check(
            "a pod<a,b",
            "pod",
            &["b"],
            expect![[r#"RemoveOwners(["b"])"#]],
        );
    }

    #[test]
    fn foreground_waits_for_what_blocks() {
        check(
            "rs:d+foregroundDeletion pod<rs!",
            "rs",
            &[],
            expect![[r#"Dependents(["pod"])"#]],
        );
        check(
            "rs:d+foregroundDeletion pod<rs!",
            "pod",
            &[],
            expect!["Delete(Background)"],
        );
        check(
            "rs:d+foregroundDeletion pod<rs",
            "rs",
            &[],
            expect![[r#"RemoveFinalizer("foregroundDeletion")"#]],
        );
        check(
            "d:d+foregroundDeletion rs<d! pod<rs!",
            "rs",
            &[],
            expect!["Delete(Foreground)"],
        );
        // a waits for c, c for b, b for a.
        let circle = "a<b!:d+foregroundDeletion b<c! c<a!";
        check(circle, "a", &[], expect![[r#"Dependents(["c"])"#]]);
        check(circle, "c", &[], expect!["Delete(Foreground)"]);
        let circle = "a<b!:d+foregroundDeletion b<c! c<a!:d+foregroundDeletion";
        check(circle, "b", &[], expect!["BreakCircle"]);
    }

    #[test]
    fn orphans_are_cut_loose() {
        check("rs:d+orphan pod<rs", "rs", &[], expect!["Orphan"]);
    }
}
