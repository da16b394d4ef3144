//! Log lines of a process: level from `TRANSOM_LOG`, one line an event, on standard error.
//!
//! Where standard error is a file, it stays bounded: above `LOG_CEILING` bytes the oldest
//! `LOG_CUT` are taken out of it in place, so that whoever holds the file open goes on writing and
//! nobody has to rename anything. A file system that cannot do that gets its file emptied.
//! Source: fallocate(2), FALLOC_FL_COLLAPSE_RANGE (ext4, xfs).

use std::io::{self, IsTerminal as _, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, FileType};
use tracing_subscriber::EnvFilter;

/// A log file is cut when it is larger than this.
const LOG_CEILING: u64 = 16 << 20;
/// How much a cut takes away; a multiple of every file system's block.
const LOG_CUT: u64 = 8 << 20;
/// Bytes between two looks at the file's size.
const LOOK_EVERY: u64 = 256 << 10;

/// Installs the subscriber of this process. A second call changes nothing.
pub fn init(default_level: &str) {
    let filter =
        EnvFilter::try_from_env("TRANSOM_LOG").unwrap_or_else(|_| EnvFilter::new(default_level));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Bounded)
        .with_ansi(false)
        .with_target(false)
        .try_init();
}

/// Bytes written since the last look.
static SINCE: AtomicU64 = AtomicU64::new(LOOK_EVERY);

/// Standard error, bounded.
struct Bounded;

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = io::stderr().write(bytes)?;
        let all = SINCE.fetch_add(written as u64, Ordering::Relaxed) + written as u64;
        if all >= LOOK_EVERY {
            SINCE.store(0, Ordering::Relaxed);
            let error = io::stderr();
            if !error.is_terminal() {
                bound(error.as_fd(), LOG_CEILING, LOG_CUT);
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Takes the oldest `cut` bytes out of a file larger than `ceiling`. What is no file stays.
fn bound(file: impl AsFd, ceiling: u64, cut: u64) {
    let Ok(stat) = rustix::fs::fstat(&file) else {
        return;
    };
    let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
    if !is_file || u64::try_from(stat.st_size).unwrap_or(0) <= ceiling {
        return;
    }
    if rustix::fs::fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 0, cut).is_err() {
        // A log that cannot be cut must not fill the disk either.
        let _ = rustix::fs::ftruncate(&file, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    /// The newest part stays, and the writer goes on at the end.
    #[test]
    fn cut() {
        let path = std::env::temp_dir().join(format!("transom-log-{}", std::process::id()));
        let open = OpenOptions::new().append(true).create(true).open(&path);
        let mut file = open.unwrap();
        let block = 64 << 10;
        for letter in *b"abc" {
            file.write_all(&vec![letter; block]).unwrap();
        }
        bound(&file, 3 * block as u64, block as u64);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 3 * block as u64);
        file.write_all(b"d").unwrap();
        bound(&file, 3 * block as u64, block as u64);
        file.write_all(b"e").unwrap();
        let left = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        // Emptied where the file system cannot cut.
        let cut = left.len() == 2 * block + 2 && left[0] == b'b';
        assert!(
            (cut || left == b"e") && left.ends_with(b"e"),
            "{}",
            left.len()
        );
    }
}
