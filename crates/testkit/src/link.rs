//! The network between a node and the API server, which can be cut.
//!
//! While it is cut requests get no answer and streams break off, as with a peer that is gone:
//! callers see a refused connection.

use std::io;
use std::sync::Arc;

use base::{Shutdown, tasks};
use parking_lot::Mutex;
use transport::{Body, BoxFuture, Request, Response, Transport, TransportError};

/// Streams hand over this many chunks before the reader must take one.
const CHUNKS_LIMIT: usize = 64;

/// See the module's header. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Link {
    inner: Arc<dyn Transport>,
    /// Present while requests pass; triggered by the cut.
    up: Arc<Mutex<Option<Shutdown>>>,
}

impl Link {
    /// A link that works.
    pub(crate) fn new(inner: Arc<dyn Transport>) -> Self {
        Self {
            inner,
            up: Arc::new(Mutex::new(Some(Shutdown::new()))),
        }
    }

    /// Nothing passes any more.
    pub(crate) fn cut(&self) {
        if let Some(up) = self.up.lock().take() {
            up.trigger();
        }
    }

    /// Requests pass again.
    pub(crate) fn mend(&self) {
        self.up.lock().get_or_insert_with(Shutdown::new);
    }
}

fn refused() -> TransportError {
    TransportError::Connect {
        endpoint: "the API server".to_owned(),
        cause: io::Error::from(io::ErrorKind::ConnectionRefused),
    }
}

impl Transport for Link {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, TransportError>> {
        let Some(up) = self.up.lock().clone() else {
            return Box::pin(async { Err(refused()) });
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = tokio::select! {
                biased;
                () = up.wait() => return Err(refused()),
                response = answer => response?,
            };
            let (parts, mut body) = response.into_parts();
            if body.len().is_some() {
                return Ok(Response::from_parts(parts, body));
            }
            let (sender, forwarded) = Body::channel(CHUNKS_LIMIT);
            let cut = up.clone();
            tasks::spawn("link", &Shutdown::new(), async move {
                loop {
                    tokio::select! {
                        biased;
                        () = cut.wait() => {
                            sender.abort("the connection is cut").await;
                            return;
                        }
                        () = sender.closed() => return,
                        chunk = body.next() => match chunk {
                            Some(Ok(chunk)) => {
                                if !sender.send(chunk).await {
                                    return;
                                }
                            }
                            Some(Err(error)) => {
                                sender.abort(error.to_string()).await;
                                return;
                            }
                            None => return,
                        }
                    }
                }
            });
            Ok(Response::from_parts(parts, forwarded))
        })
    }
}
