//! Who must never know whom (ARCHITECTURE.md), checked against `cargo metadata`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Our crates → their direct dependencies on our crates, and on others.
struct Graph {
    ours: BTreeMap<String, BTreeSet<String>>,
    others: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test asks cargo about the workspace"
    )]
    fn read() -> Self {
        let output = Command::new(env!("CARGO"))
            .args([
                "metadata",
                "--format-version",
                "1",
                "--no-deps",
                "--offline",
            ])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let packages = metadata["packages"].as_array().unwrap();
        let names: BTreeSet<&str> = packages
            .iter()
            .map(|p| p["name"].as_str().unwrap())
            .collect();
        let mut graph = Self {
            ours: BTreeMap::new(),
            others: BTreeMap::new(),
        };
        for package in packages {
            let name = package["name"].as_str().unwrap().to_owned();
            for dependency in package["dependencies"].as_array().unwrap() {
                if dependency["kind"].as_str() == Some("dev") {
                    continue;
                }
                let to = dependency["name"].as_str().unwrap();
                let side = if names.contains(to) {
                    &mut graph.ours
                } else {
                    &mut graph.others
                };
                side.entry(name.clone()).or_default().insert(to.to_owned());
            }
        }
        graph
    }

    /// Everything of ours that `from` reaches.
    fn reach(&self, from: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![from.to_owned()];
        while let Some(name) = open.pop() {
            for to in self.ours.get(&name).into_iter().flatten() {
                if found.insert(to.clone()) {
                    open.push(to.clone());
                }
            }
        }
        found
    }

    fn dependents(&self, of: &str) -> BTreeSet<&str> {
        self.ours
            .iter()
            .filter(|(_, to)| to.contains(of))
            .map(|(from, _)| from.as_str())
            .collect()
    }
}

#[test]
fn only_the_api_server_knows_the_store() {
    let graph = Graph::read();
    let allowed = BTreeSet::from([
        "apiserver",
        "transom",
        "testkit",
        "benches",
        "differential",
        "faults",
        "profile",
    ]);
    let actual = graph.dependents("store");
    assert!(actual.is_subset(&allowed), "{actual:?}");
    assert!(
        !graph.reach("apiserver").contains("client"),
        "the API server never is a client"
    );
}

/// Mutants of the store are for the crate `faults`, and there only when asked for by name.
#[test]
fn nobody_else_has_mutants() {
    let manifests = ["crates", "tests", "benches", "xtask"];
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    let mut open: Vec<_> = manifests.map(|name| root.join(name)).into();
    while let Some(path) = open.pop() {
        if path.is_dir() && !path.ends_with("src") && !path.ends_with("node_modules") {
            let entries = std::fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.file_name().is_some_and(|name| name == "Cargo.toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let lines = text.lines().filter(|line| line.contains("mutants"));
            found.extend(lines.map(|line| line.trim().to_owned()));
        }
    }
    found.sort();
    assert_eq!(found, ["mutants = [\"store/mutants\"]", "mutants = []"]);
}

#[test]
fn components_meet_in_api_objects_only() {
    let graph = Graph::read();
    let parts = [
        "controllers",
        "scheduler",
        "kubelet",
        "network",
        "dns",
        "proxy",
    ];
    for part in parts {
        let reach = graph.reach(part);
        for other in parts.into_iter().filter(|other| *other != part) {
            assert!(!reach.contains(other), "{part} knows {other}");
        }
        assert!(!reach.contains("apiserver"), "{part} knows the API server");
    }
}

#[test]
fn kubelet_runtime_and_network_meet_in_nodeapi() {
    let graph = Graph::read();
    for (from, to) in [
        ("kubelet", "runtime"),
        ("runtime", "network"),
        ("runtime", "kubelet"),
    ] {
        assert!(!graph.reach(from).contains(to), "{from} knows {to}");
    }
}

#[test]
fn engines_hold_no_kubernetes_objects() {
    let graph = Graph::read();
    for name in [
        "oci",
        "cgroups",
        "netlink",
        "pki",
        "store",
        "transport",
        "images",
        "base",
    ] {
        let reach = graph.reach(name);
        for kubernetes in ["api", "schema", "registry", "client"] {
            assert!(!reach.contains(kubernetes), "{name} knows {kubernetes}");
        }
    }
}

#[test]
fn pure_crates_hold_no_async_runtime() {
    let graph = Graph::read();
    for name in [
        "api", "schema", "cel", "registry", "oci", "shim", "cgroups", "netlink", "pki",
    ] {
        let mut crates = graph.reach(name);
        crates.insert(name.to_owned());
        for of in crates {
            let others = graph.others.get(&of).cloned().unwrap_or_default();
            assert!(
                !others.contains("tokio"),
                "{name} reaches tokio through {of}"
            );
        }
    }
}
