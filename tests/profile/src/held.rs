//! What objects cost that nobody asks for: bytes in memory and on disk.

use std::fs;

use anyhow::{Context as _, Result};
use stats_alloc::Region;

use crate::server::{Api, runtime};
use crate::work::{self, Work};

/// Creates under way at a time.
const AT_ONCE: usize = 32;

/// Bytes, of all objects together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// What the allocator gave out and did not get back.
    pub(crate) heap: u64,
    /// What the process has more of the machine's memory.
    pub(crate) resident: u64,
    /// What the database's files grew by.
    pub(crate) disk: u64,
}

impl Held {
    pub(crate) fn to_line(self) -> String {
        format!("{} {} {}", self.heap, self.resident, self.disk)
    }
}

pub(crate) fn run(work: Work, objects: usize) -> Result<Held> {
    let size = |objects: usize| -> Result<Held> {
        let folder = tempfile::tempdir_in("/var/tmp").context("make a folder for the store")?;
        let runtime = runtime()?;
        let (api, heap, before) = runtime.block_on(async {
            let api = Api::open(folder.path()).await?;
            let before = resident()?;
            let region = Region::new(&stats_alloc::INSTRUMENTED_SYSTEM);
            let mut next = 0;
            while next < objects {
                let count = AT_ONCE.min(objects - next);
                work::many(&api, work, next, count).await?;
                next += count;
            }
            let change = region.change();
            let heap = change
                .bytes_allocated
                .saturating_sub(change.bytes_deallocated);
            anyhow::Ok((api, heap as u64, before))
        })?;
        let resident = resident()?.saturating_sub(before);
        runtime.block_on(api.close())?;
        let mut disk = 0;
        for entry in fs::read_dir(folder.path()).context("list the store's files")? {
            disk += entry
                .and_then(|entry| entry.metadata())
                .context("look at a file")?
                .len();
        }
        Ok(Held {
            heap,
            resident,
            disk,
        })
    };
    let (none, all) = (size(0)?, size(objects)?);
    Ok(Held {
        disk: all.disk.saturating_sub(none.disk),
        ..all
    })
}

fn resident() -> Result<u64> {
    let text = fs::read_to_string("/proc/self/smaps_rollup").context("read smaps_rollup")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kib.context("no Rss in smaps_rollup")? << 10)
}
