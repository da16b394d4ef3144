//! One at a time per key: two pulls of one image, two downloads of one blob.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

/// Locks by key; a key that nobody holds takes no memory after the next call.
#[derive(Debug)]
pub(crate) struct Flights<K>(Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>);

impl<K: Hash + Eq + Clone> Flights<K> {
    pub(crate) fn new() -> Flights<K> {
        Flights(Mutex::new(HashMap::new()))
    }

    /// Waits until nobody else holds the key.
    pub(crate) async fn hold(&self, key: &K) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock();
            locks.retain(|_, lock| Arc::strong_count(lock) > 1);
            locks.entry(key.clone()).or_default().clone()
        };
        lock.lock_owned().await
    }
}
