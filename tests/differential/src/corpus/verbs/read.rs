//! Reading: forms, selectors, pages, watches.

use super::{Kind, at, on};
use crate::case::Case;

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

pub(super) fn forms(kind: &Kind) -> Vec<Case> {
    let mut cases = vec![
        on(kind, "read", "GET", "").managers(),
        on(kind, "read", "GET", "?resourceVersion=0"),
        on(kind, "read", "GET", "?resourceVersion=x"),
        on(kind, "read", "GET", "?resourceVersion=99999999"),
        on(kind, "read", "GET", "?pretty=true"),
        on(kind, "read", "HEAD", ""),
        Case::new("read", &kind.kind, "GET", format!("{}none", kind.path)),
        Case::new("read", &kind.kind, "GET", format!("{}/none", kind.path)),
    ];
    for media in [
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
        "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
        "text/html",
        "application/json;as=Nothing;v=v1;g=meta.k8s.io",
        "*/*",
        "application/cbor, application/json",
    ] {
        cases.push(on(kind, "encodings", "GET", "").accept(media));
    }
    for media in [
        "application/yaml",
        "application/vnd.kubernetes.protobuf",
        "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    ] {
        cases.push(
            at(
                kind,
                "encodings",
                "GET",
                "?fieldSelector=metadata.name%3Dnone",
            )
            .accept(media),
        );
        cases.push(named(kind, "encodings", "").accept(media));
    }
    for query in [
        "",
        "&includeObject=None",
        "&includeObject=Object",
        "&includeObject=Metadata",
        "&includeObject=x",
    ] {
        cases.push(named(kind, "table", query).accept(TABLE));
    }
    cases.push(on(kind, "table", "GET", "").accept(TABLE));
    cases.push(at(kind, "table", "GET", "?fieldSelector=metadata.name%3Dnone").accept(TABLE));
    cases.push(on(kind, "table", "GET", "").accept(&format!("{TABLE},application/json")));
    cases.push(
        on(kind, "table", "GET", "").accept("application/json;as=Table;v=v1beta1;g=meta.k8s.io"),
    );
    cases
}

/// The list of the object alone.
fn named(kind: &Kind, group: &'static str, more: &str) -> Case {
    let query = format!("?fieldSelector=metadata.name%3D{}{more}", kind.name);
    at(kind, group, "GET", &query)
}

pub(super) fn selectors(kind: &Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |query: String| cases.push(at(kind, "selectors", "GET", &query));
    for selector in [
        "none",
        "none%3Dsuch",
        "none%3D%3Dsuch",
        "none+in+(a,b)",
        "a+in+(",
        "a%3D%3D%3Db",
        "a%3Db+c",
        "-a%3Db",
        "a%3Dnot+valid",
        "x/y/z%3Da",
    ] {
        add(format!("?labelSelector={selector}"));
    }
    for selector in [
        "metadata.name%3Dnone",
        "metadata.name",
        "metadata.uid%3Da",
        "spec.none%3Da",
        "metadata.namespace%3Dnone",
        "status.phase%3Dnone",
        "spec.nodeName%3Dnone",
        "%3D",
    ] {
        add(format!("?fieldSelector={selector}"));
    }
    for field in &kind.selectable {
        add(format!("?fieldSelector={field}%3Dnone"));
        add(format!(
            "?fieldSelector=metadata.name%3D{},{field}%21%3Dnone",
            kind.name
        ));
    }
    cases
}

pub(super) fn lists(kind: &Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut add = |query: &str| cases.push(at(kind, "lists", "GET", query));
    add("");
    add("?limit=1");
    add("?limit=1&continue=%CONTINUE%");
    for query in [
        "?limit=-1",
        "?limit=x",
        "?continue=x",
        "?resourceVersion=0",
        "?resourceVersion=x",
        "?resourceVersion=1&resourceVersionMatch=Exact",
        "?resourceVersionMatch=Exact",
        "?resourceVersion=0&resourceVersionMatch=Exact",
        "?resourceVersion=1&resourceVersionMatch=None",
        "?sendInitialEvents=true",
        "?timeoutSeconds=x",
        "?timeoutSeconds=1&watch=x",
        "?timeoutSeconds=1&watch=1&resourceVersion=x",
        "?watch=1&limit=1&timeoutSeconds=x",
        "?timeoutSeconds=1&watch=1&resourceVersionMatch=Exact",
        "?timeoutSeconds=1&watch=1&sendInitialEvents=true",
        "?timeoutSeconds=1&watch=1&sendInitialEvents=true&resourceVersionMatch=Exact&allowWatchBookmarks=true",
        "?pretty=x",
        "?unknown=x",
    ] {
        add(query);
    }
    let one = format!(
        "?timeoutSeconds=1&watch=1&fieldSelector=metadata.name%3D{}",
        kind.name
    );
    add(&one);
    if kind.namespaced {
        let all = kind
            .collection
            .split("/namespaces/")
            .next()
            .unwrap_or_default();
        let plural = kind.collection.rsplit('/').next().unwrap_or_default();
        cases.push(Case::new(
            "lists",
            &kind.kind,
            "GET",
            format!("{all}/{plural}"),
        ));
        cases.push(Case::new(
            "lists",
            &kind.kind,
            "GET",
            format!("{all}/namespaces/none/{plural}"),
        ));
    }
    cases
}
