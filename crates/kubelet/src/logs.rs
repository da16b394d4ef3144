//! Reads container logs in CRI's format: `<RFC 3339 time> stdout|stderr F|P <text>`.
//!
//! `P` marks a piece of a longer line, `F` its end. Owns selection (tail, since, limit) and
//! following; knows no HTTP. Source: kubernetes v1.36 staging/src/k8s.io/cri-client/pkg/logs/logs.go.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;

/// What of a log is wanted.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Go on as the container writes.
    pub follow: bool,
    /// Only the last lines.
    pub tail_lines: Option<usize>,
    /// Only what was written at or after this time.
    pub since: Option<Timestamp>,
    /// Put the time before each line.
    pub timestamps: bool,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
    /// `Stdout` or `Stderr` only; `None`: both.
    pub stream: Option<&'static str>,
}

/// Bytes read at once.
const BLOCK_BYTES: usize = 64 << 10;
/// A line that is longer than this is passed on in pieces.
const LINE_LIMIT_BYTES: usize = 1 << 20;

/// Sends the selected part of the log at `path`; `alive` tells whether more may come.
/// Ends when the receiver is dropped.
pub async fn stream(
    path: PathBuf,
    options: LogOptions,
    alive: impl Fn() -> bool,
    sender: mpsc::Sender<Result<Bytes, std::io::Error>>,
) {
    if let Err(error) = copy(&path, &options, &alive, &sender).await {
        let _ = sender.send(Err(error)).await;
    }
}

/// Opens `POD/CONTAINER/N.log` for reading. A pod may have been given the node's logs to write: no
/// link in these three names is followed, and nothing but a file is opened.
pub(crate) fn open(path: &Path) -> std::io::Result<File> {
    use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
    let base = path.ancestors().nth(3).unwrap_or(Path::new("/"));
    let below = path.strip_prefix(base).unwrap_or(path);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(base, flags, Mode::empty())?;
    // A pipe without a writer must not hold us up either.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let stay = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = File::from(openat2(&folder, below, flags, Mode::empty(), stay)?);
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(std::io::ErrorKind::InvalidInput.into()),
    }
}

async fn copy(
    path: &Path,
    options: &LogOptions,
    alive: &impl Fn() -> bool,
    sender: &mpsc::Sender<Result<Bytes, std::io::Error>>,
) -> std::io::Result<()> {
    let mut file = open(path)?;
    let start = match options.tail_lines {
        Some(lines) => tail_start(&mut file, lines)?,
        None => 0,
    };
    file.seek(SeekFrom::Start(start))?;
    let mut left = options.limit_bytes.unwrap_or(u64::MAX);
    let mut pending: Vec<u8> = Vec::new();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            if !options.follow {
                return Ok(());
            }
            let ended = !alive();
            // The runtime may have written between the read and the question.
            let count = file.read(&mut block)?;
            if count == 0 {
                if ended || sender.is_closed() {
                    return Ok(());
                }
                wait_for_growth(path, sender).await;
                if rotated(&file, path) {
                    file = open(path)?;
                }
                continue;
            }
            pending.extend_from_slice(&block[..count]);
        } else {
            pending.extend_from_slice(&block[..count]);
        }
        let mut out = Vec::new();
        let mut consumed = 0;
        while let Some(end) = pending[consumed..].iter().position(|byte| *byte == b'\n') {
            select(&pending[consumed..consumed + end], options, &mut out);
            consumed += end + 1;
        }
        pending.drain(..consumed);
        if pending.len() > LINE_LIMIT_BYTES {
            pending.clear();
        }
        let allowed = usize::try_from(left).unwrap_or(usize::MAX);
        out.truncate(allowed);
        left -= u64::try_from(out.len()).unwrap_or(u64::MAX).min(left);
        if !out.is_empty() && sender.send(Ok(out.into())).await.is_err() {
            return Ok(());
        }
        if left == 0 {
            return Ok(());
        }
    }
}

