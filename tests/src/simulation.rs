//! The simulated cluster: scenarios, equal traces for equal seeds, random walks.
//!
//! `SIM_SEEDS=20` walks further seeds; `SIM_SEED=7` only that one, with its trace.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::{Fact, Scenario, walk};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/sim");
    let entries = fs::read_dir(folder).unwrap();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

fn text_of(facts: &[Fact]) -> String {
    facts.iter().map(|fact| format!("{fact}\n")).collect()
}

/// Every scenario, twice: it prints what it says, and the same happens both times.
#[test]
fn scenarios() {
    let only = std::env::var("SIM_SCENARIO").unwrap_or_default();
    let mut failures = String::new();
    for file in files() {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if !name.contains(&only) {
            continue;
        }
        let scenario = Scenario::parse(&fs::read_to_string(&file).unwrap()).unwrap();
        match (scenario.run(), scenario.run()) {
            (Ok(first), Ok(second)) => {
                same_traces(&name, &text_of(&first), &text_of(&second));
            }
            (Err(error), _) | (_, Err(error)) => {
                failures.push_str(&format!("{name}: {error:#}\n\n"));
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// The first line that differs, not two pages of text.
#[track_caller]
fn same_traces(name: &str, first: &str, second: &str) {
    for (index, (one, other)) in first.lines().zip(second.lines()).enumerate() {
        assert_eq!(
            one, other,
            "{name}: the traces of two runs differ at fact {index}"
        );
    }
    assert_eq!(
        first.lines().count(),
        second.lines().count(),
        "{name}: one trace is longer"
    );
}

fn walk_and_check(seed: u64) -> String {
    let report = walk(seed).unwrap();
    assert!(report.pods > 10, "seed {seed}: something happens");
    let violations = report.violations.join("\n");
    assert!(report.violations.is_empty(), "seed {seed}:\n{violations}");
    text_of(&report.facts)
}

#[test]
fn random_walks_keep_the_invariants() {
    if let Ok(seed) = std::env::var("SIM_SEED") {
        let report = walk(seed.parse().unwrap()).unwrap();
        println!("{}", text_of(&report.facts));
        assert!(report.violations.is_empty(), "{:#?}", report.violations);
        return;
    }
    let seeds: u64 = std::env::var("SIM_SEEDS").map_or(3, |number| number.parse().unwrap());
    for seed in 1..=seeds {
        walk_and_check(seed);
    }
}

/// A failure that a seed found can be looked at again. Scenarios are compared in any case.
#[test]
fn the_same_seed_walks_the_same_way() {
    same_traces("seed 99", &walk_and_check(99), &walk_and_check(99));
}
