//! Everything, one after the other, on the terminal and into a document.
//!
//! A part that fails is named in both, does not keep the others from being measured, and makes
//! the whole run fail.

use std::path::Path;

use anyhow::{Result, bail};
use tokio::time::Instant;

use crate::compare::{self, Comparison};
use crate::document::{Document, Part};
use crate::report::{Report, line};
use crate::words::All;
use crate::{machine, nodes, single, within};

const SINGLE: &str = "One node, against its limits";
const NODES: &str = "Three nodes";
const COMPARE: &str = "Side by side with upstream v1.36.3";

pub(crate) async fn run(binary: &Path, options: &All) -> Result<()> {
    let begin = Instant::now();
    let mut document = Document {
        commit: options.commit.clone(),
        machine: machine::describe(),
        date: machine::date(),
        load: machine::load(),
        parts: Vec::new(),
        minutes: 0.0,
    };
    let mut failed = Vec::new();

    line(&format!("== {SINGLE}"));
    let mut report = Report::default();
    let outcome = within(single::WITHIN, single::run(binary, &mut report)).await;
    report.print();
    document
        .parts
        .push(of_report(SINGLE, &report, outcome, &mut failed));

    line(&format!("\n== {NODES}"));
    let mut report = Report::default();
    let outcome = within(nodes::WITHIN, nodes::run(binary, &mut report)).await;
    report.print();
    document
        .parts
        .push(of_report(NODES, &report, outcome, &mut failed));

    line(&format!("\n== {COMPARE}"));
    let part = match &options.programs {
        Some(programs) => {
            let mut table = Comparison::default();
            let run = compare::run(binary, programs, &mut table);
            let outcome = within(compare::WITHIN, run).await;
            let table = table.markdown();
            line(&table);
            part(COMPARE, table, outcome, &mut failed)
        }
        None => {
            let text = "Not measured: upstream's programs are built with Go, which this machine does not have.";
            line(text);
            Part {
                title: COMPARE,
                text: format!("{text}\n"),
            }
        }
    };
    document.parts.push(part);

    document.minutes = begin.elapsed().as_secs_f64() / 60.0;
    if let Some(path) = &options.write {
        document.write(path)?;
        line(&format!("written: {}", path.display()));
    }
    if !failed.is_empty() {
        bail!("{}", failed.join("; "));
    }
    Ok(())
}

fn of_report(
    title: &'static str,
    report: &Report,
    outcome: Result<()>,
    failed: &mut Vec<String>,
) -> Part {
    let missing = report.missing();
    if missing > 0 {
        failed.push(format!("{title}: {missing} figures were not measured"));
    }
    part(title, report.markdown(), outcome, failed)
}

fn part(
    title: &'static str,
    mut text: String,
    outcome: Result<()>,
    failed: &mut Vec<String>,
) -> Part {
    if let Err(error) = outcome {
        let error = format!("{error:#}");
        line(&format!("{title}: {error}"));
        text.push_str(&format!("\nEnded early: {}\n", error.replace('\n', " ")));
        failed.push(format!("{title}: {error}"));
    }
    Part { title, text }
}
