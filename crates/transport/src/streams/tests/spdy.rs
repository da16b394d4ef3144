//! Remote commands over SPDY: a client of a few frames against the real server.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::{Strategy as _, any, proptest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::upper_case_server;
use crate::upgrade::{self, Upgraded};
use crate::{Body, InProcess, Transport as _};

const DICTIONARY: &[u8] = include_bytes!("../spdy.dict");

struct Client {
    io: Upgraded,
    headers: Compress,
}

impl Client {
    async fn connect(query: &str) -> Client {
        let service = InProcess::new(upper_case_server(), http::Extensions::new());
        let request = http::Request::post(format!("/exec?{query}"))
            .header("connection", "Upgrade")
            .header("upgrade", "SPDY/3.1")
            .header("x-stream-protocol-version", "v5.channel.k8s.io")
            .header("x-stream-protocol-version", "v4.channel.k8s.io")
            .body(Body::empty())
            .unwrap();
        let mut response = service.call(request).await.unwrap();
        assert_eq!(response.status(), 101);
        let chosen = &response.headers()["x-stream-protocol-version"];
        assert_eq!(chosen, "v4.channel.k8s.io");
        let mut headers = Compress::new(Compression::fast(), true);
        headers.set_dictionary(DICTIONARY).unwrap();
        let io = upgrade::of_response(&mut response).unwrap().await.unwrap();
        Client { io, headers }
    }

    async fn open(&mut self, id: u32, kind: &str) {
        let mut plain = 1u32.to_be_bytes().to_vec();
        for text in ["streamtype", kind] {
            plain.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            plain.extend(text.as_bytes());
        }
        let mut block = Vec::with_capacity(1024);
        let flush = FlushCompress::Sync;
        self.headers
            .compress_vec(&plain, &mut block, flush)
            .unwrap();
        let mut body = id.to_be_bytes().to_vec();
        body.extend([0; 6]);
        body.extend(block);
        let mut frame = vec![0x80, 3, 0, 1, 0];
        frame.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
        frame.extend(body);
        self.io.write_all(&frame).await.unwrap();
    }

    async fn data(&mut self, id: u32, flags: u8, bytes: &[u8]) {
        let mut frame = id.to_be_bytes().to_vec();
        frame.push(flags);
        frame.extend(&u32::try_from(bytes.len()).unwrap().to_be_bytes()[1..]);
        frame.extend(bytes);
        self.io.write_all(&frame).await.unwrap();
    }

    /// Stream (or kind of a control frame), flags, bytes.
    async fn frame(&mut self) -> (u32, u8, Vec<u8>) {
        let mut head = [0; 8];
        self.io.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[5], head[6], head[7]]);
        let mut body = vec![0; length as usize];
        self.io.read_exact(&mut body).await.unwrap();
        let id = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        (id, head[4], body)
    }

    /// Reads until the streams have ended; gives what came on each.
    async fn read(&mut self, ids: &[u32]) -> Vec<String> {
        let mut all = vec![Vec::new(); ids.len()];
        let mut open = ids.len();
        while open > 0 {
            let (id, flags, body) = self.frame().await;
            if let Some(at) = ids.iter().position(|known| *known == id) {
                all[at].extend(body);
                open -= usize::from(flags & 1);
            }
        }
        let text = all
            .into_iter()
            .map(|bytes| String::from_utf8(bytes).unwrap());
        text.collect()
    }
}

#[tokio::test]
async fn exec_with_half_close_and_exit_code() {
    let mut client = Client::connect("stdin=1&stdout=1&stderr=1").await;
    for (id, kind) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")] {
        client.open(id, kind).await;
    }
    client.data(3, 0, b"hello ").await;
    client.data(3, 1, b"there").await;
    let read = client.read(&[1, 5, 7]).await;
    assert!(
        read[0].contains(r#""reason":"ExitCode","message":"3""#),
        "{}",
        read[0]
    );
    assert_eq!(read[1], "HELLO THERE");
    assert_eq!(read[2], "");
}

/// Clients stop sending input when the server ends its direction of that stream.
#[tokio::test]
async fn the_input_stays_open_until_the_client_closes_it() {
    let mut client = Client::connect("stdin=1&stdout=1").await;
    for (id, kind) in [(1, "error"), (3, "stdin"), (5, "stdout")] {
        client.open(id, kind).await;
    }
    client.data(3, 0, b"typed").await;
    loop {
        let (id, flags, body) = client.frame().await;
        assert!((id, flags & 1) != (3, 1), "the input was ended");
        if id == 5 && !body.is_empty() {
            assert_eq!(body, b"TYPED");
            break;
        }
    }
}

/// A client that goes away before the process has ended takes it along.
#[tokio::test]
async fn a_client_that_leaves_ends_the_process() {
    let mut client = Client::connect("stdin=1&stdout=1").await;
    for (id, kind) in [(1, "error"), (3, "stdin"), (5, "stdout")] {
        client.open(id, kind).await;
    }
    client.data(3, 0, b"x").await;
    client.io.shutdown().await.unwrap();
    let mut rest = Vec::new();
    // The server closes the connection too, so that reading ends.
    client.io.read_to_end(&mut rest).await.unwrap();
}

proptest! {
    /// Whatever comes in, the connection ends by itself once the input does.
    #[test]
    fn malformed_frames_end_the_connection(
        frames in proptest::collection::vec(
            (any::<bool>(), 0u8..10, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..64)),
            0..20,
        ).prop_map(|frames| {
            let mut all = Vec::new();
            for (control, kind, flags, body) in frames {
                let first = if control { [0x80, 3, 0, kind] } else { [0, 0, 0, kind] };
                all.extend(first);
                all.push(flags);
                all.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
                all.extend(body);
            }
            all
        }),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = Client::connect("stdin=1&stdout=1").await;
            let _ = client.io.write_all(&frames).await;
            let _ = client.io.shutdown().await;
            let mut rest = Vec::new();
            let _ = client.io.read_to_end(&mut rest).await;
        });
    }
}
