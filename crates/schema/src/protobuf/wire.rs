//! Varints, tags and lengths of the protobuf wire format.

use super::ProtobufError;

/// A number.
pub(super) const VARINT: u8 = 0;
/// Eight bytes.
pub(crate) const FIXED64: u8 = 1;
/// A length and bytes.
pub(super) const BYTES: u8 = 2;
/// Four bytes.
pub(super) const FIXED32: u8 = 5;

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_tag(out: &mut Vec<u8>, number: u8, wire: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire));
}

pub(crate) fn put_number(out: &mut Vec<u8>, number: u8, value: u64) {
    put_tag(out, number, VARINT);
    put_varint(out, value);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    put_tag(out, number, BYTES);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a nested message whose length is known only afterwards: one byte is left for it and
/// the content moves when it needs more.
pub(crate) fn put_message<E>(
    out: &mut Vec<u8>,
    number: u8,
    content: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    put_tag(out, number, BYTES);
    let at = out.len();
    out.push(0);
    content(out)?;
    let length = (out.len() - at - 1) as u64;
    if length < 0x80 {
        out[at] = length as u8;
        return Ok(());
    }
    let mut head = Vec::with_capacity(10);
    put_varint(&mut head, length);
    out.splice(at..=at, head);
    Ok(())
}

/// Reads a message field by field.
#[derive(Copy, Clone)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

/// The value of a field as it stands on the wire.
#[derive(Copy, Clone)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl Wire<'_> {
    pub(super) fn kind(self) -> u8 {
        match self {
            Wire::Varint(_) => VARINT,
            Wire::Fixed64(_) => FIXED64,
            Wire::Bytes(_) => BYTES,
            Wire::Fixed32(_) => FIXED32,
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0_u64;
        for (i, byte) in self.bytes.iter().enumerate() {
            if i == 10 {
                return Err(ProtobufError::Overflow);
            }
            value |= u64::from(byte & 0x7f)
                .checked_shl(7 * i as u32)
                .unwrap_or(0);
            if *byte < 0x80 {
                self.bytes = &self.bytes[i + 1..];
                return Ok(value);
            }
        }
        Err(ProtobufError::Eof)
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], ProtobufError> {
        let count = usize::try_from(count).map_err(|_| ProtobufError::Eof)?;
        let (head, tail) = self
            .bytes
            .split_at_checked(count)
            .ok_or(ProtobufError::Eof)?;
        self.bytes = tail;
        Ok(head)
    }

    /// The next field's number and value; `None` at the end. Groups are skipped.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Wire<'a>)>, ProtobufError> {
        while !self.bytes.is_empty() {
            let tag = self.varint()?;
            let number = u32::try_from(tag >> 3)
                .ok()
                .filter(|n| *n != 0 && *n < 1 << 29);
            let number = number.ok_or(ProtobufError::Tag(tag))?;
            let value = match tag & 7 {
                0 => Wire::Varint(self.varint()?),
                1 => Wire::Fixed64(little(self.take(8)?)),
                2 => {
                    let length = self.varint()?;
                    Wire::Bytes(self.take(length)?)
                }
                3 => {
                    self.skip_group()?;
                    continue;
                }
                5 => Wire::Fixed32(little(self.take(4)?) as u32),
                _ => return Err(ProtobufError::Tag(tag)),
            };
            return Ok(Some((number, value)));
        }
        Ok(None)
    }

    fn skip_group(&mut self) -> Result<(), ProtobufError> {
        let mut depth = 1_u32;
        while depth > 0 {
            let tag = self.varint()?;
            match tag & 7 {
                0 => {
                    self.varint()?;
                }
                1 => {
                    self.take(8)?;
                }
                2 => {
                    let length = self.varint()?;
                    self.take(length)?;
                }
                3 => depth += 1,
                4 => depth -= 1,
                5 => {
                    self.take(4)?;
                }
                _ => return Err(ProtobufError::Tag(tag)),
            }
        }
        Ok(())
    }
}

fn little(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}
