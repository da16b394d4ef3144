//! The simulated cluster: scenarios, equal traces for equal seeds, random walks.
//!
//! `SIM_SEEDS=1-200` walks these seeds, `SIM_SECONDS=120` new ones for so long and names each, on
//! all cores; `SIM_SEED=7` only that one, with its trace, and with `SIM_REQUESTS=FILE` all requests
//! into a file. Seeds that once failed are in `seeds.txt` and are always walked. With
//! `SIM_FAULTS=all` everything fails that can, and workloads come and go; otherwise only kubelets
//! crash and cables are cut, around pods.

use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result as Walked;
use testkit::{Fact, Report, Request, Scenario, small_walk, walk};

type Walk = fn(u64) -> Walked<Report>;

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

fn text_of_requests(requests: &[Request]) -> String {
    requests
        .iter()
        .map(|request| format!("{request}\n"))
        .collect()
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
            "{name}: the traces of two runs differ at line {index}"
        );
    }
    assert_eq!(
        first.lines().count(),
        second.lines().count(),
        "{name}: one trace is longer"
    );
}

/// The walk that `SIM_FAULTS` asks for, and its word in `seeds.txt`.
fn chosen_walk() -> (&'static str, Walk) {
    match std::env::var("SIM_FAULTS").as_deref() {
        Ok("all") => ("all", walk),
        _ => ("small", small_walk),
    }
}

/// The command that walks a seed again, and what to do with one that failed.
fn repeat(seed: u64) -> String {
    let (word, _) = chosen_walk();
    let faults = match word {
        "all" => "SIM_FAULTS=all ",
        _ => "",
    };
    format!(
        "  again: {faults}SIM_SEED={seed} cargo test -p tests random_walks -- --nocapture\n  and once it is mended: `{word} {seed}` into tests/seeds.txt"
    )
}

/// Seeds of the chosen walk that once failed.
fn past_seeds() -> Vec<u64> {
    let lines = include_str!("../seeds.txt").lines();
    let rows = lines.filter_map(|line| line.split_once(' '));
    let of_walk = rows.filter(|(walk, _)| *walk == chosen_walk().0);
    of_walk.map(|(_, seed)| seed.parse().unwrap()).collect()
}

/// What is wrong with it.
fn walk_and_check(walk: Walk, seed: u64) -> Result<(), String> {
    let report = walk(seed).map_err(|error| format!("{error:#}"))?;
    if report.made <= 10 {
        return Err("hardly anything happened".to_owned());
    }
    match report.violations.is_empty() {
        true => Ok(()),
        false => Err(report.violations.join("\n  ")),
    }
}

/// Seeds on all cores, until there are none or time is up; what failed.
#[expect(
    clippy::disallowed_methods,
    reason = "real time bounds how many seeds are walked, not what a walk does"
)]
fn walk_all(seeds: impl Iterator<Item = u64> + Send, seconds: u64) -> (u64, Vec<u64>) {
    const FAILURES_LIMIT: usize = 20;
    let until = Instant::now() + Duration::from_secs(seconds);
    let (seeds, walk) = (Mutex::new(seeds), chosen_walk().1);
    let (walked, failures) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while Instant::now() < until && failures.lock().unwrap().len() < FAILURES_LIMIT {
                    let Some(seed) = seeds.lock().unwrap().next() else {
                        return;
                    };
                    let found = std::panic::catch_unwind(|| walk_and_check(walk, seed));
                    let found = found.unwrap_or_else(|_| Err("panicked".to_owned()));
                    let count = walked.fetch_add(1, Ordering::Relaxed) + 1;
                    if count.is_multiple_of(100) {
                        println!("{count} seeds walked");
                    }
                    if let Err(failure) = found {
                        println!("seed {seed} failed:\n  {failure}\n{}", repeat(seed));
                        failures.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    (walked.into_inner(), failures.into_inner().unwrap())
}

#[test]
fn random_walks_keep_the_invariants() {
    let option = |name: &str| std::env::var(name).ok();
    if let Some(seed) = option("SIM_SEED") {
        let report = chosen_walk().1(seed.parse().unwrap()).unwrap();
        println!("{}", text_of(&report.facts));
        if let Some(file) = option("SIM_REQUESTS") {
            fs::write(file, text_of_requests(&report.requests)).unwrap();
        }
        assert!(report.violations.is_empty(), "{:#?}", report.violations);
        return;
    }
    let seconds = option("SIM_SECONDS");
    let chosen = match (option("SIM_SEEDS"), &seconds) {
        (Some(chosen), _) => chosen,
        (None, None) => "1-3".to_owned(),
        (None, Some(_)) => "1-0".to_owned(),
    };
    let (first, last) = chosen.split_once('-').expect("SIM_SEEDS is FIRST-LAST");
    let chosen: RangeInclusive<u64> = first.parse().unwrap()..=last.parse().unwrap();
    let past = past_seeds().into_iter();
    let (mut walked, mut failures) = walk_all(past.chain(chosen), u64::MAX >> 32);
    if let Some(seconds) = seconds {
        let mut fresh = base::Rng::from_os();
        let fresh = std::iter::repeat_with(move || {
            let seed = fresh.u64() >> 16;
            println!("walks seed {seed}");
            seed
        });
        let (more, found) = walk_all(fresh, seconds.parse().unwrap());
        walked += more;
        failures.extend(found);
    }
    println!("{walked} seeds walked, failed: {failures:?}");
    assert!(
        failures.is_empty(),
        "seeds failed, with the command for each above: {failures:?}"
    );
}

/// A failure that a seed found can be looked at again: the same happens, and the API server hears
/// the same requests in the same order. Scenarios are compared in any case.
#[test]
fn the_same_seed_walks_the_same_way() {
    for (name, walk, seed) in [
        ("small 99", small_walk as Walk, 99),
        ("all 5", walk as Walk, 5),
    ] {
        let (first, second) = (walk(seed).unwrap(), walk(seed).unwrap());
        let requests = [&first, &second].map(|report| text_of_requests(&report.requests));
        same_traces(name, &requests[0], &requests[1]);
        same_traces(name, &text_of(&first.facts), &text_of(&second.facts));
    }
}
