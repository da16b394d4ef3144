//! Doors for the fuzz targets (`fuzz/`): readers of what registries and archives send.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::manifest::{ConfigDocument, Document, Platform, chain_ids};
use crate::tar::{Kind, Reader};
use crate::unpack::{self, Limits};

/// Reads bytes as manifest, index and configuration.
pub fn documents(bytes: &[u8]) {
    match Document::parse("fuzz", bytes) {
        Ok(Document::Index(index)) => {
            let _ = index.choose("fuzz", &Platform::host());
        }
        Ok(Document::Manifest(manifest)) => {
            let written = serde_json::to_vec(&manifest).unwrap_or_default();
            let again = Document::parse("fuzz", &written);
            assert!(
                matches!(again, Ok(Document::Manifest(_))),
                "our manifest does not read"
            );
        }
        Err(_) => {}
    }
    for layers in 0..3 {
        if let Ok(config) = ConfigDocument::parse("fuzz", bytes, layers) {
            assert_eq!(chain_ids(&config.rootfs.diff_ids).len(), layers);
            let written = serde_json::to_vec(&config).unwrap_or_default();
            let again = ConfigDocument::parse("fuzz", &written, layers);
            assert_eq!(
                again.ok().map(|again| again.config),
                Some(config.config),
                "our configuration reads otherwise"
            );
        }
    }
}

/// Lists an archive: who skips the data of entries finds the same ones as who reads it.
pub fn tar(bytes: &[u8]) {
    assert_eq!(entries(bytes, true), entries(bytes, false), "skipped");
}

/// Paths and kinds up to the end of the archive; none if that is damaged.
fn entries(bytes: &[u8], with_data: bool) -> Option<Vec<(Vec<u8>, Kind)>> {
    let mut reader = Reader::new(bytes);
    let (mut entries, mut buffer) = (Vec::new(), [0; 4096]);
    while let Some(entry) = reader.next().ok()? {
        if with_data {
            let (mut data, mut sum) = (reader.data(), 0_u64);
            loop {
                match data.read(&mut buffer).ok()? {
                    0 => break,
                    read => sum += read as u64,
                }
            }
            assert_eq!(sum, entry.stored, "data of another length");
        }
        if let Some(pieces) = &entry.pieces {
            let mut end = 0;
            for (offset, length) in pieces {
                assert!(*offset >= end, "pieces overlap");
                end = offset + length;
            }
            assert!(end <= entry.size, "a piece beyond the end");
        }
        entries.push((entry.path, entry.kind));
    }
    Some(entries)
}

/// Unpacks a layer into `target`, whatever its diff id.
pub fn unpack(bytes: &[u8], target: &Path, parents: &[PathBuf]) {
    let limits = Limits {
        entries: 1000,
        bytes: 1 << 20,
        reserve: 0,
    };
    let _ = unpack::unpack(bytes, target, parents, Digest::of(b"fuzz"), &limits);
}
