//! Power cuts: everything that a disk may hold after one, opened by the real store.
//!
//! A process writes under strace ([`writer`]); its writes and flushes are replayed on a disk that
//! forgets ([`disk`]), up to every flush and to places between; what is left is opened and
//! compared with what the process had told ([`truth`]). One of the images is where the next
//! process goes on, so that a run is several lives of one database, with a power cut or a
//! `kill -9` after each. Needs strace.

mod disk;
mod trace;
mod truth;
pub(crate) mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use base::Rng;

use self::disk::{Disk, Loss, lay_out};
use self::trace::Step;
use self::truth::{Fact, Held, Owed, Truth, facts, verify};
use self::writer::Load;
use crate::finding::Finding;
use crate::say::say;

/// Images that wait for their turn in memory.
const BATCH: usize = 64;

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    /// At least so many images.
    pub(crate) images: usize,
    /// Lives of the database.
    pub(crate) lives: usize,
    /// Where traces are kept; read instead of recorded if they are there.
    pub(crate) folder: PathBuf,
    /// Planted in writer and checker.
    pub(crate) mutant: Option<String>,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) images: usize,
    pub(crate) flushes: usize,
    pub(crate) acknowledged: usize,
    /// Relaxed answers that a cut took, over all images: the cuts are real.
    pub(crate) lost: u64,
}

/// How a run ended.
pub(crate) type Outcome = std::result::Result<Figures, (Finding, Figures)>;

/// One image to look at.
struct Image {
    number: usize,
    loss: Loss,
    cut: usize,
    files: BTreeMap<String, Vec<u8>>,
    boot: &'static str,
    owed: Owed,
}

/// A life of the database, recorded.
struct Life {
    steps: Vec<Step>,
    facts: Vec<(usize, Fact)>,
}

/// Runs all lives.
pub(crate) fn run(options: &Options) -> Result<Outcome> {
    let mut figures = Figures::default();
    let mut truth = Truth::default();
    let mut held = Held::default();
    let mut files = BTreeMap::new();
    let mut boot = 0;
    for number in 0..options.lives {
        let mut rng = Rng::new(options.seed.wrapping_add(number as u64 * 0x9e37_79b9));
        let load = Load {
            seed: rng.u64(),
            writes: 12 + rng.below(24),
            rest: number % 3 == 1,
            close: number % 2 == 1,
        };
        let life = match record(options, number, boot, load, &files)? {
            Ok(life) => life,
            Err(finding) => return Ok(Err((finding, figures))),
        };
        let all: Vec<Fact> = life.facts.iter().map(|(_, fact)| fact.clone()).collect();
        let given = truth.given;
        if let Err(finding) = truth.learn(&all) {
            return Ok(Err((finding, figures)));
        }
        let flushes = life
            .steps
            .iter()
            .filter(|s| matches!(s, Step::Flush(..)))
            .count();
        figures.flushes += flushes;
        figures.acknowledged += all.iter().filter(|f| matches!(f, Fact::Ack { .. })).count();
        // Where the next life begins.
        let killed = rng.below(3) == 0;
        let (cut, loss) = if killed {
            (life.steps.len(), Loss::None)
        } else {
            let cut = life.steps.len() / 2 + below(&mut rng, life.steps.len() / 2) + 1;
            (cut, Loss::ALL[below(&mut rng, 4)])
        };
        let wanted = options.images.div_ceil(options.lives);
        let mut cuts = cuts(&life.steps, wanted.saturating_sub(1), &mut rng);
        cuts.push((cut, loss));
        let next = cuts.len() - 1;
        let mut order: Vec<usize> = (0..cuts.len()).collect();
        order.sort_by_key(|&index| cuts[index].0);
        let mut disk = Disk::with(&files);
        let (mut done, mut batch) = (0, Vec::new());
        let mut owed = Owed {
            kept: held.last,
            given,
        };
        let mut onward = BTreeMap::new();
        for (place, &index) in order.iter().enumerate() {
            let (cut, loss) = cuts[index];
            owed = replay(&mut disk, &life, done..cut, owed);
            done = cut;
            let mut rng = Rng::new(load.seed ^ (index as u64) << 8);
            let mut image = Image {
                number: index,
                loss,
                cut,
                files: disk.after_cut(loss, &mut rng),
                boot: "after the cut",
                owed,
            };
            if loss == Loss::None {
                // The page cache outlives the process: so does every answer.
                let answers = life.facts.iter().filter(|(at, _)| *at < cut);
                image.owed.kept = answers.fold(owed.kept, |kept, (_, fact)| match fact {
                    Fact::Ack { revision, .. } => kept.max(*revision),
                    _ => kept,
                });
            }
            if index == next {
                onward.clone_from(&image.files);
            }
            batch.push(image);
            if batch.len() < BATCH && place + 1 < order.len() {
                continue;
            }
            let looked = look(&options.folder, &batch, &truth);
            for (image, result) in batch.iter().zip(looked) {
                figures.images += 1;
                match result {
                    Ok(found) => {
                        figures.lost += owed_lost(image.owed, found);
                        if image.number == next {
                            held = found;
                        }
                    }
                    Err(mut finding) => {
                        let (number_of, cut) = (image.number, image.cut);
                        finding.detail = format!(
                            "life {number}, image {number_of}, cut after step {cut} of {}, loss {:?}: {}",
                            life.steps.len(),
                            image.loss,
                            finding.detail
                        );
                        lay_out(&image.files, &options.folder.join("image"))?;
                        return Ok(Err((finding, figures)));
                    }
                }
            }
            batch.clear();
        }
        files = onward;
        truth.events.retain(|at, _| *at <= held.last);
        truth.compacted = truth.compacted.max(held.compacted);
        boot += usize::from(!killed);
        say(&format!(
            "  life {number}: {} steps, {flushes} flushes, {} images; goes on at {} after {loss:?}",
            life.steps.len(),
            cuts.len(),
            held.last
        ));
    }
    Ok(Ok(figures))
}

