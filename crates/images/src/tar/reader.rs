//! Entries one by one, each with its long names, pax attributes and sparse map applied.
//!
//! Example: `L` (long name) + `x` (pax: xattr, mtime) + `0` come out as one [`Entry`]; its data is
//! then read through [`Reader::data`], which ends where the entry does.

use std::io::{self, Read};

use super::BLOCK;
use super::header::{Header, number};
use super::pax;
use crate::error::ImageError;

/// The longest extension header (long name, pax) that is held in memory.
const MAX_EXTENSION: u64 = 1 << 20;
/// The most pieces of a sparse file.
const MAX_PIECES: usize = 65_536;
/// The most extension headers before one entry.
const MAX_EXTENSIONS: usize = 16;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Character,
    Block,
    Directory,
    Fifo,
    /// A type flag that nobody knows.
    Other(u8),
}

/// One entry; its data follows in the stream.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: (i64, u32),
    /// Bytes of the file.
    pub(crate) size: u64,
    /// Bytes in the archive; less than `size` for a sparse file.
    pub(crate) stored: u64,
    /// Where the stored bytes belong (offset, length); `None` = one piece.
    pub(crate) pieces: Option<Vec<(u64, u64)>>,
    pub(crate) device: (u64, u64),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Reads an archive from a stream.
pub(crate) struct Reader<R> {
    inner: R,
    /// Bytes of the current entry's data that are still in the stream.
    left: u64,
    padding: u64,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(inner: R) -> Reader<R> {
        Reader {
            inner,
            left: 0,
            padding: 0,
        }
    }

    /// The stream, wherever it stands now.
    pub(crate) fn into_inner(self) -> R {
        self.inner
    }

