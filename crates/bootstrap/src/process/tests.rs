//! Start, find again, end.

use std::path::Path;
use std::time::Duration;

use crate::process::{Process, Start};

/// A process is found again by its file, ends when asked, and is not found afterwards.
#[test]
fn life() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let start = Start {
        program: Path::new("/bin/sleep"),
        arguments: &["100"],
        log: &log,
        user: None,
    };
    let process = Process::start(&start).unwrap();
    let file = folder.path().join("pid");
    process.write(&file).unwrap();
    assert_eq!(Process::read(&file).unwrap(), Some(process));
    assert!(!process.wait(Duration::from_millis(10)));
    assert!(!process.end(Duration::from_secs(5)).unwrap());
    assert_eq!(Process::read(&file).unwrap(), None);
    assert!(process.wait(Duration::ZERO));
    assert!(!process.end(Duration::ZERO).unwrap());
}
