use expect_test::{Expect, expect};
use registry::Lookup;
use schema::Dom;

use super::{Verdict, facts, with_condition};

struct World<'a> {
    service: &'a str,
    slices: &'a [&'a str],
}

impl Lookup for World<'_> {
    fn get(&self, prefix: &str, _namespace: &str, name: &str) -> Option<Dom> {
        assert_eq!((prefix, name), ("services/specs", "s"));
        Dom::parse_json(self.service.as_bytes()).ok()
    }

    fn list(&self, prefix: &str, namespace: &str) -> Vec<Dom> {
        assert_eq!((prefix, namespace), ("endpointslices", "n"));
        let parsed = self
            .slices
            .iter()
            .map(|text| Dom::parse_json(text.as_bytes()));
        parsed.map(Result::unwrap).collect()
    }
}

#[track_caller]
fn check(service: &str, slices: &[&str], expect: &Expect) {
    let text = match facts(&World { service, slices }, "n", "s", 443) {
        Ok(found) => found.join(", "),
        Err(verdict) => format!("{} {}: {}", verdict.status, verdict.reason, verdict.message),
    };
    expect.assert_eq(&text);
}

const SERVICE: &str =
    r#"{"spec":{"type":"ClusterIP","clusterIP":"10.0.0.1","ports":[{"name":"api","port":443}]}}"#;

#[test]
fn what_services_say() {
    check(
        "",
        &[],
        &expect![[r#"False ServiceNotFound: service/s in "n" is not present"#]],
    );
    check(
        r#"{"spec":{"ports":[{"port":80}]}}"#,
        &[],
        &expect![[r#"False ServicePortError: service/s in "n" is not listening on port 443"#]],
    );
    check(
        SERVICE,
        &[r#"{"metadata":{"labels":{"kubernetes.io/service-name":"other"}}}"#],
        &expect![[r#"False EndpointsNotFound: cannot find endpointslices for service/s in "n""#]],
    );
    let missing = expect![[
        r#"False MissingEndpoints: endpointslices for service/s in "n" have no addresses with port name "api""#
    ]];
    let unready = r#"{"metadata":{"labels":{"kubernetes.io/service-name":"s"}},"ports":[{"name":"api","port":8443}],"endpoints":[{"addresses":["10.1.0.1"],"conditions":{"ready":false}}]}"#;
    check(SERVICE, &[unready], &missing);
    let unnamed = r#"{"metadata":{"labels":{"kubernetes.io/service-name":"s"}},"ports":[{"name":"","port":8443}],"endpoints":[{"addresses":["10.1.0.1"]}]}"#;
    check(SERVICE, &[unnamed], &missing);
    let ready = r#"{"metadata":{"labels":{"kubernetes.io/service-name":"s"}},"ports":[{"name":"api","port":8443}],"endpoints":[{"addresses":["10.1.0.2"]},{"addresses":["10.1.0.1"],"conditions":{"ready":true}}]}"#;
    check(
        SERVICE,
        &[unready, ready],
        &expect![", 10.0.0.1, 10.1.0.1 8443, 10.1.0.2 8443"],
    );
    // Other kinds of Services say nothing of endpoints.
    check(
        r#"{"spec":{"type":"ExternalName","externalName":"a.example.com"}}"#,
        &[],
        &expect![", a.example.com"],
    );
}

/// Conditions of others stay; the time of transition changes with the status alone.
#[test]
fn conditions() {
    let old = r#"{"metadata":{"name":"a","resourceVersion":"1"},"status":{"conditions":[{"type":"Other","status":"True"},{"type":"Available","status":"False","reason":"X","message":"x","lastTransitionTime":"then"}]}}"#;
    let old = Dom::parse_json(old.as_bytes()).unwrap();
    let show = |status| {
        let verdict = Verdict {
            status,
            reason: "Passed",
            message: "all checks passed".to_owned(),
        };
        let dom = with_condition(&old, &verdict, "now");
        let status = dom.get(dom.root(), "status").unwrap();
        String::from_utf8_lossy(&dom.to_json(status)).into_owned()
    };
    expect![[r#"{"conditions":[{"type":"Other","status":"True"},{"type":"Available","status":"True","reason":"Passed","message":"all checks passed","lastTransitionTime":"now"}]}"#]].assert_eq(&show("True"));
    expect![[r#"{"conditions":[{"type":"Other","status":"True"},{"type":"Available","status":"False","reason":"Passed","message":"all checks passed","lastTransitionTime":"then"}]}"#]].assert_eq(&show("False"));
}
