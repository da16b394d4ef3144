//! One guest: QEMU as a child that cannot outlive us, and what it reports.
//!
//! The kernel's console is the first serial port and goes into a file; the second is QEMU's standard
//! output and carries the report (xtask/vm/trial.sh says how). Writes to the disk go to a file
//! that nobody else sees and that ends with the machine, reboots of the guest keep it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::image::Disks;
use super::page::Outcome;
use super::{Init, Trial};
use crate::tool::{command, say};

const QEMU: &str = "qemu-system-x86_64";
const PID_FILE: &str = "qemu.pid";
/// Longest time without a word of the guest; the longest step of its own takes less.
const SILENCE: Duration = Duration::from_secs(400);

pub(super) fn run(work: &Path, disks: &Disks, trial: &Trial) -> Result<Outcome> {
    let mut machine = Machine(start(work, disks, trial)?);
    let output = machine.0.stdout.take().context("QEMU's standard output")?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let began = now();
    let mut outcome = Outcome::default();
    loop {
        let left = trial.limit.saturating_sub(began.elapsed());
        let received = lines.recv_timeout(left.min(SILENCE));
        let line = match received {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) if left < SILENCE => {
                outcome.fail(format!("not at its end after {:?}", trial.limit));
                break;
            }
            Err(RecvTimeoutError::Timeout) => {
                outcome.fail(format!("not a word for {SILENCE:?}"));
                break;
            }
            Err(RecvTimeoutError::Disconnected) => {
                outcome.fail("the machine ended before its trial".to_owned());
                break;
            }
        };
        say(&format!("{:6.1} {line}", began.elapsed().as_secs_f32()));
        if outcome.hear(&line) {
            break;
        }
    }
    outcome.seconds = began.elapsed().as_secs();
    Ok(outcome)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a task waits for a machine outside"
)]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn start(work: &Path, disks: &Disks, trial: &Trial) -> Result<Child> {
    let init = match trial.init {
        Init::Script => "init=/usr/local/sbin/vm-trial",
        Init::Systemd => "init=/sbin/init systemd.journald.forward_to_console=0",
    };
    let append = format!(
        "root=/dev/vda rw console=ttyS0 quiet loglevel=4 panic=10 net.ifnames=0 {init} \
         vm.trial={} {}",
        trial.script, trial.kernel
    );
    let console = work.join(format!("{}.console.log", trial.name));
    let temporary = work.join("tmp");
    fs::create_dir_all(&temporary)?;
    let path = |path: &Path| path.display().to_string();
    // setpriv: the machine ends with us, whatever ends us.
    command("setpriv", work)
        .args(["--pdeathsig", "KILL", "nice", "-n", "19", QEMU])
        .args(["-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-machine", "q35", "-accel", "tcg,thread=multi"])
        .args(["-cpu", "max", "-smp", "2", "-m", "1536"])
        .args(["-kernel", &path(&disks.kernel)])
        .args(["-initrd", &path(&disks.initrd)])
        .args(["-append", &append])
        .arg("-drive")
        .arg(drive(&disks.system, "snapshot=on"))
        .arg("-drive")
        .arg(drive(&disks.payload, "readonly=on"))
        .args(["-netdev", "user,id=net,restrict=on,ipv6=off"])
        .args(["-device", "virtio-net-pci,netdev=net,romfile="])
        .args(["-device", "virtio-rng-pci"])
        .args(["-serial", &format!("file:{}", path(&console))])
        .args(["-chardev", "stdio,id=report,signal=off"])
        .args(["-serial", "chardev:report"])
        .args(["-pidfile", PID_FILE])
        .env("TMPDIR", &temporary)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("run {QEMU}: apt-get install qemu-system-x86"))
}

fn drive(image: &Path, more: &str) -> String {
    format!("file={},format=raw,if=virtio,{more}", image.display())
}

/// Ended when dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Fails when it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Ends the machine of a run that was killed where nothing else could end it.
pub(super) fn end_predecessor(work: &Path) -> Result<()> {
    let file = work.join(PID_FILE);
    let Ok(text) = fs::read_to_string(&file) else {
        return Ok(());
    };
    let pid: i32 = text.trim().parse().unwrap_or(0);
    let ours = fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains(QEMU) && line.contains(&work.display().to_string())
    });
    if let Some(pid) = Pid::from_raw(pid)
        && ours
    {
        say("ending the machine of a killed run");
        let _ = kill_process(pid, Signal::KILL);
    }
    fs::remove_file(&file).with_context(|| file.display().to_string())
}
