//! `cargo xtask fuzz [--seconds N] [--minimise] [--page] [TARGET…]`: the fuzzer and its ledger.
//!
//! Owns the build of `fuzz/engine` (counters on every edge, which the pinned compiler can do), the
//! order of runs (one process at a time), the committed corpus (`fuzz/corpus`), what was found
//! (`fuzz/findings`), the ledger (`fuzz/ledger.jsonl`, which only grows) and the page
//! docs/FUZZING.md, whose table is made of it. New inputs live in `.build/fuzz` until
//! `--minimise` chooses those worth committing. Knows no target: the engine lists them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::tool::{command, say};

/// Counters, their places, and the values that are compared.
const FLAGS: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";
const SECONDS: u64 = 60;
/// Committed bytes of one target's corpus, and how many files.
const CORPUS_BYTES: u64 = 24 << 10;
const CORPUS_FILES: usize = 120;
const BEGIN: &str = "<!-- ledger: made by `cargo xtask fuzz --page` -->\n";
const END: &str = "<!-- end of the ledger -->\n";

/// What the command line asks for.
#[derive(Debug, Default)]
struct Wanted {
    seconds: u64,
    minimise: bool,
    page: bool,
    targets: Vec<String>,
}

/// The built engine and where its things are.
struct Engine {
    root: PathBuf,
    program: PathBuf,
    /// Name and longest input.
    targets: Vec<(String, String)>,
}

pub(crate) fn run(mut arguments: impl Iterator<Item = String>) -> Result<()> {
    let mut wanted = Wanted {
        seconds: SECONDS,
        ..Wanted::default()
    };
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seconds" => {
                let value = arguments.next().context("--seconds needs a number")?;
                wanted.seconds = value.parse().context("--seconds needs a number")?;
            }
            "--minimise" => wanted.minimise = true,
            "--page" => wanted.page = true,
            name if name.starts_with('-') => bail!("unknown option {name}"),
            name => wanted.targets.push(name.to_owned()),
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace")?;
    if wanted.page {
        return page(root);
    }
    let engine = Engine::build(root)?;
    for name in &wanted.targets {
        ensure!(
            engine.targets.iter().any(|(known, _)| known == name),
            "no target {name}; there are: {}",
            engine
                .targets
                .iter()
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>()
                .join(" ")
        );
    }
    let mut findings = 0;
    for (name, most) in &engine.targets {
        if !wanted.targets.is_empty() && !wanted.targets.contains(name) {
            continue;
        }
        if wanted.minimise {
            engine.minimise(name)?;
        } else {
            findings += engine.fuzz(name, most, wanted.seconds)?;
        }
    }
    if !wanted.minimise {
        page(root)?;
    }
    ensure!(findings == 0, "{findings} findings, see fuzz/findings");
    Ok(())
}

impl Engine {
    fn build(root: &Path) -> Result<Engine> {
        let host = host(root)?;
        let folder = root.join("target/fuzz");
        // With a target named, build scripts and macros are built without counters.
        let status = command("cargo", &root.join("fuzz/engine"))
            .args(["build", "--release", "--locked", "--target", &host])
            .arg("--target-dir")
            .arg(&folder)
            .env("RUSTFLAGS", FLAGS)
            .env("CARGO_INCREMENTAL", "0")
            .status()
            .context("run cargo")?;
        ensure!(status.success(), "the engine does not build: {status}");
        let program = folder.join(host).join("release/engine");
        let listed = command(&program, root)
            .env("FUZZ_TARGET", "list")
            .output()
            .context("run the engine")?;
        let listed = String::from_utf8(listed.stdout).context("the list of targets")?;
        let pairs = listed.lines().filter_map(|line| line.split_once(' '));
        let targets: Vec<_> = pairs.map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
        ensure!(!targets.is_empty(), "the engine lists no targets");
        Ok(Engine {
            root: root.to_owned(),
            program,
            targets,
        })
    }

    fn corpus(&self, name: &str) -> PathBuf {
        self.root.join("fuzz/corpus").join(name)
    }

    fn work(&self, name: &str) -> PathBuf {
        self.root.join(".build/fuzz").join(name)
    }

    /// Runs one target and appends to the ledger; the number of findings.
    #[expect(clippy::disallowed_methods, reason = "real time is what is recorded")]
    fn fuzz(&self, name: &str, most: &str, seconds: u64) -> Result<u64> {
        let (work, corpus) = (self.work(name), self.corpus(name));
        let findings = self.root.join("fuzz/findings").join(name);
        for folder in [&work, &corpus, &findings] {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        let before = files(&findings)?.len();
        let log = work.with_extension("log");
        let output = fs::File::create(&log).with_context(|| format!("make {}", log.display()))?;
        let mut process = command(&self.program, &self.root);
        process
            .env("FUZZ_TARGET", name)
            .arg(format!("-max_total_time={seconds}"))
            .arg(format!("-max_len={most}"))
            .args(["-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"])
            .arg(format!("-artifact_prefix={}/", findings.display()))
            .stdout(Stdio::null())
            .stderr(output);
        let words = self.root.join(format!("fuzz/dictionaries/{name}.dict"));
        if words.exists() {
            process.arg(format!("-dict={}", words.display()));
        }
        let started = Instant::now();
        let status = process.arg(&work).arg(&corpus).status();
        let status = status.context("run the engine")?;
        let seconds = started.elapsed().as_secs();
        let text = String::from_utf8_lossy(&fs::read(&log).context("read the log")?).into_owned();
        let executions = executions(&text);
        // A run that was ended from outside has found nothing.
        let found = files(&findings)?.len().saturating_sub(before) as u64;
        let found = found.max(u64::from(executions.is_none() && !status.success()));
        let executions = executions.unwrap_or_default();
        say(&format!(
            "{name}: {executions} executions in {seconds} s ({} a second), {found} findings",
            executions / seconds.max(1)
        ));
        if found > 0 {
            let lines: Vec<&str> = text.lines().collect();
            let panic = lines.iter().position(|line| line.contains("panicked at"));
            let from = panic.unwrap_or(lines.len().saturating_sub(12));
            for line in lines.iter().skip(from).take(12) {
                say(&format!("  {line}"));
            }
        }
        let line = json!({
            "commit": revision(&self.root),
            "target": name,
            "executions": executions,
            "seconds": seconds,
            "findings": found,
            "corpus": files(&work)?.len() + files(&corpus)?.len(),
        });
        let ledger = self.root.join("fuzz/ledger.jsonl");
        let mut file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&ledger)
            .with_context(|| format!("open {}", ledger.display()))?;
        writeln!(file, "{line}").with_context(|| format!("write {}", ledger.display()))?;
        Ok(found)
    }

