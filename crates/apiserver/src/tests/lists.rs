//! Lists in pieces.

use api::meta;
use schema::Dom;

use super::harness::Harness;

/// A list whose revision was compacted away goes on from the last key, at the newest revision, with
/// the token that the refusal brings.
#[test]
fn a_list_goes_on_behind_a_compaction() {
    let harness = Harness::new();
    let path = "/api/v1/namespaces/default/configmaps";
    for name in ["a", "b", "c", "d", "e"] {
        let request = format!("POST {path}\n\n{{\"metadata\":{{\"name\":\"{name}\"}}}}");
        assert_eq!(harness.send(&request).0, 201);
    }
    let list = |next: &str| {
        let (code, _, body) = harness.send(&format!("GET {path}?limit=2&continue={next}"));
        let body = Dom::parse_json(body.as_bytes()).unwrap();
        let body = body.as_ref();
        let meta = body.get("metadata").unwrap();
        let names = body.items("items").map(|item| {
            let meta = item.get("metadata").unwrap();
            meta.str("name").to_owned()
        });
        let seen = format!(
            "{code} {:?} {:?}",
            names.collect::<Vec<_>>(),
            meta.int("remainingItemCount")
        );
        (
            seen,
            meta.str("continue").to_owned(),
            body.str("message").to_owned(),
        )
    };
    let (seen, next, _) = list("");
    assert_eq!(seen, r#"200 ["a", "b"] Some(3)"#);
    let store = &harness.server.config.store;
    let request = format!("POST {path}\n\n{{\"metadata\":{{\"name\":\"b2\"}}}}");
    assert_eq!(harness.send(&request).0, 201);
    store.compact(store.current_revision()).unwrap();

    let (seen, newer, message) = list(&next);
    assert_eq!(seen, "410 [] None");
    assert!(
        message.contains("or use the continue token in this response"),
        "{message}"
    );
    let (seen, next, _) = list(&newer);
    assert_eq!(seen, r#"200 ["b2", "c"] Some(2)"#);
    assert_eq!(list(&next).0, r#"200 ["d", "e"] None"#);
}

/// What selectors leave of a list is what is left of the whole one, now and at an older revision,
/// in one piece and in pages.
#[test]
fn selected_of_many() {
    let harness = Harness::new();
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let request = format!("POST {accounts}\n\n{{\"metadata\":{{\"name\":\"default\"}}}}");
    assert_eq!(harness.send(&request).0, 201);
    let pods = "/api/v1/namespaces/default/pods";
    let labels = |n: usize| format!(r#"{{"app":"a{}","tier":"t{}"}}"#, n % 20, n % 3);
    for n in 0..600 {
        let node = n % 9;
        let request = format!(
            r#"POST {pods}

{{"metadata":{{"name":"p{n:03}","labels":{}}},"spec":{{"nodeName":"n{node}","automountServiceAccountToken":false,"containers":[{{"name":"c","image":"i"}}]}}}}"#,
            labels(n)
        );
        let (code, _, body) = harness.send(&request);
        assert_eq!(code, 201, "{body}");
    }
    let before = harness.server.config.store.current_revision();
    for n in (0..600).step_by(7) {
        let labels = labels(n + 1);
        let head = format!("PATCH {pods}/p{n:03}\nContent-Type: application/merge-patch+json");
        let request = format!("{head}\n\n{{\"metadata\":{{\"labels\":{labels}}}}}");
        assert_eq!(harness.send(&request).0, 200);
    }
    let list = |query: &str| -> Vec<String> {
        let (mut names, mut next) = (Vec::new(), String::new());
        loop {
            let path = format!("GET {pods}?{query}&continue={next}");
            let (code, _, body) = harness.send(&path);
            assert_eq!(code, 200, "{path}: {body}");
            let body = Dom::parse_json(body.as_bytes()).unwrap();
            let pods = body.as_ref().items("items");
            names.extend(pods.map(|pod| {
                let label = |key| pod.at(&["metadata", "labels", key]).unwrap().as_str();
                let node = pod.get("spec").unwrap().str("nodeName");
                let (app, tier) = (label("app").unwrap(), label("tier").unwrap());
                format!("{} {app} {tier} {node}", meta::of(pod).name())
            }));
            let list = body.as_ref().get("metadata").unwrap();
            list.str("continue").clone_into(&mut next);
            if next.is_empty() {
                return names;
            }
        }
    };
    let old = format!("resourceVersion={before}&resourceVersionMatch=Exact");
    for at in ["resourceVersion=", &old] {
        let all = list(at);
        assert_eq!(all.len(), 600);
        let wanted = |words: &[&str]| -> Vec<String> {
            let has = |pod: &&String| words.iter().all(|word| pod.split(' ').any(|w| w == *word));
            all.iter().filter(has).cloned().collect()
        };
        for (query, words) in [
            ("labelSelector=app%3Da7", &["a7"][..]),
            ("labelSelector=app%3D%3Da7,tier%20in%20(t1)", &["a7", "t1"]),
            ("fieldSelector=spec.nodeName%3Dn4", &["n4"]),
            (
                "fieldSelector=spec.nodeName%3Dn4&labelSelector=tier%3Dt0",
                &["n4", "t0"],
            ),
            ("labelSelector=app%3Dnone", &["none"]),
        ] {
            let expected = wanted(words);
            assert_eq!(list(&format!("{at}&{query}")), expected, "{at} {query}");
            if at != old {
                let pages = list(&format!("limit=4&{query}"));
                assert_eq!(pages, expected, "{query} in pages");
            }
        }
        let either = wanted(&["a1"]).len() + wanted(&["a2"]).len();
        let query = format!("{at}&labelSelector=app%20in%20(a1,a2)");
        assert_eq!(list(&query).len(), either);
    }
}
