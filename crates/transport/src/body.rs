//! The body of a request or response: nothing, shared slices, a bounded channel, or the wire.
//!
//! Chunks are `Bytes` all the way: in process a watcher receives the very buffers that the store
//! holds, and of a list spliced from stored buffers only small ones are copied, into full records
//! of the wire, and so are the events of a watch that wait for it together. Knows nothing of
//! encodings. Example: `Body::slices([head, revision, tail])` has an exact length, so HTTP/1.1
//! sends `content-length`; `Body::channel(16)` is sent in chunks as the producer yields them.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::mpsc;

/// Slices smaller than this travel together: with the nine bytes before a frame of HTTP/2 it fills
/// one TLS record.
const CHUNK: usize = 16 * 1024 - 9;

/// Why a body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than the reader allows.
    #[error("body is larger than {limit} bytes")]
    TooLarge {
        /// The reader's limit.
        limit: usize,
    },
    /// The connection broke.
    #[error("read body")]
    Read(#[source] hyper::Error),
    /// The producer gave up and says why.
    #[error("body ended early: {0}")]
    Aborted(String),
}

/// A message body.
#[derive(Default)]
pub struct Body {
    kind: Kind,
    guards: Vec<Box<dyn Any + Send + Sync>>,
}

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Once(Bytes),
    Slices {
        parts: VecDeque<Bytes>,
        left: u64,
    },
    Channel(Chunks),
    Incoming(Incoming),
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Empty => f.write_str("Body(empty)"),
            Kind::Once(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Kind::Slices { parts, left } => {
                write!(f, "Body({left} bytes in {} slices)", parts.len())
            }
            Kind::Channel(_) => f.write_str("Body(channel)"),
            Kind::Incoming(_) => f.write_str("Body(incoming)"),
        }
    }
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Several buffers sent one after the other.
    pub fn slices(parts: impl IntoIterator<Item = Bytes>) -> Self {
        let parts: VecDeque<Bytes> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let left = parts.iter().map(|part| part.len() as u64).sum();
        Kind::Slices { parts, left }.into()
    }

    /// A body that another task produces; at most `capacity` chunks wait for the reader.
    pub fn channel(capacity: usize) -> (BodySender, Self) {
        let (sender, receiver) = mpsc::channel(capacity.max(1));
        let chunks = Chunks {
            receiver,
            waiting: VecDeque::new(),
            failure: None,
            together: false,
        };
        (BodySender { sender }, Kind::Channel(chunks).into())
    }

    /// Small chunks that wait at the same moment become one: for bodies whose reader does not mind
    /// where a chunk ends.
    #[must_use]
    pub fn together(mut self) -> Self {
        if let Kind::Channel(chunks) = &mut self.kind {
            chunks.together = true;
        }
        self
    }

    /// Keeps `guard` alive until the body is dropped: a permit, a span, a connection's share.
    #[must_use]
    pub fn with_guard(mut self, guard: impl Any + Send + Sync) -> Self {
        self.guards.push(Box::new(guard));
        self
    }

    /// The next chunk; `None` at the end.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            let frame = std::future::poll_fn(|cx| Pin::new(&mut *self).poll_frame(cx)).await?;
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) if data.is_empty() => {}
                Ok(Ok(data)) => return Some(Ok(data)),
                Ok(Err(_trailers)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// The whole body, refused once it exceeds `limit` bytes. One chunk is not copied.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes, BodyError> {
        let too_large = Err(BodyError::TooLarge { limit });
        if self.size_hint().lower() > limit as u64 {
            return too_large;
        }
        if let Kind::Slices { parts, left } = &mut self.kind
            && parts.len() > 1
        {
            let mut all = BytesMut::with_capacity(usize::try_from(*left).unwrap_or(limit));
            parts.iter().for_each(|part| all.extend_from_slice(part));
            return Ok(all.freeze());
        }
        let Some(first) = self.next().await.transpose()? else {
            return Ok(Bytes::new());
        };
        if first.len() > limit {
            return too_large;
        }
        let Some(second) = self.next().await.transpose()? else {
            return Ok(first);
        };
        let expected = self.size_hint().lower().min(limit as u64) as usize;
        let mut all = BytesMut::with_capacity(first.len() + second.len() + expected);
        all.extend_from_slice(&first);
        let mut chunk = second;
        loop {
            if all.len() + chunk.len() > limit {
                return too_large;
            }
            all.extend_from_slice(&chunk);
            match self.next().await.transpose()? {
                Some(next) => chunk = next,
                None => return Ok(all.freeze()),
            }
        }
    }

    /// The exact number of bytes, when it is known.
    pub fn len(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    /// Whether there is surely nothing to read.
    pub fn is_empty(&self) -> bool {
        self.is_end_stream()
    }
}

