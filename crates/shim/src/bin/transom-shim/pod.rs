//! The shim of one pod: its containers, their output and exit codes, and who asks about them.
//!
//! ```text
//!            create            start              exit
//!  (nothing) ------> created --------> running --------> stopped --delete--> (nothing)
//! ```
//! One thread, one poll loop; children are reaped on SIGCHLD. Every change is written to
//! `state` before anybody hears of it. Clients come and go; nothing depends on them.

use std::os::fd::{AsRawFd, OwnedFd};

use shim::message::{self, Attach, Created, Exec, Kill, Resize, State, Status, Target};
use shim::spec::{Container, Pod};
use shim::wire::Record;

use crate::container::{self, Joins, Stdio};
use crate::log::{Log, Pumped, Sink, Stream};
use crate::sandbox::{self, Files, Reaper};
use crate::sys::{self, During, Failure, Result};

/// Most containers of a pod, ended ones included.
const MAX_CONTAINERS: usize = 1024;
/// Most processes that run by exec at once.
const MAX_EXECS: usize = 256;

/// Answer to a request: kind, body, descriptors; or class and text of an error.
pub(crate) type Answer = std::result::Result<(Vec<u8>, Option<OwnedFd>), (u32, String)>;

/// One container.
struct Member {
    spec: Container,
    status: Status,
    pidfd: OwnedFd,
    /// Until it is started.
    channel: Option<OwnedFd>,
    stdin: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    streams: Vec<Stream>,
    sinks: Vec<Sink>,
    log: Log,
}

/// A process that runs by exec; `owner` is the connection that hears of its end.
struct Visitor {
    id: String,
    pid: i32,
    pidfd: OwnedFd,
    owner: u64,
}

/// The pod.
pub(crate) struct Shim {
    pod: Pod,
    files: Files,
    reaper: Option<Reaper>,
    members: Vec<Member>,
    visitors: Vec<Visitor>,
    state: State,
    /// Ends that connections have to hear of.
    pub(crate) news: Vec<News>,
}

/// The end of a process, for the connections.
pub(crate) struct News {
    pub(crate) status: Status,
    /// The only connection concerned, or all that subscribed.
    pub(crate) owner: Option<u64>,
}