    /// The stored bytes of the entry that `next` returned last.
    pub(crate) fn data(&mut self) -> Data<'_, R> {
        Data(self)
    }

    /// The next entry; `None` at the end of the archive.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ImageError> {
        let mut long_path = None;
        let mut long_link = None;
        let mut extended = Vec::new();
        for _ in 0..MAX_EXTENSIONS {
            self.skip()?;
            let Some(block) = self.block()? else {
                return Ok(None);
            };
            let Some(header) = Header::parse(block)? else {
                return Ok(None);
            };
            let size = header.number(124, 12)?;
            match header.0[156] {
                b'L' => long_path = Some(zero_ended(self.extension(size)?)),
                b'K' => long_link = Some(zero_ended(self.extension(size)?)),
                b'x' => extended = self.extension(size)?,
                // Global records carry comments (git archive); nothing that an entry needs.
                b'g' => drop(self.extension(size)?),
                _ => {
                    return self
                        .entry(&header, long_path, long_link, &extended)
                        .map(Some);
                }
            }
        }
        Err(ImageError::Archive(
            "too many extension headers before one entry".into(),
        ))
    }

    fn entry(
        &mut self,
        header: &Header,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
        extended: &[u8],
    ) -> Result<Entry, ImageError> {
        let stored = header.number(124, 12)?;
        let kind = match header.0[156] {
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Character,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => Kind::Other(other),
        };
        let devices = matches!(kind, Kind::Character | Kind::Block);
        let mut entry = Entry {
            path: long_path.unwrap_or_else(|| header.path()),
            link: long_link.unwrap_or_else(|| header.text(157, 100).to_vec()),
            kind,
            mode: u32::try_from(header.number(100, 8)? & 0o7777).unwrap_or(0),
            uid: header.number(108, 8)?,
            gid: header.number(116, 8)?,
            mtime: (header.signed(136, 12)?, 0),
            size: stored,
            stored,
            pieces: None,
            device: match devices {
                true => (header.number(329, 8)?, header.number(337, 8)?),
                false => (0, 0),
            },
            xattrs: Vec::new(),
        };
        let sparse = self.apply_extended(&mut entry, extended)?;
        // A directory of the oldest tars is a file whose name ends in a slash.
        if entry.kind == Kind::File && entry.path.ends_with(b"/") {
            entry.kind = Kind::Directory;
        }
        if entry.kind != Kind::File {
            // Links of some writers repeat the size of what they point to, without data.
            if !matches!(entry.kind, Kind::Other(_)) {
                entry.stored = 0;
            }
            entry.size = 0;
            self.expect(entry.stored)?;
            return Ok(entry);
        }
        self.expect(entry.stored)?;
        if header.0[156] == b'S' {
            entry.size = header.number(483, 12)?;
            entry.pieces = Some(self.old_sparse_map(header)?);
        } else if let Some(mut sparse) = sparse {
            if sparse.in_data {
                let before = self.left;
                sparse.pieces = self.sparse_map_in_data()?;
                entry.stored = self.left;
                debug_assert!(before >= self.left);
            }
            entry.size = sparse.real_size;
            entry.pieces = Some(sparse.pieces);
        }
        check_pieces(&entry)?;
        Ok(entry)
    }

    fn apply_extended(
        &mut self,
        entry: &mut Entry,
        extended: &[u8],
    ) -> Result<Option<Sparse>, ImageError> {
        let bad = |key: &[u8]| {
            ImageError::Archive(format!("bad pax value of {}", String::from_utf8_lossy(key)))
        };
        let mut sparse: Option<Sparse> = None;
        let mut real_name = None;
        for (key, value) in pax::records(extended)? {
            let decimal = || pax::decimal(value).ok_or_else(|| bad(key));
            match key {
                b"path" => entry.path = value.to_vec(),
                b"linkpath" => entry.link = value.to_vec(),
                b"size" => {
                    entry.stored = decimal()?;
                    entry.size = entry.stored;
                }
                b"uid" => entry.uid = decimal()?,
                b"gid" => entry.gid = decimal()?,
                b"mtime" => entry.mtime = pax::time(value).ok_or_else(|| bad(key))?,
                b"GNU.sparse.name" => real_name = Some(value.to_vec()),
                b"GNU.sparse.realsize" | b"GNU.sparse.size" => {
                    sparse.get_or_insert_default().real_size = decimal()?;
                }
                b"GNU.sparse.major" => {
                    sparse.get_or_insert_default().in_data = decimal()? == 1;
                }
                b"GNU.sparse.offset" => {
                    sparse.get_or_insert_default().offset = decimal()?;
                }
                b"GNU.sparse.numbytes" => {
                    let sparse = sparse.get_or_insert_default();
                    sparse.pieces.push((sparse.offset, decimal()?));
                }
                b"GNU.sparse.map" => {
                    let numbers: Option<Vec<u64>> = value
                        .split(|byte| *byte == b',')
                        .map(pax::decimal)
                        .collect();
                    let numbers = numbers.ok_or_else(|| bad(key))?;
                    let sparse = sparse.get_or_insert_default();
                    sparse.pieces = numbers
                        .chunks_exact(2)
                        .map(|two| (two[0], two[1]))
                        .collect();
                }
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        entry.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        if let (Some(name), true) = (real_name, sparse.is_some()) {
            entry.path = name;
        }
        Ok(sparse)
    }

    /// Four pieces in the header, 21 in each block that follows while the flag says so.
    fn old_sparse_map(&mut self, header: &Header) -> Result<Vec<(u64, u64)>, ImageError> {
        let mut pieces = Vec::new();
        push_pieces(&header.0[386..482], &mut pieces)?;
        let mut more = header.0[482] != 0;
        while more {
            let block = self
                .block()?
                .ok_or_else(|| ImageError::Archive("ends inside a sparse map".into()))?;
            push_pieces(&block[..504], &mut pieces)?;
            more = block[504] != 0;
            if pieces.len() > MAX_PIECES {
                return Err(too_many_pieces());
            }
        }
        Ok(pieces)
    }

    /// Pax sparse 1.0: decimal lines (count, then offset and length of each) before the data,
    /// padded to a block.
    fn sparse_map_in_data(&mut self) -> Result<Vec<(u64, u64)>, ImageError> {
        let bad = || ImageError::Archive("malformed sparse map".into());
        let mut line = Vec::new();
        let mut numbers: Vec<u64> = Vec::new();
        let mut wanted = 1;
        let mut block = [0; BLOCK];
        while numbers.len() < wanted {
            if self.left < BLOCK as u64 {
                return Err(bad());
            }
            self.data().read_exact(&mut block).map_err(read_error)?;
            for byte in block {
                if numbers.len() == wanted {
                    break;
                }
                if byte != b'\n' {
                    line.push(byte);
                    if line.len() > 20 {
                        return Err(bad());
                    }
                    continue;
                }
                let number = pax::decimal(&line).ok_or_else(bad)?;
                line.clear();
                numbers.push(number);
                if numbers.len() == 1 {
                    let count = usize::try_from(number).unwrap_or(usize::MAX);
                    if count > MAX_PIECES {
                        return Err(too_many_pieces());
                    }
                    wanted = 1 + 2 * count;
                }
            }
        }
        Ok(numbers[1..]
            .chunks_exact(2)
            .map(|two| (two[0], two[1]))
            .collect())
    }

    fn expect(&mut self, stored: u64) -> Result<(), ImageError> {
        // With its padding it has to be a number too. Source: Go's archive/tar, whose sizes are signed.
        if i64::try_from(stored).is_err() {
            return Err(ImageError::Archive(format!("an entry of {stored} bytes")));
        }
        self.left = stored;
        self.padding = stored.wrapping_neg() % BLOCK as u64;
        Ok(())
    }

    fn extension(&mut self, size: u64) -> Result<Vec<u8>, ImageError> {
        if size > MAX_EXTENSION {
            let what = "extension header of the archive".to_owned();
            return Err(ImageError::Limit {
                what,
                limit: MAX_EXTENSION,
            });
        }
        self.expect(size)?;
        let mut bytes = Vec::new();
        self.data().read_to_end(&mut bytes).map_err(read_error)?;
        Ok(bytes)
    }

    fn skip(&mut self) -> Result<(), ImageError> {
        let wanted = self.left + self.padding;
        let skipped = io::copy(&mut (&mut self.inner).take(wanted), &mut io::sink());
        if skipped.map_err(read_error)? != wanted {
            return Err(ImageError::Archive("it ends inside an entry".into()));
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    /// The next block; `None` where the stream ends between entries.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, ImageError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.inner.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(ImageError::Archive("it ends inside a header".into())),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(read_error(error)),
            }
        }
        Ok(Some(block))
    }
}