impl From<Kind> for Body {
    fn from(kind: Kind) -> Self {
        Self {
            kind,
            guards: Vec::new(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        Kind::Once(bytes).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<Incoming> for Body {
    fn from(incoming: Incoming) -> Self {
        Kind::Incoming(incoming).into()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Once(bytes) => {
                let bytes = std::mem::take(bytes);
                self.kind = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Slices { parts, left } => match together(parts, *left) {
                Some(part) => {
                    *left -= part.len() as u64;
                    Poll::Ready(Some(Ok(Frame::data(part))))
                }
                None => Poll::Ready(None),
            },
            Kind::Channel(chunks) => chunks.poll_next(cx).map(|item| {
                let item = item?;
                if item.is_err() {
                    self.kind = Kind::Empty;
                }
                Some(item.map(Frame::data))
            }),
            Kind::Incoming(incoming) => Pin::new(incoming).poll_frame(cx).map_err(BodyError::Read),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Once(_) | Kind::Channel(_) => false,
            Kind::Slices { parts, .. } => parts.is_empty(),
            Kind::Incoming(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Once(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Slices { left, .. } => SizeHint::with_exact(*left),
            Kind::Channel(_) => SizeHint::default(),
            Kind::Incoming(incoming) => incoming.size_hint(),
        }
    }
}

/// What a producer hands over.
struct Chunks {
    receiver: mpsc::Receiver<Result<Bytes, BodyError>>,
    /// Taken and not passed on: less than [`CHUNK`] and one chunk more.
    waiting: VecDeque<Bytes>,
    failure: Option<BodyError>,
    together: bool,
}

impl Chunks {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let enough = if self.together { CHUNK } else { 1 };
        let mut bytes: usize = self.waiting.iter().map(Bytes::len).sum();
        let mut ended = false;
        while bytes < enough && self.failure.is_none() && !ended {
            match self.receiver.poll_recv(cx) {
                Poll::Ready(Some(Ok(chunk))) => {
                    bytes += chunk.len();
                    self.waiting.push_back(chunk);
                }
                Poll::Ready(Some(Err(error))) => self.failure = Some(error),
                Poll::Ready(None) => ended = true,
                Poll::Pending => break,
            }
        }
        match together(&mut self.waiting, bytes as u64) {
            Some(chunk) => Poll::Ready(Some(Ok(chunk))),
            None if self.failure.is_some() => Poll::Ready(self.failure.take().map(Err)),
            None if ended => Poll::Ready(None),
            None => Poll::Pending,
        }
    }
}

/// The next slices as one chunk. A large one goes as it is; small ones are copied together, since
/// each chunk costs a frame, a TLS record and a system call: a list has a slice or two an object.
fn together(parts: &mut VecDeque<Bytes>, left: u64) -> Option<Bytes> {
    let first = parts.pop_front()?;
    if first.len() >= CHUNK || parts.is_empty() {
        return Some(first);
    }
    let capacity = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
    let mut chunk = BytesMut::with_capacity(capacity);
    chunk.extend_from_slice(&first);
    while chunk.len() < CHUNK
        && let Some(next) = parts.front_mut()
    {
        let room = CHUNK - chunk.len();
        chunk.extend_from_slice(&next.split_to(room.min(next.len())));
        if next.is_empty() {
            parts.pop_front();
        }
    }
    Some(chunk.freeze())
}

/// The producing end of [`Body::channel`]. Dropping it ends the body properly.
#[derive(Clone, Debug)]
pub struct BodySender {
    sender: mpsc::Sender<Result<Bytes, BodyError>>,
}

impl BodySender {
    /// Hands over one chunk, waiting for room. `false`: the reader is gone.
    pub async fn send(&self, chunk: Bytes) -> bool {
        self.sender.send(Ok(chunk)).await.is_ok()
    }

    /// Hands over one chunk if there is room at once; gives it back otherwise.
    pub fn try_send(&self, chunk: Bytes) -> Result<(), Bytes> {
        use mpsc::error::TrySendError::{Closed, Full};
        match self.sender.try_send(Ok(chunk)) {
            Ok(()) => Ok(()),
            Err(Full(Ok(chunk)) | Closed(Ok(chunk))) => Err(chunk),
            Err(Full(Err(_)) | Closed(Err(_))) => Ok(()),
        }
    }

    /// Ends the body with a failure that the reader sees as a broken transfer.
    pub async fn abort(self, reason: impl Into<String>) {
        let _ = self
            .sender
            .send(Err(BodyError::Aborted(reason.into())))
            .await;
    }

    /// Whether the reader is gone.
    pub fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Returns once the reader is gone.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_slices_keep_their_buffers() {
        let large = Bytes::from(vec![b'x'; CHUNK]);
        let mut body = Body::slices([large.clone(), Bytes::new(), Bytes::from_static(b"1}")]);
        assert_eq!(body.len(), Some(CHUNK as u64 + 2));
        let first = body.next().await.unwrap().unwrap();
        assert_eq!(first.as_ptr(), large.as_ptr());
        assert_eq!(body.len(), Some(2));
        assert_eq!(body.collect(2).await.unwrap(), "1}");
    }

    /// A list of small objects is sent in full records, nothing lost between them.
    #[tokio::test]
    async fn small_slices_travel_together() {
        let parts = || (0..3000).map(|n| Bytes::from(format!("{n:011},")));
        let whole = parts().collect::<Vec<_>>().concat();
        let mut body = Body::slices(parts());
        assert_eq!(body.len(), Some(36_000));
        let (mut sizes, mut read) = (Vec::new(), Vec::new());
        while let Some(chunk) = body.next().await {
            let chunk = chunk.unwrap();
            sizes.push(chunk.len());
            read.extend_from_slice(&chunk);
            assert_eq!(body.len(), Some((whole.len() - read.len()) as u64));
        }
        assert_eq!(sizes, [CHUNK, CHUNK, 36_000 - 2 * CHUNK]);
        assert_eq!(read, whole);
        assert_eq!(Body::slices(parts()).collect(36_000).await.unwrap(), whole);
        assert!(Body::slices(parts()).collect(35_999).await.is_err());
    }

    /// What waits goes out in full records; what comes alone waits for nobody.
    #[tokio::test]
    async fn chunks_that_wait_travel_together() {
        let (sender, body) = Body::channel(64);
        let mut body = body.together();
        let events: Vec<Bytes> = (0..40).map(|n| Bytes::from(vec![n; 1000])).collect();
        for event in &events {
            assert!(sender.send(event.clone()).await);
        }
        sender.abort("too late").await;
        let (mut sizes, mut read) = (Vec::new(), Vec::new());
        let error = loop {
            match body.next().await.unwrap() {
                Ok(chunk) => {
                    sizes.push(chunk.len());
                    read.extend_from_slice(&chunk);
                }
                Err(error) => break error,
            }
        };
        assert_eq!(sizes, [CHUNK, CHUNK, 40_000 - 2 * CHUNK]);
        assert_eq!(read, events.concat());
        assert_eq!(error.to_string(), "body ended early: too late");
        assert!(body.next().await.is_none());

        let (sender, body) = Body::channel(64);
        let mut body = body.together();
        for event in &events[..3] {
            assert!(sender.send(event.clone()).await);
            assert_eq!(body.next().await.unwrap().unwrap(), event);
        }
        drop(sender);
        assert!(body.next().await.is_none());
        // A reader in the same process sees chunks as they were handed over.
        let (sender, mut body) = Body::channel(64);
        for event in &events[..3] {
            assert!(sender.send(event.clone()).await);
        }
        assert_eq!(body.next().await.unwrap().unwrap().len(), 1000);
    }

    #[tokio::test]
    async fn collect_refuses_more_than_its_limit() {
        let (sender, body) = Body::channel(8);
        for _ in 0..4 {
            assert!(sender.send(Bytes::from_static(b"abc")).await);
        }
        drop(sender);
        let error = body.collect(11).await.unwrap_err();
        assert_eq!(error.to_string(), "body is larger than 11 bytes");
        let error = Body::from("abcd").collect(3).await.unwrap_err();
        assert_eq!(error.to_string(), "body is larger than 3 bytes");
        assert_eq!(Body::from("abcd").collect(4).await.unwrap(), "abcd");
    }

    #[tokio::test]
    async fn an_aborted_body_is_not_a_short_one() {
        let (sender, body) = Body::channel(2);
        assert!(sender.send(Bytes::from_static(b"ab")).await);
        sender.abort("store closed").await;
        let error = body.collect(100).await.unwrap_err();
        assert_eq!(error.to_string(), "body ended early: store closed");
    }
}
