//! The network between a component and the API server: it can be cut, and it has weather.
//!
//! While it is cut, or while no API server runs, requests get no answer and streams break off, as
//! with a peer that is gone: callers see a refused connection. In bad weather requests are slow,
//! some never arrive, and of some only the answer gets lost, so that whoever tries again does
//! again what was done. Others arrive twice, as behind a proxy that sends again what it heard no
//! answer to: the caller hears only how the second fared, or a copy comes when the caller has long
//! had its answer and gone on. In any weather a request may take some milliseconds, which the seed draws:
//! which of two of one instant comes first follows from it, and what asks without end uses up time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use apiserver::{Server, UserInfo};
use base::{Rng, Shutdown, tasks};
use parking_lot::Mutex;
use transport::{Body, BoxFuture, InProcess, Request, Response, Transport, TransportError};

use crate::clock::SimClock;
use crate::trace::Trace;

/// The copy of a request comes up to so long after it.
const COPY_DELAY: Duration = Duration::from_secs(8);
/// More than the body of any request in a simulation.
const REQUEST_LIMIT_BYTES: usize = 16 << 20;
/// Streams hand over this many chunks before the reader must take one.
const CHUNKS_LIMIT: usize = 64;

/// What goes wrong on all links at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Of a thousand requests so many never arrive.
    pub lost_requests: u64,
    /// Of a thousand requests so many are done without an answer; streams break as often at
    /// each chunk.
    pub lost_answers: u64,
    /// Requests take up to so long to arrive.
    pub delay: Duration,
    /// Writes take up to so long besides: a slow disk.
    pub disk_delay: Duration,
    /// Of a thousand writes so many arrive twice.
    pub repeated: u64,
}

/// A server, and its end.
type Life = (Arc<Server>, Shutdown);

/// Where the API server is found, while one runs.
#[derive(Clone, Default)]
pub(crate) struct Door {
    open: Arc<Mutex<Option<Life>>>,
}

impl Door {
    /// A server answers from now on, until `life` ends.
    pub(crate) fn open(&self, server: Arc<Server>, life: Shutdown) {
        *self.open.lock() = Some((server, life));
    }

    /// Nobody answers any more, and what was begun breaks off. False: nobody did.
    pub(crate) fn close(&self) -> bool {
        let open = self.open.lock().take();
        open.map(|(_, life)| life.trigger()).is_some()
    }

    fn server(&self) -> Option<Life> {
        self.open.lock().clone()
    }
}

/// The weather and its chance, shared by all links of a cluster. Chance follows from the seed, the
/// time and the request, not from the order of requests: those of one instant have none.
#[derive(Clone)]
pub(crate) struct Sky {
    weather: Arc<Mutex<Weather>>,
    seed: u64,
    clock: SimClock,
    /// Requests take from one millisecond up to so many; zero: no time.
    way: Duration,
}

/// What becomes of one request.
#[derive(Clone, Copy)]
struct Fate {
    delay: Duration,
    arrives: bool,
    answered: bool,
    copy: Option<Copied>,
}

/// That a request arrives a second time, how long after the first was answered.
#[derive(Clone, Copy)]
struct Copied {
    after: Duration,
    /// The caller waits and hears how the copy fared; else it goes on meanwhile.
    is_awaited: bool,
}

impl Sky {
    pub(crate) fn new(seed: u64, clock: SimClock, way: Duration) -> Self {
        Self {
            weather: Arc::default(),
            seed,
            clock,
            way,
        }
    }

    pub(crate) fn set(&self, weather: Weather) {
        *self.weather.lock() = weather;
    }

    fn chance(&self, what: &str) -> Rng {
        Rng::new(self.seed ^ self.clock.elapsed_ms()).child(what)
    }

    fn fate(&self, what: &str, writes: bool) -> Fate {
        let weather = *self.weather.lock();
        let mut rng = self.chance(what);
        let mut up_to = |most: Duration| match u64::try_from(most.as_millis()) {
            Ok(most @ 1..) => Duration::from_millis(rng.below(most)),
            _ => Duration::ZERO,
        };
        let mut delay = up_to(weather.delay);
        if !self.way.is_zero() {
            delay += Duration::from_millis(1) + up_to(self.way);
        }
        if writes {
            delay += up_to(weather.disk_delay);
        }
        let arrives = rng.below(1000) >= weather.lost_requests;
        let answered = rng.below(1000) >= weather.lost_answers;
        let twice = writes && rng.below(1000) < weather.repeated;
        Fate {
            delay,
            arrives,
            answered,
            copy: twice.then(|| {
                let most = COPY_DELAY.as_secs() * 1000;
                Copied {
                    after: Duration::from_millis(rng.below(most)),
                    is_awaited: rng.below(2) == 0,
                }
            }),
        }
    }

    fn breaks(&self, what: &str) -> bool {
        let lost = self.weather.lock().lost_answers;
        lost > 0 && self.chance(what).below(1000) < lost
    }
}

