//! The tables of docs/PERFORMANCE.md.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::{Context as _, Result};

use crate::tools::{self, Run};
use crate::work::ALL;

/// Requests of the short run, and how many more the long one has.
const FEW: usize = 64;
const MORE: usize = 512;
/// The same for lists, and for runs under valgrind.
const FEW_SLOW: usize = 8;
const MORE_SLOW: usize = 64;
const WATCHERS: usize = 100;
const HELD: usize = 10_000;
const FLUSHES: &str = "fsync,fdatasync,sync_file_range,msync";

#[expect(clippy::print_stdout, reason = "it talks to a terminal")]
pub(crate) fn line(text: &str) {
    println!("{text}");
    // Whoever looks on wants to see it now.
    drop(std::io::stdout().flush());
}

/// Many less few, for each request of the difference.
fn each<T>(
    run: Run<'_>,
    (few, more): (usize, usize),
    measure: impl Fn(Run<'_>) -> Result<T>,
    less: impl Fn(T, T) -> f64,
) -> Result<f64> {
    let of = |requests| measure(Run { requests, ..run });
    let (short, long) = (of(few)?, of(few + more)?);
    Ok(less(long, short) / more as f64)
}

pub(crate) fn all() -> Result<()> {
    requests()?;
    watches()?;
    writes()?;
    held()
}

fn plain(name: &str) -> Run<'_> {
    Run {
        name,
        requests: 0,
        writers: 1,
        watchers: 0,
    }
}

fn numbers_of(run: Run<'_>, span: (usize, usize)) -> Result<(f64, f64, f64)> {
    let allocations = each(run, span, tools::allocations, |a, b| {
        a.0 as f64 - b.0 as f64
    })?;
    let bytes = each(run, span, tools::allocations, |a, b| {
        a.1 as f64 - b.1 as f64
    })?;
    let slow = (FEW_SLOW, MORE_SLOW);
    let instructions = each(run, slow, tools::instructions, |a, b| a as f64 - b as f64)?;
    Ok((allocations, bytes, instructions))
}

fn requests() -> Result<()> {
    line("| request | allocations | bytes allocated | instructions |");
    line("| --- | ---: | ---: | ---: |");
    for (_, name, title) in ALL {
        let span = match name {
            "list" => (FEW_SLOW, MORE_SLOW),
            _ => (FEW, MORE),
        };
        let (allocations, bytes, instructions) =
            numbers_of(plain(name), span).with_context(|| title)?;
        line(&format!(
            "| {title} | {} | {} | {} |",
            grouped(allocations),
            grouped(bytes),
            grouped(instructions)
        ));
    }
    Ok(())
}

fn watches() -> Result<()> {
    let alone = numbers_of(plain("create"), (FEW, MORE))?;
    let watched = Run {
        watchers: WATCHERS,
        ..plain("create")
    };
    let all = numbers_of(watched, (FEW, MORE))?;
    let one = |all: f64, alone: f64| {
        let one = (all - alone) / WATCHERS as f64;
        format!("{one:.1}")
    };
    line(&format!(
        "| an event to one watcher, of {WATCHERS} | {} | {} | {} |",
        one(all.0, alone.0),
        one(all.1, alone.1),
        one(all.2, alone.2)
    ));
    Ok(())
}

fn writes() -> Result<()> {
    line("\n| request, one at a time | system calls | the most frequent |\n| --- | ---: | --- |");
    for (_, name, title) in ALL {
        let slow = name == "list";
        let (few, more) = if slow {
            (FEW_SLOW, MORE_SLOW)
        } else {
            (FEW, MORE)
        };
        let count = |requests| {
            let run = Run {
                requests,
                ..plain(name)
            };
            tools::calls(run, "all")
        };
        let (short, long) = (count(few)?, count(few + more)?);
        let per: BTreeMap<&String, f64> = long
            .iter()
            .map(|(name, calls)| {
                let before = short.get(name).copied().unwrap_or(0);
                (name, (*calls as f64 - before as f64) / more as f64)
            })
            .collect();
        let mut most: Vec<(&&String, &f64)> = per.iter().filter(|(_, n)| **n >= 0.05).collect();
        most.sort_by(|a, b| b.1.total_cmp(a.1));
        let words: Vec<String> = most
            .iter()
            .take(5)
            .map(|(name, number)| format!("{name} {number:.1}"))
            .collect();
        let total: f64 = per.values().sum();
        line(&format!("| {title} | {total:.1} | {} |", words.join(", ")));
    }
    line("\n| creates at a time | flushes for each |\n| ---: | ---: |");
    for writers in [1, 8, 32] {
        let run = Run {
            writers,
            ..plain("create")
        };
        let flushes = |run: Run<'_>| Ok(tools::calls(run, FLUSHES)?.values().sum::<u64>());
        let per = each(run, (FEW, MORE), flushes, |a, b| a as f64 - b as f64)?;
        line(&format!("| {writers} | {per:.2} |"));
    }
    Ok(())
}

fn held() -> Result<()> {
    line("\n| each of 10,000 | heap | resident | database |\n| --- | ---: | ---: | ---: |");
    for (name, title) in [("create", "ConfigMaps of 1 KiB"), ("create-pod", "Pods")] {
        let numbers = tools::numbers(&["hold", name, &HELD.to_string()])?;
        let cells: Vec<String> = numbers
            .iter()
            .map(|all| grouped(*all as f64 / HELD as f64))
            .collect();
        line(&format!("| {title} | {} |", cells.join(" | ")));
    }
    Ok(())
}

/// Rounded, with commas.
fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
