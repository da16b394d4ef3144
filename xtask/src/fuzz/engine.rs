//! The engines: how they are built, one run of one, the choice of a corpus.
//!
//! Owns the build of `fuzz/engine` (counters on every edge, which the pinned compiler can do), the
//! committed corpus (`fuzz/corpus`), what was found (`fuzz/findings`) and the bounds of a run. New
//! inputs live in `.build/fuzz` until `--minimise` chooses those worth committing.
//!
//! An engine clears and reads all its counters for every input, so there is one for each group of
//! targets; they are built in three goes, small readers first, because the others take an hour.
//! For the same reason it executes mutants of each input by itself (`fuzz::family`), and counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};

use super::files;
use crate::tool::{command, say};

/// Counters and their places. Not the values that are compared: telling them took half of the time
/// of a small reader, and the words that they would lead to are in the dictionaries.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=3 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table";
/// The binaries of `fuzz/engine`, in builds of what has most of its crates in common.
const BUILDS: &[&[&str]] = &[
    &["documents", "texts"],
    &["connections", "credentials", "images"],
    &["files", "names", "requests"],
];
/// What the process of a run may hold, libFuzzer's corpus and tables among it.
const RESIDENT_MB: u64 = 1024;
/// Committed bytes of one target's corpus, and how many files.
const CORPUS_BYTES: u64 = 24 << 10;
const CORPUS_FILES: usize = 120;

/// A target and the engine that has it.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: String,
    /// The longest input.
    most: String,
    program: PathBuf,
}

/// What a run did.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) executions: u64,
    /// Of these the mutants that libFuzzer did not see.
    pub(super) mutants: u64,
    /// Of processor time: the machine may have other work.
    pub(super) seconds: u64,
    pub(super) findings: u64,
    /// Inputs, old and new.
    pub(super) corpus: usize,
    pub(super) resident_mb: u64,
}

/// Builds the engines, and all of them if nothing is named; the named targets in their order, or
/// all.
pub(super) fn build(root: &Path, named: &[String]) -> Result<Vec<Target>> {
    for name in named {
        // Before an hour of building: every target has a corpus.
        ensure!(
            corpus(root, name).is_dir(),
            "no target {name}; each has a folder in fuzz/corpus"
        );
    }
    let mut targets: Vec<Target> = Vec::new();
    for groups in BUILDS {
        targets.extend(build_groups(root, groups)?);
        if !named.is_empty() {
            targets.retain(|target| named.contains(&target.name));
            if targets.len() == named.len() {
                break;
            }
        }
    }
    for name in named {
        ensure!(
            targets.iter().any(|target| target.name == *name),
            "no engine has a target {name}"
        );
    }
    targets.sort_by_key(|target| named.iter().position(|name| *name == target.name));
    Ok(targets)
}

fn build_groups(root: &Path, groups: &[&str]) -> Result<Vec<Target>> {
    let host = host(root)?;
    let folder = root.join("target/fuzz");
    // With a target named, build scripts and macros are built without counters.
    let status = command("cargo", &root.join("fuzz/engine"))
        .args(["build", "--release", "--locked", "--target", &host])
        .args(["--no-default-features", "--features", &groups.join(",")])
        .arg("--target-dir")
        .arg(&folder)
        .env("RUSTFLAGS", FLAGS)
        .env("CARGO_INCREMENTAL", "0")
        .status()
        .context("run cargo")?;
    ensure!(status.success(), "the engines do not build: {status}");
    let mut targets = Vec::new();
    for group in groups {
        let program = folder.join(&host).join("release").join(group);
        let listed = command(&program, root)
            .env("FUZZ_TARGET", "list")
            .output()
            .with_context(|| format!("run {}", program.display()))?;
        let listed = String::from_utf8(listed.stdout).context("the list of targets")?;
        let before = targets.len();
        let rows = listed.lines().filter_map(|line| line.split_once(' '));
        targets.extend(rows.map(|(name, most)| Target {
            name: name.to_owned(),
            most: most.to_owned(),
            program: program.clone(),
        }));
        ensure!(targets.len() > before, "{group} lists no targets");
    }
    Ok(targets)
}

fn corpus(root: &Path, name: &str) -> PathBuf {
    root.join("fuzz/corpus").join(name)
}

fn work(root: &Path, name: &str) -> PathBuf {
    root.join(".build/fuzz").join(name)
}

