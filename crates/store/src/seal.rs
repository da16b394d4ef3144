//! Encryption at rest: what stands between the core and the disk.
//!
//! A [`Sealer`] turns a value into what the log keeps. The key path is associated data: a value
//! moved to another key does not open. [`KeyFile`] is the default.
//! Source of the layout (seed key, one derived key a run): kubernetes v1.36
//! apiserver/pkg/storage/value/encrypt/aes/aes_extended_nonce.go.

mod keyfile;
#[cfg(test)]
mod tests;

use std::fmt::Debug;

pub use self::keyfile::KeyFile;

/// Protects values on their way to the disk.
pub trait Sealer: Debug + Send + Sync {
    /// Appends the sealed form of `plain` to `out`.
    fn seal(&self, aad: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError>;
    /// Appends what was sealed to `out`.
    fn open(&self, aad: &[u8], sealed: &[u8], out: &mut Vec<u8>) -> Result<(), SealError>;
}

/// Why a value could not be sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Sealed by a key that is not there.
    #[error("sealed with key {id:08x}, which the key file does not hold")]
    UnknownKey {
        /// Its id.
        id: u32,
    },
    /// Altered, moved from another key path, or sealed by something else.
    #[error("the seal is broken: the value was altered or belongs to another key")]
    Broken,
    /// No more randomness or nonces.
    #[error("cannot seal: the system gives no random bytes")]
    NoRandomness,
}

/// No encryption: for tests, and where the disk itself is encrypted.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSeal;

impl Sealer for NoSeal {
    fn seal(&self, _aad: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        out.extend_from_slice(plain);
        Ok(())
    }

    fn open(&self, _aad: &[u8], sealed: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        out.extend_from_slice(sealed);
        Ok(())
    }
}
