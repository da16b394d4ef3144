//! The ledger of runs (`fuzz/ledger.jsonl`, which only grows) and the page that is made of it.
//!
//! Owns a line of it, its sums and the table of docs/FUZZING.md. Knows nothing of engines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::engine::Run;
use crate::page::with_part;
use crate::tool;

const BEGIN: &str = "<!-- ledger: made by `cargo xtask fuzz --page` -->\n";
const END: &str = "<!-- end of the ledger -->\n";
/// Executions in a second of processor time from which on a target is cheap, and how many a cheap
/// one is held to.
const CHEAP: u64 = 100_000;
/// Seconds from which on a rate says something: each run's are cut off to whole ones.
const MEASURED: u64 = 5;
const HELD_TO: u64 = 100_000_000;

/// Adds a line.
pub(super) fn append(root: &Path, target: &str, run: &Run) -> Result<()> {
    let line = json!({
        "commit": tool::commit(root)?,
        "target": target,
        "executions": run.executions,
        "mutants": run.mutants,
        "seconds": run.seconds,
        "findings": run.findings,
        "corpus": run.corpus,
        "resident_mb": run.resident_mb,
    });
    let ledger = root.join("fuzz/ledger.jsonl");
    let mut file = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&ledger)
        .with_context(|| format!("open {}", ledger.display()))?;
    // One write, so that lines of runs at the same time do not mix.
    file.write_all(format!("{line}\n").as_bytes())
        .with_context(|| format!("write {}", ledger.display()))
}

/// Sums of one target.
#[derive(Default)]
pub(super) struct Sum {
    pub(super) executions: u64,
    mutants: u64,
    seconds: u64,
    findings: u64,
    /// Executions and seconds of families: before there were any, targets were slower.
    families: (u64, u64),
}

impl Sum {
    /// Executions in a second of processor time, once there were a few.
    fn rate(&self) -> Option<u64> {
        let (executions, seconds) = self.families;
        (seconds >= MEASURED).then(|| executions / seconds)
    }

    /// How much of what it is held to a cheap one has.
    fn share(&self) -> String {
        if self.rate().is_none_or(|rate| rate < CHEAP) {
            return "–".to_owned();
        }
        let percent = self.executions.saturating_mul(100) / HELD_TO;
        format!("{} %", percent.min(100))
    }
}

/// Writes the table of docs/FUZZING.md anew.
pub(super) fn page(root: &Path) -> Result<()> {
    let path = root.join("docs/FUZZING.md");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let made = with_part(&text, (BEGIN, END), &table(&sums(root)?));
    let made = made.with_context(|| format!("{}: no marks of the ledger", path.display()))?;
    if made != text {
        fs::write(&path, made).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// What the ledger counts of each target.
pub(super) fn sums(root: &Path) -> Result<BTreeMap<String, Sum>> {
    let ledger = fs::read_to_string(root.join("fuzz/ledger.jsonl")).context("read the ledger")?;
    sums_of(&ledger)
}

fn sums_of(ledger: &str) -> Result<BTreeMap<String, Sum>> {
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for line in ledger.lines().filter(|line| !line.is_empty()) {
        let entry: Value = serde_json::from_str(line).context("a line of the ledger")?;
        let number = |key: &str| entry[key].as_u64().unwrap_or_default();
        let name = entry["target"].as_str().context("a target's name")?;
        let sum = sums.entry(name.to_owned()).or_default();
        sum.executions += number("executions");
        sum.seconds += number("seconds");
        // Older lines have none.
        if let Some(mutants) = entry["mutants"].as_u64() {
            sum.mutants += mutants;
            sum.families.0 += number("executions");
            sum.families.1 += number("seconds");
        }
        sum.findings += number("findings");
    }
    Ok(sums)
}

fn table(sums: &BTreeMap<String, Sum>) -> String {
    let mut out = String::from(
        "| target | executions | of libFuzzer's own | seconds | a second | of 100 million | findings |\n|---|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut all = Sum::default();
    for (name, sum) in sums {
        row(&mut out, name, sum, &sum.share());
        all.executions += sum.executions;
        all.mutants += sum.mutants;
        all.seconds += sum.seconds;
        all.findings += sum.findings;
        all.families.0 += sum.families.0;
        all.families.1 += sum.families.1;
    }
    row(&mut out, "all", &all, "");
    out
}

fn row(out: &mut String, name: &str, sum: &Sum, share: &str) {
    let _infallible = writeln!(
        out,
        "| {name} | {} | {} | {} | {} | {share} | {} |",
        grouped(sum.executions),
        grouped(sum.executions.saturating_sub(sum.mutants)),
        sum.seconds,
        sum.rate().map_or_else(|| "–".to_owned(), grouped),
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

    /// The rate is that of families, where there was enough of them to measure: the older line
    /// does not make a cheap target a dear one.
    #[test]
    fn the_table_sums_runs() {
        let ledger = concat!(
            r#"{"commit":"a","target":"json","executions":1500,"seconds":2,"findings":1,"corpus":3}"#,
            "\n",
            r#"{"commit":"b","target":"json","executions":9000000,"mutants":8900000,"seconds":30,"findings":0,"corpus":3}"#,
            "\n",
            r#"{"commit":"b","target":"tar","executions":50000,"mutants":40000,"seconds":5,"findings":0,"corpus":3}"#,
            "\n",
            r#"{"commit":"b","target":"yaml","executions":500000,"mutants":500000,"seconds":1,"findings":0,"corpus":3}"#,
            "\n",
        );
        let table = table(&sums_of(ledger).unwrap());
        for expected in [
            "| json | 9,001,500 | 101,500 | 32 | 300,000 | 9 % | 1 |\n",
            "| tar | 50,000 | 10,000 | 5 | 10,000 | – | 0 |\n",
            "| yaml | 500,000 | 0 | 1 | – | – | 0 |\n",
            "| all | 9,551,500 | 111,500 | 38 | 265,277 |  | 1 |\n",
        ] {
            assert!(table.contains(expected), "{table}");
        }
    }
}
