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
        // Older lines have none.
        sum.mutants += number("mutants");
        sum.seconds += number("seconds");
        sum.findings += number("findings");
    }
    Ok(sums)
}

fn table(sums: &BTreeMap<String, Sum>) -> String {
    let mut out = String::from(
        "| target | executions | of libFuzzer's own | seconds | a second | findings |\n|---|--:|--:|--:|--:|--:|\n",
    );
    let mut all = Sum::default();
    for (name, sum) in sums {
        row(&mut out, name, sum);
        all.executions += sum.executions;
        all.mutants += sum.mutants;
        all.seconds += sum.seconds;
        all.findings += sum.findings;
    }
    row(&mut out, "all", &all);
    out
}

fn row(out: &mut String, name: &str, sum: &Sum) {
    let rate = sum.executions / sum.seconds.max(1);
    let _ = writeln!(
        out,
        "| {name} | {} | {} | {} | {rate} | {} |",
        grouped(sum.executions),
        grouped(sum.executions.saturating_sub(sum.mutants)),
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
    fn the_table_sums_runs() {
        let ledger = concat!(
            r#"{"commit":"a","target":"json","executions":1500,"seconds":2,"findings":1,"corpus":3}"#,
            "\n",
            r#"{"commit":"b","target":"json","executions":1000000,"mutants":990000,"seconds":3,"findings":0,"corpus":3}"#,
            "\n",
        );
        let expected = "| json | 1,001,500 | 11,500 | 5 | 200300 | 1 |\n";
        let table = table(&sums_of(ledger).unwrap());
        assert!(table.contains(expected), "{table}");
    }
}
