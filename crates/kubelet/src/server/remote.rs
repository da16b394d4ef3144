//! exec, attach and port-forward: WebSocket channels of the caller to streams of the runtime.

use std::sync::Arc;

use nodeapi::cri::{AttachRequest, ContainerStatusRequest, ExecRequest};
use nodeapi::{CriError, ExitStatus, Io, TerminalSize};
use tokio::sync::mpsc;
use transport::streams::{
    Outcome, SessionIo, Streams, copy_input, copy_output, serve_port_forward, serve_session,
};
use transport::{Request, Response};

use crate::server::decode;
use crate::worker::Shared;

/// Bytes that wait between runtime and socket.
const PIPE_BYTES: usize = 64 << 10;

/// Runs a command in a container.
pub(super) fn exec(shared: &Arc<Shared>, request: Request, container_id: String) -> Response {
    let query = request.uri().query().unwrap_or("").to_owned();
    let streams = Streams::from_query(&query);
    let command: Vec<String> = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("command="))
        .map(decode)
        .collect();
    let shared = shared.clone();
    serve_session(request, streams, move |io| async move {
        let request = ExecRequest {
            container_id,
            cmd: command,
            tty: streams.tty,
            stdin: streams.stdin,
            stdout: streams.stdout,
            stderr: streams.stderr,
        };
        connect(io, |io| shared.streams.exec(request, io)).await
    })
}

/// Connects to a container's main process.
pub(super) fn attach(shared: &Arc<Shared>, request: Request, container_id: String) -> Response {
    let streams = Streams::from_query(request.uri().query().unwrap_or(""));
    let shared = shared.clone();
    serve_session(request, streams, move |io| async move {
        let request = AttachRequest {
            container_id,
            stdin: streams.stdin,
            tty: streams.tty,
            stdout: streams.stdout,
            stderr: streams.stderr,
        };
        connect(io, |io| shared.streams.attach(request, io)).await
    })
}

/// Connects to ports inside a sandbox.
pub(super) fn port_forward(shared: &Arc<Shared>, request: Request, sandbox_id: String) -> Response {
    let shared = shared.clone();
    serve_port_forward(request, move |port, stream| {
        let (shared, sandbox_id) = (shared.clone(), sandbox_id.clone());
        async move {
            let copied = shared
                .streams
                .port_forward(&sandbox_id, port, Box::new(stream))
                .await;
            copied.map_err(|error| {
                let cause = base::Chain(&error);
                format!("error forwarding port {port} to pod {sandbox_id}: {cause}")
            })
        }
    })
}

/// Joins a session's channels with the ends that the runtime reads and writes.
async fn connect<F, R>(session: SessionIo, run: F) -> Outcome
where
    F: FnOnce(Io) -> R,
    R: Future<Output = Result<ExitStatus, CriError>>,
{
    let mut io = Io::default();
    let mut outputs = Vec::new();
    for (wanted, slot) in [
        (session.stdout, &mut io.stdout),
        (session.stderr, &mut io.stderr),
    ] {
        if let Some(to) = wanted {
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            *slot = Some(Box::new(theirs));
            outputs.push(copy_output(ours, to));
        }
    }
    let input = session.stdin.map(|from| {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        io.stdin = Some(Box::new(theirs));
        copy_input(from, ours)
    });
    let (sizes, resize) = mpsc::channel(4);
    io.resize = Some(resize);
    let mut from = session.resize;
    let resizing = async move {
        while let Some(size) = from.recv().await {
            let size = TerminalSize {
                width: size.width,
                height: size.height,
            };
            if sizes.send(size).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let feeding = async move {
        if let Some(input) = input {
            let _ = input.await;
        }
        std::future::pending::<()>().await;
    };
    let process = run(io);
    let draining = futures_util::future::join_all(outputs);
    let both = async {
        // All output is handed over before the outcome is told.
        let (outcome, _) = tokio::join!(process, draining);
        outcome
    };
    let outcome = tokio::select! {
        outcome = both => outcome,
        () = resizing => return Outcome::Failed("the session ended".to_owned()),
        () = feeding => return Outcome::Failed("the session ended".to_owned()),
    };
    match outcome {
        Ok(status) => Outcome::Exited(status.code),
        Err(error) => Outcome::Failed(base::Chain(&error).to_string()),
    }
}

/// Returns when a container no longer runs.
pub(super) async fn wait_until_ended(shared: &Shared, container_id: &str) {
    let mut events = shared.runtime.container_events().await.ok();
    loop {
        let request = ContainerStatusRequest {
            container_id: container_id.to_owned(),
            verbose: false,
        };
        let running = shared
            .runtime
            .container_status(request)
            .await
            .is_ok_and(|answer| {
                answer.status.is_some_and(|status| {
                    status.state == i32::from(nodeapi::cri::ContainerState::ContainerRunning)
                })
            });
        if !running {
            return;
        }
        match &mut events {
            Some(stream) => {
                if stream.recv().await.is_none() {
                    events = None;
                }
            }
            None => {
                tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                events = shared.runtime.container_events().await.ok();
            }
        }
    }
}
