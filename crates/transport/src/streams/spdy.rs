//! SPDY/3.1, server side: what port-forward speaks, also inside a WebSocket.
//!
//! Owns frames, header compression and the streams of one connection; knows nothing of ports.
//! There is no flow control, for the only peers there are (moby/spdystream) have none; a stream
//! whose reader is slow holds the connection up. Headers that we send are compressed by stored
//! blocks, which every inflater reads; those that come in use the protocol's dictionary.
//! Example: SYN_STREAM(1, streamtype=data) → SYN_REPLY(1); DATA(1) both ways; DATA(1, FIN) ends.
//! Source: SPDY Protocol draft 3.1, sections 2.2–2.6; RFC 1951.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use base::tasks::Handle;
use bytes::{BufMut, Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

const DICTIONARY: &[u8] = include_bytes!("spdy.dict");
/// Streams at once on a connection.
const STREAMS_MOST: usize = 512;
/// The longest header block, compressed and not.
const HEADER_BYTES: usize = 64 * 1024;
/// The longest data frame that is taken.
const DATA_BYTES: usize = 1024 * 1024;
/// Bytes that wait in each direction of a stream, and the size of data frames that are sent.
const STREAM_BYTES: usize = 32 * 1024;
/// Frames that wait for the socket, and data that waits for a stream.
const QUEUE: usize = 16;
/// Bytes of all streams of a connection that wait for their readers; then the peer waits.
const INPUT_BYTES: usize = 4 * 1024 * 1024;
const FIN: u8 = 1;

/// Data for a stream, with its share of [`INPUT_BYTES`].
type Input = (Bytes, OwnedSemaphorePermit);

/// A stream that the peer opened.
#[derive(Debug)]
pub(super) struct Stream {
    /// Names in lower case.
    pub(super) headers: HashMap<String, String>,
    /// Its bytes; dropping it ends our direction.
    pub(super) io: DuplexStream,
}

/// The part of a stream that belongs to the connection.
struct Open {
    /// Towards the stream's user; dropped when the peer has finished.
    input: Option<mpsc::Sender<Input>>,
    tasks: Vec<Handle>,
}

/// Runs a connection until the peer ends it; `opened` gets every new stream.
pub(super) async fn serve<I>(io: I, mut opened: impl FnMut(Stream)) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut reader, writer) = tokio::io::split(io);
    let (frames, outgoing) = mpsc::channel(QUEUE);
    let shutdown = base::Shutdown::new();
    base::tasks::spawn("spdy-writer", &shutdown, write_frames(writer, outgoing));
    let mut connection = Connection {
        inflate: Inflate::new(),
        streams: HashMap::new(),
        replied: false,
        room: Arc::new(Semaphore::new(INPUT_BYTES)),
        frames,
        shutdown,
    };
    let result = connection.run(&mut reader, &mut opened).await;
    connection.shutdown.trigger();
    result
}

async fn write_frames<I: AsyncWrite>(mut writer: WriteHalf<I>, mut frames: mpsc::Receiver<Bytes>) {
    while let Some(frame) = frames.recv().await {
        if writer.write_all(&frame).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}

struct Connection {
    inflate: Inflate,
    streams: HashMap<u32, Open>,
    /// Whether the head of our compressed headers was sent.
    replied: bool,
    /// What is left of [`INPUT_BYTES`].
    room: Arc<Semaphore>,
    frames: mpsc::Sender<Bytes>,
    shutdown: base::Shutdown,
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .take(4)
        .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

fn control(kind: u16, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + body.len());
    frame.put_u16(0x8003);
    frame.put_u16(kind);
    // Our bodies are a few bytes long.
    frame.put_u32(u32::try_from(body.len()).unwrap_or_default());
    frame.put_slice(body);
    frame.freeze()
}

fn data(id: u32, flags: u8, body: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + body.len());
    frame.put_u32(id);
    frame.put_u32(u32::from(flags) << 24 | u32::try_from(body.len()).unwrap_or_default());
    frame.put_slice(body);
    frame.freeze()
}

