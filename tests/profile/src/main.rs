//! What requests cost, in numbers that a busy machine does not change: allocations, instructions,
//! system calls, flushes, bytes.
//!
//! `make profile` prints the tables of docs/PERFORMANCE.md. The API server runs in this process on
//! a durable store, without sockets. Each number is a child's: this program again (`profile work`),
//! by itself for allocations and bytes, under strace for system calls, under valgrind for
//! instructions; a run of few requests is taken from one of many, so that start and end cancel.

mod held;
mod report;
mod server;
mod tools;
mod work;

use std::alloc::System;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use work::{Plan, Work};

/// Counts for all of this process.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(&format!("profile: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<()> {
    match words {
        [] => report::all(),
        ["work", name, requests, writers, watchers] => {
            let plan = Plan {
                work: Work::named(name).with_context(|| format!("no work is named {name}"))?,
                requests: requests.parse().context("number of requests")?,
                writers: writers.parse().context("number of writers")?,
                watchers: watchers.parse().context("number of watchers")?,
            };
            report::line(&server::runtime()?.block_on(work::run(plan))?.to_line());
            Ok(())
        }
        ["hold", name, objects] => {
            let work = Work::named(name).with_context(|| format!("no work is named {name}"))?;
            let objects = objects.parse().context("number of objects")?;
            report::line(&held::run(work, objects)?.to_line());
            Ok(())
        }
        _ => bail!(
            "without words all is measured; `work NAME REQUESTS WRITERS WATCHERS` and `hold NAME OBJECTS` are its parts"
        ),
    }
}
