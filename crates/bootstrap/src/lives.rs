//! Lives of a long-running part of a cluster: a node, or the control plane's keeper.
//!
//! Every start is a new life with a name, a state folder and a control group of its own. What is
//! left of an earlier one, whose starter was killed at any moment, cannot meddle: its group is
//! ended first, and a shim that finds its group gone gives up. So nothing ever runs twice.
//! Example: `current` holds 1f00, `life-1f00/` the shim's state, the group is `NAME.1f00`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cgroups::{Group, Layout};
use oci::node_init::Node;

use crate::error::Error;
use crate::files;

const REMOVE_ATTEMPTS: u32 = 20;
const REMOVE_PAUSE: Duration = Duration::from_millis(50);
const FOLDER: &str = "life-";

/// The life that runs now, if any.
pub(crate) fn find(folder: &Path) -> Result<Option<Node>, oci::Error> {
    match std::fs::read_to_string(current(folder)) {
        Ok(life) => Node::find(&state_folder(folder, life.trim())),
        Err(_) => Ok(None),
    }
}

fn current(folder: &Path) -> PathBuf {
    folder.join("current")
}

/// The shim's state folder of a life.
pub(crate) fn state_folder(folder: &Path, life: &str) -> PathBuf {
    folder.join(format!("{FOLDER}{life}"))
}

/// Ends what is left of earlier lives and begins a new one. Returns its name and its group, which
/// lies below `cluster` and exists.
pub(crate) fn begin(
    folder: &Path,
    layout: &Arc<Layout>,
    cluster: &str,
    name: &str,
) -> Result<(String, Group), Error> {
    remove_groups(layout, cluster, name)?;
    for entry in std::fs::read_dir(folder).map_err(Error::file("list", folder))? {
        let path = entry.map_err(Error::file("list", folder))?.path();
        let file = path.file_name().and_then(|file| file.to_str());
        if file.is_some_and(|file| file.starts_with(FOLDER)) {
            files::remove_tree(&path)?;
        }
    }
    let life = format!("{:08x}", base::Rng::from_os().u64() >> 32);
    files::write(&current(folder), life.as_bytes(), 0o644)?;
    let group = Group::new(layout, &format!("{cluster}/{name}.{life}"))?;
    group.create()?;
    Ok((life, group))
}

/// Ends what is left of the lives of `name`; its files stay.
pub(crate) fn end(
    folder: &Path,
    layout: &Arc<Layout>,
    cluster: &str,
    name: &str,
) -> Result<(), Error> {
    files::remove(&current(folder))?;
    remove_groups(layout, cluster, name)
}

/// Ends the groups of the lives of `name`.
fn remove_groups(layout: &Arc<Layout>, cluster: &str, name: &str) -> Result<(), Error> {
    let all = Group::new(layout, cluster)?;
    for dir in all.v1_dirs().iter().chain(all.unified_dir().iter()) {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            if let Some(child) = entry.file_name().to_str()
                && child
                    .rsplit_once('.')
                    .is_some_and(|(owner, _)| owner == name)
            {
                remove_group(&all.child(child)?)?;
            }
        }
    }
    Ok(())
}

/// Kills what is in a group and removes it. A shim may still be on its way into it: the next
/// attempt gets it.
pub(crate) fn remove_group(group: &Group) -> Result<(), Error> {
    let mut attempt = 0;
    while is_there(group) {
        // A group that was half made cannot be asked everything; what counts is its removal.
        let _ = group.kill();
        match group.remove() {
            Ok(()) => {}
            Err(error) if attempt == REMOVE_ATTEMPTS => return Err(error.into()),
            Err(_) => std::thread::sleep(REMOVE_PAUSE),
        }
        attempt += 1;
    }
    Ok(())
}

/// Whether a group exists in any hierarchy: a half-made one too.
pub(crate) fn is_there(group: &Group) -> bool {
    let mut dirs = group.v1_dirs().into_iter().chain(group.unified_dir());
    dirs.any(|dir| dir.exists())
}

/// The environment that server and agents get: a search path, and what of ours concerns them.
pub(crate) fn environment() -> Vec<String> {
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut all = vec![path.to_owned()];
    for name in [
        "TRANSOM_LOG",
        "RUST_BACKTRACE",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
    ] {
        all.extend(
            std::env::var(name)
                .ok()
                .map(|value| format!("{name}={value}")),
        );
    }
    all
}