impl Shim {
    /// Makes the namespaces; the caller is the daemon already.
    pub(crate) fn new(pod: Pod) -> Result<Shim> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .during(|| "read boot_id".into())?;
        let reaper = sandbox::create(&pod)?;
        let state = State {
            boot_id: boot_id.trim().into(),
            shim_pid: sys::pid().unsigned_abs(),
            shim_started: start_time(sys::pid()),
            containers: Vec::new(),
            reaper_pid: reaper.as_ref().map_or(0, |r| r.pid.unsigned_abs()),
        };
        let files = Files::of(&pod);
        let (members, visitors, news) = (Vec::new(), Vec::new(), Vec::new());
        let shim = Shim {
            pod,
            files,
            reaper,
            members,
            visitors,
            state,
            news,
        };
        shim.save()?;
        Ok(shim)
    }

    fn snapshot(&self) -> State {
        let containers = self.members.iter().map(|m| m.status.clone()).collect();
        State {
            containers,
            ..self.state.clone()
        }
    }

    fn save(&self) -> Result<()> {
        let path = format!("{}/state", self.pod.directory);
        let temporary = format!("{path}.new");
        std::fs::write(&temporary, self.snapshot().to_bytes())
            .and_then(|()| std::fs::rename(&temporary, &path))
            .during(|| format!("write {path}"))
    }

    /// A write that may fail (a full disk) without taking the container along.
    fn save_or_complain(&self) {
        if let Err(e) = self.save() {
            crate::complain(&e.0);
        }
    }

    /// Carries out one request of connection `owner`.
    pub(crate) fn handle(
        &mut self,
        kind: u16,
        body: &[u8],
        fds: Vec<OwnedFd>,
        owner: u64,
    ) -> Answer {
        fn parse<T: Record>(body: &[u8]) -> std::result::Result<T, (u32, String)> {
            T::read(body).map_err(|e| (message::FAILED, e.to_string()))
        }
        match kind {
            message::CREATE => self.create(parse(body)?),
            message::START => self.start(&parse::<Target>(body)?.id),
            message::KILL => self.kill(&parse(body)?),
            message::DELETE => self.delete(&parse::<Target>(body)?.id),
            message::STATE | message::SUBSCRIBE => Ok((self.snapshot().to_bytes(), None)),
            message::EXEC => self.exec(&parse(body)?, fds, owner),
            message::ATTACH => self.attach(&parse(body)?, fds),
            message::RESIZE => self.resize(&parse(body)?),
            message::REOPEN_LOG => {
                let id = parse::<Target>(body)?.id;
                self.find(&id)?.log.reopen().map_err(failed)?;
                Ok((Vec::new(), None))
            }
            other => Err((message::UNKNOWN, format!("unknown request {other}"))),
        }
    }

    fn find(&mut self, id: &str) -> std::result::Result<&mut Member, (u32, String)> {
        self.members
            .iter_mut()
            .find(|m| m.spec.id == id)
            .ok_or_else(|| (message::NOT_FOUND, format!("container {id} not found")))
    }

    fn create(&mut self, spec: Container) -> Answer {
        if self.members.iter().any(|m| m.spec.id == spec.id) {
            return Err((
                message::WRONG_STATE,
                format!("container {} exists", spec.id),
            ));
        }
        if self.members.len() >= MAX_CONTAINERS {
            return Err((
                message::FAILED,
                format!("more than {MAX_CONTAINERS} containers"),
            ));
        }
        let (member, created) = self.launch(spec).map_err(failed)?;
        self.members.push(member);
        if let Err(e) = self.save() {
            if let Some(member) = self.members.pop() {
                // It dies with the member's channel as well.
                let _gone = sys::pidfd_signal(&member.pidfd, libc::SIGKILL);
            }
            return Err(failed(e));
        }
        Ok((created.to_bytes(), None))
    }

    fn joins(&self, spec: &Container) -> Result<Joins> {
        let mut joins = Joins::default();
        let open = |path: &str| {
            sys::open(path, libc::O_RDONLY, 0).during(|| format!("open namespace {path}"))
        };
        let names = &spec.namespaces;
        for (wanted, file, flag) in [
            (&names.net, &self.files.net, libc::CLONE_NEWNET),
            (&names.ipc, &self.files.ipc, libc::CLONE_NEWIPC),
            (&names.uts, &self.files.uts, libc::CLONE_NEWUTS),
        ] {
            match wanted.as_str() {
                "" => {}
                "new" => joins.fresh |= flag,
                "pod" if file.is_empty() => {}
                "pod" => joins.others.push(open(file)?),
                path => joins.others.push(open(path)?),
            }
        }
        joins.user = match names.user.as_str() {
            "" => None,
            "pod" if self.files.user.is_empty() => None,
            "pod" => Some(open(&self.files.user)?),
            path => Some(open(path)?),
        };
        match names.pid.as_str() {
            "" => {}
            "new" => joins.fresh |= libc::CLONE_NEWPID,
            "pod" => match &self.reaper {
                Some(reaper) => joins.pid = Some(sys::dup(&reaper.pidfd).during(|| "dup".into())?),
                None => joins.fresh |= libc::CLONE_NEWPID,
            },
            other => {
                let id = other.strip_prefix("container:").unwrap_or(other);
                let target = self.members.iter().find(|m| m.spec.id == id);
                let Some(target) = target.filter(|m| m.status.state == message::RUNNING) else {
                    return sys::fail(format!(
                        "container {id} does not run: cannot share its processes"
                    ));
                };
                joins.pid = Some(sys::dup(&target.pidfd).during(|| "dup".into())?);
            }
        }
        Ok(joins)
    }

    fn launch(&self, spec: Container) -> Result<(Member, Created)> {
        let joins = self.joins(&spec)?;
        let log = Log::open(&spec.log_path)?;
        let null = || sys::open("/dev/null", libc::O_RDWR, 0).during(|| "open /dev/null".into());
        let pipe = || sys::pipe().during(|| "make a pipe".into());
        let terminal = spec.process.terminal;
        let (stdin, stdin_child) = match spec.stdin && !terminal {
            true => {
                let (read, write) = pipe()?;
                (Some(write), read)
            }
            false => (None, null()?),
        };
        let (mut streams, stdout, stderr) = if terminal {
            (Vec::new(), null()?, null()?)
        } else {
            let (out, out_child) = pipe()?;
            let (err, err_child) = pipe()?;
            let streams = vec![Stream::new(out, "stdout")?, Stream::new(err, "stderr")?];
            (streams, out_child, err_child)
        };
        let stdio = Stdio {
            stdin: stdin_child,
            stdout,
            stderr,
        };
        let launched = container::create(&spec, &joins, stdio)?;
        if let Some(master) = &launched.terminal {
            let reader = sys::dup(master).during(|| "dup the terminal".into())?;
            streams.push(Stream::new(reader, "stdout")?);
        }
        let created = launched.created;
        let status = Status {
            id: spec.id.clone(),
            state: message::CREATED,
            pid: created.pid,
            created_at: sys::wall_ns(),
            uid: created.uid,
            gid: created.gid,
            groups: created.groups.clone(),
            pid_started: start_time(launched.pid),
            ..Status::default()
        };
        let member = Member {
            spec,
            status,
            pidfd: launched.pidfd,
            channel: Some(launched.channel),
            stdin,
            terminal: launched.terminal,
            streams,
            sinks: Vec::new(),
            log,
        };
        Ok((member, created))
    }

    fn start(&mut self, id: &str) -> Answer {
        let member = self.find(id)?;
        let Some(channel) = member.channel.take() else {
            let text = format!("container {id} is not in the state created");
            return Err((message::WRONG_STATE, text));
        };
        let result = container::start(&channel);
        member.status.started_at = sys::wall_ns();
        match result {
            Ok(()) => {
                member.status.state = message::RUNNING;
                self.save_or_complain();
                Ok((Vec::new(), None))
            }
            Err(e) => {
                member.status.state = message::STOPPED;
                member.status.finished_at = sys::wall_ns();
                member.status.exit_code = 128;
                member.status.reason = e.0.clone();
                // The child exits by itself after its report.
                let _gone = sys::pidfd_signal(&member.pidfd, libc::SIGKILL);
                let status = member.status.clone();
                self.save_or_complain();
                self.news.push(News {
                    status,
                    owner: None,
                });
                Err(failed(e))
            }
        }
    }

    fn kill(&mut self, kill: &Kill) -> Answer {
        let signal = i32::try_from(kill.signal).unwrap_or(0);
        if let Some(visitor) = self.visitors.iter().find(|v| v.id == kill.id) {
            signal_or_gone(&visitor.pidfd, signal)?;
            return Ok((Vec::new(), None));
        }
        let member = self.find(&kill.id)?;
        if kill.all {
            kill_group(&member.spec).map_err(failed)?;
        }
        if member.status.state != message::STOPPED {
            signal_or_gone(&member.pidfd, if kill.all { libc::SIGKILL } else { signal })?;
        }
        Ok((Vec::new(), None))
    }

    fn delete(&mut self, id: &str) -> Answer {
        let member = self.find(id)?;
        match member.status.state {
            message::RUNNING => {
                return Err((message::WRONG_STATE, format!("container {id} is running")));
            }
            message::CREATED => signal_or_gone(&member.pidfd, libc::SIGKILL)?,
            _ => {}
        }
        self.members.retain(|m| m.spec.id != id);
        self.save_or_complain();
        Ok((Vec::new(), None))
    }

    fn exec(&mut self, exec: &Exec, fds: Vec<OwnedFd>, owner: u64) -> Answer {
        let taken = self.visitors.iter().any(|v| v.id == exec.id)
            || self.members.iter().any(|m| m.spec.id == exec.id);
        if taken || self.visitors.len() >= MAX_EXECS {
            let text = format!("exec {} exists, or there are {MAX_EXECS} already", exec.id);
            return Err((message::WRONG_STATE, text));
        }
        let member = self.find(&exec.container)?;
        if member.status.state != message::RUNNING {
            let text = format!("container {} is not running", exec.container);
            return Err((message::WRONG_STATE, text));
        }
        let null = || sys::open("/dev/null", libc::O_RDWR, 0).during(|| "open /dev/null".into());
        let mut fds = fds.into_iter();
        let mut next = || fds.next().map_or_else(null, Ok).map_err(failed);
        let stdio = Stdio {
            stdin: next()?,
            stdout: next()?,
            stderr: next()?,
        };
        let user_namespace = !member.spec.namespaces.user.is_empty();
        let (cgroup, pidfd) = (&member.spec.cgroup, &member.pidfd);
        let launched =
            container::exec(&exec.process, cgroup, pidfd, user_namespace, stdio).map_err(failed)?;
        container::start(&launched.channel).map_err(failed)?;
        let (pid, pidfd) = (launched.pid, launched.pidfd);
        self.visitors.push(Visitor {
            id: exec.id.clone(),
            pid,
            pidfd,
            owner,
        });
        Ok((launched.created.to_bytes(), launched.terminal))
    }

    fn attach(&mut self, attach: &Attach, fds: Vec<OwnedFd>) -> Answer {
        let member = self.find(&attach.id)?;
        if member.status.state == message::STOPPED {
            let text = format!("container {} is not running", attach.id);
            return Err((message::WRONG_STATE, text));
        }
        let mut fds = fds.into_iter();
        for (wanted, stderr) in [(attach.stdout, false), (attach.stderr, true)] {
            let Some(fd) = fds.next().filter(|_| wanted) else {
                continue;
            };
            member.sinks.push(Sink::new(fd, stderr).map_err(failed)?);
        }
        if !attach.stdin {
            return Ok((Vec::new(), None));
        }
        let stdin = match (&member.terminal, member.spec.stdin_once) {
            (Some(terminal), _) => Some(sys::dup(terminal)),
            // The only write end goes away: the container sees the end with its client.
            (None, true) => member.stdin.take().map(Ok),
            (None, false) => member.stdin.as_ref().map(sys::dup),
        };
        let stdin = stdin
            .transpose()
            .during(|| "hand out stdin".into())
            .map_err(failed)?;
        Ok((Vec::new(), stdin))
    }

    fn resize(&mut self, resize: &Resize) -> Answer {
        let member = self.find(&resize.id)?;
        let Some(terminal) = &member.terminal else {
            return Err((
                message::WRONG_STATE,
                format!("container {} has no terminal", resize.id),
            ));
        };
        sys::set_window(terminal, resize.columns, resize.rows)
            .during(|| "size the terminal".into())
            .map_err(failed)?;
        Ok((Vec::new(), None))
    }

    /// Collects children that ended.
    pub(crate) fn reap(&mut self) {
        while let Some((pid, status)) = sys::reap() {
            let (exit_code, signal) = sys::exit_of(status);
            if let Some(at) = self.visitors.iter().position(|v| v.pid == pid) {
                let visitor = self.visitors.swap_remove(at);
                let finished_at = sys::wall_ns();
                let state = message::STOPPED;
                let status = Status {
                    id: visitor.id,
                    state,
                    exit_code,
                    signal,
                    finished_at,
                    ..Status::default()
                };
                self.news.push(News {
                    status,
                    owner: Some(visitor.owner),
                });
            } else {
                self.ended(pid, exit_code, signal);
            }
        }
    }

    fn ended(&mut self, pid: i32, exit_code: i32, signal: u32) {
        let found = self
            .members
            .iter_mut()
            .find(|m| m.status.pid == pid.unsigned_abs() && m.status.state != message::STOPPED);
        // Intermediates and namespace makers are nobody's business.
        let Some(member) = found else { return };
        if member.spec.namespaces.pid != "new" {
            // Its children outlive it in a shared process namespace.
            if let Err(e) = kill_group(&member.spec) {
                crate::complain(&e.0);
            }
        }
        member.drain();
        member.channel = None;
        member.stdin = None;
        member.status.state = message::STOPPED;
        member.status.finished_at = sys::wall_ns();
        member.status.exit_code = exit_code;
        member.status.signal = signal;
        member.status.oom_killed = exit_code != 0 && oom_kills(&member.spec) > 0;
        let status = member.status.clone();
        self.save_or_complain();
        self.news.push(News {
            status,
            owner: None,
        });
    }

    /// Descriptors to watch: output of containers and sinks that are behind.
    pub(crate) fn watch(&self, entries: &mut Vec<sys::Poll>) {
        for member in &self.members {
            for stream in &member.streams {
                entries.push(sys::poll_entry(stream.fd.as_raw_fd(), sys::POLL_IN));
            }
            for sink in &member.sinks {
                let events = if sink.is_waiting() { sys::POLL_OUT } else { 0 };
                entries.push(sys::poll_entry(sink.raw_fd(), events));
            }
        }
    }

    /// Moves output; `ready` are the entries that [`Shim::watch`] added, in its order.
    pub(crate) fn pump(&mut self, ready: &[sys::Poll]) {
        let mut ready = ready.iter();
        for member in &mut self.members {
            let (log, sinks) = (&member.log, &mut member.sinks);
            let mut sink_events = Vec::new();
            let streams: Vec<bool> = member
                .streams
                .iter()
                .map(|_| ready.next().is_some_and(|r| r.revents != 0))
                .collect();
            for _ in 0..sinks.len() {
                sink_events.push(ready.next().map_or(0, |r| r.revents));
            }
            for (sink, events) in sinks.iter_mut().zip(sink_events) {
                if events & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0 {
                    sink.mark_broken();
                } else if events != 0 {
                    sink.flush();
                }
            }
            sinks.retain(|s| !s.is_broken());
            let mut at = 0;
            member.streams.retain_mut(|stream| {
                at += 1;
                !streams[at - 1] || stream.pump(log, sinks) != Pumped::End
            });
            member.close_sinks();
        }
    }

    /// Kills everything and lets the namespaces go.
    pub(crate) fn shut_down(&mut self) {
        for member in &self.members {
            if member.status.state != message::STOPPED {
                let _gone = sys::pidfd_signal(&member.pidfd, libc::SIGKILL);
            }
            if let Err(e) = kill_group(&member.spec) {
                crate::complain(&e.0);
            }
        }
        self.end_reaper();
        sandbox::release(&self.files, &self.pod);
    }

    /// Ends the first process of a process namespace that containers share.
    pub(crate) fn end_reaper(&self) {
        if let Some(reaper) = &self.reaper {
            let _gone = sys::pidfd_signal(&reaper.pidfd, libc::SIGKILL);
        }
    }

    /// Whether any container is still alive.
    pub(crate) fn is_busy(&self) -> bool {
        self.members
            .iter()
            .any(|m| m.status.state != message::STOPPED)
    }

    pub(crate) fn directory(&self) -> &str {
        &self.pod.directory
    }
}

