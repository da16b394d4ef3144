//! Nobody hands out more than they have.

use std::collections::BTreeSet;

use super::{Index, Rule};
use crate::User;

/// The simple rules of `wanted` that `owned` does not cover.
pub fn covers(owned: &[Rule], wanted: &[Rule]) -> Result<(), Vec<Rule>> {
    let mut missing = Vec::new();
    for simple in wanted.iter().flat_map(Rule::break_down) {
        if !owned.iter().any(|rule| rule.covers_simple(&simple)) {
            missing.push(simple);
        }
    }
    if missing.is_empty() {
        Ok(())
    } else {
        Err(missing)
    }
}

/// Whether `user` has everything that `wanted` grants in `namespace` (empty: everywhere); `Err`
/// has upstream's words. Members of system:masters, and those who may `escalate` or `bind`, are
/// for the caller to let through before.
pub fn confirm_no_escalation(
    index: &Index,
    user: &User,
    namespace: &str,
    wanted: &[Rule],
) -> Result<(), String> {
    let (owned, errors) = index.rules_for(user, namespace);
    let Err(missing) = covers(&owned, wanted) else {
        return Ok(());
    };
    let lines: BTreeSet<_> = compact(missing).iter().map(Rule::describe).collect();
    let groups: Vec<_> = user
        .groups
        .iter()
        .map(|group| format!("{group:?}"))
        .collect();
    let mut text = format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        groups.join(" "),
        lines.into_iter().collect::<Vec<_>>().join("\n")
    );
    if !errors.is_empty() {
        text.push_str(&format!("; resolution errors: [{}]", errors.join(", ")));
    }
    Err(text)
}

/// Joins the verbs of rules on the same thing.
fn compact(rules: Vec<Rule>) -> Vec<Rule> {
    let mut joined: Vec<Rule> = Vec::new();
    for rule in rules {
        let same = |one: &&mut Rule| {
            one.urls.is_empty()
                && rule.urls.is_empty()
                && one.groups == rule.groups
                && one.resources == rule.resources
                && one.names == rule.names
        };
        match joined.iter_mut().find(same) {
            Some(one) => one.verbs.extend(rule.verbs),
            None => joined.push(rule),
        }
    }
    joined
}