impl Connection {
    async fn run<I: AsyncRead>(
        &mut self,
        reader: &mut ReadHalf<I>,
        opened: &mut impl FnMut(Stream),
    ) -> io::Result<()> {
        let mut head = [0; 8];
        loop {
            match reader.read_exact(&mut head).await {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
            let (flags, length) = (head[4], number(&head[4..]) & 0x00ff_ffff);
            let (first, length) = (number(&head), length as usize);
            if length > DATA_BYTES {
                return Err(broken("frame too long"));
            }
            let mut body = BytesMut::zeroed(length);
            reader.read_exact(&mut body).await?;
            let body = body.freeze();
            if first & 0x8000_0000 == 0 {
                self.received(first, flags, body).await;
                continue;
            }
            match first & 0xffff {
                1 => self.open(flags, &body, opened).await?,
                // RST_STREAM
                3 => {
                    if let Some(stream) = self.streams.remove(&(number(&body) & 0x7fff_ffff)) {
                        stream.tasks.iter().for_each(Handle::abort);
                    }
                }
                // PING is answered as it is.
                6 => self.send(control(6, &body)).await?,
                // GOAWAY
                7 => return Ok(()),
                // HEADERS belong to the same compressed stream, whoever wants them.
                8 => drop(self.inflate.headers(body.get(4..).unwrap_or_default())?),
                _ => {}
            }
        }
    }

    async fn send(&self, frame: Bytes) -> io::Result<()> {
        let sent = self.frames.send(frame).await;
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    async fn received(&mut self, id: u32, flags: u8, body: Bytes) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if let Some(input) = &stream.input
            && !body.is_empty()
        {
            // No frame is longer than DATA_BYTES, so that its share is there once others are read.
            let share = u32::try_from(body.len()).unwrap_or(u32::MAX);
            let room = Arc::clone(&self.room);
            let sent = tokio::select! {
                room = room.acquire_many_owned(share) => match room {
                    Ok(room) => input.send((body, room)).await.is_ok(),
                    Err(_) => false,
                },
                () = input.closed() => false,
            };
            if !sent {
                stream.input = None;
            }
        }
        if flags & FIN != 0 {
            stream.input = None;
        }
    }

    async fn open(
        &mut self,
        flags: u8,
        body: &Bytes,
        opened: &mut impl FnMut(Stream),
    ) -> io::Result<()> {
        let id = number(body) & 0x7fff_ffff;
        let headers = self.inflate.headers(body.get(10..).unwrap_or_default())?;
        self.streams
            .retain(|_, stream| !stream.tasks.iter().all(Handle::is_finished));
        if self.streams.len() >= STREAMS_MOST || self.streams.contains_key(&id) {
            // REFUSED_STREAM
            let refused = [id.to_be_bytes(), 3u32.to_be_bytes()].concat();
            return self.send(control(3, &refused)).await;
        }
        let mut reply = id.to_be_bytes().to_vec();
        if !self.replied {
            reply.extend_from_slice(&[0x78, 0x01]);
            self.replied = true;
        }
        // No headers: a stored block of four zero bytes, and an empty one that flushes it.
        reply.extend_from_slice(&[0, 4, 0, 0xfb, 0xff, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
        self.send(control(2, &reply)).await?;
        let (ours, theirs) = tokio::io::duplex(STREAM_BYTES);
        let (from_user, to_user) = tokio::io::split(ours);
        let (input, received) = mpsc::channel(QUEUE);
        let tasks = vec![
            base::tasks::spawn("spdy-input", &self.shutdown, feed(received, to_user)),
            base::tasks::spawn(
                "spdy-output",
                &self.shutdown,
                drain(id, from_user, self.frames.clone()),
            ),
        ];
        let input = (flags & FIN == 0).then_some(input);
        self.streams.insert(id, Open { input, tasks });
        opened(Stream {
            headers,
            io: theirs,
        });
        Ok(())
    }
}

async fn feed(mut received: mpsc::Receiver<Input>, mut to: WriteHalf<DuplexStream>) {
    while let Some((chunk, _room)) = received.recv().await {
        if to.write_all(&chunk).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}

async fn drain(id: u32, mut from: ReadHalf<DuplexStream>, frames: mpsc::Sender<Bytes>) {
    let mut buffer = vec![0; STREAM_BYTES];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or(0);
        let flags = if count == 0 { FIN } else { 0 };
        if frames
            .send(data(id, flags, &buffer[..count]))
            .await
            .is_err()
            || count == 0
        {
            return;
        }
    }
}

/// Header blocks of one direction are one compressed stream.
struct Inflate {
    stream: Decompress,
}

impl Inflate {
    fn new() -> Self {
        Self {
            stream: Decompress::new(true),
        }
    }

    fn block(&mut self, mut input: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(1024);
        loop {
            if out.len() == out.capacity() {
                if out.len() >= HEADER_BYTES {
                    return Err(broken("headers too long"));
                }
                out.reserve(out.len().max(1024));
            }
            let before = (self.stream.total_in(), self.stream.total_out());
            let result = self
                .stream
                .decompress_vec(input, &mut out, FlushDecompress::Sync);
            let taken = (self.stream.total_in() - before.0) as usize;
            input = input.get(taken..).unwrap_or_default();
            match result {
                Ok(Status::StreamEnd) => return Ok(out),
                Ok(_) => {
                    let stuck = before == (self.stream.total_in(), self.stream.total_out());
                    if input.is_empty() && (stuck || out.len() < out.capacity()) {
                        return Ok(out);
                    }
                    if stuck && out.len() < out.capacity() {
                        return Err(broken("headers do not inflate"));
                    }
                }
                Err(error) if error.needs_dictionary().is_some() => {
                    let set = self.stream.set_dictionary(DICTIONARY);
                    set.map_err(|_| broken("headers use another dictionary"))?;
                }
                Err(_) => return Err(broken("headers do not inflate")),
            }
        }
    }

    fn headers(&mut self, input: &[u8]) -> io::Result<HashMap<String, String>> {
        let block = self.block(input)?;
        let mut rest = block.as_slice();
        let mut text = |wanted: bool| -> io::Result<(u32, String)> {
            let (head, tail) = rest
                .split_at_checked(4)
                .ok_or_else(|| broken("short headers"))?;
            let length = number(head);
            rest = tail;
            if !wanted {
                return Ok((length, String::new()));
            }
            let (body, tail) = rest
                .split_at_checked(length as usize)
                .ok_or_else(|| broken("short headers"))?;
            rest = tail;
            Ok((length, String::from_utf8_lossy(body).into_owned()))
        };
        let (count, _) = text(false)?;
        let mut headers = HashMap::new();
        for _ in 0..count {
            let (name, value) = (text(true)?.1, text(true)?.1);
            headers.insert(name.to_ascii_lowercase(), value);
        }
        Ok(headers)
    }
}
