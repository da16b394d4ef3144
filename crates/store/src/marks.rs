//! What a value may be asked for, in 64 bits beside it, so that a range passes over the others.
//!
//! A Bloom filter of one word: every term of a value sets two bits. A range that asks for terms
//! shows all values that have them, and a few that only look so. Example, with eight bits:
//! ```text
//! app=web         00100100
//! tier=front      01000100
//! a value of both 01100100   holds app=web; db=none (00100010) it does not
//! ```
//! Knows neither what a term is nor where it stands in a value: that is the [`Marker`]'s.

use std::ops::{BitOr, BitOrAssign};

/// Marks of a value, or of what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks(u64);

/// Tells the marks of a value. It is called by the writer for every put: it should be quick.
pub type Marker = fn(value: &[u8]) -> Marks;

impl Marks {
    /// Of a value without terms; asked for, of every value.
    pub const NONE: Marks = Marks(0);
    /// Of a value that may have any term.
    pub const ANY: Marks = Marks(u64::MAX);

    /// Of one term, in parts: `["app", "web"]` is not `["ap", "pweb"]`.
    pub fn of(parts: &[&[u8]]) -> Marks {
        let mut hash = crc32fast::Hasher::new();
        for part in parts {
            hash.update(part);
            hash.update(&[0]);
        }
        let hash = hash.finalize();
        Marks(1 << (hash & 63) | 1 << (hash >> 16 & 63))
    }

    /// Whether a value with these marks may have all that is `wanted`.
    pub fn hold(self, wanted: Marks) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

impl BitOr for Marks {
    type Output = Marks;

    fn bitor(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }
}

impl BitOrAssign for Marks {
    fn bitor_assign(&mut self, other: Marks) {
        *self = *self | other;
    }
}

/// The [`Marker`] of a store that nobody told what its values hold.
pub(crate) fn unknown(_value: &[u8]) -> Marks {
    Marks::ANY
}

#[cfg(test)]
mod tests {
    use super::Marks;

    #[test]
    fn what_is_there_is_found() {
        let terms: Vec<Marks> = (0..1000_u32)
            .map(|n| Marks::of(&[b"app", &n.to_le_bytes()]))
            .collect();
        for window in terms.windows(5) {
            let all = window.iter().fold(Marks::NONE, |all, one| all | *one);
            assert!(window.iter().all(|one| all.hold(*one)));
            assert!(all.hold(Marks::NONE) && Marks::ANY.hold(all));
            // Of those that are not, one in thirty looks as if.
            let looks = terms.iter().filter(|one| all.hold(**one)).count();
            assert!(looks < 100, "{looks}");
        }
        assert_ne!(Marks::of(&[b"app", b"web"]), Marks::of(&[b"ap", b"pweb"]));
    }
}
