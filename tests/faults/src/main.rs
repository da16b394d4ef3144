//! Faults, planted and replayed, against the store and the API on top of it.
//!
//! Owns the command line of `make faults`. What is promised and what was found is in
//! docs/RELIABILITY.md. Every part takes a seed, prints it, and on a broken promise prints the
//! command that repeats it.

mod finding;
mod power;
mod say;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use say::say;

const USAGE: &str = "usage: faults power [--seed N] [--images N] [--lives N] [--folder DIR]";

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
    let memory = PathBuf::from("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("transom-faults-");
    let made = if memory.is_dir() {
        builder.tempdir_in(memory)
    } else {
        builder.tempdir()
    };
    made.context("make a folder")
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
