//! Platform choice and lenient reading.

use expect_test::{Expect, expect};

use super::{ConfigDocument, Document, Index, Platform};

#[track_caller]
fn check(host: &str, offered: &[&str], expect: Expect) {
    let platform = |text: &str| {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Platform {
            os: next(),
            architecture: next(),
            variant: next(),
        }
    };
    let entries: Vec<String> = offered
        .iter()
        .enumerate()
        .map(|(size, text)| {
            let digest = super::Digest::of(text.as_bytes());
            let platform = if text.is_empty() {
                "null".to_owned()
            } else {
                serde_json::to_string(&platform(text)).unwrap()
            };
            format!(r#"{{"digest":"{digest}","size":{size},"platform":{platform}}}"#)
        })
        .collect();
    let json = format!(
        r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
        entries.join(",")
    );
    let index: Index = serde_json::from_str(&json).unwrap();
    let got = match index.choose("img", &platform(host)) {
        Ok(entry) => offered[entry.size as usize].to_owned(),
        Err(error) => error.to_string(),
    };
    expect.assert_eq(&got);
}

#[test]
fn the_best_variant_is_chosen() {
    check(
        "linux/amd64",
        &["linux/arm64", "linux/amd64"],
        expect!["linux/amd64"],
    );
    check(
        "linux/arm/v7",
        &["linux/arm/v5", "linux/arm/v7"],
        expect!["linux/arm/v7"],
    );
    check(
        "linux/arm64/v8",
        &["windows/arm64", "linux/arm64"],
        expect!["linux/arm64"],
    );
    check("linux/amd64", &["", "linux/amd64"], expect!["linux/amd64"]);
    check("linux/amd64", &["linux/s390x", ""], expect![""]);
}

#[test]
fn a_missing_platform_is_named() {
    check(
        "linux/amd64",
        &["linux/arm64/v8", "windows/amd64"],
        expect!["img has no image for linux/amd64; it has linux/arm64/v8, windows/amd64"],
    );
}

#[test]
fn documents_are_told_apart() {
    let check = |json: &str, expect: Expect| {
        let got = match Document::parse("x", json.as_bytes()) {
            Ok(Document::Index(index)) => format!("index of {}", index.manifests.len()),
            Ok(Document::Manifest(manifest)) => format!("manifest of {}", manifest.layers.len()),
            Err(error) => error.to_string(),
        };
        expect.assert_eq(&got);
    };
    check(
        r#"{"schemaVersion":2,"manifests":[]}"#,
        expect!["index of 0"],
    );
    check(
        r#"{"schemaVersion":1}"#,
        expect!["unusable x: docker schema 1 is not supported; push again"],
    );
    check(
        "{}",
        expect!["unusable x: neither an index nor an image manifest"],
    );
    check(
        "[",
        expect!["unusable x: EOF while parsing a list at line 1 column 1"],
    );
    check(
        r#"{"schemaVersion":2,"config":{"digest":"sha256:../../etc/passwd","size":1},"layers":[]}"#,
        expect![[
            r#"unusable x: invalid digest "sha256:../../etc/passwd": want sha256: and 64 hexadecimal digits at line 1 column 63"#
        ]],
    );
}

#[test]
fn null_fields_are_empty() {
    let json = r#"{"os":"linux","architecture":"amd64","config":{"Cmd":null,"Volumes":{"/data":{}},
        "ExposedPorts":null,"Env":["A=b"]},"rootfs":{"type":"layers","diff_ids":null}}"#;
    let config = ConfigDocument::parse("x", json.as_bytes(), 0)
        .unwrap()
        .config;
    expect![[r#"["A=b"] [] ["/data"] []"#]].assert_eq(&format!(
        "{:?} {:?} {:?} {:?}",
        config.env, config.cmd, config.volumes, config.exposed_ports
    ));
}