impl Member {
    /// Reads all output that is there.
    fn drain(&mut self) {
        let (log, sinks) = (&self.log, &mut self.sinks);
        self.streams.retain_mut(|stream| {
            // A process that outlived the first one may write for ever: bounded.
            for _ in 0..4096 {
                match stream.pump(log, sinks) {
                    Pumped::Some => {}
                    Pumped::Nothing => return true,
                    Pumped::End => return false,
                }
            }
            true
        });
        self.close_sinks();
    }

    /// Sinks of streams that ended have nothing to come.
    fn close_sinks(&mut self) {
        let open = |stderr: bool| self.streams.iter().any(|s| s.is_stderr() == stderr);
        let (out, err) = (open(false), open(true));
        self.sinks
            .retain(|s| s.is_waiting() || if s.stderr() { err } else { out });
    }
}

fn failed(failure: Failure) -> (u32, String) {
    (message::FAILED, failure.0)
}

fn signal_or_gone(pidfd: &OwnedFd, signal: i32) -> std::result::Result<(), (u32, String)> {
    match sys::pidfd_signal(pidfd, signal) {
        Err(e) if e.raw_os_error() != Some(libc::ESRCH) => Err((
            message::FAILED,
            format!("send signal {signal}: {}", sys::describe(&e)),
        )),
        _ => Ok(()),
    }
}