/// Places and losses: every flush, just before and just after it took effect, then anywhere.
fn cuts(steps: &[Step], wanted: usize, rng: &mut Rng) -> Vec<(usize, Loss)> {
    let flush = |step: &Step| matches!(step, Step::Flush(..) | Step::FlushNames);
    let flushes = (0..steps.len()).filter(|&at| flush(&steps[at]));
    let mut places: Vec<usize> = flushes.flat_map(|at| [at, at + 1]).collect();
    let mut cuts = Vec::with_capacity(wanted);
    while cuts.len() < wanted {
        let loss = Loss::ALL[cuts.len() % Loss::ALL.len()];
        // Once per flush with everything lost, then the rest of the losses.
        let place = match places.pop() {
            Some(place) => place,
            None => 1 + below(rng, steps.len()),
        };
        cuts.push((place, loss));
    }
    cuts
}

/// Brings the disk from one place to a later one, and with it what is owed.
fn replay(disk: &mut Disk, life: &Life, range: std::ops::Range<usize>, mut owed: Owed) -> Owed {
    for step in &life.steps[range.clone()] {
        match step {
            Step::Change(name, change) => disk.change(name, change.clone()),
            Step::Flush(name, upto) => disk.flush(name, *upto),
            Step::Name(naming) => disk.name(naming),
            Step::FlushNames => disk.flush_names(),
            Step::Said(_) => {}
        }
    }
    let from = life.facts.partition_point(|(at, _)| *at < range.start);
    let mut relaxed = 0;
    for (at, fact) in &life.facts[from..] {
        if *at >= range.end {
            break;
        }
        match fact {
            Fact::Ack { durable, revision } => {
                owed.given = owed.given.max(*revision);
                relaxed = relaxed.max(*revision);
                if *durable {
                    owed.kept = owed.kept.max(*revision);
                }
            }
            Fact::Saw(at, _) => owed.given = owed.given.max(*at),
            Fact::Settled => {
                let before = life.facts.iter().take_while(|(place, _)| place < at);
                owed.kept = before.fold(owed.kept, |kept, (_, fact)| match fact {
                    Fact::Ack { revision, .. } => kept.max(*revision),
                    _ => kept,
                });
            }
            Fact::Compacted(_) => {}
        }
    }
    owed
}

