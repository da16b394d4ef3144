//! Exec, attach and port-forward inside one process: pipes instead of a URL.
//!
//! CRI answers `Exec` with a URL to stream from; where kubelet and runtime share a process that
//! detour is a socket, a token and a copy too many, so kubelet asks this trait instead. The one
//! who implements it closes stdout and stderr when the process is gone.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::cri;
use crate::error::CriError;

/// A source of bytes for a container.
pub type Input = Box<dyn AsyncRead + Send + Unpin>;
/// A sink for what a container writes.
pub type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// A byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Size of a terminal in character cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// What is connected to a process. With a terminal there is no `stderr`.
#[derive(Default)]
pub struct Io {
    /// Bytes for the process; `None` where the request has no stdin.
    pub stdin: Option<Input>,
    /// What the process writes.
    pub stdout: Option<Output>,
    /// What the process writes to its second stream.
    pub stderr: Option<Output>,
    /// New sizes of the terminal, the first one at once.
    pub resize: Option<mpsc::Receiver<TerminalSize>>,
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io")
            .field("stdin", &self.stdin.is_some())
            .field("stdout", &self.stdout.is_some())
            .field("stderr", &self.stderr.is_some())
            .field("resize", &self.resize.is_some())
            .finish()
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus {
    /// As in a shell: the exit code, or 128 + the signal.
    pub code: i32,
}

/// Streams of a running container, without a socket.
#[async_trait::async_trait]
pub trait Streams: Send + Sync + 'static {
    /// Runs a command in a container until it ends; dropping the future ends the streams.
    async fn exec(&self, request: cri::ExecRequest, io: Io) -> Result<ExitStatus, CriError>;
    /// Connects to the container's main process until it ends or `stdin` and the reader are gone.
    async fn attach(&self, request: cri::AttachRequest, io: Io) -> Result<ExitStatus, CriError>;
    /// Copies between `stream` and a TCP port in the sandbox until either side closes.
    async fn port_forward(
        &self,
        sandbox_id: &str,
        port: u16,
        stream: Box<dyn Duplex>,
    ) -> Result<(), CriError>;
}
