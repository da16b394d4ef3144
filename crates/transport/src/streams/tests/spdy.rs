//! Remote commands over SPDY: a client of a few frames against the real server.

use std::sync::Arc;
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::{Strategy as _, any, proptest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::upper_case_server;
use crate::streams::serve_port_forward;
use crate::upgrade::{self, Upgraded};
use crate::{Body, InProcess, Request, Service, Transport as _, service_fn};

const DICTIONARY: &[u8] = include_bytes!("../spdy.dict");

struct Client {
    io: Upgraded,
    headers: Compress,
}

impl Client {
    async fn connect(query: &str) -> Client {
        let protocols = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
        let path = format!("/exec?{query}");
        Client::upgrade(upper_case_server(), &path, &protocols, protocols[1]).await
    }

    async fn upgrade(
        service: Arc<dyn Service>,
        path: &str,
        offered: &[&str],
        chosen: &str,
    ) -> Client {
        let service = InProcess::new(service, http::Extensions::new());
        let mut request = http::Request::post(path)
            .header("connection", "Upgrade")
            .header("upgrade", "SPDY/3.1");
        for protocol in offered {
            request = request.header("x-stream-protocol-version", *protocol);
        }
        let request = request.body(Body::empty()).unwrap();
        let mut response = service.call(request).await.unwrap();
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["x-stream-protocol-version"], chosen);
        let mut headers = Compress::new(Compression::fast(), true);
        headers.set_dictionary(DICTIONARY).unwrap();
        let io = upgrade::of_response(&mut response).unwrap().await.unwrap();
        Client { io, headers }
    }

    async fn open(&mut self, id: u32, kind: &str) {
        self.open_with(id, &["streamtype", kind]).await;
    }

    /// Names and values, one after the other.
    async fn open_with(&mut self, id: u32, headers: &[&str]) {
        let pairs = u32::try_from(headers.len() / 2).unwrap();
        let mut plain = pairs.to_be_bytes().to_vec();
        for text in headers {
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

/// Streams that nobody reads hold a few MiB together, however many they are: then the client waits.
#[tokio::test(start_paused = true)]
async fn unread_streams_hold_little() {
    let service = service_fn(|request: Request| async move {
        serve_port_forward(request, |_port, _stream| async { Ok(()) })
    });
    let protocol = "portforward.k8s.io";
    let mut client = Client::upgrade(service, "/forward", &[protocol], protocol).await;
    let mut taken = 0;
    let megabyte = vec![b'x'; 1024 * 1024];
    // The halves that would join them to pairs never come.
    for turn in 0..200_u32 {
        let id = turn * 2 + 1;
        let headers = ["streamtype", "data", "port", "80", "requestid"];
        let request = turn.to_string();
        let headers: Vec<&str> = headers.into_iter().chain([request.as_str()]).collect();
        // Also the answer to the stream's beginning may stay away: nothing is read any more.
        let sending = async {
            client.open_with(id, &headers).await;
            client.frame().await;
            client.data(id, 0, &megabyte).await;
        };
        if tokio::time::timeout(Duration::from_secs(5), sending)
            .await
            .is_err()
        {
            break;
        }
        taken += megabyte.len();
    }
    assert!(taken < 8 << 20, "{taken} bytes were taken");
}
