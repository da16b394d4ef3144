//! Named tasks that end at shutdown and whose panics are reported instead of lost.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::{Backoff, Shutdown};

/// A running task; dropping the handle lets it run on.
#[derive(Debug)]
pub struct Handle {
    join: JoinHandle<()>,
}

impl Handle {
    /// Ends the task at its next await point.
    pub fn abort(&self) {
        self.join.abort();
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.join.is_finished()
    }

    /// Waits for its end.
    pub async fn join(self) {
        let _ = self.join.await;
    }
}

/// Runs `future` until it ends or `shutdown` is triggered. A panic is logged with the task's name.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn spawn(
    name: &'static str,
    shutdown: &Shutdown,
    future: impl Future<Output = ()> + Send + 'static,
) -> Handle {
    let shutdown = shutdown.clone();
    let join = tokio::spawn(async move {
        tokio::select! {
            biased;
            () = shutdown.wait() => {}
            result = caught(future) => report(name, result),
        }
    });
    Handle { join }
}

/// Runs a component for ever: when it ends or panics before shutdown it is started again with
/// back-off (1 s … 1 min). `start` makes a fresh future for every run.
#[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
pub fn supervise<F>(name: &'static str, shutdown: &Shutdown, mut start: F) -> Handle
where
    F: FnMut() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + 'static,
{
    let shutdown = shutdown.clone();
    let join = tokio::spawn(async move {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        loop {
            let began = tokio::time::Instant::now();
            tokio::select! {
                biased;
                () = shutdown.wait() => return,
                result = caught(start()) => report(name, result),
            }
            if began.elapsed() > Duration::from_secs(120) {
                backoff.reset();
            }
            let delay = backoff.next_delay();
            tracing::warn!(
                task = name,
                elapsed_ms = delay.as_millis(),
                "component ended, restarts"
            );
            tokio::select! {
                biased;
                () = shutdown.wait() => return,
                () = tokio::time::sleep(delay) => {}
            }
        }
    });
    Handle { join }
}

/// Its end, or what it panicked with: then it is not polled again.
async fn caught(future: impl Future<Output = ()>) -> Result<(), Box<dyn Any + Send>> {
    let mut future = pin!(future);
    std::future::poll_fn(move |context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    })
    .await
}

fn report(name: &'static str, result: Result<(), Box<dyn Any + Send>>) {
    if let Err(panic) = result {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        tracing::error!(task = name, err = message, "task panicked");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_supervised_component_that_panics_starts_again() {
        let shutdown = Shutdown::new();
        let runs = Arc::new(AtomicU32::new(0));
        let counter = runs.clone();
        let handle = supervise("test", &shutdown, move || {
            let counter = counter.clone();
            Box::pin(async move {
                if counter.fetch_add(1, Ordering::SeqCst) < 2 {
                    panic!("expected by the test");
                }
                std::future::pending::<()>().await;
            })
        });
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(runs.load(Ordering::SeqCst), 3);
        shutdown.trigger();
        handle.join().await;
    }

    #[tokio::test]
    async fn shutdown_cancels() {
        let shutdown = Shutdown::new();
        let handle = spawn("test", &shutdown, std::future::pending());
        shutdown.trigger();
        handle.join().await;
    }
}
