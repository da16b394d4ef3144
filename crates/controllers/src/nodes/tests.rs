//! Which tolerations tolerate which taints.

use super::{Taint, Toleration};

#[track_caller]
fn check(toleration: [&str; 4], expected: bool) {
    let [key, operator, value, effect] = toleration.map(str::to_owned);
    let toleration = Toleration {
        key,
        operator,
        value,
        effect,
        seconds: None,
    };
    let taint = Taint {
        key: "k".into(),
        value: "v".into(),
        effect: "NoExecute".into(),
    };
    assert_eq!(toleration.tolerates(&taint), expected);
}

#[test]
fn tolerations() {
    check(["k", "Equal", "v", "NoExecute"], true);
    check(["k", "", "v", ""], true);
    check(["k", "Equal", "w", ""], false);
    check(["", "Exists", "", ""], true);
    check(["k", "Exists", "", "NoSchedule"], false);
    check(["l", "Exists", "", ""], false);
}