/// Waits until the file changes: inotify on its folder (rotation renames), at most a second, so
/// that an end without a last write is noticed too.
#[expect(
    deprecated,
    reason = "an OwnedFd is valid for as long as it is registered"
)]
async fn wait_for_growth(path: &Path, sender: &mpsc::Sender<Result<Bytes, std::io::Error>>) {
    use rustix::fs::inotify;
    let limit = tokio::time::sleep(Duration::from_secs(1));
    let watched = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)
        .and_then(|watch| {
            let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::MOVE_SELF;
            inotify::add_watch(&watch, path, events)?;
            Ok(watch)
        });
    let changed = async {
        if let Ok(watch) = watched
            && let Ok(watch) = tokio::io::unix::AsyncFd::new(watch)
        {
            let _ = watch.readable().await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = changed => {}
        () = limit => {}
        () = sender.closed() => {}
    }
}

fn rotated(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(named)) => open.ino() != named.ino(),
        _ => false,
    }
}

/// Appends what `options` want of one line of the file.
fn select(line: &[u8], options: &LogOptions, out: &mut Vec<u8>) {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let (Some(time), Some(stream), Some(tag), Some(text)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return;
    };
    if options
        .stream
        .is_some_and(|wanted| wanted.as_bytes() != stream)
    {
        return;
    }
    if let Some(since) = options.since {
        let at = std::str::from_utf8(time)
            .ok()
            .and_then(|text| text.parse::<Timestamp>().ok());
        if at.is_some_and(|at| at < since) {
            return;
        }
    }
    if options.timestamps {
        out.extend_from_slice(time);
        out.push(b' ');
    }
    out.extend_from_slice(text);
    if tag.first() == Some(&b'F') {
        out.push(b'\n');
    }
}

/// Where the last `lines` lines begin; pieces of a line count as one line with its end.
fn tail_start(file: &mut File, lines: usize) -> std::io::Result<u64> {
    let length = file.seek(SeekFrom::End(0))?;
    if lines == 0 {
        return Ok(length);
    }
    let mut at = length;
    let mut found = 0;
    let mut block = vec![0; BLOCK_BYTES];
    let mut carry: Vec<u8> = Vec::new();
    // Backwards in blocks; `carry` is the beginning of a line that an earlier block has cut.
    while at > 0 {
        let take = BLOCK_BYTES.min(usize::try_from(at).unwrap_or(BLOCK_BYTES));
        at -= u64::try_from(take).unwrap_or(0);
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(&mut block[..take])?;
        let mut text = block[..take].to_vec();
        text.extend_from_slice(&carry);
        let mut end = text.len();
        loop {
            let search = end.saturating_sub(1);
            match text[..search].iter().rposition(|byte| *byte == b'\n') {
                Some(newline) => {
                    if is_full(&text[newline + 1..end]) {
                        found += 1;
                        if found > lines {
                            // This line is one too many: the tail begins after it.
                            return Ok(at + u64::try_from(end).unwrap_or(0));
                        }
                    }
                    end = newline + 1;
                }
                None => break,
            }
        }
        carry = text[..end].to_vec();
    }
    if is_full(&carry) && found + 1 > lines {
        return Ok(u64::try_from(carry.len()).unwrap_or(0));
    }
    Ok(0)
}

fn is_full(line: &[u8]) -> bool {
    line.splitn(4, |byte| *byte == b' ')
        .nth(2)
        .is_some_and(|tag| tag.first() == Some(&b'F'))
}

/// The first bytes of a small text file; empty when it cannot be read.
pub(crate) fn head(path: &Path, limit: u64) -> String {
    let mut bytes = Vec::new();
    if let Ok(file) = File::open(path) {
        let _ = file.take(limit).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The end of a log as a termination message: at most 80 lines and 2 KiB.
pub(crate) fn last_words(path: &Path) -> String {
    const LINES: usize = 80;
    const LIMIT_BYTES: usize = 2048;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = open(path)?;
        let start = tail_start(&mut file, LINES)?;
        file.seek(SeekFrom::Start(start))?;
        let mut text = Vec::new();
        file.take(1 << 20).read_to_end(&mut text)?;
        Ok(text)
    };
    let mut out = Vec::new();
    for line in read().unwrap_or_default().split(|byte| *byte == b'\n') {
        select(line, &LogOptions::default(), &mut out);
    }
    let cut = out.len().saturating_sub(LIMIT_BYTES);
    String::from_utf8_lossy(&out[cut..]).into_owned()
}

#[cfg(test)]
mod tests;
