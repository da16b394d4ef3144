//! A compressed layer becomes a folder that overlayfs takes as a lower one.
//!
//! Owns decompression, the bounds and the diff id; [`tree`] owns what touches the file system.
//! Blocking: callers run it on a thread that may wait.
//! Source: OCI image specification 1.1 layer.md.

mod below;
mod path;
mod tree;

use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::digest::{Digest, HashingReader};
use crate::error::{ImageError, at};
use crate::tar::Reader;
use tree::Tree;

/// How much a layer may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Entries of one layer.
    pub entries: u64,
    /// Bytes of one layer when unpacked, padding and headers included.
    pub bytes: u64,
    /// Bytes of the file system that stay free.
    pub reserve: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            entries: 2_000_000,
            bytes: 64 << 30,
            reserve: 64 << 20,
        }
    }
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unpacked {
    pub(crate) entries: u64,
    /// Bytes of all files.
    pub(crate) bytes: u64,
}

/// A layer blob as a plain tar stream, whatever it is compressed with.
pub(crate) fn decompress<'a>(
    stream: impl Read + Send + 'a,
) -> io::Result<Box<dyn Read + Send + 'a>> {
    let mut stream = BufReader::with_capacity(64 << 10, stream);
    let mut magic = [0; 4];
    let mut filled = 0;
    while filled < magic.len() {
        match stream.read(&mut magic[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    let stream = io::Cursor::new(magic[..filled].to_vec()).chain(stream);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(stream)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::stream::read::Decoder::with_buffer(stream)?),
        _ => Box::new(stream),
    })
}

/// Unpacks the layer in `blob` into the empty folder `target`; `parents` are the layers below,
/// topmost first. Verifies the diff id at the end: on error `target` is to be thrown away.
pub(crate) fn unpack(
    blob: impl Read + Send,
    target: &Path,
    parents: &[PathBuf],
    diff_id: Digest,
    limits: &Limits,
) -> Result<Unpacked, ImageError> {
    let read = |cause| ImageError::Read {
        what: format!("layer {diff_id}"),
        cause,
    };
    let plain = Bounded {
        inner: decompress(blob).map_err(read)?,
        left: limits.bytes,
    };
    let mut reader = Reader::new(HashingReader::new(plain));
    let mut tree = Tree::open(target, parents, *limits)?;
    while let Some(entry) = reader.next()? {
        tree.apply(&entry, &mut reader.data())?;
    }
    let unpacked = tree.finish()?;
    let actual = reader.into_inner().finish().map_err(read)?;
    if actual != diff_id {
        let what = "unpacked layer (diff id)".to_owned();
        return Err(ImageError::DigestMismatch {
            what,
            expected: diff_id,
            actual,
        });
    }
    Ok(unpacked)
}

/// Ends with an error where a bomb would go on.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::other("the layer unpacks to more bytes than the limit allows")
        })?;
        Ok(read)
    }
}

/// Removes a folder that may be half made; a missing one is fine.
pub(crate) fn discard(path: &Path) -> Result<(), ImageError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
