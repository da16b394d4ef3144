//! Readers of metadata on a whole object and on an empty one.

use super::{gvk, label_selector, of};
use schema::Dom;

#[test]
fn reads() {
    let dom = Dom::parse_json(
        br#"{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":"a","namespace":"n",
        "labels":{"app":"web"},"finalizers":["x/y"],"deletionTimestamp":"2026-01-01T00:00:00Z",
        "ownerReferences":[{"apiVersion":"apps/v1","kind":"Deployment","name":"d","uid":"1","controller":true}]},
        "spec":{"selector":{"matchLabels":{"app":"web"},"matchExpressions":[{"key":"t","operator":"DoesNotExist"}]}}}"#,
    )
    .unwrap();
    let object = dom.as_ref();
    let meta = of(object);
    assert_eq!(gvk(object).to_string(), "apps/v1, Kind=ReplicaSet");
    assert_eq!(meta.key(), "n/a");
    assert!(meta.is_deleting() && meta.deleted().is_some() && meta.created().is_none());
    assert!(meta.has_finalizer("x/y") && meta.is_controlled_by("1"));
    let selector = label_selector(object.at(&["spec", "selector"])).unwrap();
    assert_eq!(selector.to_string(), "app=web,!t");
    assert!(meta.matches(&selector));
    assert!(label_selector(None).unwrap().is_nothing());
}

#[test]
fn empty_objects_read_as_empty() {
    for text in [
        "{}",
        "[]",
        "3",
        r#"{"metadata":3}"#,
        r#"{"metadata":{"labels":[]}}"#,
    ] {
        let dom = Dom::parse_json(text.as_bytes()).unwrap();
        let meta = of(dom.as_ref());
        assert_eq!(
            (meta.name(), meta.labels().count(), meta.owners().count()),
            ("", 0, 0)
        );
    }
}
