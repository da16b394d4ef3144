//! An image with a shell, from the machine's own static busybox.

use std::path::Path;
use std::process::Command;

use images::build::Build;
use images::{ImageConfig, Reference};

const BINARY: &str = "/bin/busybox";

/// `localhost/busybox:latest` as an archive; `None` when the machine has no busybox.
#[expect(clippy::disallowed_methods, reason = "busybox says what it can do")]
pub(crate) fn archive() -> Option<Vec<u8>> {
    let binary = std::fs::read(Path::new(BINARY)).ok()?;
    let list = Command::new(BINARY).arg("--list").output().ok()?;
    let applets = String::from_utf8(list.stdout).ok()?;
    let paths: Vec<String> = applets
        .lines()
        .filter(|applet| *applet != "busybox")
        .map(|applet| format!("bin/{applet}"))
        .collect();
    let links: Vec<(&str, &str)> = paths
        .iter()
        .map(|path| (path.as_str(), "busybox"))
        .collect();
    let config = ImageConfig {
        cmd: vec!["sh".to_owned()],
        env: vec!["PATH=/bin:/usr/bin".to_owned()],
        ..ImageConfig::default()
    };
    let passwd = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n";
    let group = "root:x:0:\nuser:x:1000:\nextra:x:50000:user\n";
    let files: &[(&str, u32, &[u8])] = &[
        ("bin/busybox", 0o755, &binary),
        ("etc/passwd", 0o644, passwd.as_bytes()),
        ("etc/group", 0o644, group.as_bytes()),
        ("home/", 0o755, b""),
        ("root/", 0o700, b""),
        ("tmp/", 0o1777, b""),
    ];
    let reference: Reference = "localhost/busybox:latest".parse().ok()?;
    let build = Build::new(config).uncompressed().files(files).ok()?;
    build.links(&links).ok()?.archive(&reference).ok()
}
