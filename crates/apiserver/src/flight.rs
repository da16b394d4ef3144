//! How many requests are worked on at a time.
//!
//! A request over the bound waits for its turn, up to a number of waiters and a time; then it is
//! told to come again. Watches and streams are not counted, and neither are those who repair a
//! cluster (`system:masters`), as with upstream's exempt level. There are no levels and flows yet.
//! Source: kubernetes v1.36.3 apiserver/pkg/server/{config.go,filters/maxinflight.go} (bounds,
//! texts, what is long-running).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{RequestInfo, UserInfo};

/// Requests at a time: upstream's 400 reads and 200 writes.
const AT_ONCE: usize = 600;
/// Requests that wait.
const WAITING_MOST: usize = 4096;
/// How long one waits.
const WAIT: Duration = Duration::from_secs(15);

/// The bound.
#[derive(Debug)]
pub(crate) struct Flight {
    seats: Arc<Semaphore>,
    waiting: AtomicUsize,
    wait: Duration,
}

impl Default for Flight {
    fn default() -> Flight {
        Flight {
            seats: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: AtomicUsize::new(0),
            wait: WAIT,
        }
    }
}

/// Watches, logs and streams.
fn is_long(info: &RequestInfo) -> bool {
    const STREAMS: [&str; 5] = ["attach", "exec", "proxy", "log", "portforward"];
    info.verb == "watch" || STREAMS.contains(&info.subresource.as_str())
}

impl Flight {
    /// A seat for the time of the request; none: it needs none.
    pub(crate) async fn board(
        &self,
        user: &UserInfo,
        info: &RequestInfo,
    ) -> Result<Option<OwnedSemaphorePermit>, Status> {
        if is_long(info) || user.is_in("system:masters") || !info.is_resource {
            return Ok(None);
        }
        if let Ok(seat) = Arc::clone(&self.seats).try_acquire_owned() {
            return Ok(Some(seat));
        }
        let full = || Status::too_many_requests("Too many requests, please try again later.", 1);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MOST {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(full());
        }
        let turn = tokio::time::timeout(self.wait, Arc::clone(&self.seats).acquire_owned()).await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        match turn {
            Ok(Ok(seat)) => Ok(Some(seat)),
            _ => Err(full()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AT_ONCE, Flight};
    use crate::{RequestInfo, UserInfo};

    /// The one too many waits; watches and masters do not.
    #[tokio::test]
    async fn seats_are_bounded() {
        let flight = Flight {
            wait: std::time::Duration::ZERO,
            ..Flight::default()
        };
        let user = UserInfo::default();
        let read = RequestInfo {
            is_resource: true,
            verb: "get".into(),
            ..RequestInfo::default()
        };
        let mut seats = Vec::new();
        for _ in 0..AT_ONCE {
            seats.push(flight.board(&user, &read).await.unwrap());
        }
        let refused = flight.board(&user, &read).await.unwrap_err();
        assert_eq!(refused.code(), 429);
        let watch = RequestInfo {
            verb: "watch".into(),
            ..read.clone()
        };
        assert!(flight.board(&user, &watch).await.unwrap().is_none());
        seats.pop();
        assert!(flight.board(&user, &read).await.unwrap().is_some());
    }
}
