//! Which pods keep which claims.

use expect_test::{Expect, expect};
use schema::Dom;

use super::used_claims;

#[track_caller]
fn check(pod: &str, expect: Expect) {
    let dom = Dom::parse_json(pod.as_bytes()).unwrap();
    let claims: Vec<String> = used_claims(dom.as_ref()).collect();
    expect.assert_eq(&claims.join(" "));
}

#[test]
fn only_scheduled_pods_that_run_use_claims() {
    let volumes = r#""volumes":[{"name":"a","persistentVolumeClaim":{"claimName":"data"}},{"name":"b","ephemeral":{}},{"name":"c","emptyDir":{}}]"#;
    let pod = |node: &str, phase: &str| {
        format!(
            r#"{{"metadata":{{"name":"p"}},"spec":{{"nodeName":"{node}",{volumes}}},"status":{{"phase":"{phase}"}}}}"#
        )
    };
    check(&pod("n", "Running"), expect!["data p-b"]);
    check(&pod("", "Pending"), expect![""]);
    check(&pod("n", "Succeeded"), expect![""]);
}
