//! A one-way switch that tasks wait for.
//!
//! Whoever waits is woken in the order in which it began to: what one task after another does then
//! is the same in every run of a simulation. (`tokio::sync::watch` wakes in an order of chance.)

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// See the module's header.
#[derive(Debug, Default)]
pub struct Latch {
    is_set: AtomicBool,
    changed: Notify,
}

impl Latch {
    /// Not yet set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets it and wakes all who wait. Further calls change nothing.
    pub fn set(&self) {
        if !self.is_set.swap(true, Ordering::AcqRel) {
            self.changed.notify_waiters();
        }
    }

    /// Whether it was set.
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Returns once it is set.
    pub async fn wait(&self) {
        // Made before the look: a call between the two wakes it.
        let changed = self.changed.notified();
        if !self.is_set() {
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_are_woken_in_their_order() {
        let (latch, woken) = (Arc::new(Latch::new()), Arc::new(Mutex::new(Vec::new())));
        let waits: Vec<_> = (0..100)
            .map(|number| {
                let (latch, woken) = (latch.clone(), woken.clone());
                crate::tasks::spawn("test", &crate::Shutdown::new(), async move {
                    latch.wait().await;
                    woken.lock().push(number);
                })
            })
            .collect();
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        assert!(!latch.is_set());
        latch.set();
        latch.set();
        for wait in waits {
            wait.join().await;
        }
        assert_eq!(*woken.lock(), (0..100).collect::<Vec<_>>());
        latch.wait().await;
    }
}
