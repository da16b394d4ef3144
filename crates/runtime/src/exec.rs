//! Commands in running containers: with collected output, or with streams.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use nodeapi::{Code, CriError, cri};
use oci::message::Status;
use oci::spec::Process;
use oci::{ExecIo, Record as _, Running};
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{Receiver, Sender};

use crate::spec::exec_process;
use crate::state::{Container, Runtime, Sandbox, blocking, oci_error};

/// Most output of a command with collected output, per stream.
const MAX_OUTPUT: u64 = 16 << 20;
/// How long output may keep coming after the command's end (a child that kept the pipe).
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// Our ends of a command's streams.
pub(crate) struct Ends {
    pub(crate) stdin: Option<Sender>,
    pub(crate) stdout: Receiver,
    pub(crate) stderr: Receiver,
}

/// Pipes for a command: its ends, and ours.
pub(crate) fn pipes(with_stdin: bool) -> Result<(ExecIo, Ends), CriError> {
    let failed = |e: io::Error| CriError::internal(format!("make a pipe: {e}"));
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(e.into()));
    let (stdin, ours) = match with_stdin {
        true => {
            let (read, write) = pipe()?;
            (read, Some(Sender::from_owned_fd(write).map_err(failed)?))
        }
        false => (
            OwnedFd::from(fs::File::open("/dev/null").map_err(failed)?),
            None,
        ),
    };
    let (stdout_read, stdout) = pipe()?;
    let (stderr_read, stderr) = pipe()?;
    let ends = Ends {
        stdin: ours,
        stdout: Receiver::from_owned_fd(stdout_read).map_err(failed)?,
        stderr: Receiver::from_owned_fd(stderr_read).map_err(failed)?,
    };
    Ok((
        ExecIo::Pipes {
            stdin,
            stdout,
            stderr,
        },
        ends,
    ))
}

/// Calls `next` until it has an answer, each time the shim's socket has something to say.
pub(crate) async fn when_readable<T>(
    socket: &UnixStream,
    what: &'static str,
    mut next: impl FnMut() -> Result<Option<T>, oci::Error>,
) -> Result<T, CriError> {
    let broken = |e: io::Error| CriError::internal(format!("{what}: {e}"));
    // It may have come together with an earlier answer.
    if let Some(answer) = next().map_err(|e| oci_error(what, &e))? {
        return Ok(answer);
    }
    loop {
        socket.readable().await.map_err(broken)?;
        let mut answer = None;
        let tried = socket.try_io(tokio::io::Interest::READABLE, || match next() {
            Ok(None) => Err(io::ErrorKind::WouldBlock.into()),
            other => {
                answer = Some(other);
                Ok(())
            }
        });
        match (answer, tried) {
            (Some(answer), _) => {
                let found = answer.map_err(|e| oci_error(what, &e))?;
                return found.ok_or_else(|| CriError::internal(what));
            }
            (None, Err(e)) if e.kind() != io::ErrorKind::WouldBlock => return Err(broken(e)),
            (None, _) => {}
        }
    }
}

/// The end of a command, without a thread that waits.
pub(crate) async fn wait(mut running: Running) -> Result<Status, CriError> {
    let broken = |e: io::Error| CriError::internal(format!("wait for a command: {e}"));
    let socket = running
        .readiness()
        .and_then(UnixStream::from_std)
        .map_err(broken)?;
    when_readable(&socket, "wait for a command", || running.try_wait()).await
}

impl Runtime {
    /// Starts a command; gives its id and connection.
    pub(crate) async fn spawn_command(
        &self,
        sandbox: &Arc<Sandbox>,
        container: &Arc<Container>,
        command: Vec<String>,
        io: ExecIo,
    ) -> Result<(String, Running), CriError> {
        let (shim, target) = (sandbox.live_shim()?, container.clone());
        let id = format!("exec-{}", self.inner.new_id());
        blocking(move || {
            let bytes = fs::read(target.dir.join("process"))
                .map_err(|e| CriError::internal(format!("read the container's process: {e}")))?;
            let first = Process::read(&bytes)
                .map_err(|e| CriError::internal(format!("read the container's process: {e}")))?;
            let process = exec_process(&first, &command, matches!(io, ExecIo::Terminal));
            let running = shim
                .exec(&target.id, &id, &process, io)
                .map_err(|e| oci_error("failed to exec in container", &e))?;
            Ok((id, running))
        })
        .await
    }

    pub(crate) async fn exec_sync(
        &self,
        request: cri::ExecSyncRequest,
    ) -> Result<cri::ExecSyncResponse, CriError> {
        let (sandbox, container) = self.inner.running(&request.container_id)?;
        let (io, ends) = pipes(false)?;
        let (id, running) = self
            .spawn_command(&sandbox, &container, request.cmd, io)
            .await?;
        let run = async {
            let mut stdout = ends.stdout.take(MAX_OUTPUT);
            let mut stderr = ends.stderr.take(MAX_OUTPUT);
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let status = {
                let output = async {
                    let (a, b) =
                        tokio::join!(stdout.read_to_end(&mut out), stderr.read_to_end(&mut err));
                    a.and(b)
                };
                tokio::pin!(output);
                let ended = wait(running);
                tokio::pin!(ended);
                let mut drained = false;
                loop {
                    tokio::select! {
                        status = &mut ended => {
                            if !drained {
                                // Children may keep the pipes: what came so far is the answer.
                                let _late = tokio::time::timeout(DRAIN_LIMIT, &mut output).await;
                            }
                            break status?;
                        }
                        result = &mut output, if !drained => {
                            result.map_err(|e| CriError::internal(format!("read output: {e}")))?;
                            drained = true;
                        }
                    }
                }
            };
            Ok::<_, CriError>(cri::ExecSyncResponse {
                stdout: out,
                stderr: err,
                exit_code: status.exit_code,
            })
        };
        let Some(limit) = u64::try_from(request.timeout).ok().filter(|t| *t > 0) else {
            return run.await;
        };
        match tokio::time::timeout(Duration::from_secs(limit), run).await {
            Ok(result) => result,
            Err(_) => {
                let shim = sandbox.live_shim()?;
                blocking(move || {
                    shim.kill(&id, 9)
                        .map_err(|e| oci_error("kill a command", &e))
                })
                .await
                .or_else(|e| if e.is_not_found() { Ok(()) } else { Err(e) })?;
                Err(CriError::new(
                    Code::DeadlineExceeded,
                    format!(
                        "failed to exec in container: timeout {limit}s exceeded: context deadline exceeded"
                    ),
                ))
            }
        }
    }
}
