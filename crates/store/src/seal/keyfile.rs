//! AES-256-GCM with keys from a file.
//!
//! The file: a line of title, then one line `id key` (8 and 64 hex digits) a key; the first one
//! seals, all of them open. To rotate, put a new line first. A sealed value:
//! ```text
//! version 1 | key id 4 | salt 16 | counter 8 | ciphertext | tag 16
//! ```
//! Each run derives a key of its own from the file's key and a random salt (HKDF-SHA256) and
//! counts its nonces, so that no nonce repeats however many values are written.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::RwLock;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};

use crate::StoreError;
use crate::seal::{SealError, Sealer};

const TITLE: &str = "transom store keys v1";
const VERSION: u8 = 1;
const SALT: usize = 16;
const HEADER: usize = 1 + 4 + SALT + 8;

/// A key of the file, and the salt of a run.
type KeyName = (u32, [u8; SALT]);

/// Keys from a file.
pub struct KeyFile {
    keys: Vec<(u32, [u8; 32])>,
    salt: [u8; SALT],
    writing: LessSafeKey,
    counter: AtomicU64,
    reading: RwLock<HashMap<KeyName, Arc<LessSafeKey>>>,
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ids: Vec<u32> = self.keys.iter().map(|(id, _)| *id).collect();
        f.debug_struct("KeyFile")
            .field("ids", &ids)
            .finish_non_exhaustive()
    }
}

impl KeyFile {
    /// Makes a file with one new key, readable by its owner only. An existing one is an error.
    pub fn create(path: &Path) -> Result<KeyFile, StoreError> {
        let failed = |cause| key_file(path, "create", cause);
        let mut bytes = [0; 36];
        let random = SystemRandom::new().fill(&mut bytes);
        random.map_err(|_| failed(io::Error::other("no random bytes")))?;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = format!("{TITLE}\n{} {}\n", &hex[..8], &hex[8..]);
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let unfinished = PathBuf::from(name);
        let options = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .clone();
        let mut file = options.open(&unfinished).map_err(failed)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.sync_all())
            .map_err(failed)?;
        // A link, unlike a rename, never replaces a key that came in between.
        std::fs::hard_link(&unfinished, path).map_err(failed)?;
        std::fs::remove_file(&unfinished).map_err(failed)?;
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = File::open(parent.unwrap_or(Path::new("."))).map_err(failed)?;
        parent.sync_all().map_err(failed)?;
        KeyFile::load(path)
    }

    /// Reads an existing file.
    pub fn load(path: &Path) -> Result<KeyFile, StoreError> {
        let text = std::fs::read_to_string(path).map_err(|cause| key_file(path, "read", cause))?;
        let keys = parse(&text).ok_or_else(|| {
            let cause = io::Error::new(io::ErrorKind::InvalidData, "not a list of store keys");
            key_file(path, "read", cause)
        })?;
        KeyFile::new(keys).map_err(|cause| key_file(path, "use", io::Error::other(cause)))
    }

    fn new(keys: Vec<(u32, [u8; 32])>) -> Result<KeyFile, SealError> {
        let (_, first) = keys.first().ok_or(SealError::UnknownKey { id: 0 })?;
        let mut salt = [0; SALT];
        SystemRandom::new()
            .fill(&mut salt)
            .map_err(|_| SealError::NoRandomness)?;
        let writing = derive(first, &salt)?;
        let (counter, reading) = (AtomicU64::new(0), RwLock::default());
        Ok(KeyFile {
            salt,
            writing,
            counter,
            reading,
            keys,
        })
    }

    fn reading(&self, id: u32, salt: [u8; SALT]) -> Result<Arc<LessSafeKey>, SealError> {
        if let Some(key) = self.reading.read().get(&(id, salt)) {
            return Ok(Arc::clone(key));
        }
        let key = self.keys.iter().find(|(known, _)| *known == id);
        let (_, key) = key.ok_or(SealError::UnknownKey { id })?;
        let key = Arc::new(derive(key, &salt)?);
        self.reading.write().insert((id, salt), Arc::clone(&key));
        Ok(key)
    }
}

impl Sealer for KeyFile {
    fn seal(&self, aad: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let start = out.len() + HEADER;
        out.reserve_exact(HEADER + plain.len() + AES_256_GCM.tag_len());
        out.push(VERSION);
        out.extend_from_slice(&self.keys.first().map_or(0, |(id, _)| *id).to_be_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&counter);
        out.extend_from_slice(plain);
        let tag = self.writing.seal_in_place_separate_tag(
            nonce(counter),
            Aad::from(aad),
            &mut out[start..],
        );
        out.extend_from_slice(tag.map_err(|_| SealError::Broken)?.as_ref());
        Ok(())
    }

    fn open(&self, aad: &[u8], sealed: &[u8], out: &mut Vec<u8>) -> Result<(), SealError> {
        let (version, rest) = sealed.split_first().ok_or(SealError::Broken)?;
        let (id, rest) = rest.split_first_chunk().ok_or(SealError::Broken)?;
        let (salt, rest) = rest.split_first_chunk().ok_or(SealError::Broken)?;
        let (counter, body) = rest.split_first_chunk().ok_or(SealError::Broken)?;
        if *version != VERSION {
            return Err(SealError::Broken);
        }
        let key = self.reading(u32::from_be_bytes(*id), *salt)?;
        let start = out.len();
        out.extend_from_slice(body);
        let plain = key.open_in_place(nonce(*counter), Aad::from(aad), &mut out[start..]);
        let len = plain.map_err(|_| SealError::Broken)?.len();
        out.truncate(start + len);
        Ok(())
    }
}

fn nonce(counter: [u8; 8]) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter);
    Nonce::assume_unique_for_key(nonce)
}

fn derive(key: &[u8; 32], salt: &[u8; SALT]) -> Result<LessSafeKey, SealError> {
    let pseudo = Salt::new(HKDF_SHA256, salt).extract(key);
    let okm = pseudo.expand(&[b"transom store value"], &AES_256_GCM);
    Ok(LessSafeKey::new(UnboundKey::from(
        okm.map_err(|_| SealError::NoRandomness)?,
    )))
}

fn parse(text: &str) -> Option<Vec<(u32, [u8; 32])>> {
    let lines = text.strip_prefix(TITLE)?.trim().lines();
    let keys: Option<Vec<_>> = lines.map(parse_key).collect();
    keys.filter(|keys| !keys.is_empty())
}

fn parse_key(line: &str) -> Option<(u32, [u8; 32])> {
    let (id, hex) = line.trim().split_once(' ')?;
    if id.len() != 8 || hex.len() != 64 || !hex.is_ascii() {
        return None;
    }
    let mut key = [0; 32];
    for (index, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some((u32::from_str_radix(id, 16).ok()?, key))
}

fn key_file(path: &Path, operation: &'static str, cause: io::Error) -> StoreError {
    StoreError::KeyFile {
        operation,
        path: path.to_owned(),
        cause: Arc::new(cause),
    }
}
