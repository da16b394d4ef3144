//! libFuzzer's main over tables of targets, of which `FUZZ_TARGET` names one.
//!
//! libFuzzer brings mutation and the search for new paths, `fuzz` the readers and their laws. Built
//! by `cargo xtask fuzz` with counters on every edge; a panic, also one that a task would have
//! swallowed, aborts and leaves the input behind. Each group of targets is a binary (`src/bin`):
//! what an input costs at least grows with the number of counters, which are cleared and looked at
//! for each, so a binary must name its own tables only.

use std::sync::OnceLock;

use fuzz::Target;
use peak_alloc::PeakAlloc;

pub use libfuzzer_sys;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

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
}

/// Runs the target on one input.
pub fn run(data: &[u8]) {
    if let Some(target) = TARGET.get() {
        fuzz::check(target, data, &HEAP);
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
    };
}
