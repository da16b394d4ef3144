//! How long a pod may stay on a node with these taints. Pure.

use std::time::Duration;

use crate::nodes::{Taint, Toleration};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Stays,
    Goes,
    GoesAfter(Duration),
}

/// `taints` are those with effect NoExecute. The first toleration that fits a taint counts for
/// it; the shortest time of those that count is the pod's.
pub(super) fn verdict(taints: &[&Taint], tolerations: &[Toleration]) -> Verdict {
    let mut shortest: Option<i64> = None;
    for taint in taints {
        let Some(used) = tolerations.iter().find(|one| one.tolerates(taint)) else {
            return Verdict::Goes;
        };
        if let Some(seconds) = used.seconds {
            shortest = Some(shortest.map_or(seconds, |known| known.min(seconds)));
        }
    }
    match shortest.map(|seconds| u64::try_from(seconds).unwrap_or(0)) {
        None => Verdict::Stays,
        Some(0) => Verdict::Goes,
        Some(seconds) => Verdict::GoesAfter(Duration::from_secs(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    /// Taints by key; tolerations `key:seconds`, `key` for ever, `*` for all.
    #[track_caller]
    fn check(taints: &str, tolerations: &str, expected: Expect) {
        let taints: Vec<Taint> = taints
            .split_whitespace()
            .map(|key| Taint {
                key: key.into(),
                value: String::new(),
                effect: "NoExecute".into(),
            })
            .collect();
        let tolerations: Vec<Toleration> = tolerations
            .split_whitespace()
            .map(|word| {
                let (key, seconds) = word.split_once(':').unwrap_or((word, ""));
                Toleration {
                    key: key.replace('*', ""),
                    operator: "Exists".into(),
                    seconds: seconds.parse().ok(),
                    ..Toleration::default()
                }
            })
            .collect();
        let taints: Vec<&Taint> = taints.iter().collect();
        expected.assert_eq(&format!("{:?}", verdict(&taints, &tolerations)));
    }

    #[test]
    fn the_shortest_toleration_that_counts() {
        check("", "", expect!["Stays"]);
        check("a", "", expect!["Goes"]);
        check("a", "a", expect!["Stays"]);
        check("a b", "a:300", expect!["Goes"]);
        check("a b", "a:300 b:100", expect!["GoesAfter(100s)"]);
        check("a b", "a b:100", expect!["GoesAfter(100s)"]);
        check("a", "*:30 a:5", expect!["GoesAfter(30s)"]);
        check("a", "a:0", expect!["Goes"]);
        check("a", "a:-1", expect!["Goes"]);
    }
}
