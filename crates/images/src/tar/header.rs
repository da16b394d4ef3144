//! One 512-byte header: checksum, octal and base-256 numbers, names.

use super::BLOCK;
use crate::error::ImageError;

/// A header whose checksum was right.
pub(super) struct Header(pub(super) [u8; BLOCK]);

impl Header {
    /// `None` for a block of zeros, the end of the archive.
    pub(super) fn parse(block: [u8; BLOCK]) -> Result<Option<Header>, ImageError> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header(block);
        let stored = header.number(148, 8)?;
        let blank = |index: usize| (148..156).contains(&index);
        let byte = |(index, byte): (usize, &u8)| if blank(index) { b' ' } else { *byte };
        let unsigned: u64 = block.iter().enumerate().map(|at| u64::from(byte(at))).sum();
        // Some old writers added signed bytes.
        let signed: i64 = block
            .iter()
            .enumerate()
            .map(|at| i64::from(byte(at).cast_signed()))
            .sum();
        if stored != unsigned && i64::try_from(stored).ok() != Some(signed) {
            return Err(ImageError::Archive("wrong checksum of a tar header".into()));
        }
        Ok(Some(header))
    }

    pub(super) fn text(&self, start: usize, length: usize) -> &[u8] {
        let field = &self.0[start..start + length];
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
        &field[..end]
    }

    /// Octal digits, or base 256 where the first bit is set. Negative numbers are refused.
    pub(super) fn number(&self, start: usize, length: usize) -> Result<u64, ImageError> {
        number(&self.0[start..start + length])
    }

    pub(super) fn signed(&self, start: usize, length: usize) -> Result<i64, ImageError> {
        let field = &self.0[start..start + length];
        if field[0] == 0xff {
            let low: [u8; 8] = field[length - 8..].try_into().unwrap_or_default();
            return Ok(i64::from_be_bytes(low));
        }
        i64::try_from(number(field)?).map_err(|_| bad_number(field))
    }

    pub(super) fn is_ustar(&self) -> bool {
        &self.0[257..262] == b"ustar" && self.0[262] == 0
    }

    /// `prefix/name` of ustar, else `name`.
    pub(super) fn path(&self) -> Vec<u8> {
        let name = self.text(0, 100);
        let prefix = if self.is_ustar() {
            self.text(345, 155)
        } else {
            b""
        };
        if prefix.is_empty() {
            name.to_vec()
        } else {
            [prefix, b"/", name].concat()
        }
    }
}

pub(super) fn number(field: &[u8]) -> Result<u64, ImageError> {
    if field[0] & 0x80 != 0 {
        let mut value = u64::from(field[0] & 0x7f);
        for byte in &field[1..] {
            let shifted = value.checked_mul(256).ok_or_else(|| bad_number(field))?;
            value = shifted + u64::from(*byte);
        }
        return Ok(value);
    }
    let mut value: u64 = 0;
    let digits = field.iter().skip_while(|byte| **byte == b' ');
    for byte in digits.take_while(|byte| !matches!(**byte, 0 | b' ')) {
        if !(b'0'..=b'7').contains(byte) {
            return Err(bad_number(field));
        }
        let shifted = value.checked_mul(8).ok_or_else(|| bad_number(field))?;
        value = shifted + u64::from(byte - b'0');
    }
    Ok(value)
}

fn bad_number(field: &[u8]) -> ImageError {
    ImageError::Archive(format!(
        "bad number {:?} in a tar header",
        String::from_utf8_lossy(field)
    ))
}
