//! Faults, planted and replayed, against the store and the API on top of it.
//!
//! Owns the command line of `make faults`. What is promised and what was found is in
//! docs/RELIABILITY.md. Every part takes a seed, prints it, and on a broken promise prints the
//! command that repeats it.

mod all;
mod finding;
mod history;
mod model;
mod mutants;
mod power;
mod say;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use say::say;

const USAGE: &str = "usage: faults power [--seed N] [--images N] [--lives N] [--folder DIR]
       faults model [--seed N] [--operations N] [--disk 1]
       faults history [--seed N] [--calls N] [--clients N] [--kubeconfig FILE]
       faults mutants [--seed N] [--only NAME]
       faults all [--seed N] [--transom PROGRAM]
each but all: [--mutant NAME], with the feature `mutants`";

/// What the command line says.
#[derive(Default)]
struct Arguments {
    command: String,
    values: Vec<(String, String)>,
}

impl Arguments {
    fn read() -> Result<Arguments> {
        let mut words = std::env::args().skip(1);
        let mut arguments = Arguments {
            command: words.next().context(USAGE)?,
            values: Vec::new(),
        };
        while let Some(name) = words.next() {
            let bare = name.strip_prefix("--").context(USAGE)?;
            let value = words
                .next()
                .with_context(|| format!("{name} needs a value"))?;
            arguments.values.push((bare.to_owned(), value));
        }
        Ok(arguments)
    }

    fn text(&self, name: &str) -> Option<&str> {
        let given = self.values.iter().find(|(key, _)| key == name);
        given.map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str, default: u64) -> Result<u64> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        text.parse()
            .with_context(|| format!("--{name} {text}: not a number"))
    }

    fn count(&self, name: &str, default: usize) -> Result<usize> {
        Ok(usize::try_from(self.number(name, default as u64)?)?)
    }

    fn seed(&self) -> Result<u64> {
        self.number("seed", base::Rng::from_os().u64() >> 16)
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::read()?;
    if let Some(name) = arguments.text("mutant") {
        plant(name)?;
    }
    match &*arguments.command {
        "power" => power_cuts(&arguments),
        "model" => model_walk(&arguments),
        "history" => histories(&arguments),
        "mutants" => mutants::run(arguments.seed()?, arguments.text("only")).map(drop),
        "all" => all::run(
            arguments.seed()?,
            arguments.text("transom").map(PathBuf::from),
        ),
        "writer" => {
            let folder = arguments.text("folder").context(USAGE)?;
            let boot = arguments.text("boot").context(USAGE)?;
            let load = power::writer::Load {
                seed: arguments.number("seed", 0)?,
                writes: arguments.number("writes", 20)?,
                rest: arguments.number("rest", 0)? == 1,
                close: arguments.number("close", 0)? == 1,
            };
            power::writer::run(&PathBuf::from(folder), boot, load)
        }
        other => bail!("unknown command {other}\n{USAGE}"),
    }
}

#[cfg(feature = "mutants")]
fn plant(name: &str) -> Result<()> {
    let mutant = store::mutants::Mutant::named(name);
    store::mutants::plant(Some(mutant.with_context(|| format!("no mutant {name}"))?));
    Ok(())
}

#[cfg(not(feature = "mutants"))]
fn plant(name: &str) -> Result<()> {
    bail!("{name}: this build has no mutants (--features mutants)")
}

/// A folder in memory if there is one: images are many and short-lived.
fn scratch() -> Result<tempfile::TempDir> {
    let given = std::env::var_os("TRANSOM_FAULTS_SCRATCH").map(PathBuf::from);
    let memory = given.unwrap_or_else(|| PathBuf::from("/dev/shm"));
    let mut builder = tempfile::Builder::new();
    builder.prefix("transom-faults-");
    let made = if memory.is_dir() {
        builder.tempdir_in(memory)
    } else {
        builder.tempdir()
    };
    made.context("make a folder")
}

fn model_walk(arguments: &Arguments) -> Result<()> {
    let options = model::Options {
        seed: arguments.seed()?,
        operations: arguments.number("operations", 100_000)?,
        disk: arguments.number("disk", 0)? == 1,
    };
    let model::Options {
        seed,
        operations,
        disk,
    } = options;
    let place = if disk { "on disk" } else { "in memory" };
    say(&format!("model {place}: seed {seed}"));
    match model::run(options)? {
        Ok(done) => {
            say(&format!("model {place}: {done} operations agree"));
            Ok(())
        }
        Err((finding, done)) => {
            say(&format!(
                "after {done} operations: {finding}\nrepeat: faults model --seed {seed} \
                 --operations {operations} --disk {}",
                u8::from(disk)
            ));
            bail!("{} does not hold", finding.check)
        }
    }
}

fn histories(arguments: &Arguments) -> Result<()> {
    let options = history::Options {
        seed: arguments.seed()?,
        calls: arguments.number("calls", 3000)?,
        clients: arguments.number("clients", 8)?,
        kubeconfig: arguments.text("kubeconfig").map(PathBuf::from),
    };
    let (seed, calls) = (options.seed, options.calls);
    let over = if options.kubeconfig.is_some() {
        "over TLS"
    } else {
        "in process"
    };
    say(&format!("history {over}: seed {seed}"));
    let scratch = scratch()?;
    match history::run(&options, scratch.path())? {
        Ok(figures) => {
            say(&format!(
                "history {over}: {} calls and {} events of {} watches are linearizable \
                 ({} restarts, {} compactions, {} watches resumed, {} told 410, {} calls without an answer)",
                figures.calls,
                figures.events,
                figures.spans,
                figures.restarts,
                figures.compactions,
                figures.resumed,
                figures.expired,
                figures.unknown
            ));
            Ok(())
        }
        Err((finding, figures)) => {
            let folder = scratch.keep();
            say(&format!(
                "after {} calls: {finding}\nrecorded: {}/history.txt; again (threads decide the \
                 order): faults history --seed {seed} --calls {calls}",
                figures.calls,
                folder.display()
            ));
            bail!("{} does not hold", finding.check)
        }
    }
}

fn power_cuts(arguments: &Arguments) -> Result<()> {
    let seed = arguments.seed()?;
    let kept = arguments.text("folder").map(PathBuf::from);
    let scratch = scratch()?;
    let options = power::Options {
        seed,
        images: arguments.count("images", 10_000)?,
        lives: arguments.count("lives", 8)?,
        folder: kept.clone().unwrap_or_else(|| scratch.path().to_owned()),
        mutant: arguments.text("mutant").map(str::to_owned),
    };
    say(&format!("power cuts: seed {seed}"));
    match power::run(&options)? {
        Ok(figures) => {
            say(&format!(
                "power cuts: {} images of {} lives hold all that was promised ({} flushes, {} \
                 answers; {} relaxed revisions lost, as they may be)",
                figures.images, options.lives, figures.flushes, figures.acknowledged, figures.lost
            ));
            Ok(())
        }
        Err((finding, figures)) => {
            let folder = match kept {
                Some(folder) => folder,
                None => scratch.keep(),
            };
            say(&format!(
                "after {} images: {finding}\nrepeat: faults power --seed {seed} --images {} \
                 --lives {} --folder {} (the recorded traces; image/ is what was left)",
                figures.images,
                options.images,
                options.lives,
                folder.display()
            ));
            bail!("{} does not hold", finding.check)
        }
    }
}
