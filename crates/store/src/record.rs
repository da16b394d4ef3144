//! One version of one key in one buffer.
//!
//! The core's unit of memory: 64 bytes in the tree, and key and value together in one allocation
//! of exactly their size. Readers get slices of that buffer.

use std::borrow::Borrow;
use std::cmp::Ordering;

use bytes::Bytes;

use crate::{Event, EventKind, KeyValue, Marks, Revision};

/// A version of a key. Ordered by key alone.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    buffer: Bytes,
    created: u64,
    modified: u64,
    marks: Marks,
    key_len: u32,
    /// Position inside its revision; with `modified` the name of its row in the log.
    sub: u16,
    deleted: bool,
}

impl Record {
    /// A value, copied once into a buffer of its own.
    pub(crate) fn put(key: &[u8], value: &[u8], created: u64, modified: u64, sub: u16) -> Record {
        let mut buffer = Vec::with_capacity(key.len() + value.len());
        buffer.extend_from_slice(key);
        buffer.extend_from_slice(value);
        Record::new(
            Bytes::from(buffer),
            key.len(),
            created,
            modified,
            sub,
            false,
        )
    }

    /// The same with the marks of its value; a record begins with all of them.
    pub(crate) fn marked(mut self, marks: Marks) -> Record {
        self.marks = marks;
        self
    }

    /// The end of a key.
    pub(crate) fn tombstone(key: &[u8], modified: u64, sub: u16) -> Record {
        Record::new(
            Bytes::copy_from_slice(key),
            key.len(),
            0,
            modified,
            sub,
            true,
        )
    }

    fn new(
        buffer: Bytes,
        key_len: usize,
        created: u64,
        modified: u64,
        sub: u16,
        deleted: bool,
    ) -> Record {
        let key_len = u32::try_from(key_len).expect("keys are bounded by MAX_KEY_BYTES");
        Record {
            buffer,
            created,
            modified,
            marks: Marks::ANY,
            key_len,
            sub,
            deleted,
        }
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.buffer[..self.key_len as usize]
    }

    pub(crate) fn value(&self) -> &[u8] {
        &self.buffer[self.key_len as usize..]
    }

    pub(crate) fn key_bytes(&self) -> Bytes {
        self.buffer.slice(..self.key_len as usize)
    }

    pub(crate) fn created(&self) -> u64 {
        self.created
    }

    pub(crate) fn modified(&self) -> u64 {
        self.modified
    }

    pub(crate) fn sub(&self) -> u16 {
        self.sub
    }

    pub(crate) fn marks(&self) -> Marks {
        self.marks
    }

    pub(crate) fn deleted(&self) -> bool {
        self.deleted
    }

    /// Bytes of key and value.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    pub(crate) fn to_kv(&self) -> KeyValue {
        KeyValue {
            key: self.key_bytes(),
            value: self.buffer.slice(self.key_len as usize..),
            create_revision: Revision(self.created),
            mod_revision: Revision(self.modified),
        }
    }
}

impl Borrow<[u8]> for Record {
    fn borrow(&self) -> &[u8] {
        self.key()
    }
}

impl PartialEq for Record {
    fn eq(&self, other: &Record) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Record {}

impl PartialOrd for Record {
    fn partial_cmp(&self, other: &Record) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Record {
    fn cmp(&self, other: &Record) -> Ordering {
        self.key().cmp(other.key())
    }
}

/// A change in the history: the record that came, and the one that it replaced.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    pub(crate) prev: Option<Record>,
    /// When the key expires, in milliseconds of wall time.
    pub(crate) expires: Option<i64>,
}

impl Entry {
    pub(crate) fn to_event(&self) -> Event {
        let kind = if self.record.deleted {
            EventKind::Delete
        } else {
            EventKind::Put
        };
        Event {
            kind,
            kv: self.record.to_kv(),
            prev: self.prev.as_ref().map(Record::to_kv),
        }
    }
}
