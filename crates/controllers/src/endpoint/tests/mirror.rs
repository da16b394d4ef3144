//! Slices of Endpoints that are kept by hand.

use std::sync::Arc;

use expect_test::{Expect, expect};

use crate::endpoint::endpoints_plan::Endpoints;
use crate::endpoint::mirror_plan::{may_mirror, plan};
use crate::endpoint::slice::Slice;
use crate::endpoint::subsets;

fn endpoints(subsets_json: &str) -> Endpoints {
    let dom = schema::Dom::parse_json(format!(r#"{{"subsets":{subsets_json}}}"#).as_bytes());
    Endpoints {
        namespace: "default".into(),
        name: "ext".into(),
        uid: "e".into(),
        labels: [("a".to_owned(), "b".to_owned())].into(),
        annotations: [("note".to_owned(), "x".to_owned())].into(),
        subsets: subsets::read(dom.unwrap().as_ref()),
        ..Endpoints::default()
    }
}

fn show(plan: &crate::endpoint::mirror_plan::Plan) -> String {
    let mut text = String::new();
    for (verb, slices) in [
        ("create", &plan.writes.create),
        ("update", &plan.writes.update),
        ("delete", &plan.writes.delete),
    ] {
        for slice in slices {
            let words: Vec<String> = slice
                .endpoints
                .iter()
                .map(|endpoint| format!("{}={:?}", endpoint.addresses[0], endpoint.ready.unwrap()))
                .collect();
            let family = slice.family.unwrap().text();
            text.push_str(&format!(
                "{verb} {}{family} {}\n",
                slice.name,
                words.join(" ")
            ));
        }
    }
    text.push_str(&format!(
        "invalid {} skipped {}\n",
        plan.invalid, plan.skipped
    ));
    text
}

#[track_caller]
fn check(steps: &[&str], expected: Expect) {
    let (mut slices, mut text): (Vec<Arc<Slice>>, String) = (Vec::new(), String::new());
    for step in steps {
        let endpoints = endpoints(step);
        let made = plan(&endpoints, &slices);
        text.push_str(&show(&made));
        let gone = |slice: &Slice| {
            let mut touched = made.writes.delete.iter().chain(&made.writes.update);
            touched.any(|other| other.name == slice.name)
        };
        slices.retain(|slice| !gone(slice));
        for slice in made.writes.create.into_iter().chain(made.writes.update) {
            let mut slice = slice;
            if slice.name.is_empty() {
                slice.name = format!("s{} ", slices.len());
            }
            slice.owners = vec![("Endpoints".into(), "ext".into(), "e".into())];
            slices.push(Arc::new(slice));
        }
        let again = plan(&endpoints, &slices).writes;
        assert!(again.create.is_empty() && again.update.is_empty() && again.delete.is_empty());
    }
    expected.assert_eq(&text);
}

#[test]
fn families_have_their_own_slices() {
    check(
        &[
            r#"[{"addresses":[{"ip":"10.0.0.1"},{"ip":"fd00::1"},{"ip":"odd"}],"notReadyAddresses":[{"ip":"10.0.0.2"}],"ports":[{"port":80}]}]"#,
            r#"[{"addresses":[{"ip":"10.0.0.1"},{"ip":"10.0.0.2"}],"ports":[{"port":81}]}]"#,
            "[]",
        ],
        expect![[r#"
            create IPv4 10.0.0.1=true 10.0.0.2=false
            create IPv6 fd00::1=true
            invalid 1 skipped 1
            update s0 IPv4 10.0.0.1=true 10.0.0.2=true
            delete s1 IPv6 fd00::1=true
            invalid 0 skipped 0
            delete s0 IPv4 10.0.0.1=true 10.0.0.2=true
            invalid 0 skipped 0
        "#]],
    );
}

#[test]
fn some_are_not_mirrored() {
    let mut endpoints = endpoints("[]");
    assert!(may_mirror(&endpoints));
    let skip = "endpointslice.kubernetes.io/skip-mirror".to_owned();
    endpoints.labels.insert(skip, "true".into());
    assert!(!may_mirror(&endpoints));
}