/// See the module's header. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Link {
    door: Door,
    user: UserInfo,
    /// Nothing: whoever only looks is not in the weather.
    sky: Option<Sky>,
    trace: Trace,
    /// Present while requests pass; triggered by the cut.
    up: Arc<Mutex<Option<Shutdown>>>,
}

impl Link {
    /// A link that works.
    pub(crate) fn new(door: &Door, user: UserInfo, sky: Option<&Sky>, trace: &Trace) -> Self {
        Self {
            door: door.clone(),
            user,
            sky: sky.cloned(),
            trace: trace.clone(),
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

    /// What chance follows from. Without the query: a revision depends on the order of writes.
    fn what(&self, request: &Request) -> String {
        let (user, method) = (&self.user.name, request.method());
        format!("{user} {method} {}", request.uri().path())
    }

    async fn exchange(
        &self,
        (server, life): Life,
        up: &Shutdown,
        request: Request,
        what: String,
    ) -> Result<Response, TransportError> {
        let writes = !matches!(request.method().as_str(), "GET" | "HEAD");
        let fate = self.sky.as_ref().map(|sky| sky.fate(&what, writes));
        if let Some(fate) = fate {
            if !fate.delay.is_zero() {
                tokio::time::sleep(fate.delay).await;
            }
            if !fate.arrives {
                return Err(failed(io::ErrorKind::BrokenPipe));
            }
        }
        let copied = fate.and_then(|fate| fate.copy);
        let (request, copy) = match copied {
            Some(copied) => {
                let (request, copy) = twice(request).await?;
                (request, Some((copied, copy)))
            }
            None => (request, None),
        };
        let mut response = self.deliver(&server, request, what.clone()).await;
        match copy {
            Some((copied, copy)) if copied.is_awaited => {
                tokio::time::sleep(copied.after).await;
                response = self.deliver(&server, copy, what).await;
            }
            Some((copied, copy)) => {
                let (link, up) = (self.clone(), up.clone());
                tasks::spawn("copy of a request", &life.clone(), async move {
                    tokio::select! {
                        biased;
                        () = up.wait() => return,
                        () = life.wait() => return,
                        () = tokio::time::sleep(copied.after) => {}
                    }
                    // The answer is for nobody.
                    drop(link.deliver(&server, copy, what).await);
                });
            }
            None => {}
        }
        match fate {
            Some(Fate {
                answered: false, ..
            }) => Err(failed(io::ErrorKind::ConnectionReset)),
            _ => response,
        }
    }

    async fn deliver(
        &self,
        server: &Arc<Server>,
        request: Request,
        what: String,
    ) -> Result<Response, TransportError> {
        self.trace.request(what);
        let as_user = server.as_user(self.user.clone());
        InProcess::new(as_user, http::Extensions::new())
            .call(request)
            .await
    }
}

/// The request, and the same again.
async fn twice(request: Request) -> Result<(Request, Request), TransportError> {
    let (parts, body) = request.into_parts();
    let body = body.collect(REQUEST_LIMIT_BYTES).await;
    let body = body.map_err(|_| failed(io::ErrorKind::InvalidData))?;
    let copy = Request::from_parts(parts.clone(), body.clone().into());
    Ok((Request::from_parts(parts, body.into()), copy))
}

fn failed(kind: io::ErrorKind) -> TransportError {
    TransportError::Connect {
        endpoint: "the API server".to_owned(),
        cause: io::Error::from(kind),
    }
}

impl Transport for Link {
    fn call(&self, request: Request) -> BoxFuture<'static, Result<Response, TransportError>> {
        let (Some(up), Some((server, life))) = (self.up.lock().clone(), self.door.server()) else {
            return Box::pin(async { Err(failed(io::ErrorKind::ConnectionRefused)) });
        };
        let door = (server, life.clone());
        let (link, what) = (self.clone(), self.what(&request));
        Box::pin(async move {
            let response = tokio::select! {
                biased;
                () = up.wait() => return Err(failed(io::ErrorKind::ConnectionRefused)),
                () = life.wait() => return Err(failed(io::ErrorKind::ConnectionReset)),
                response = link.exchange(door, &up, request, what.clone()) => response?,
            };
            let (parts, mut body) = response.into_parts();
            if body.len().is_some() {
                return Ok(Response::from_parts(parts, body));
            }
            let (sender, forwarded) = Body::channel(CHUNKS_LIMIT);
            tasks::spawn("link", &Shutdown::new(), async move {
                loop {
                    tokio::select! {
                        biased;
                        () = up.wait() => {
                            sender.abort("the connection is cut").await;
                            return;
                        }
                        () = life.wait() => {
                            sender.abort("the API server is gone").await;
                            return;
                        }
                        () = sender.closed() => return,
                        chunk = body.next() => match chunk {
                            Some(Ok(_)) if link.sky.as_ref().is_some_and(|sky| sky.breaks(&what)) => {
                                sender.abort("the connection broke").await;
                                return;
                            }
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

#[cfg(test)]
mod tests;
