//! `transom logs`: the log of the control plane or of a node's agent, and what comes next.
//!
//! Logs are bounded by their writers, which take the oldest part out of the file
//! (`base::telemetry`): a file that became shorter is followed from where its end now is.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use bootstrap::local::{Options, cluster};
use rustix::fs::inotify;

use crate::cli::Logs;

/// How far back the last lines are looked for.
const LOOK_BACK: u64 = 1 << 20;

pub(crate) fn run(logs: &Logs) -> Result<()> {
    let path = file(logs)?;
    let mut file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
    let mut at = start(&mut file, logs.tail).with_context(|| format!("read {}", path.display()))?;
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).context("watch the log")?;
    inotify::add_watch(&watch, &path, inotify::WatchFlags::MODIFY)
        .with_context(|| format!("watch {}", path.display()))?;
    loop {
        match copy(&mut file, at) {
            Ok(end) => at = end,
            // Whoever reads has enough (`| head`).
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => {
                return Err(error).with_context(|| format!("read {}", path.display()));
            }
        }
        if !logs.follow {
            return Ok(());
        }
        let mut events = [0; 4096];
        rustix::io::read(&watch, &mut events).context("watch the log")?;
    }
}

/// Which file the words name: `server`, `agent NODE`, or a node.
fn file(logs: &Logs) -> Result<PathBuf> {
    let cluster = cluster(&logs.named.name, &Options::default())?;
    let words: Vec<&str> = logs.of.iter().map(String::as_str).collect();
    let wanted = match words.as_slice() {
        [] | ["server"] => return Ok(cluster.server_log),
        ["agent"] if cluster.nodes.len() == 1 => cluster.nodes[0].name.clone(),
        ["agent", node] | [node] => (*node).to_owned(),
        _ => bail!("say whose log: `transom logs server` or `transom logs agent NODE`"),
    };
    Ok(cluster.node(&wanted)?.log.clone())
}

/// Where the last `lines` lines begin.
fn start(file: &mut File, lines: Option<usize>) -> std::io::Result<u64> {
    let Some(lines) = lines else { return Ok(0) };
    let size = file.metadata()?.len();
    let from = size.saturating_sub(LOOK_BACK);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(LOOK_BACK).read_to_end(&mut bytes)?;
    let back = last_lines(&bytes, lines);
    Ok(from + u64::try_from(back).unwrap_or(0))
}

/// Offset of the last `lines` lines of `bytes`. Pure.
fn last_lines(bytes: &[u8], lines: usize) -> usize {
    let end = bytes.strip_suffix(b"\n").map_or(bytes.len(), <[u8]>::len);
    if lines == 0 {
        return bytes.len();
    }
    let breaks = bytes[..end]
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, b)| **b == b'\n');
    breaks.map(|(at, _)| at + 1).nth(lines - 1).unwrap_or(0)
}

/// Prints from `at` to the end; gives the end.
fn copy(file: &mut File, at: u64) -> std::io::Result<u64> {
    let size = file.metadata()?.len();
    // Cut off at the front: what is there now was seen, or nearly so.
    let mut at = if size < at { size } else { at };
    file.seek(SeekFrom::Start(at))?;
    let mut out = std::io::stdout().lock();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            out.flush()?;
            return Ok(at);
        }
        out.write_all(&buffer[..n])?;
        at += n as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::last_lines;

    #[test]
    fn tails() {
        let text = b"a\nbb\nccc\n";
        let tail = |lines| std::str::from_utf8(&text[last_lines(text, lines)..]).unwrap();
        assert_eq!((tail(0), tail(1), tail(2)), ("", "ccc\n", "bb\nccc\n"));
        assert_eq!((tail(3), tail(9)), ("a\nbb\nccc\n", "a\nbb\nccc\n"));
        assert_eq!(last_lines(b"", 3), 0);
    }
}
