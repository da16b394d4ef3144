//! `cargo xtask fuzz [--seconds N] [--executions N] [--jobs N] [--minimise] [--page] [TARGET…]`: the
//! fuzzer and its ledger.
//!
//! Owns the order of runs: so many at a time, each of so many seconds, of every target once, or
//! until the ledger counts so many executions of it. A target that found something is not run
//! again: what it found is to be mended first. Knows no target: the engines list theirs.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, bail, ensure};

mod engine;
mod ledger;

const SECONDS: u64 = 60;

/// What the command line asks for.
#[derive(Debug, Default)]
struct Wanted {
    /// Of one run.
    seconds: u64,
    /// What the ledger has to count of each target.
    executions: Option<u64>,
    /// Runs at a time.
    jobs: usize,
    minimise: bool,
    page: bool,
    targets: Vec<String>,
}

impl Wanted {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Wanted> {
        let mut wanted = Wanted {
            seconds: SECONDS,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            ..Wanted::default()
        };
        while let Some(argument) = arguments.next() {
            let mut number = || -> Result<u64> {
                let value = arguments.next();
                let number = value.and_then(|value| value.replace(['_', ','], "").parse().ok());
                number.with_context(|| format!("{argument} needs a number"))
            };
            match argument.as_str() {
                "--seconds" => wanted.seconds = number()?,
                "--executions" => wanted.executions = Some(number()?),
                "--jobs" => wanted.jobs = usize::try_from(number()?)?.max(1),
                "--minimise" => wanted.minimise = true,
                "--page" => wanted.page = true,
                name if name.starts_with('-') => bail!("unknown option {name}"),
                name => wanted.targets.push(name.to_owned()),
            }
        }
        Ok(wanted)
    }
}

/// A target and what the ledger counts of it.
struct Open<'a> {
    target: &'a engine::Target,
    executions: u64,
}

enum Next {
    Again,
    Done,
}

pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<()> {
    let wanted = Wanted::parse(arguments)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace")?;
    if wanted.page {
        return ledger::page(root);
    }
    let targets = engine::build(root, &wanted.targets)?;
    let sums = ledger::sums(root)?;
    let open = targets.iter().map(|target| Open {
        target,
        executions: sums.get(&target.name).map_or(0, |sum| sum.executions),
    });
    if wanted.minimise {
        return pool(wanted.jobs, open.collect(), |open| {
            engine::minimise(root, open.target)?;
            Ok(Next::Done)
        });
    }
    let open = open.filter(|open| wanted.executions.is_none_or(|most| open.executions < most));
    let findings = AtomicU64::new(0);
    pool(wanted.jobs, open.collect(), |open| {
        let run = engine::fuzz(root, open.target, wanted.seconds)?;
        ledger::append(root, &open.target.name, &run)?;
        open.executions += run.executions;
        findings.fetch_add(run.findings, Ordering::Relaxed);
        let wants = wanted.executions.is_some_and(|most| open.executions < most);
        let sound = run.findings == 0 && run.executions > 0;
        Ok(if wants && sound {
            Next::Again
        } else {
            Next::Done
        })
    })?;
    ledger::page(root)?;
    let findings = findings.into_inner();
    ensure!(findings == 0, "{findings} findings, see fuzz/findings");
    Ok(())
}

/// Works on all that is open, on so many at a time, in turn: what is not done goes to the end.
fn pool<T: Send>(
    jobs: usize,
    open: VecDeque<T>,
    work: impl Fn(&mut T) -> Result<Next> + Sync,
) -> Result<()> {
    let open = Mutex::new(open);
    let lock = || {
        open.lock()
            .expect("no worker panics with the queue in hand")
    };
    std::thread::scope(|scope| {
        // Whoever finds the queue empty may go: each worker puts back what it holds itself.
        let worker = || -> Result<()> {
            loop {
                let Some(mut item) = lock().pop_front() else {
                    return Ok(());
                };
                match work(&mut item) {
                    Ok(Next::Again) => lock().push_back(item),
                    Ok(Next::Done) => {}
                    Err(error) => {
                        lock().clear();
                        return Err(error);
                    }
                }
            }
        };
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(worker)).collect();
        let mut ended = workers.into_iter().map(|worker| worker.join());
        ended.try_for_each(|ended| ended.unwrap_or_else(|_| bail!("a worker panicked")))
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_read() {
        let words = "--executions 100_000_000 --jobs 0 --seconds 5 json time";
        let wanted = Wanted::parse(words.split(' ').map(str::to_owned)).unwrap();
        assert_eq!(wanted.executions, Some(100_000_000));
        assert_eq!((wanted.jobs, wanted.seconds), (1, 5));
        assert_eq!(wanted.targets, ["json", "time"]);
        for wrong in ["--seconds", "--seconds x", "--fast"] {
            let words = wrong.split(' ').map(str::to_owned);
            assert!(Wanted::parse(words).is_err(), "{wrong}");
        }
    }

    /// Two workers share three targets that want three runs each.
    #[test]
    fn the_pool_works_until_all_is_done() {
        let most = Mutex::new((0, 0));
        let runs = AtomicU64::new(0);
        pool(2, VecDeque::from([0, 0, 0]), |done| {
            let mut now = most.lock().unwrap();
            *now = (now.0 + 1, now.1.max(now.0 + 1));
            drop(now);
            runs.fetch_add(1, Ordering::Relaxed);
            *done += 1;
            most.lock().unwrap().0 -= 1;
            Ok(if *done < 3 { Next::Again } else { Next::Done })
        })
        .unwrap();
        assert_eq!(runs.into_inner(), 9);
        assert!(most.into_inner().unwrap().1 <= 2);
    }

    #[test]
    fn an_error_ends_the_pool() {
        let runs = AtomicU64::new(0);
        let ended = pool(1, VecDeque::from([1, 2, 3]), |_| {
            runs.fetch_add(1, Ordering::Relaxed);
            bail!("broken")
        });
        assert_eq!(ended.unwrap_err().to_string(), "broken");
        assert_eq!(runs.into_inner(), 1);
    }
}
