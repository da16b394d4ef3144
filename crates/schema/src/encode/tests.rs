//! Output against upstream's own: a real Pod and the golden files of the Go module.

use std::path::PathBuf;

use expect_test::{Expect, expect};

use super::encode_json;
use crate::{Dom, Limits, builtin, decode_json};

/// The files that `k8s.io/api` keeps of its own output, when a Go module cache is there.
fn golden() -> Option<Vec<PathBuf>> {
    let home = std::env::var_os("GOMODCACHE")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join("go/pkg/mod")))?;
    let folder = home.join("k8s.io/api@v0.36.3/testdata/HEAD");
    let files = std::fs::read_dir(folder).ok()?;
    let mut files: Vec<_> = files.filter_map(|f| f.ok().map(|f| f.path())).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    files.sort();
    Some(files)
}

#[test]
fn golden_files_round_trip() {
    let Some(files) = golden() else {
        println!("skipped: no k8s.io/api@v0.36.3 in a Go module cache");
        return;
    };
    let table = builtin();
    let mut passed = 0;
    let mut failed = Vec::new();
    for file in files {
        let source = std::fs::read(&file).unwrap();
        let dom = Dom::parse_json(&source).unwrap();
        let root = dom.as_ref();
        let (group, version) = root
            .str("apiVersion")
            .split_once('/')
            .unwrap_or(("", root.str("apiVersion")));
        let Some(ty) = table.kind(group, version, root.str("kind")) else {
            continue;
        };
        let decoded = match decode_json(table, ty, &source, &Limits::DEFAULT) {
            Ok(decoded) => decoded,
            Err(error) => {
                failed.push(format!("{}: {error}", file.display()));
                continue;
            }
        };
        let ours = encode_json(table, ty, &decoded.dom, decoded.dom.root());
        let theirs = dom.to_json(dom.root());
        if ours != theirs || !decoded.findings.is_empty() {
            let at = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
            let part = |text: &[u8]| {
                let from = at.saturating_sub(40);
                String::from_utf8_lossy(&text[from..text.len().min(at + 60)]).into_owned()
            };
            failed.push(format!(
                "{}\n ours   {}\n theirs {}\n {:?}",
                file.display(),
                part(&ours),
                part(&theirs),
                decoded.findings
            ));
        } else {
            passed += 1;
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(passed > 60, "only {passed} files");
}

#[track_caller]
fn check(kind: &str, source: &str, expect: Expect) {
    let table = builtin();
    let ty = table.named(kind).unwrap();
    let decoded = decode_json(table, ty, source.as_bytes(), &Limits::DEFAULT).unwrap();
    let text = encode_json(table, ty, &decoded.dom, decoded.dom.root());
    expect.assert_eq(std::str::from_utf8(&text).unwrap());
}

/// A Pod that was read back from a v1.36.3 server.
#[test]
fn a_real_pod() {
    let source = include_bytes!("testdata/pod.json");
    let table = builtin();
    let ty = table.kind("", "v1", "Pod").unwrap();
    let decoded = decode_json(table, ty, source, &Limits::DEFAULT).unwrap();
    assert_eq!(decoded.findings, []);
    let dom = Dom::parse_json(source).unwrap();
    let ours = encode_json(table, ty, &decoded.dom, decoded.dom.root());
    assert_eq!(
        String::from_utf8(ours),
        String::from_utf8(dom.to_json(dom.root()))
    );
}

#[test]
fn zero_values() {
    check(
        "core.v1.Pod",
        "{}",
        expect![[r#"{"metadata":{},"spec":{"containers":null},"status":{}}"#]],
    );
    check(
        "core.v1.Container",
        r#"{"ports":[],"env":[{"name":"","value":""}],"stdin":false,"image":""}"#,
        expect![[r#"{"name":"","env":[{"name":""}],"resources":{}}"#]],
    );
    check(
        "core.v1.SecurityContext",
        r#"{"privileged":false,"runAsUser":0,"capabilities":{}}"#,
        expect![[r#"{"capabilities":{},"privileged":false,"runAsUser":0}"#]],
    );
    check(
        "core.v1.PodCondition",
        r#"{"status":"True","type":"Ready"}"#,
        expect![[
            r#"{"type":"Ready","status":"True","lastProbeTime":null,"lastTransitionTime":null}"#
        ]],
    );
    check(
        "core.v1.ServicePort",
        r#"{"port":80}"#,
        expect![[r#"{"port":80,"targetPort":0}"#]],
    );
    check(
        "apps.v1.ControllerRevision",
        r#"{"revision":1}"#,
        expect![[r#"{"metadata":{},"data":null,"revision":1}"#]],
    );
    check(
        "core.v1.EventSeries",
        r#"{"count":2,"lastObservedTime":"2026-01-02T03:04:05.000006Z"}"#,
        expect![[r#"{"count":2,"lastObservedTime":"2026-01-02T03:04:05.000006Z"}"#]],
    );
}

#[test]
fn maps_are_sorted_and_fields_ordered() {
    check(
        "meta.v1.ObjectMeta",
        r#"{"labels":{"b":"1","a":"2"},"name":"n","annotations":{}}"#,
        expect![[r#"{"name":"n","labels":{"a":"2","b":"1"}}"#]],
    );
    check(
        "core.v1.ResourceRequirements",
        r#"{"requests":{"memory":"1024Mi","cpu":"1000m"},"limits":{"cpu":0.5,"memory":1048576}}"#,
        expect![[
            r#"{"limits":{"cpu":"500m","memory":"1048576"},"requests":{"cpu":"1","memory":"1Gi"}}"#
        ]],
    );
}

#[test]
fn schemas_of_custom_resources() {
    check(
        "apiextensions.v1.JSONSchemaProps",
        r#"{"type":"object","default":{"b":1.0,"a":null},"items":{"type":"string","x":1},"additionalProperties":false,"dependencies":{"a":["b"]},"properties":{"z":{},"y":{"items":[{"type":"string"}]}}}"#,
        expect![[
            r#"{"type":"object","default":{"b":1.0,"a":null},"items":{"type":"string"},"properties":{"y":{"items":[{"type":"string"}]},"z":{}},"additionalProperties":false,"dependencies":{"a":["b"]}}"#
        ]],
    );
}
