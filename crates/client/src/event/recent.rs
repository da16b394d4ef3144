//! A map that forgets what was used longest ago.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// At most `limit` entries; reading one counts as use.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: HashMap<K, (u64, V)>,
    /// By the number of their last use.
    order: BTreeMap<u64, K>,
    uses: u64,
    limit: usize,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            entries: HashMap::new(),
            order: BTreeMap::new(),
            uses: 0,
            limit,
        }
    }

    /// The entry, made when it is not there; `true` with one that was.
    pub(super) fn entry(&mut self, key: &K, make: impl FnOnce() -> V) -> (&mut V, bool) {
        self.uses += 1;
        let was_there = match self.entries.get_mut(key) {
            Some((used, _)) => {
                self.order.remove(used);
                *used = self.uses;
                true
            }
            None => false,
        };
        self.order.insert(self.uses, key.clone());
        if !was_there
            && self.entries.len() >= self.limit
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        let uses = self.uses;
        let slot = self.entries.entry(key.clone());
        (&mut slot.or_insert_with(|| (uses, make())).1, was_there)
    }

    /// The entry if it is still there, without using it.
    pub(super) fn peek(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key).map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    #[test]
    fn the_one_used_longest_ago_is_forgotten() {
        let mut recent = Recent::new(2);
        assert_eq!(recent.entry(&"a", || 1), (&mut 1, false));
        recent.entry(&"b", || 2);
        assert_eq!(recent.entry(&"a", || 9), (&mut 1, true));
        recent.entry(&"c", || 3);
        assert_eq!(recent.peek(&"a"), Some(&mut 1));
        assert_eq!(recent.peek(&"b"), None);
        assert_eq!(recent.order.len(), 2);
    }
}