fn owed_lost(owed: Owed, held: Held) -> u64 {
    owed.given.saturating_sub(held.last)
}

/// Looks at images with all cores.
fn look(folder: &Path, batch: &[Image], truth: &Truth) -> Vec<Result<Held, Finding>> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let share = batch.len().div_ceil(cores).max(1);
    std::thread::scope(|scope| {
        let one = |(number, images): (usize, &[Image])| {
            let dir = folder.join(format!("look-{number}"));
            let look = |image: &Image| {
                lay_out(&image.files, &dir).map_err(|error| Finding {
                    check: "harness",
                    detail: format!("{error:#}"),
                })?;
                verify(&dir, image.boot, image.owed, truth)
            };
            let found: Vec<_> = images.iter().map(look).collect();
            drop(std::fs::remove_dir_all(&dir));
            found
        };
        let shares = batch.chunks(share).enumerate();
        let threads: Vec<_> = shares
            .map(|share| scope.spawn(move || one(share)))
            .collect();
        let joined = threads.into_iter().flat_map(|thread| {
            thread.join().unwrap_or_else(|_| {
                vec![Err(Finding {
                    check: "no-panic",
                    detail: "the store panicked".to_owned(),
                })]
            })
        });
        joined.collect()
    })
}

/// Runs a life under strace, or reads the trace of one.
fn record(
    options: &Options,
    number: usize,
    boot: usize,
    load: Load,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<Result<Life, Finding>> {
    let folder = &options.folder;
    let trace = folder.join(format!("life-{number}.trace"));
    let place = folder.join("place");
    if !trace.exists() {
        let live = folder.join("live");
        lay_out(files, &live)?;
        std::fs::write(&place, live.as_os_str().as_encoded_bytes()).context("note the place")?;
        let output = child(options, &live, boot, load, &trace)?;
        if !output.status.success() {
            let detail = String::from_utf8_lossy(&output.stderr).into_owned();
            return Ok(Err(Finding {
                check: "writes-go-on",
                detail,
            }));
        }
    }
    let dir = std::fs::read_to_string(&place).context("read the place")?;
    let text = std::fs::read_to_string(&trace).context("read the trace")?;
    let steps = trace::parse(&text, &dir)?;
    let mut said = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        if let Step::Said(text) = step {
            said.extend(facts(text).into_iter().map(|fact| (at, fact)));
        }
    }
    if said.is_empty()
        || !steps.iter().any(|step| matches!(step, Step::Flush(..))) && options.mutant.is_none()
    {
        bail!("{} holds no answers or no flushes", trace.display());
    }
    Ok(Ok(Life { steps, facts: said }))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process whose power can be cut is what is tested"
)]
fn child(
    options: &Options,
    live: &Path,
    boot: usize,
    load: Load,
    trace: &Path,
) -> Result<std::process::Output> {
    let this = std::env::current_exe().context("find this program")?;
    let mut command = std::process::Command::new("strace");
    command
        .args(["-f", "-y", "-xx", "-s", "1000000", "-e", trace::CALLS, "-o"])
        .arg(trace)
        .arg(this)
        .args(["writer", "--folder"])
        .arg(live)
        .args([
            "--boot",
            &boot.to_string(),
            "--seed",
            &load.seed.to_string(),
        ])
        .args(["--writes", &load.writes.to_string()])
        .args(["--rest", if load.rest { "1" } else { "0" }])
        .args(["--close", if load.close { "1" } else { "0" }]);
    if let Some(mutant) = &options.mutant {
        command.args(["--mutant", mutant]);
    }
    command.output().context("run strace (is it installed?)")
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap_or_default()
}
