//! A map that forgets what was used longest ago.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::Arc;

/// At most `limit` entries; reading one counts as use. Keys are large and kept once.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    entries: HashMap<Arc<K>, (u64, V)>,
    /// By the number of their last use.
    order: BTreeMap<u64, Arc<K>>,
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
        let known = self.entries.get_mut(key).and_then(|(used, _)| {
            let kept = self.order.remove(used);
            *used = self.uses;
            kept
        });
        let was_there = known.is_some();
        let key = known.unwrap_or_else(|| Arc::new(key.clone()));
        self.order.insert(self.uses, key.clone());
        if !was_there
            && self.entries.len() >= self.limit
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.entries.remove(&oldest);
        }
        let uses = self.uses;
        let slot = self.entries.entry(key);
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

    /// Also when one is read again and again, and when all are forgotten many times over.
    #[test]
    fn uses_and_entries_never_differ() {
        let mut recent = Recent::new(5);
        let mut rng = base::Rng::new(1);
        for _ in 0..10_000 {
            let key = rng.below(12);
            recent.entry(&key, || key);
            assert!(recent.entries.len() <= 5);
            assert_eq!(recent.entries.len(), recent.order.len());
            for (used, key) in &recent.order {
                assert_eq!(recent.entries.get(key), Some(&(*used, **key)));
            }
        }
        assert_eq!(recent.entries.len(), 5);
    }
}
