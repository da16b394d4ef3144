//! Images by folder: an archive that appears in a node's inbox is imported by its agent.
//!
//! The host side writes `<name>.part`, renames it to `<name>.tar` and waits for `<name>.done`
//! (references) or `<name>.failed` (why). The node side imports, answers and removes the archive.
//! A folder works across the node's namespaces without a socket, and what is put there before the
//! node starts is not lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bootstrap::local::{NodeInfo, Options, cluster};
use rustix::fs::inotify;

use crate::report::{progress, result};

/// The folder below a node's data folder.
pub(crate) const FOLDER: &str = "inbox";
const WITHIN: Duration = Duration::from_secs(300);

/// Gives an archive to every node of a cluster, to all at once, and waits until all have it.
pub(crate) fn import(name: &str, archive: &Path) -> Result<()> {
    let cluster = cluster(name, &Options::default())?;
    if let Some(dead) = cluster.nodes.iter().find(|node| node.pid.is_none()) {
        bail!(
            "node {0} of cluster {1:?} does not run; `transom start -C {1}` brings it back",
            dead.name,
            cluster.name
        );
    }
    progress(&format!(
        "importing {} into {} node(s)",
        archive.display(),
        cluster.nodes.len()
    ));
    let answers: Vec<Result<String>> = std::thread::scope(|scope| {
        let put = |node: &NodeInfo| {
            let inbox = node.data.join(FOLDER);
            put(&inbox, archive).with_context(|| format!("import into node {}", node.name))
        };
        let spawn = |node| scope.spawn(move || put(node));
        let threads: Vec<_> = cluster.nodes.iter().map(spawn).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<String>>| {
            let panicked = |_| Err(anyhow::anyhow!("the import panicked"));
            thread.join().unwrap_or_else(panicked)
        };
        threads.into_iter().map(join).collect()
    });
    for (node, answer) in cluster.nodes.iter().zip(answers) {
        result(&format!("{}: {}", node.name, answer?.trim()));
    }
    Ok(())
}

/// Puts an archive into a node's inbox and waits for the references that it brought.
pub(crate) fn put(inbox: &Path, archive: &Path) -> Result<String> {
    fs::create_dir_all(inbox).with_context(|| format!("create {}", inbox.display()))?;
    let mut random = [0; 8];
    base::Rng::fill_secret(&mut random);
    let stem = format!("{:016x}", u64::from_le_bytes(random));
    let part = inbox.join(format!("{stem}.part"));
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).context("watch for the answer")?;
    inotify::add_watch(&watch, inbox, inotify::WatchFlags::MOVED_TO)
        .with_context(|| format!("watch {}", inbox.display()))?;
    fs::copy(archive, &part)
        .with_context(|| format!("copy {} to {}", archive.display(), part.display()))?;
    let tar = inbox.join(format!("{stem}.tar"));
    fs::rename(&part, &tar).with_context(|| format!("rename {}", part.display()))?;
    let mut waited = Duration::ZERO;
    loop {
        for (suffix, good) in [("done", true), ("failed", false)] {
            let file = inbox.join(format!("{stem}.{suffix}"));
            if let Ok(text) = fs::read_to_string(&file) {
                let _ = fs::remove_file(&file);
                if good {
                    return Ok(text);
                }
                bail!("{text}");
            }
        }
        if waited >= WITHIN {
            let _ = fs::remove_file(&tar);
            bail!("no answer within {WITHIN:?}: does the node run? See `transom clusters`");
        }
        let step = Duration::from_secs(1);
        wait(&watch, step);
        waited += step;
    }
}

/// Waits until something appears in the watched folder, at most `limit`.
fn wait(watch: &rustix::fd::OwnedFd, limit: Duration) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let limit = Timespec::try_from(limit).ok();
    let mut fds = [PollFd::new(watch, PollFlags::IN)];
    if poll(&mut fds, limit.as_ref()).is_ok_and(|ready| ready > 0) {
        let mut buffer = [0; 4096];
        let _ = rustix::io::read(watch, &mut buffer);
    }
}

/// The node's side: imports what appears in `inbox` until the process ends. Runs in a thread.
pub(crate) fn serve(inbox: &Path, import: impl Fn(fs::File) -> Result<String>) -> Result<()> {
    fs::create_dir_all(inbox).with_context(|| format!("create {}", inbox.display()))?;
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC).context("watch the inbox")?;
    inotify::add_watch(&watch, inbox, inotify::WatchFlags::MOVED_TO)
        .with_context(|| format!("watch {}", inbox.display()))?;
    loop {
        for archive in archives(inbox) {
            let outcome = fs::File::open(&archive)
                .map_err(anyhow::Error::from)
                .and_then(&import);
            let (suffix, text) = match outcome {
                Ok(text) => ("done", text),
                Err(error) => ("failed", format!("{error:#}")),
            };
            tracing::info!(file = %archive.display(), outcome = suffix, text, "archive imported");
            let part = archive.with_extension("answer");
            let answered = fs::write(&part, text)
                .and_then(|()| fs::rename(&part, archive.with_extension(suffix)));
            if let Err(error) = answered {
                tracing::warn!(file = %archive.display(), err = %error, "no answer written");
            }
            let _ = fs::remove_file(&archive);
        }
        wait(&watch, Duration::from_secs(3600));
    }
}

fn archives(inbox: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(inbox).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "tar"))
        .collect();
    found.sort();
    found
}
