//! The units of the two services, and systemctl.
//!
//! The only program that Transom starts on a host: systemd's own tool knows systemd's own bus.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::error::Error;

/// A service of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    name: &'static str,
    text: &'static str,
}

/// The control plane: a user of its own that exists only while it runs, no capability, nothing of
/// the machine but its keys and its store.
pub(super) const SERVER: Unit = Unit {
    name: "transom-server",
    text: "\
[Unit]
Description=Transom: the control plane of a Kubernetes cluster
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=/usr/local/bin/transom server --config /etc/transom/server.yaml
Restart=always
RestartSec=1
TimeoutStopSec=30
DynamicUser=yes
User=transom
StateDirectory=transom-server
StateDirectoryMode=0700
UMask=0077
LimitNOFILE=65536
OOMScoreAdjust=-900
CapabilityBoundingSet=
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
",
};

/// The node. It makes mounts, namespaces and control groups for containers, which outlive it: a
/// namespace of its own or a filter would be theirs too, or would hide from its next start what it
/// has mounted, so there is none. Its stop ends itself alone (KillMode), and its limits are those
/// that containers begin with.
pub(super) const AGENT: Unit = Unit {
    name: "transom-agent",
    text: "\
[Unit]
Description=Transom: a node of a Kubernetes cluster
After=network-online.target transom-server.service
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=/usr/local/bin/transom agent --config /etc/transom/agent.yaml
Restart=always
RestartSec=1
TimeoutStopSec=30
KillMode=process
Delegate=yes
StateDirectory=transom
RuntimeDirectory=transom
RuntimeDirectoryPreserve=yes
LimitNOFILE=1048576
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
OOMScoreAdjust=-999

[Install]
WantedBy=multi-user.target
",
};

impl Unit {
    /// As systemctl takes it.
    pub(super) fn name(self) -> String {
        format!("{}.service", self.name)
    }

    pub(super) fn path(self) -> PathBuf {
        Path::new("/etc/systemd/system").join(self.name())
    }

    pub(super) fn text(self) -> &'static str {
        self.text
    }

    /// The group that systemd makes for it, below what the host's mounts show.
    pub(super) fn cgroup(self) -> String {
        format!("/system.slice/{}", self.name())
    }
}

/// Whether systemd is at work. Source: sd_booted(3).
pub(super) fn systemd_runs() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Runs systemctl; its words are the error's.
pub(super) fn systemctl(words: &[&str]) -> Result<(), Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "folder, environment and streams are given here"
    )]
    let mut command = std::process::Command::new("systemctl");
    let output = command
        .args(words)
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("SYSTEMD_PAGER", "")
        .stdin(Stdio::null())
        .output()
        .map_err(Error::file("run", Path::new("systemctl")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Systemctl {
        words: words.join(" "),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
