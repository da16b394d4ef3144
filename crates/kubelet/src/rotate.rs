//! Container logs are cut off before they are long: the newest two files stay plain text, older
//! ones are compressed, the oldest are removed.
//!
//! Owns the files beside a log (`0.log.20260102-030405`, `….gz`); the runtime opens a new one when
//! it is told. Looks once in ten seconds, and only at sizes. Example with five files: the log, the
//! one before it, three compressed.
//! Source: kubernetes v1.36 pkg/kubelet/logs/container_log_manager.go.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::Chain;
use nodeapi::cri::{
    ContainerFilter, ContainerState, ContainerStateValue, ListContainersRequest,
    ReopenContainerLogRequest,
};

use crate::container::label;
use crate::worker::Shared;

/// `containerLogMaxSize`.
const MOST_BYTES: u64 = 10 << 20;
/// `containerLogMaxFiles`, the one that is written included.
const MOST_FILES: usize = 5;
/// `containerLogMonitorInterval`.
const EVERY: Duration = Duration::from_secs(10);

/// Looks after the logs of all running containers until the task is cancelled.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let state = ContainerStateValue {
            state: i32::from(ContainerState::ContainerRunning),
        };
        let request = ListContainersRequest {
            filter: Some(ContainerFilter {
                state: Some(state),
                ..ContainerFilter::default()
            }),
        };
        let Ok(listed) = shared.runtime.list_containers(request).await else {
            continue;
        };
        for container in listed.containers {
            let of = |name: &str| container.labels.get(name).cloned().unwrap_or_default();
            let attempt = container.metadata.as_ref().map_or(0, |m| m.attempt);
            let log = shared
                .config
                .pod_logs(
                    &of(label::POD_NAMESPACE),
                    &of(label::POD_NAME),
                    &of(label::POD_UID),
                )
                .join(of(label::CONTAINER_NAME))
                .join(format!("{attempt}.log"));
            if fs::metadata(&log).map_or(0, |meta| meta.len()) < MOST_BYTES {
                continue;
            }
            if let Err(error) = rotate(&shared, &container.id, log.clone()).await {
                tracing::warn!(path = %log.display(), err = %Chain(&error), "log not rotated, retries");
            }
        }
    }
}

async fn rotate(shared: &Shared, id: &str, log: PathBuf) -> io::Result<()> {
    let stamp = shared.clock.now().strftime("%Y%m%d-%H%M%S").to_string();
    let moved = log.with_file_name(format!("{}.{stamp}", name_of(&log)));
    let (path, to) = (log.clone(), moved.clone());
    let made_room = tokio::task::spawn_blocking(move || {
        make_room(&path)?;
        fs::rename(&path, &to)
    });
    made_room.await.map_err(io::Error::other)??;
    let request = ReopenContainerLogRequest {
        container_id: id.to_owned(),
    };
    if let Err(error) = shared.runtime.reopen_container_log(request).await {
        // The container still writes to the file: it gets its name back.
        fs::rename(&moved, &log)?;
        return Err(io::Error::other(error));
    }
    Ok(())
}

fn name_of(log: &Path) -> String {
    let name = log.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Removes what is too old and compresses the rest, so that one more file has room.
fn make_room(log: &Path) -> io::Result<()> {
    let prefix = format!("{}.", name_of(log));
    let folder = log.parent().unwrap_or(Path::new("/"));
    let mut earlier: Vec<String> = fs::read_dir(folder)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(&prefix))
        .collect();
    earlier.sort();
    let packed: Vec<String> = earlier
        .iter()
        .filter_map(|name| name.strip_suffix(".gz").map(str::to_owned))
        .collect();
    let mut kept = Vec::new();
    for name in earlier {
        // What a crash left half packed, or unpacked beside its archive.
        if name.ends_with(".tmp") || packed.contains(&name) {
            fs::remove_file(folder.join(&name))?;
        } else {
            kept.push(name);
        }
    }
    let old = kept.len().saturating_sub(MOST_FILES - 2);
    for name in kept.drain(..old) {
        fs::remove_file(folder.join(name))?;
    }
    for name in kept.iter().filter(|name| !name.ends_with(".gz")) {
        compress(&folder.join(name))?;
    }
    Ok(())
}

fn compress(file: &Path) -> io::Result<()> {
    let named = |end: &str| {
        let mut path = file.as_os_str().to_owned();
        path.push(end);
        PathBuf::from(path)
    };
    let mut from = crate::logs::open(file)?;
    let to = fs::File::create_new(named(".tmp"))?;
    let mut gzip = flate2::write::GzEncoder::new(to, flate2::Compression::default());
    io::copy(&mut from, &mut gzip)?;
    gzip.finish()?;
    fs::rename(named(".tmp"), named(".gz"))?;
    fs::remove_file(file)
}

/// Removes the log of an attempt with all that was cut off from it.
pub(crate) fn remove(log: &Path) {
    let prefix = name_of(log);
    let Some(entries) = log.parent().and_then(|folder| fs::read_dir(folder).ok()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == prefix
            || name
                .strip_prefix(&prefix)
                .is_some_and(|rest| rest.starts_with('.'))
        {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_go_and_the_rest_is_packed() {
        let folder = std::env::temp_dir().join(format!("transom-rotate-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let log = folder.join("0.log");
        for second in 0..6 {
            fs::write(&log, format!("text {second}")).unwrap();
            make_room(&log).unwrap();
            fs::rename(&log, folder.join(format!("0.log.2026-{second}"))).unwrap();
        }
        fs::write(&log, "now").unwrap();
        fs::write(folder.join("0.log.2026-5.tmp"), "half").unwrap();
        fs::write(folder.join("0.log.2026-3"), "beside").unwrap();
        fs::write(folder.join("1.log"), "another").unwrap();
        assert_eq!(
            list(&folder),
            [
                "0.log",
                "0.log.2026-2.gz",
                "0.log.2026-3",
                "0.log.2026-3.gz",
                "0.log.2026-4.gz",
                "0.log.2026-5",
                "0.log.2026-5.tmp",
                "1.log"
            ]
        );
        make_room(&log).unwrap();
        assert_eq!(
            list(&folder),
            [
                "0.log",
                "0.log.2026-3.gz",
                "0.log.2026-4.gz",
                "0.log.2026-5.gz",
                "1.log"
            ]
        );
        remove(&log);
        assert_eq!(list(&folder), ["1.log"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
