//! Records as tag-length-value: `u16 tag, u32 length, bytes`, little endian, nested.
//!
//! A field at its default is left out, a list is a repeated tag, an unknown tag is skipped.
//! Example: `Mount { kind: "proc" }` → `01 00 04 00 00 00 "proc"`. Around it a frame:
//! `u32 length of body, u16 kind, u16 reserved`, then the body.

use std::fmt;

/// Largest body of a frame: a specification with 300 layers and a megabyte of environment.
pub const MAX_BODY: usize = 8 << 20;
/// Bytes before a body.
pub const HEADER: usize = 8;

/// Bytes that are not a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed message")
    }
}

impl std::error::Error for Malformed {}

/// A struct with tagged fields.
pub trait Record: Default {
    /// Appends its fields.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads fields, skipping unknown ones.
    fn read(bytes: &[u8]) -> Result<Self, Malformed>;
    /// The fields as bytes.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

/// A field of a record.
pub trait Field {
    /// Appends the field unless it is at its default.
    fn put(&self, tag: u16, out: &mut Vec<u8>);
    /// Takes one occurrence.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed>;
}

/// A value that stands for itself in lists and options.
pub trait Scalar: Field + Default {
    /// Appends the value even at its default.
    fn emit(&self, tag: u16, out: &mut Vec<u8>);
}

/// Appends one item.
pub fn item(tag: u16, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&tag.to_le_bytes());
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The items of a record in order.
pub fn items(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let split = |bytes: &mut &[u8]| -> Option<(u16, u32)> {
            let (tag, rest) = bytes.split_first_chunk::<2>()?;
            let (length, rest) = rest.split_first_chunk::<4>()?;
            *bytes = rest;
            Some((u16::from_le_bytes(*tag), u32::from_le_bytes(*length)))
        };
        let Some((tag, length)) = split(&mut bytes) else {
            bytes = &[];
            return Some(Err(Malformed));
        };
        let length = length as usize;
        if length > bytes.len() {
            bytes = &[];
            return Some(Err(Malformed));
        }
        let (value, rest) = bytes.split_at(length);
        bytes = rest;
        Some(Ok((tag, value)))
    })
}

macro_rules! integer {
    ($($ty:ty)*) => {$(
        impl Field for $ty {
            fn put(&self, tag: u16, out: &mut Vec<u8>) {
                if *self != 0 {
                    self.emit(tag, out);
                }
            }
            fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
                *self = <$ty>::from_le_bytes(bytes.try_into().map_err(|_| Malformed)?);
                Ok(())
            }
        }
        impl Scalar for $ty {
            fn emit(&self, tag: u16, out: &mut Vec<u8>) {
                item(tag, &self.to_le_bytes(), out);
            }
        }
    )*};
}
integer!(u32 u64 i32 i64);

impl Field for bool {
    fn put(&self, tag: u16, out: &mut Vec<u8>) {
        if *self {
            self.emit(tag, out);
        }
    }
    fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        *self = match bytes {
            [0] => false,
            [_] => true,
            _ => return Err(Malformed),
        };
        Ok(())
    }
}

impl Scalar for bool {
    fn emit(&self, tag: u16, out: &mut Vec<u8>) {
        item(tag, &[u8::from(*self)], out);
    }
}

impl Field for String {
    fn put(&self, tag: u16, out: &mut Vec<u8>) {
        if !self.is_empty() {
            self.emit(tag, out);
        }
    }
    fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        *self = String::from_utf8(bytes.into()).map_err(|_| Malformed)?;
        Ok(())
    }
}

impl Scalar for String {
    fn emit(&self, tag: u16, out: &mut Vec<u8>) {
        item(tag, self.as_bytes(), out);
    }
}

/// Raw bytes as one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blob(pub Vec<u8>);

impl Field for Blob {
    fn put(&self, tag: u16, out: &mut Vec<u8>) {
        if !self.0.is_empty() {
            item(tag, &self.0, out);
        }
    }
    fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        self.0 = bytes.into();
        Ok(())
    }
}

impl<T: Scalar> Field for Vec<T> {
    fn put(&self, tag: u16, out: &mut Vec<u8>) {
        for value in self {
            value.emit(tag, out);
        }
    }
    fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut value = T::default();
        value.take(bytes)?;
        self.push(value);
        Ok(())
    }
}

impl<T: Scalar> Field for Option<T> {
    fn put(&self, tag: u16, out: &mut Vec<u8>) {
        if let Some(value) = self {
            value.emit(tag, out);
        }
    }
    fn take(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let mut value = T::default();
        value.take(bytes)?;
        *self = Some(value);
        Ok(())
    }
}

/// Defines structs whose fields carry their tag: `1 name: String,`.
macro_rules! record {
    ($($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$field_meta:meta])* $tag:literal $field:ident: $ty:ty,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $ty,)*
        }

        impl $crate::wire::Record for $name {
            #[allow(unused_variables, reason = "a record may have no fields")]
            fn write(&self, out: &mut Vec<u8>) {
                $($crate::wire::Field::put(&self.$field, $tag, out);)*
            }
            #[allow(unused_mut, unused_variables, reason = "a record may have no fields")]
            fn read(bytes: &[u8]) -> Result<Self, $crate::wire::Malformed> {
                let mut record = Self::default();
                for item in $crate::wire::items(bytes) {
                    let (tag, value) = item?;
                    match tag {
                        $($tag => $crate::wire::Field::take(&mut record.$field, value)?,)*
                        _ => {}
                    }
                }
                Ok(record)
            }
        }

        impl $crate::wire::Field for $name {
            fn put(&self, tag: u16, out: &mut Vec<u8>) {
                if *self != Self::default() {
                    $crate::wire::Scalar::emit(self, tag, out);
                }
            }
            fn take(&mut self, bytes: &[u8]) -> Result<(), $crate::wire::Malformed> {
                *self = <Self as $crate::wire::Record>::read(bytes)?;
                Ok(())
            }
        }

        impl $crate::wire::Scalar for $name {
            fn emit(&self, tag: u16, out: &mut Vec<u8>) {
                $crate::wire::item(tag, &$crate::wire::Record::to_bytes(self), out);
            }
        }
    )*};
}
pub(crate) use record;

/// A frame ready to send.
#[must_use]
pub fn frame(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + body.len());
    out.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(body);
    out
}

/// Takes one whole frame off the front of `buffer`: kind and body.
pub fn take_frame(buffer: &mut Vec<u8>) -> Result<Option<(u16, Vec<u8>)>, Malformed> {
    let Some(header) = buffer.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let kind = u16::from_le_bytes([header[4], header[5]]);
    if length > MAX_BODY {
        return Err(Malformed);
    }
    if buffer.len() < HEADER + length {
        return Ok(None);
    }
    let body = buffer[HEADER..HEADER + length].to_vec();
    buffer.drain(..HEADER + length);
    Ok(Some((kind, body)))
}

#[cfg(test)]
mod tests;
