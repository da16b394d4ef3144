use expect_test::{Expect, expect};
use schema::Dom;

#[track_caller]
fn check(spec: &str, expect: Expect) {
    let object = format!(r#"{{"spec":{spec}}}"#);
    let dom = Dom::parse_json(object.as_bytes()).unwrap();
    let mut errors = Vec::new();
    super::autoscaler(dom.as_ref(), &mut errors);
    super::autoscaler_create(dom.as_ref(), &mut errors);
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    expect.assert_eq(&lines.join("\n"));
}

#[test]
fn metrics() {
    check(
        r#"{"maxReplicas":1,"scaleTargetRef":{"kind":"Deployment","name":"a","apiVersion":"v1"},
            "metrics":[{"type":"Pods","pods":{"metric":{"name":"a"},"target":{"type":"Some"}}},{"type":"Resource"}]}"#,
        expect![[r#"
            spec.metrics[0].pods.target.type: Invalid value: "Some": must be either Utilization, Value, or AverageValue
            spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue
            spec.metrics[1].resource: Required value: must populate information for the given metric source
            spec.scaleTargetRef.apiVersion: Invalid value: "v1": apiVersion must specify API group"#]],
    );
}

#[test]
fn behavior() {
    check(
        r#"{"maxReplicas":1,"scaleTargetRef":{"kind":"Deployment","name":"a","apiVersion":"apps/v1"},
            "behavior":{"scaleUp":{"stabilizationWindowSeconds":3601,"policies":[{"type":"Pods","value":1,"periodSeconds":0}]}}}"#,
        expect![[r#"
            spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600
            spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 0: must be greater than zero"#]],
    );
}