/// The data of the current entry.
pub(crate) struct Data<'a, R>(&'a mut Reader<R>);

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.0.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.0.inner.read(&mut buffer[..most])?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.0.left -= read as u64;
        Ok(read)
    }
}

#[derive(Default)]
struct Sparse {
    real_size: u64,
    in_data: bool,
    offset: u64,
    pieces: Vec<(u64, u64)>,
}

fn push_pieces(fields: &[u8], pieces: &mut Vec<(u64, u64)>) -> Result<(), ImageError> {
    for field in fields.chunks_exact(24) {
        if field[0] == 0 {
            break;
        }
        pieces.push((number(&field[..12])?, number(&field[12..])?));
    }
    Ok(())
}

/// Pieces lie in order inside the file and add up to what is stored.
fn check_pieces(entry: &Entry) -> Result<(), ImageError> {
    let Some(pieces) = &entry.pieces else {
        return Ok(());
    };
    let bad = || ImageError::Entry {
        entry: String::from_utf8_lossy(&entry.path).into_owned(),
        reason: "its sparse map does not fit its data".into(),
    };
    if pieces.len() > MAX_PIECES {
        return Err(too_many_pieces());
    }
    let (mut end, mut sum) = (0, 0);
    for (offset, length) in pieces {
        if *offset < end {
            return Err(bad());
        }
        end = offset.checked_add(*length).ok_or_else(bad)?;
        sum += length;
    }
    if end > entry.size || sum != entry.stored {
        Err(bad())
    } else {
        Ok(())
    }
}

fn too_many_pieces() -> ImageError {
    ImageError::Limit {
        what: "number of pieces of a sparse file".into(),
        limit: MAX_PIECES as u64,
    }
}

fn zero_ended(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

pub(super) fn read_error(cause: io::Error) -> ImageError {
    ImageError::Read {
        what: "the archive".into(),
        cause,
    }
}
