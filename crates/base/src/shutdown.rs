//! One signal that ends a process's tasks in order.

use std::sync::Arc;

use crate::Latch;

/// A shared, one-way switch: cheap to clone, waited for by every task.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    triggered: Arc<Latch>,
}

impl Shutdown {
    /// Not yet triggered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells everybody to end. Further calls change nothing.
    pub fn trigger(&self) {
        self.triggered.set();
    }

    /// Whether the end was asked for.
    pub fn is_triggered(&self) -> bool {
        self.triggered.is_set()
    }

    /// Returns once [`Self::trigger`] was called.
    pub async fn wait(&self) {
        self.triggered.wait().await;
    }
}
