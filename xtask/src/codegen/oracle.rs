//! Decoding and encoding against upstream's own, on damaged documents.
//!
//! The golden files of k8s.io/api are changed at random (a fixed seed) and given both to the Go
//! program in xtask/codegen/oracle and to `schema`; every answer must be the same, errors and
//! findings included. Skipped, with the reason printed, without Go and its modules.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use schema::{Dom, Limits, Node, Value, builtin, decode_json, encode_json};

/// A small generator; the test must make the same documents every time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % n as u64).unwrap()
    }
}

/// What a value may be replaced with.
const VALUES: [&str; 24] = [
    "null",
    "\"\"",
    "0",
    "1",
    "-1",
    "1.5",
    "3000000000",
    "true",
    "false",
    "[]",
    "{}",
    "\"x\"",
    "\"1Gi\"",
    "\"1000m\"",
    "\"2020-01-01T00:00:00Z\"",
    "[\"a\"]",
    "[null]",
    "{\"a\":null}",
    "{\"a\":\"b\"}",
    "[{}]",
    "[1]",
    "\"AAA=\"",
    "\"0001-01-01T00:00:00Z\"",
    "\"-1.5Mi\"",
];

fn nodes(dom: &Dom) -> Vec<Node> {
    let mut all = vec![dom.root()];
    let mut at = 0;
    while let Some(node) = all.get(at).copied() {
        at += 1;
        all.extend(dom.entries(node).map(|(_, n)| n));
        all.extend(dom.items(node));
    }
    all
}

fn damaged(source: &Dom, random: &mut Random) -> String {
    let mut dom = source.clone();
    for _ in 0..=random.below(3) {
        let all = nodes(&dom);
        let node = all[1 + random.below(all.len() - 1)];
        match random.below(10) {
            0..3 => dom.detach(node),
            3 if dom.value(node) == Value::Map => dom.set_int(node, "noSuchField", 1),
            _ => {
                let value = Dom::parse_json(VALUES[random.below(VALUES.len())].as_bytes()).unwrap();
                let value = dom.import(&value, value.root());
                dom.replace(node, value);
            }
        }
    }
    let mut text = String::from_utf8(dom.to_json(dom.root())).unwrap();
    if random.below(4) == 0 {
        let at = random.below(text.len());
        if text.is_char_boundary(at) {
            match random.below(3) {
                0 => text.truncate(at),
                1 => text.insert(at, ['{', '"', ',', '5', 'e', '\\', ' '][random.below(7)]),
                _ => drop(text.remove(at)),
            }
        }
    }
    text
}

fn ours(group: &str, version: &str, kind: &str, document: &str) -> String {
    let table = builtin();
    let Some(ty) = table.kind(group, version, kind) else {
        return "no such kind".to_owned();
    };
    match decode_json(table, ty, document.as_bytes(), &Limits::DEFAULT) {
        Err(error) => format!("error: {error}"),
        Ok(decoded) => {
            let text = encode_json(table, ty, &decoded.dom, decoded.dom.root());
            let mut answer = String::from_utf8(text).unwrap();
            for finding in decoded.findings {
                answer.push_str(&format!("; {finding}"));
            }
            answer
        }
    }
}

fn golden() -> Option<Vec<PathBuf>> {
    let folder = super::module_cache()
        .ok()?
        .join("k8s.io/api@v0.36.3/testdata/HEAD");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .ok()?
        .filter_map(|f| f.ok().map(|f| f.path()))
        .collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "json"));
    files.sort();
    Some(files)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test's oracle; the directory is given"
)]
fn theirs(input: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut child = Command::new("go")
        .current_dir(root.join("codegen"))
        .args(["run", "./oracle"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "xtask/codegen/oracle failed");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn damaged_documents_fare_as_upstream() {
    let Some(files) = golden().filter(|_| super::in_path("go")) else {
        println!("skipped: no Go, or no k8s.io/api@v0.36.3 in its module cache");
        return;
    };
    let mut random = Random(7);
    let mut cases = Vec::new();
    for file in files {
        let dom = Dom::parse_json(&std::fs::read(file).unwrap()).unwrap();
        let root = dom.as_ref();
        let (group, version) = root
            .str("apiVersion")
            .split_once('/')
            .unwrap_or(("", root.str("apiVersion")));
        let kind = root.str("kind");
        if builtin().kind(group, version, kind).is_none() {
            continue;
        }
        for _ in 0..20 {
            let document = damaged(&dom, &mut random);
            cases.push((
                group.to_owned(),
                version.to_owned(),
                kind.to_owned(),
                document,
            ));
        }
    }
    let input: String = cases
        .iter()
        .map(|(g, v, k, document)| format!("{g}\t{v}\t{k}\t{document}\n"))
        .collect();
    let answers = theirs(&input);
    assert_eq!(answers.lines().count(), cases.len());
    let mut failed = Vec::new();
    for ((group, version, kind, document), theirs) in cases.iter().zip(answers.lines()) {
        let ours = ours(group, version, kind, document);
        if ours != theirs && theirs != "no such kind" {
            failed.push(format!("{document}\n ours   {ours}\n theirs {theirs}"));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {}: {}",
        failed.len(),
        cases.len(),
        failed[0]
    );
    assert!(cases.len() > 1500, "only {} documents", cases.len());
}