    /// The smallest inputs that still reach everything, the short ones first, become the corpus.
    fn minimise(&self, name: &str) -> Result<()> {
        let (work, corpus) = (self.work(name), self.corpus(name));
        let merged = self.root.join(".build/fuzz-merged").join(name);
        let _ = fs::remove_dir_all(&merged);
        for folder in [&work, &corpus, &merged] {
            fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        }
        let status = command(&self.program, &self.root)
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
}

/// Sizes and paths of the files in a folder.
fn files(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut all = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        let size = entry.metadata().map_or(0, |data| data.len());
        all.push((size, entry.path()));
    }
    Ok(all)
}

/// How many inputs ran: from the statistics, or of a run that ended early from its last line.
fn executions(log: &str) -> Option<u64> {
    let statistic = "stat::number_of_executed_units:";
    let said = log.lines().find_map(|line| line.strip_prefix(statistic));
    if let Some(said) = said.and_then(|text| text.trim().parse().ok()) {
        return Some(said);
    }
    log.lines().rev().find_map(|line| {
        let (count, rest) = line.strip_prefix('#')?.split_once(['\t', ' ', ':'])?;
        (!rest.is_empty()).then(|| count.parse().ok())?
    })
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

fn revision(root: &Path) -> String {
    let output = command("git", root)
        .args(["rev-parse", "--short", "HEAD"])
        .output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// Sums of one target.
#[derive(Default)]
struct Sum {
    executions: u64,
    seconds: u64,
    findings: u64,
}

/// Writes the table of docs/FUZZING.md anew.
fn page(root: &Path) -> Result<()> {
    let path = root.join("docs/FUZZING.md");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let ledger = fs::read_to_string(root.join("fuzz/ledger.jsonl")).context("read the ledger")?;
    let (head, rest) = text.split_once(BEGIN).context("the page has a place")?;
    let (_, tail) = rest.split_once(END).context("the page's place ends")?;
    let made = format!("{head}{BEGIN}{}{END}{tail}", table(&ledger)?);
    if made != text {
        fs::write(&path, made).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn table(ledger: &str) -> Result<String> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for line in ledger.lines().filter(|line| !line.is_empty()) {
        let entry: Value = serde_json::from_str(line).context("a line of the ledger")?;
        let number = |key: &str| entry[key].as_u64().unwrap_or_default();
        let name = entry["target"].as_str().context("a target's name")?;
        let sum = sums.entry(name.to_owned()).or_default();
        sum.executions += number("executions");
        sum.seconds += number("seconds");
        sum.findings += number("findings");
    }
    let mut out = String::from(
        "| target | executions | seconds | a second | findings |\n|---|--:|--:|--:|--:|\n",
    );
    let mut all = Sum::default();
    for (name, sum) in &sums {
        row(&mut out, name, sum);
        all.executions += sum.executions;
        all.seconds += sum.seconds;
        all.findings += sum.findings;
    }
    row(&mut out, "all", &all);
    Ok(out)
}

fn row(out: &mut String, name: &str, sum: &Sum) {
    let rate = sum.executions / sum.seconds.max(1);
    let _ = writeln!(
        out,
        "| {name} | {} | {} | {rate} | {} |",
        grouped(sum.executions),
        sum.seconds,
        sum.findings
    );
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_counted_also_when_a_run_ends_early() {
        let whole = "#2\tINITED cov: 5\nDone 100 runs in 2 second(s)\nstat::number_of_executed_units: 100\n";
        assert_eq!(executions(whole), Some(100));
        let early =
            "#2\tINITED cov: 5\n#4096\tpulse  cov: 9\nthread panicked at src\n==1== ERROR\n";
        assert_eq!(executions(early), Some(4096));
        assert_eq!(executions("no such file"), None);
    }

    #[test]
    fn the_table_sums_runs() {
        let ledger = concat!(
            r#"{"commit":"a","target":"json","executions":1500,"seconds":2,"findings":1,"corpus":3}"#,
            "\n",
            r#"{"commit":"b","target":"json","executions":1000000,"seconds":3,"findings":0,"corpus":3}"#,
            "\n",
        );
        let expected = "| json | 1,001,500 | 5 | 200300 | 1 |\n";
        let table = table(ledger).unwrap();
        assert!(table.contains(expected), "{table}");
    }
}
