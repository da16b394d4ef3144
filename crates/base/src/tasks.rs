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
        if let Some(end) = until(&shutdown, future).await {
            report(name, end);
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
            match until(&shutdown, start()).await {
                None => return,
                Some(end) => report(name, end),
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

/// How a future ended: by itself, or with what it panicked.
type End = Result<(), Box<dyn Any + Send>>;

/// Its end, after which it is not polled again; nothing: the shutdown came first.
async fn until(shutdown: &Shutdown, future: impl Future<Output = ()>) -> Option<End> {
    let mut told = pin!(shutdown.wait());
    let mut future = pin!(future);
    let mut is_waiting = false;
    std::future::poll_fn(move |context| {
        // A task has one waker, which the first look leaves there. Any further one would take the
        // lock that all tasks share, each time that any of them goes on.
        let is_over = match is_waiting {
            true => shutdown.is_triggered(),
            false => told.as_mut().poll(context).is_ready(),
        };
        is_waiting = true;
        if is_over {
            return Poll::Ready(None);
        }
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(|()| Some(Ok(()))),
            Err(panic) => Poll::Ready(Some(Err(panic))),
        }
    })
    .await
}

fn report(name: &'static str, result: End) {
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

    /// Also one that was woken many times before, by others than the shutdown.
    #[tokio::test(start_paused = true)]
    async fn shutdown_cancels_what_has_been_at_work() {
        let shutdown = Shutdown::new();
        let rounds = Arc::new(AtomicU32::new(0));
        let counter = rounds.clone();
        let handle = spawn("test", &shutdown, async move {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                counter.fetch_add(1, Ordering::SeqCst);
            }
            std::future::pending::<()>().await;
        });
        tokio::time::sleep(Duration::from_secs(20)).await;
        assert_eq!(rounds.load(Ordering::SeqCst), 10);
        assert!(!handle.is_finished());
        shutdown.trigger();
        handle.join().await;
    }
}
