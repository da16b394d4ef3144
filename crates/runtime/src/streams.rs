//! Exec, attach and port-forward with streams, inside the process.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use nodeapi::streams::{Duplex, Output};
use nodeapi::{CriError, ExitStatus, Io, Streams, TerminalSize, cri};
use oci::ExecIo;
use rustix::termios::Winsize;
use tokio::io::{AsyncRead, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::sync::mpsc;

use crate::exec::{DRAIN_LIMIT, pipes, wait};
use crate::state::{Runtime, Sandbox, blocking, oci_error};

/// How long a client may still send to a pod that has nothing more to say.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long a connection into a pod may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Master of a terminal, to be read, written and resized.
struct Terminal {
    reader: Receiver,
    writer: Sender,
    master: OwnedFd,
}

impl Terminal {
    fn new(master: OwnedFd) -> io::Result<Terminal> {
        rustix::io::ioctl_fionbio(&master, true)?;
        // Not pipes, but as pollable; reading ends with EIO when the last slave is closed.
        let reader = Receiver::from_owned_fd_unchecked(master.try_clone()?)?;
        let writer = Sender::from_owned_fd_unchecked(master.try_clone()?)?;
        Ok(Terminal {
            reader,
            writer,
            master,
        })
    }
}

async fn follow_sizes(master: OwnedFd, sizes: Option<mpsc::Receiver<TerminalSize>>) {
    let Some(mut sizes) = sizes else { return };
    while let Some(size) = sizes.recv().await {
        let size = Winsize {
            ws_col: size.width,
            ws_row: size.height,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        // A terminal whose process is gone has no size to change.
        let _gone = rustix::termios::tcsetwinsize(&master, size);
    }
}

/// Copies until either side ends, and closes the sink.
async fn copy(source: impl AsyncRead + Unpin, sink: Option<Output>) {
    let mut source = source;
    match sink {
        Some(mut sink) => {
            // A reader that is gone, or a process that is: both are the end.
            let _end = tokio::io::copy(&mut source, &mut sink).await;
            let _closed = sink.shutdown().await;
        }
        None => {
            let _end = tokio::io::copy(&mut source, &mut tokio::io::sink()).await;
        }
    }
}

fn broken(e: io::Error) -> CriError {
    CriError::internal(format!("connect streams: {e}"))
}

#[async_trait::async_trait]
impl Streams for Runtime {
    async fn exec(&self, request: cri::ExecRequest, io: Io) -> Result<ExitStatus, CriError> {
        let (sandbox, container) = self.inner.running(&request.container_id)?;
        if request.tty {
            let started = self.spawn_command(&sandbox, &container, request.cmd, ExecIo::Terminal);
            let (_, mut running) = started.await?;
            let master = running.terminal.take();
            let master = master.ok_or_else(|| CriError::internal("the command has no terminal"))?;
            let terminal = Terminal::new(master).map_err(broken)?;
            let input = feed(io.stdin, terminal.writer);
            let sizes = follow_sizes(terminal.master, io.resize);
            let output = copy(terminal.reader, io.stdout);
            return finish(wait(running), output, async { tokio::join!(input, sizes) }).await;
        }
        let (ours, ends) = pipes(io.stdin.is_some())?;
        let (_, running) = self
            .spawn_command(&sandbox, &container, request.cmd, ours)
            .await?;
        let input = async {
            if let (Some(source), Some(sink)) = (io.stdin, ends.stdin) {
                copy(source, Some(Box::new(sink))).await;
            }
        };
        let output = async {
            tokio::join!(copy(ends.stdout, io.stdout), copy(ends.stderr, io.stderr));
        };
        finish(wait(running), output, input).await
    }

    async fn attach(&self, request: cri::AttachRequest, io: Io) -> Result<ExitStatus, CriError> {
        let (sandbox, container) = self.inner.running(&request.container_id)?;
        let tty = container.config.read().tty;
        let (shim, id) = (sandbox.live_shim()?, container.id.clone());
        // The master of a terminal is needed for its size as well.
        let wants_input = io.stdin.is_some() || tty;
        let (stdout, stderr) = (io.stdout.is_some(), io.stderr.is_some() && !tty);
        let attached = blocking(move || {
            shim.attach(&id, wants_input, stdout, stderr)
                .map_err(|e| oci_error("attach", &e))
        })
        .await?;
        let receiver =
            |fd: Option<OwnedFd>| fd.map(Receiver::from_owned_fd).transpose().map_err(broken);
        let (out, err) = (receiver(attached.stdout)?, receiver(attached.stderr)?);
        let output = async {
            let one = async |source: Option<Receiver>, sink: Option<Output>| {
                if let Some(source) = source {
                    copy(source, sink).await;
                }
            };
            tokio::join!(one(out, io.stdout), one(err, io.stderr));
        };
        let (source, sizes) = (io.stdin, io.resize);
        let input = async {
            let Some(fd) = attached.stdin else { return };
            if tty {
                let Ok(terminal) = Terminal::new(fd) else {
                    return;
                };
                tokio::join!(
                    feed(source, terminal.writer),
                    follow_sizes(terminal.master, sizes)
                );
            } else if let (Some(source), Ok(sink)) = (source, Sender::from_owned_fd(fd)) {
                copy(source, Some(Box::new(sink))).await;
            }
        };
        // A client that reads nothing stays until its input ends.
        let has_output = stdout || stderr;
        tokio::pin!(output, input);
        let mut input_done = false;
        loop {
            tokio::select! {
                () = &mut output, if has_output => break,
                () = &mut input, if !input_done => {
                    input_done = true;
                    if !has_output {
                        break;
                    }
                }
                () = container.wait() => {
                    let _late = tokio::time::timeout(DRAIN_LIMIT, &mut output).await;
                    break;
                }
            }
        }
        // The end of output comes just before the news of the exit.
        let _running = tokio::time::timeout(Duration::from_secs(1), container.wait()).await;
        let code = container.record.lock().exit_code.unwrap_or(0);
        Ok(ExitStatus { code })
    }

    async fn port_forward(
        &self,
        sandbox_id: &str,
        port: u16,
        stream: Box<dyn Duplex>,
    ) -> Result<(), CriError> {
        let sandbox = self.inner.sandbox(sandbox_id)?;
        if !sandbox.is_ready() {
            return Err(CriError::precondition(format!(
                "sandbox container {sandbox_id:?} is not running"
            )));
        }
        join(connect(&sandbox, port).await?, stream).await;
        Ok(())
    }
}

/// Copies both ways until the pod has said all, or either side broke off: that is the end, not an
/// error. A client whose own end is open learns of it then.
/// Source: containerd v2 internal/cri/server/sandbox_portforward_linux.go.
async fn join(inside: TcpStream, stream: Box<dyn Duplex>) {
    let (mut from_pod, mut to_pod) = inside.into_split();
    let (mut from_client, mut to_client) = tokio::io::split(stream);
    let asks = async {
        let _end = tokio::io::copy(&mut from_client, &mut to_pod).await;
        let _end = to_pod.shutdown().await;
    };
    let answers = async {
        let _end = tokio::io::copy(&mut from_pod, &mut to_client).await;
        let _end = to_client.shutdown().await;
    };
    let (mut asks, mut answers) = (pin!(asks), pin!(answers));
    tokio::select! {
        () = &mut asks => answers.await,
        () = &mut answers => {
            let _late = tokio::time::timeout(LAST_WORDS, asks).await;
        }
    }
}

/// Input of a terminal has no end that the process could see.
async fn feed(source: Option<nodeapi::streams::Input>, mut terminal: Sender) {
    if let Some(mut source) = source {
        let _end = tokio::io::copy(&mut source, &mut terminal).await;
    }
}

/// Runs the streams beside the process; its end ends the input, and soon the output.
async fn finish<I>(
    ended: impl Future<Output = Result<oci::message::Status, CriError>>,
    output: impl Future<Output = ()>,
    input: impl Future<Output = I>,
) -> Result<ExitStatus, CriError> {
    tokio::pin!(ended, output, input);
    let (mut output_done, mut input_done) = (false, false);
    loop {
        tokio::select! {
            status = &mut ended => {
                if !output_done {
                    let _late = tokio::time::timeout(DRAIN_LIMIT, &mut output).await;
                }
                return Ok(ExitStatus { code: status?.exit_code });
            }
            () = &mut output, if !output_done => output_done = true,
            _ = &mut input, if !input_done => input_done = true,
        }
    }
}

/// Connects to a port on the sandbox's loopback.
async fn connect(sandbox: &Arc<Sandbox>, port: u16) -> Result<TcpStream, CriError> {
    let netns = (!sandbox.is_host_network()).then(|| sandbox.dir.join("net"));
    let (tell, told) = tokio::sync::oneshot::channel();
    // A thread of its own: it ends in another namespace and is never used again.
    std::thread::Builder::new()
        .name("port-forward".into())
        .spawn(move || {
            let open = || -> io::Result<std::net::TcpStream> {
                if let Some(path) = netns {
                    let file = std::fs::File::open(path)?;
                    let kind = rustix::thread::LinkNameSpaceType::Network;
                    rustix::thread::move_into_link_name_space(file.as_fd(), Some(kind))?;
                }
                let try_one = |ip: std::net::IpAddr| {
                    std::net::TcpStream::connect_timeout(&SocketAddr::new(ip, port), CONNECT_LIMIT)
                };
                let stream = try_one(Ipv4Addr::LOCALHOST.into())
                    .or_else(|e| try_one(Ipv6Addr::LOCALHOST.into()).map_err(|_| e))?;
                stream.set_nonblocking(true)?;
                Ok(stream)
            };
            // The client may be gone.
            let _unheard = tell.send(open());
        })
        .map_err(broken)?;
    let refused = |e: io::Error| {
        CriError::unknown(format!(
            "failed to connect to localhost:{port} inside namespace {:?}: {e}",
            sandbox.id
        ))
    };
    let stream = told
        .await
        .map_err(|_| CriError::internal("the connecting thread died"))?;
    TcpStream::from_std(stream.map_err(refused)?).map_err(broken)
}
