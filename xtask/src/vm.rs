//! `cargo xtask vm [TRIAL…]`: the README's main job on machines that no build machine is.
//!
//! Pure control groups of each version, systemd as pid 1, reboots, a kernel without IPv6: each is a
//! row of `TRIALS`, a QEMU guest (TCG, so minutes long) made from Debian packages, without a way to
//! the outside. `image` makes the disks, `machine` boots one and hears its report, `page` writes
//! docs/VM.md. The guest's side is xtask/vm/trial.sh. `TRANSOM_BIN` names the program under test.

mod image;
mod machine;
mod page;

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::tool::{self, say};

/// A row of the table.
struct Trial {
    name: &'static str,
    /// What is special about the machine.
    machine: &'static str,
    init: Init,
    /// On the kernel's command line.
    kernel: &'static str,
    /// The function of trial.sh.
    script: &'static str,
    /// What is checked.
    checks: &'static str,
    limit: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Init {
    /// The trial's script is pid 1.
    Script,
    Systemd,
}

const MAIN_JOB: &str = "`transom demo` (three nodes, Deployment, Service, rolling update under \
load without a failed request), `transom down` leaves nothing";
const INSTALLED: &str = "`transom install`, the demo on it, restart and `kill -9` of both \
services and a second `install` without a restart of a container, reboot, reboot without warning, \
`transom uninstall` leaves nothing";

const TRIALS: [Trial; 6] = [
    Trial {
        name: "v2",
        machine: "control groups: version 2 only",
        init: Init::Script,
        kernel: "vm.cgroup=v2 cgroup_no_v1=all",
        script: "main",
        checks: MAIN_JOB,
        limit: Duration::from_secs(900),
    },
    Trial {
        name: "v1",
        machine: "control groups: version 1 only",
        init: Init::Script,
        kernel: "vm.cgroup=v1",
        script: "main",
        checks: MAIN_JOB,
        limit: Duration::from_secs(900),
    },
    Trial {
        name: "no-ipv6",
        machine: "no IPv6 in the kernel",
        init: Init::Script,
        kernel: "vm.cgroup=v2 ipv6.disable=1",
        script: "main",
        checks: MAIN_JOB,
        limit: Duration::from_secs(900),
    },
    Trial {
        name: "reboot",
        machine: "reboots under a local cluster",
        init: Init::Script,
        kernel: "vm.cgroup=v2",
        script: "reboot",
        checks: "`transom demo`, reboot, reboot without warning; after each `transom start`: the \
same pods run, the Service answers; `transom down` leaves nothing",
        limit: Duration::from_secs(1500),
    },
    Trial {
        name: "systemd",
        machine: "systemd, control groups version 2",
        init: Init::Systemd,
        kernel: "systemd.unified_cgroup_hierarchy=1",
        script: "install",
        checks: INSTALLED,
        limit: Duration::from_secs(2400),
    },
    Trial {
        name: "systemd-v1",
        machine: "systemd, control groups version 1",
        init: Init::Systemd,
        kernel: "systemd.unified_cgroup_hierarchy=0 systemd.legacy_systemd_cgroup_controller=1",
        script: "install",
        checks: INSTALLED,
        limit: Duration::from_secs(2400),
    },
];

pub(crate) fn run(names: impl Iterator<Item = String>) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace's folder")?;
    let names: Vec<String> = names.collect();
    if let Some(unknown) = names.iter().find(|name| find(name).is_none()) {
        let known: Vec<&str> = TRIALS.iter().map(|trial| trial.name).collect();
        bail!("unknown trial {unknown:?}; known: {}", known.join(", "));
    }
    let binary = std::env::var_os("TRANSOM_BIN").context("name a static binary in TRANSOM_BIN")?;
    let work = root.join(".build/vm");
    fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
    let lock = File::create(work.join("lock"))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .context("another run of virtual machines of this clone is under way")?;
    machine::end_predecessor(&work)?;
    let disks = image::make(root, &work, Path::new(&binary))?;
    // Now: sources go on while machines run.
    let commit = tool::commit(root)?;
    let mut failed = Vec::new();
    let chosen = |trial: &&Trial| names.is_empty() || names.iter().any(|name| name == trial.name);
    for trial in TRIALS.iter().filter(chosen) {
        say(&format!("== {}: {}", trial.name, trial.machine));
        let outcome = machine::run(&work, &disks, trial)?;
        outcome.save(&work, &commit, trial)?;
        page::write(root, &work)?;
        if let Some(why) = &outcome.failure {
            say(&format!("{}: {why}", trial.name));
            failed.push(trial.name);
        }
    }
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

fn find(name: &str) -> Option<&'static Trial> {
    TRIALS.iter().find(|trial| trial.name == name)
}
