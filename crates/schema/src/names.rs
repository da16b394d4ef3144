//! Names that every document shares: the field names of the built-in types.
//!
//! A map key that is one of them is stored as its number, so that looking a field up is a
//! comparison of integers. The hash table over them is computed at compile time.
//! Knows nothing of types; `table` says which type has which field.

mod list;

use list::{NAMES, QUOTED};

/// The number of a static name, or (above [`STATIC`]) of a name of one document.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub(crate) u32);

/// How many names are static; numbers from here on belong to a document.
pub(crate) const STATIC: u32 = NAMES.len() as u32;

const BITS: u32 = 12;
const SLOTS: usize = 1 << BITS;

static INDEX: [u16; SLOTS] = build();

/// A small multiplicative hash; quality matters less than a short run time on short keys.
#[inline]
pub(crate) const fn hash(key: &[u8]) -> u32 {
    let len = key.len();
    let mut state = len as u64;
    if len >= 8 {
        let mut at = 0;
        while at + 8 < len {
            state = mix(state, word(key, at));
            at += 8;
        }
        state = mix(state, word(key, len - 8));
    } else if len >= 4 {
        state = mix(state, half(key, 0) | half(key, len - 4) << 32);
    } else if len > 0 {
        let ends = (key[0] as u64) | (key[len / 2] as u64) << 8 | (key[len - 1] as u64) << 16;
        state = mix(state, ends);
    }
    (state ^ (state >> 32)) as u32
}

const fn word(key: &[u8], at: usize) -> u64 {
    half(key, at) | half(key, at + 4) << 32
}

const fn half(key: &[u8], at: usize) -> u64 {
    let (_, tail) = key.split_at(at);
    match tail.first_chunk::<4>() {
        Some(bytes) => u32::from_le_bytes(*bytes) as u64,
        None => 0,
    }
}

const fn mix(state: u64, word: u64) -> u64 {
    (state.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95)
}

const fn slot(hash: u32) -> usize {
    (hash >> (32 - BITS)) as usize
}

const fn build() -> [u16; SLOTS] {
    assert!(NAMES.len() * 2 < SLOTS, "raise BITS");
    let mut index = [u16::MAX; SLOTS];
    let mut n = 0;
    while n < NAMES.len() {
        let mut at = slot(hash(NAMES[n].as_bytes()));
        while index[at] != u16::MAX {
            at = (at + 1) % SLOTS;
        }
        index[at] = n as u16;
        n += 1;
    }
    index
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

/// The static number of `key`, whose [`hash`] the caller has.
#[inline]
pub(crate) fn lookup(key: &[u8], hash: u32) -> Option<Name> {
    let mut at = slot(hash);
    loop {
        let n = INDEX[at];
        if n == u16::MAX {
            return None;
        }
        if NAMES[n as usize].as_bytes() == key {
            return Some(Name(u32::from(n)));
        }
        at = (at + 1) % SLOTS;
    }
}

impl Name {
    /// The name of a built-in field; a mistake is found when compiling `const { Name::of(…) }`.
    #[must_use]
    pub const fn of(key: &str) -> Name {
        let mut at = slot(hash(key.as_bytes()));
        loop {
            let n = INDEX[at];
            assert!(n != u16::MAX, "not the name of a built-in field");
            if same(NAMES[n as usize].as_bytes(), key.as_bytes()) {
                return Name(n as u32);
            }
            at = (at + 1) % SLOTS;
        }
    }

    /// The static name equal to `key`, if there is one.
    #[must_use]
    pub fn find(key: &str) -> Option<Name> {
        lookup(key.as_bytes(), hash(key.as_bytes()))
    }

    /// `"name":` of a static name.
    #[inline]
    pub(crate) fn quoted(code: u32) -> Option<&'static str> {
        QUOTED.get(code as usize).copied()
    }

    /// The text of a static name; a document's own name has none here.
    #[inline]
    #[must_use]
    pub fn text(self) -> Option<&'static str> {
        NAMES.get(self.0 as usize).copied()
    }
}
