//! The form of a value on disk: compressed when it pays, then sealed.
//!
//! Under the seal: one byte 0 and the value, or one byte 1, the length (4, little endian) and a
//! zstd frame.

use std::sync::Arc;

use parking_lot::Mutex;
use zstd::bulk::{Compressor, Decompressor};

use crate::seal::{SealError, Sealer};
use crate::txn::MAX_VALUE_BYTES;

/// Smaller values are not worth the time.
const WORTH_BYTES: usize = 256;
/// Fast, and canonical JSON still halves.
const LEVEL: i32 = 1;
/// Idle compressors kept; each holds a few hundred KiB.
const SPARE: usize = 4;

/// Values in: bytes for the disk out. Shared by all callers of the store.
#[derive(Debug)]
pub(crate) struct Encoder {
    sealer: Arc<dyn Sealer>,
    spare: Mutex<Vec<Spare>>,
}

struct Spare(Compressor<'static>);

impl std::fmt::Debug for Spare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Compressor")
    }
}

impl Encoder {
    pub(crate) fn new(sealer: Arc<dyn Sealer>) -> Encoder {
        Encoder {
            sealer,
            spare: Mutex::default(),
        }
    }

    pub(crate) fn encode(&self, key: &[u8], value: &[u8]) -> Result<Vec<u8>, SealError> {
        let plain = self.compress(value).unwrap_or_else(|| {
            let mut plain = Vec::with_capacity(1 + value.len());
            plain.push(0);
            plain.extend_from_slice(value);
            plain
        });
        let mut sealed = Vec::new();
        self.sealer.seal(key, &plain, &mut sealed)?;
        Ok(sealed)
    }

    /// The compressed form if it is at least an eighth smaller.
    fn compress(&self, value: &[u8]) -> Option<Vec<u8>> {
        if value.len() < WORTH_BYTES {
            return None;
        }
        let spare = self.spare.lock().pop();
        let mut compressor = match spare {
            Some(Spare(compressor)) => compressor,
            None => Compressor::new(LEVEL).ok()?,
        };
        let mut plain = vec![0; 5 + value.len() - value.len() / 8];
        plain[0] = 1;
        plain[1..5].copy_from_slice(&u32::try_from(value.len()).ok()?.to_le_bytes());
        let written = compressor.compress_to_buffer(value, &mut plain[5..]);
        let mut spare = self.spare.lock();
        if spare.len() < SPARE {
            spare.push(Spare(compressor));
        }
        // It does not fit: it does not pay.
        plain.truncate(5 + written.ok()?);
        Some(plain)
    }
}

/// Bytes from the disk in, values out.
pub(crate) struct Decoder {
    sealer: Arc<dyn Sealer>,
    zstd: Decompressor<'static>,
    plain: Vec<u8>,
    value: Vec<u8>,
}

impl Decoder {
    pub(crate) fn new(sealer: Arc<dyn Sealer>) -> std::io::Result<Decoder> {
        let zstd = Decompressor::new()?;
        Ok(Decoder {
            sealer,
            zstd,
            plain: Vec::new(),
            value: Vec::new(),
        })
    }

    pub(crate) fn decode(&mut self, key: &[u8], sealed: &[u8]) -> Result<&[u8], SealError> {
        self.plain.clear();
        self.sealer.open(key, sealed, &mut self.plain)?;
        match self.plain.split_first() {
            Some((0, value)) => Ok(value),
            Some((1, rest)) => {
                let (len, frame) = rest.split_first_chunk().ok_or(SealError::Broken)?;
                let len = u32::from_le_bytes(*len) as usize;
                if len > MAX_VALUE_BYTES {
                    return Err(SealError::Broken);
                }
                self.value.resize(len, 0);
                match self.zstd.decompress_to_buffer(frame, &mut self.value[..]) {
                    Ok(written) if written == len => Ok(&self.value),
                    _ => Err(SealError::Broken),
                }
            }
            _ => Err(SealError::Broken),
        }
    }
}