/// Runs one target for so long.
pub(super) fn fuzz(root: &Path, target: &Target, seconds: u64) -> Result<Run> {
    let name = &target.name;
    let (work, corpus) = (work(root, name), corpus(root, name));
    let findings = root.join("fuzz/findings").join(name);
    for folder in [&work, &corpus, &findings] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let before = files(&findings)?.len();
    let log = work.with_extension("log");
    let output = fs::File::create(&log).with_context(|| format!("make {}", log.display()))?;
    let mut process = command(&target.program, root);
    process
        .env("FUZZ_TARGET", name)
        .env("FUZZ_FINDINGS", &findings)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={}", target.most))
        // Nobody else adds to the folder: it is read once. Hangs are the engine's: libFuzzer would
        // name a whole family, and all of the time that a process was stopped.
        .args(["-reload=0", "-timeout=0", "-report_slow_units=1000000"])
        .arg("-print_final_stats=1")
        .arg(format!("-rss_limit_mb={RESIDENT_MB}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .stdout(Stdio::null())
        .stderr(output);
    let words = root.join(format!("fuzz/dictionaries/{name}.dict"));
    if words.exists() {
        process.arg(format!("-dict={}", words.display()));
        process.env("FUZZ_WORDS", &words);
    }
    let status = process.arg(&work).arg(&corpus).status();
    let status = status.context("run the engine")?;
    let text = String::from_utf8_lossy(&fs::read(&log).context("read the log")?).into_owned();
    let said = said(&text);
    // A run that was ended from outside has found nothing.
    let found = files(&findings)?.len().saturating_sub(before) as u64;
    let run = Run {
        executions: said.executions,
        mutants: said.mutants,
        seconds: said.seconds,
        findings: found.max(u64::from(said.executions == 0 && !status.success())),
        corpus: files(&work)?.len() + files(&corpus)?.len(),
        resident_mb: statistic(&text, "peak_rss_mb").unwrap_or_default(),
    };
    let mut said = format!(
        "{name}: {} executions in {} s ({} a second), {} findings",
        run.executions,
        run.seconds,
        run.executions / run.seconds.max(1),
        run.findings
    );
    if run.findings > 0 {
        let lines: Vec<&str> = text.lines().collect();
        let panic = lines.iter().position(|line| line.contains("panicked at"));
        let from = panic.unwrap_or(lines.len().saturating_sub(12));
        for line in lines.iter().skip(from).take(12) {
            said.push_str("\n  ");
            said.push_str(line);
        }
    }
    say(&said);
    Ok(run)
}

/// The smallest inputs that still reach everything, the short ones first, become the corpus.
pub(super) fn minimise(root: &Path, target: &Target) -> Result<()> {
    let name = &target.name;
    let (work, corpus) = (work(root, name), corpus(root, name));
    let merged = root.join(".build/fuzz-merged").join(name);
    if merged.exists() {
        // What an earlier choice left would be chosen again.
        fs::remove_dir_all(&merged).with_context(|| format!("remove {}", merged.display()))?;
    }
    for folder in [&work, &corpus, &merged] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let status = command(&target.program, root)
        .env("FUZZ_TARGET", name)
        .args(["-merge=1", "-timeout=20"])
        .args([&merged, &corpus, &work])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("run the engine")?;
    ensure!(status.success(), "minimising {name}: {status}");
    let mut all = files(&merged)?;
    all.sort();
    let mut left = CORPUS_BYTES;
    let mut kept = Vec::new();
    for (size, path) in all.into_iter().take(CORPUS_FILES) {
        if size > left {
            break;
        }
        left -= size;
        kept.push(path);
    }
    for (_, path) in files(&corpus)? {
        let seed = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("seed"));
        // What a person wrote stays.
        if !seed {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    for path in &kept {
        let to = corpus.join(path.file_name().context("a file's name")?);
        fs::copy(path, &to).with_context(|| format!("write {}", to.display()))?;
    }
    let size = CORPUS_BYTES - left;
    say(&format!("{name}: {} files, {size} bytes", kept.len()));
    Ok(())
}

/// One of the numbers that libFuzzer prints at the end.
fn statistic(log: &str, name: &str) -> Option<u64> {
    log.lines().find_map(|line| {
        let (said, value) = line.strip_prefix("stat::")?.split_once(':')?;
        (said == name).then(|| value.trim().parse().ok())?
    })
}

/// What the engine counts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    executions: u64,
    mutants: u64,
    seconds: u64,
}

/// What the engine said last, a second before the end or less; a run that ended before its first
/// second counts as nothing.
fn said(log: &str) -> Said {
    let last = log.lines().rev().find_map(|line| {
        let (executions, rest) = line.strip_prefix("engine: ")?.split_once(" executions, ")?;
        let (mutants, rest) = rest.split_once(" of mutants, ")?;
        Some(Said {
            executions: executions.parse().ok()?,
            mutants: mutants.parse().ok()?,
            seconds: rest.strip_suffix(" s")?.parse().ok()?,
        })
    });
    last.unwrap_or_default()
}

fn host(root: &Path) -> Result<String> {
    let output = command("rustc", root)
        .arg("-vV")
        .output()
        .context("run rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names its host")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_counted_also_when_a_run_ends_early() {
        let begin = "#2\tINITED cov: 5\nengine: 500 executions, 498 of mutants, 1 s\n";
        let end = "engine: 1500 executions, 1490 of mutants, 2 s\n";
        let early = format!("{begin}panicked at src\n{end}engine: 7 bytes in panic-1\n");
        let whole = format!("{begin}{end}Done 10 runs in 2 second(s)\nstat::peak_rss_mb:   47\n");
        for log in [&early, &whole] {
            let expected = Said {
                executions: 1500,
                mutants: 1490,
                seconds: 2,
            };
            assert_eq!(said(log), expected, "{log}");
        }
        assert_eq!(statistic(&whole, "peak_rss_mb"), Some(47));
        assert_eq!(statistic(&early, "peak_rss_mb"), None);
        assert_eq!(said("no such file"), Said::default());
    }

    /// A group that no build has would never run.
    #[test]
    fn every_binary_is_built() {
        let bins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/engine/src/bin");
        let mut there: Vec<String> = files(&bins)
            .unwrap()
            .into_iter()
            .map(|(_, path)| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        there.sort();
        let mut built: Vec<&str> = BUILDS.concat();
        built.sort_unstable();
        assert_eq!(there, built);
    }
}
