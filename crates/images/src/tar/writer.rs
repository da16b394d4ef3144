//! Writes archives: files, folders and links, deterministic (owner 0, time 0).

use std::io::{self, Write};

use super::BLOCK;

/// Writes entries to a stream.
pub(crate) struct Writer<W: Write>(W);

impl<W: Write> Writer<W> {
    pub(crate) fn new(inner: W) -> Writer<W> {
        Writer(inner)
    }

    /// A regular file.
    pub(crate) fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> io::Result<()> {
        self.entry(b'0', path.as_bytes(), b"", mode, contents)
    }

    /// A folder.
    pub(crate) fn directory(&mut self, path: &str, mode: u32) -> io::Result<()> {
        self.entry(b'5', path.as_bytes(), b"", mode, b"")
    }

    /// Any entry; paths of more than 100 bytes get a pax header.
    pub(crate) fn entry(
        &mut self,
        flag: u8,
        path: &[u8],
        link: &[u8],
        mode: u32,
        contents: &[u8],
    ) -> io::Result<()> {
        let mut records = Vec::new();
        for (key, value) in [("path", path), ("linkpath", link)] {
            if value.len() > 100 {
                records.extend(pax_record(key, value));
            }
        }
        if !records.is_empty() {
            self.block(b'x', b"pax", b"", 0o644, &records)?;
        }
        let cut = |text: &[u8]| text[..text.len().min(100)].to_vec();
        self.block(flag, &cut(path), &cut(link), mode, contents)
    }

    /// A header as given and its data, padded.
    pub(crate) fn block(
        &mut self,
        flag: u8,
        path: &[u8],
        link: &[u8],
        mode: u32,
        contents: &[u8],
    ) -> io::Result<()> {
        let mut header = [0; BLOCK];
        header[..path.len()].copy_from_slice(path);
        octal(&mut header[100..108], u64::from(mode));
        octal(&mut header[108..116], 0);
        octal(&mut header[116..124], 0);
        octal(&mut header[124..136], contents.len() as u64);
        octal(&mut header[136..148], 0);
        header[156] = flag;
        header[157..157 + link.len()].copy_from_slice(link);
        header[257..265].copy_from_slice(b"ustar\x0000");
        octal(&mut header[329..337], 0);
        octal(&mut header[337..345], 0);
        seal(&mut header);
        self.0.write_all(&header)?;
        self.0.write_all(contents)?;
        let padding = contents.len().wrapping_neg() % BLOCK;
        self.0.write_all(&[0; BLOCK][..padding])
    }

    /// The end of the archive.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.0.write_all(&[0; 2 * BLOCK])?;
        Ok(self.0)
    }
}

/// Fills in the checksum.
pub(crate) fn seal(header: &mut [u8; BLOCK]) {
    header[148..156].fill(b' ');
    let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum();
    octal(&mut header[148..155], sum);
}

pub(crate) fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

/// Octal digits with a closing zero byte; base 256 where they do not fit.
fn octal(field: &mut [u8], value: u64) {
    let width = field.len() - 1;
    let text = format!("{value:0width$o}");
    if text.len() <= width {
        field[..width].copy_from_slice(text.as_bytes());
    } else {
        field.fill(0);
        let start = field.len() - 8;
        field[start..].copy_from_slice(&value.to_be_bytes());
        field[0] |= 0x80;
    }
}
