//! libFuzzer's main over tables of targets, of which `FUZZ_TARGET` names one.
//!
//! libFuzzer brings mutation and the search for new paths, `fuzz` the readers and their laws. Built
//! by `cargo xtask fuzz` with counters on every edge; a panic, also one that a task would have
//! swallowed, ends the process and leaves the input behind. Each group of targets is a binary
//! (`src/bin`): what an input costs at least grows with the number of counters, which are cleared
//! and looked at for each, so a binary must name its own tables only.
//!
//! With `FUZZ_FINDINGS` (a folder; `FUZZ_WORDS` is a dictionary) an input that libFuzzer hands over
//! is the head of a family (`fuzz::family`), all of which is executed; mutants that reach something
//! new are handed back to it. Without, only the input is: so inputs are replayed and corpora merged.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use fuzz::Target;
use fuzz::family::Family;
use peak_alloc::PeakAlloc;

pub use libfuzzer_sys;

mod counters;
mod watch;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

static TARGET: OnceLock<&'static Target> = OnceLock::new();
static FAMILY: Mutex<Option<Family>> = Mutex::new(None);

/// Finds the target, or prints what there is.
pub fn choose(tables: &[&'static [Target]]) {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let mut targets = tables.iter().copied().flatten();
    if name == "list" {
        for target in targets {
            println!("{} {}", target.name, target.most);
        }
        std::process::exit(0);
    }
    let Some(target) = targets.find(|target| target.name == name) else {
        eprintln!("FUZZ_TARGET names no target: {name:?}; `list` lists them");
        std::process::exit(2);
    };
    TARGET.get_or_init(|| target);
    // What is made once, on the first input, is not the input's.
    (target.run)(b"");
    if let Some(findings) = std::env::var_os("FUZZ_FINDINGS") {
        let family = Family::new(dictionary(), counters::words());
        *FAMILY.lock().unwrap_or_else(PoisonError::into_inner) = Some(family);
        watch::start(PathBuf::from(findings));
    }
}

/// The words of the file that `FUZZ_WORDS` names; none if it names none.
fn dictionary() -> Vec<Vec<u8>> {
    let Some(path) = std::env::var_os("FUZZ_WORDS") else {
        return Vec::new();
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => fuzz::mutate::words(&text),
        Err(error) => {
            // A run without its words would look like one with them.
            eprintln!("FUZZ_WORDS: cannot read {}: {error}", path.display());
            std::process::exit(2);
        }
    }
}

/// Runs the target on one input and on its family.
pub fn run(data: &[u8]) {
    let Some(target) = TARGET.get() else { return };
    let mut family = FAMILY.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(family) = family.as_mut() else {
        return fuzz::check(target, data, &HEAP);
    };
    family.run(data, target.most, counters::words(), |data, role| {
        watch::begin(data);
        fuzz::check(target, data, &HEAP);
        watch::end(role);
    });
}

/// The next input out of `data`: a mutant that reached something new, or what libFuzzer makes.
pub fn mutate(data: &mut [u8], size: usize, most: usize) -> usize {
    let mut family = FAMILY.lock().unwrap_or_else(PoisonError::into_inner);
    let fresh = family.as_mut().and_then(|family| family.take(most));
    drop(family);
    match fresh {
        Some(fresh) => {
            data[..fresh.len()].copy_from_slice(&fresh);
            fresh.len()
        }
        None => libfuzzer_sys::fuzzer_mutate(data, size, most),
    }
}

/// The entry of a binary with these tables.
#[macro_export]
macro_rules! engine {
    ($($table:expr),+) => {
        $crate::libfuzzer_sys::fuzz_target!(
            init: $crate::choose(&[$($table),+]),
            |data: &[u8]| $crate::run(data)
        );
        $crate::libfuzzer_sys::fuzz_mutator!(
            |data: &mut [u8], size: usize, most: usize, _seed: u32| {
                $crate::mutate(data, size, most)
            }
        );
    };
}
