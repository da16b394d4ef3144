//! The committed corpus and all past findings, through every target, within its budgets.
//!
//! One test, so that what it measures of the heap is its own.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Panics of tasks are caught by their runtime; they count all the same.
static PANICS: AtomicUsize = AtomicUsize::new(0);

fn inputs(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    all
}

#[test]
fn corpus_and_findings_pass() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        usual(panic);
    }));
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut ran, mut failed) = (0, Vec::new());
    for target in fuzz::targets() {
        let corpus = inputs(&root.join("corpus").join(target.name));
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        let findings = inputs(&root.join("findings").join(target.name));
        // What is made once, on the first input, is not the input's.
        (target.run)(b"");
        for path in corpus.iter().chain(&findings) {
            let data = std::fs::read(path).unwrap();
            let before = PANICS.load(Ordering::Relaxed);
            let result = std::panic::catch_unwind(|| fuzz::check(target, &data, &HEAP));
            if result.is_err() || PANICS.load(Ordering::Relaxed) != before {
                failed.push(path.clone());
            }
            ran += 1;
        }
    }
    assert!(failed.is_empty(), "of {ran} inputs: {failed:#?}");
}

/// Folders without a target would never run, and a large corpus would slow every clone.
#[cfg(feature = "all")]
#[test]
fn the_corpus_is_small_and_has_an_owner() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut bytes = 0;
    for kind in ["corpus", "findings"] {
        for folder in inputs(&root.join(kind)) {
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            assert!(
                name == "README.md" || fuzz::find(&name).is_some(),
                "{kind}/{name} belongs to no target"
            );
            let sizes = inputs(&folder)
                .into_iter()
                .map(|path| path.metadata().unwrap().len());
            bytes += sizes.sum::<u64>();
        }
    }
    assert!(bytes < 1 << 20, "{bytes} bytes in all, more than 1 MiB");
}
