//! What rustfmt and clippy cannot see: every source file says what it owns, none grows a second
//! noun unnoticed, nothing personal to a machine is committed.

use std::fs;
use std::path::{Path, PathBuf};

/// Past this a file must be split; generated files say so in their first line.
const LINE_LIMIT: usize = 900;
/// A crate's tests are one subject with many cases.
const TEST_LINE_LIMIT: usize = 1200;

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = ["crates", "fuzz", "tests", "benches", "xtask"]
        .iter()
        .map(|dir| root.join(dir))
        .collect();
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 20, "the walk found the sources");
    found
}

fn is_generated(text: &str) -> bool {
    text.lines()
        .take(3)
        .any(|line| line.contains("enerated by `cargo xtask"))
}

#[test]
fn every_file_says_what_it_owns() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(path, text)| {
            let name = path.file_name().unwrap().to_str().unwrap();
            // A test module's subject is the module it tests.
            name != "tests.rs"
                && !path.components().any(|part| part.as_os_str() == "tests")
                && !text.starts_with("//!")
        })
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "no //! header: {silent:#?}");
}

#[test]
fn no_file_hides_a_second_noun() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|(path, text)| {
            let is_test = path.file_name().is_some_and(|name| name == "tests.rs");
            let limit = if is_test { TEST_LINE_LIMIT } else { LINE_LIMIT };
            !is_generated(text) && text.lines().count() > limit
        })
        .map(|(path, text)| (path, text.lines().count()))
        .collect();
    assert!(long.is_empty(), "over {LINE_LIMIT} lines: {long:#?}");
}

#[test]
fn unsafe_stays_where_the_design_allows_it() {
    for (path, text) in sources() {
        let allowed = [
            "crates/oci/",
            "crates/shim/",
            "crates/cgroups/",
            "crates/netlink/",
            // No part of the product: where the linker put libFuzzer's counters.
            "fuzz/engine/src/counters.rs",
            "tests/src/tidy.rs",
        ]
        .iter()
        .any(|dir| path.to_string_lossy().contains(dir));
        let uses = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or_default();
            code.contains("unsafe {")
                || code.contains("unsafe fn")
                || code.contains("unsafe extern")
        });
        assert!(allowed || !uses, "unsafe in {}", path.display());
    }
}

/// A dependency that no source names costs build time and says something untrue.
#[test]
fn every_dependency_is_used() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let sources = sources();
    let mut idle = Vec::new();
    let mut manifests: Vec<PathBuf> = ["benches", "fuzz", "tests", "xtask"]
        .iter()
        .map(|name| root.join(name))
        .collect();
    let crates = fs::read_dir(root.join("crates")).unwrap();
    manifests.extend(crates.map(|entry| entry.unwrap().path()));
    for folder in manifests {
        let text = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        let own: String = sources
            .iter()
            .filter(|(path, _)| path.starts_with(&folder))
            .map(|(_, text)| text.as_str())
            .collect();
        let mut listed = false;
        for line in text.lines() {
            if line.starts_with('[') {
                listed = line.ends_with("dependencies]");
            }
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if !listed || name.is_empty() || name.starts_with(['[', '#']) {
                continue;
            }
            let module = name.replace('-', "_");
            let uses = [
                format!("{module}::"),
                format!("use {module}"),
                format!("{module} as "),
            ];
            if !uses.iter().any(|use_| own.contains(use_.as_str())) {
                idle.push(format!("{}: {name}", folder.display()));
            }
        }
    }
    assert!(idle.is_empty(), "unused: {idle:#?}");
}