/// Kills every process of the container's group.
fn kill_group(spec: &Container) -> Result<()> {
    let cgroup = &spec.cgroup;
    if !cgroup.unified.is_empty() {
        let file = format!("{}/cgroup.kill", cgroup.unified);
        match std::fs::write(&file, "1") {
            Ok(()) => return Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).during(|| format!("write {file}")),
        }
    }
    let Some(dir) = cgroup.v1.first() else {
        return Ok(());
    };
    // A fork bomb needs several rounds.
    for _ in 0..16 {
        let text = std::fs::read_to_string(format!("{dir}/cgroup.procs")).unwrap_or_default();
        let pids: Vec<i32> = text.lines().filter_map(|l| l.parse().ok()).collect();
        if pids.is_empty() {
            break;
        }
        for pid in pids {
            // Gone already is as good.
            let _gone = sys::kill(pid, libc::SIGKILL);
        }
    }
    Ok(())
}

fn oom_kills(spec: &Container) -> u64 {
    let text = std::fs::read_to_string(&spec.cgroup.oom_file).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        .unwrap_or(0)
}

/// Start time of a process in clock ticks since boot (field 22 of stat).
fn start_time(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    after
        .split(' ')
        .nth(19)
        .and_then(|f| f.parse().ok())
        .unwrap_or(0)
}
