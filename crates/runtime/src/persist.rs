//! Records on disk: what must survive the agent.
//!
//! A record is replaced by rename, so a reader sees the old or the new one. Configurations are
//! the CRI messages as they came, in protobuf.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use prost::Message;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use nodeapi::CriError;

use crate::image_volumes::ImageVolume;

/// Where a sandbox is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Its creation did not finish.
    Creating,
    /// Namespaces and network are there.
    Ready,
    /// Containers, namespaces and network are gone.
    Stopped,
}

/// What is remembered of a sandbox.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct SandboxRecord {
    pub(crate) phase: Phase,
    pub(crate) created_at: i64,
    pub(crate) handler: String,
    pub(crate) ips: Vec<String>,
}

/// What is remembered of a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerRecord {
    pub(crate) created_at: i64,
    pub(crate) started_at: i64,
    pub(crate) finished_at: i64,
    /// Present once it ended.
    pub(crate) exit_code: Option<i32>,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) image_id: String,
    pub(crate) image_name: String,
    pub(crate) image_reference: String,
    pub(crate) lowers: Vec<PathBuf>,
    pub(crate) image_volumes: Vec<ImageVolume>,
    pub(crate) cgroup: String,
    pub(crate) stop_signal: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) pid: u32,
}

fn failed<'a>(operation: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> CriError + 'a {
    move |e| CriError::internal(format!("{operation} {}: {e}", path.display()))
}

/// Replaces a file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), CriError> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, bytes)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(failed("write", path))
}

/// Writes a record as JSON.
pub(crate) fn write_record(dir: &Path, record: &impl Serialize) -> Result<(), CriError> {
    let bytes = serde_json::to_vec(record)
        .map_err(|e| CriError::internal(format!("encode a record: {e}")))?;
    write(&dir.join("record"), &bytes)
}

/// Writes a CRI message.
pub(crate) fn write_config(dir: &Path, config: &impl Message) -> Result<(), CriError> {
    write(&dir.join("config"), &config.encode_to_vec())
}

/// Reads record and configuration; `None` if either is missing or damaged.
pub(crate) fn read<R: DeserializeOwned, C: Message + Default>(dir: &Path) -> Option<(R, C)> {
    let record = serde_json::from_slice(&fs::read(dir.join("record")).ok()?).ok()?;
    let config = C::decode(fs::read(dir.join("config")).ok()?.as_slice()).ok()?;
    Some((record, config))
}

/// Makes a directory and its parents.
pub(crate) fn make_dir(path: &Path) -> Result<(), CriError> {
    fs::create_dir_all(path).map_err(failed("create", path))
}

/// Removes the directory of a sandbox or container with all in it; absence is fine.
pub(crate) fn remove_dir(path: &Path) -> Result<(), CriError> {
    crate::image_volumes::unmount_all(path);
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", path)(e)),
        _ => Ok(()),
    }
}
