//! Events of watches as bytes, made once for all who watch.
//!
//! A change reaches its watchers at about the same time, so a few of the newest frames are enough:
//! each has one slot, and what comes later into the same slot replaces it. Example: a Pod changes at
//! revision 7 and forty watchers want JSON: the first makes the frame in slot 14, the others take it.
//! Knows no filter: who sees an event, and as what, is `verbs::watch`'s decision.

use api::Gvk;
use bytes::Bytes;
use parking_lot::Mutex;

const SLOTS: usize = 64;
/// Larger frames are made by everyone: at most 4 MiB stay here.
const LARGEST: usize = 64 << 10;

/// What makes two frames the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    /// The object's key in the store.
    pub(crate) key: Bytes,
    pub(crate) revision: u64,
    pub(crate) word: &'static str,
    pub(crate) gvk: Gvk,
    pub(crate) protobuf: bool,
}

/// The newest frames.
#[derive(Debug)]
pub(crate) struct Frames {
    slots: [Mutex<Option<(Label, Bytes)>>; SLOTS],
}

impl Default for Frames {
    fn default() -> Self {
        Self {
            slots: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Frames {
    /// The frame, made if nobody made it yet; who comes meanwhile waits for it.
    pub(crate) fn get(&self, label: &Label, make: impl FnOnce() -> Bytes) -> Bytes {
        let number = label.revision.wrapping_mul(2) + u64::from(label.protobuf);
        let slot = usize::try_from(number % SLOTS as u64).unwrap_or(0);
        let mut slot = self.slots[slot].lock();
        if let Some((_, frame)) = slot.as_ref().filter(|(other, _)| other == label) {
            return frame.clone();
        }
        let frame = make();
        if frame.len() <= LARGEST {
            *slot = Some((label.clone(), frame.clone()));
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use api::Gvk;
    use bytes::Bytes;

    use super::{Frames, LARGEST, Label, SLOTS};

    fn label(revision: u64) -> Label {
        Label {
            key: Bytes::from_static(b"/registry/pods/a/b"),
            revision,
            word: "ADDED",
            gvk: Gvk::new("", "v1", "Pod"),
            protobuf: false,
        }
    }

    fn never() -> Bytes {
        panic!("it is there");
    }

    #[test]
    fn one_is_made_once() {
        let frames = Frames::default();
        let made = frames.get(&label(7), || Bytes::from_static(b"a"));
        assert_eq!(frames.get(&label(7), never), made);
        // Anything else about it is another frame.
        let word = Label {
            word: "MODIFIED",
            ..label(7)
        };
        let version = Label {
            gvk: Gvk::new("", "v2", "Pod"),
            ..label(7)
        };
        let encoding = Label {
            protobuf: true,
            ..label(7)
        };
        for (other, text) in [(word, "b"), (version, "c"), (encoding, "d")] {
            let frame = frames.get(&other, || Bytes::from_static(text.as_bytes()));
            assert_eq!(frame, text);
        }
    }

    #[test]
    fn newer_ones_replace_older_ones_and_large_ones_do_not_stay() {
        let frames = Frames::default();
        frames.get(&label(1), || Bytes::from_static(b"old"));
        let later = 1 + SLOTS as u64 / 2;
        frames.get(&label(later), || Bytes::from_static(b"new"));
        assert_eq!(frames.get(&label(later), never), "new");
        assert_eq!(
            frames.get(&label(1), || Bytes::from_static(b"again")),
            "again"
        );
        let large = Bytes::from(vec![0; LARGEST + 1]);
        frames.get(&label(2), || large.clone());
        assert_eq!(frames.get(&label(2), || Bytes::from_static(b"x")), "x");
    }
}
