use expect_test::{Expect, expect};

use super::*;

#[track_caller]
fn check(spec: &str, expected: Expect) {
    let text = format!(r#"{{"metadata":{{"labels":{{"rev":"7"}}}},"spec":{spec}}}"#);
    let mut dom = Dom::parse_json(text.as_bytes()).unwrap();
    merge(&mut dom);
    let spec = dom.get(dom.root(), "spec").unwrap();
    expected.assert_eq(&String::from_utf8(dom.to_json(spec)).unwrap());
}

#[test]
fn own_values_become_selectors() {
    check(
        r#"{"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchLabels":{"a":"b"}},"mismatchLabelKeys":["rev","none"],"topologyKey":"k"}]}}}"#,
        expect![[
            r#"{"affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"rev","operator":"NotIn","values":["7"]}]},"mismatchLabelKeys":["rev","none"],"topologyKey":"k"}]}}}"#
        ]],
    );
    check(
        r#"{"topologySpreadConstraints":[{"labelSelector":{},"matchLabelKeys":["rev"]},{"matchLabelKeys":["rev"]}]}"#,
        expect![[
            r#"{"topologySpreadConstraints":[{"labelSelector":{"matchExpressions":[{"key":"rev","operator":"In","values":["7"]}]},"matchLabelKeys":["rev"]},{"matchLabelKeys":["rev"]}]}"#
        ]],
    );
}
