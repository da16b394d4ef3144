//! What is executed now, so that a finding by a mutant leaves the mutant behind.
//!
//! Owns the current input, the count of executions and the processor time (printed each second,
//! xtask takes the last line), and the end of a process that panics or hangs. Knows no target.
//!
//! libFuzzer knows only the input that it handed over, so its own files and its alarm are of no use
//! in a family. What cannot be caught here (a stack that overflows) leaves libFuzzer's file; when
//! that one is run again, `FUZZ_LAST=FILE` writes each input to a file before it is executed.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use fuzz::family::Role;
use rustix::process::{Signal, getpid, kill_process};
use rustix::time::{ClockId, clock_gettime};

/// Processor time, and looks one second apart, after which an execution hangs.
const HANG: (i64, u32) = (20, 120);

static CURRENT: Mutex<Vec<u8>> = Mutex::new(Vec::new());
/// Begun, also again.
static BEGUN: AtomicU64 = AtomicU64::new(0);
static EXECUTIONS: AtomicU64 = AtomicU64::new(0);
static MUTANTS: AtomicU64 = AtomicU64::new(0);
static LAST: OnceLock<PathBuf> = OnceLock::new();

/// An execution begins.
pub(crate) fn begin(data: &[u8]) {
    {
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        current.clear();
        current.extend_from_slice(data);
    }
    if let Some(last) = LAST.get() {
        std::fs::write(last, data).expect("the last input is written");
    }
    BEGUN.fetch_add(1, Ordering::Relaxed);
}

/// An execution has ended well.
pub(crate) fn end(role: Role) {
    if role != Role::Again {
        EXECUTIONS.fetch_add(1, Ordering::Relaxed);
    }
    if role == Role::Mutant {
        MUTANTS.fetch_add(1, Ordering::Relaxed);
    }
}

/// Watches from now on; findings go to this folder.
pub(crate) fn start(findings: PathBuf) {
    if let Some(last) = std::env::var_os("FUZZ_LAST") {
        LAST.get_or_init(|| last.into());
    }
    let folder = findings.clone();
    std::panic::set_hook(Box::new(move |panic| {
        eprintln!("{panic}");
        die("panic", &folder);
    }));
    // Looks at intervals: an execution that does not end announces nothing, and a timer for each
    // would cost more than most of them take.
    std::thread::spawn(move || {
        let mut seen = (0, 0, 0);
        loop {
            std::thread::sleep(Duration::from_secs(1));
            report();
            let begun = BEGUN.load(Ordering::Relaxed);
            let now = clock_gettime(ClockId::ProcessCPUTime).tv_sec;
            if begun != seen.0 || begun == 0 {
                seen = (begun, now, 0);
                continue;
            }
            seen.2 += 1;
            if now - seen.1 > HANG.0 || seen.2 > HANG.1 {
                eprintln!("time: an execution does not end");
                die("hang", &findings);
            }
        }
    });
}

fn report() {
    let executions = EXECUTIONS.load(Ordering::Relaxed);
    let mutants = MUTANTS.load(Ordering::Relaxed);
    let seconds = clock_gettime(ClockId::ProcessCPUTime).tv_sec;
    eprintln!("engine: {executions} executions, {mutants} of mutants, {seconds} s");
}

/// Leaves the current input behind and ends the process, past libFuzzer, which would leave another.
fn die(what: &str, findings: &std::path::Path) -> ! {
    report();
    let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    let mut hasher = DefaultHasher::new();
    current.hash(&mut hasher);
    let path = findings.join(format!("{what}-{:016x}", hasher.finish()));
    match std::fs::write(&path, &*current) {
        Ok(()) => eprintln!("engine: {} bytes in {}", current.len(), path.display()),
        Err(error) => eprintln!("engine: {} is not written: {error}", path.display()),
    }
    if let Err(error) = kill_process(getpid(), Signal::KILL) {
        eprintln!("engine: its process is not killed: {error}");
    }
    std::process::abort()
}
