//! The tree of an object while many look at one change of it.
//!
//! A dozen handlers and indexes read the same pod at the same moment. Whoever tells them holds a
//! [`Sharing`]: the first of them parses, the others get copies, at a tenth of the cost. With the
//! sharing the tree goes: no object is held as one.

use std::sync::Arc;

use parking_lot::Mutex;
use schema::{Dom, SyntaxError};

#[derive(Default)]
enum State {
    #[default]
    Alone,
    Wanted,
    Parsed(Arc<Dom>),
}

/// Part of every object; clones begin alone.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
}

impl Clone for Shared {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Shared {
    pub(super) fn share(&self) -> Sharing<'_> {
        *self.state.lock() = State::Wanted;
        Sharing { shared: self }
    }

    pub(super) fn parse(&self, bytes: &[u8]) -> Result<Dom, SyntaxError> {
        let known = match &*self.state.lock() {
            State::Alone => None,
            State::Wanted => Some(None),
            State::Parsed(tree) => Some(Some(tree.clone())),
        };
        match known {
            Some(Some(tree)) => Ok(Dom::clone(&tree)),
            None => Dom::parse_json(bytes),
            Some(None) => {
                let tree = Dom::parse_json(bytes)?;
                let mut state = self.state.lock();
                if matches!(*state, State::Wanted) {
                    *state = State::Parsed(Arc::new(tree.clone()));
                }
                Ok(tree)
            }
        }
    }
}

/// While this lives the object is parsed once; see [`Object::share`](crate::Object::share).
#[must_use]
pub struct Sharing<'a> {
    shared: &'a Shared,
}

impl Drop for Sharing<'_> {
    fn drop(&mut self) {
        *self.shared.state.lock() = State::Alone;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that change between two looks tell which of them parsed.
    #[test]
    fn a_tree_is_shared_as_long_as_somebody_asks_for_it() {
        let shared = Shared::default();
        let name = |bytes: &[u8]| shared.parse(bytes).unwrap().as_ref().str("name").to_owned();
        assert_eq!(name(br#"{"name":"a"}"#), "a");
        assert_eq!(name(br#"{"name":"b"}"#), "b");
        let sharing = shared.share();
        assert!(shared.parse(b"{").is_err());
        assert_eq!(name(br#"{"name":"c"}"#), "c");
        assert_eq!(name(br#"{"name":"d"}"#), "c");
        assert_eq!(
            shared
                .clone()
                .parse(br#"{"name":"e"}"#)
                .unwrap()
                .as_ref()
                .str("name"),
            "e"
        );
        drop(sharing);
        assert_eq!(name(br#"{"name":"f"}"#), "f");
    }
}
