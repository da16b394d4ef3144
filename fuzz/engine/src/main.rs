//! One binary for all targets: libFuzzer's main, the target named by `FUZZ_TARGET`.
//!
//! libFuzzer brings mutation and the search for new paths, `fuzz` the readers and their laws. Built
//! by `cargo xtask fuzz` with counters on every edge; a panic, also one that a task would have
//! swallowed, aborts and leaves the input behind.
#![no_main]

use std::sync::OnceLock;

use fuzz::{TARGETS, Target};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

fn choose() {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    if name == "list" {
        for target in TARGETS {
            println!("{} {}", target.name, target.most);
        }
        std::process::exit(0);
    }
    let Some(target) = fuzz::find(&name) else {
        eprintln!("FUZZ_TARGET names no target: {name:?}; `list` lists them");
        std::process::exit(2);
    };
    TARGET.get_or_init(|| target);
    // What is made once, on the first input, is not the input's.
    (target.run)(b"");
}

libfuzzer_sys::fuzz_target!(init: choose(), |data: &[u8]| {
    if let Some(target) = TARGET.get() {
        fuzz::check(target, data, &HEAP);
    }
});
