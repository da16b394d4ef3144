//! Root file systems from Debian packages, unpacked without running any of their scripts.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::layer::Layer;
use crate::tool::{command, say};

/// bookworm's busybox ends with SIGSEGV in `wget -T`.
const SUITE: &str = "trixie";
const TOOLS: &str = "bash,bind9-dnsutils,curl,netcat-openbsd,iproute2,iperf,util-linux,libc-bin,\
busybox-static,coreutils,grep,mawk,hostname,sed,findutils,procps,bash-static";

/// What specs call by name and no package of the list brings.
const PRINTENV: &str = "#!/bin/sh\n[ $# -eq 0 ] && exec env\neval echo \"\\$$1\"\n";

/// The tools that specs run inside agnhost.
pub(crate) fn tools(work: &Path) -> Result<PathBuf> {
    let (folder, new) = unpack(work, "tools", TOOLS)?;
    if !new {
        return Ok(folder);
    }
    let bin = folder.join("usr/bin");
    // Debian's busybox runs its own applets before those of PATH: the shell must be another one.
    for (link, target) in [("sh", "bash"), ("nc", "nc.openbsd"), ("awk", "mawk")] {
        let _ = fs::remove_file(bin.join(link));
        symlink(target, bin.join(link))?;
    }
    link_applets(&folder)?;
    accounts(&folder)?;
    fs::create_dir_all(folder.join("usr/local/bin"))?;
    symlink("/usr/bin/iperf", folder.join("usr/local/bin/iperf"))?;
    fs::write(work.join("tools.done"), "")?;
    Ok(folder)
}

/// Busybox under the names that no package brought.
fn link_applets(folder: &Path) -> Result<()> {
    let bin = folder.join("usr/bin");
    for applet in applets(&bin.join("busybox"))? {
        let missing = |at: &str| folder.join(at).join(&applet).symlink_metadata().is_err();
        if missing("usr/bin") && missing("usr/sbin") {
            symlink("busybox", bin.join(&applet))?;
        }
    }
    Ok(())
}

/// A web server that stays in the foreground.
pub(crate) fn nginx(work: &Path) -> Result<PathBuf> {
    let (folder, new) = unpack(work, "nginx", "nginx-light,libc-bin,busybox-static")?;
    if !new {
        return Ok(folder);
    }
    link_applets(&folder)?;
    accounts(&folder)?;
    for path in [
        "var/log/nginx",
        "var/lib/nginx",
        "run",
        "usr/share/nginx/html",
    ] {
        fs::create_dir_all(folder.join(path))?;
    }
    fs::write(
        folder.join("usr/share/nginx/html/index.html"),
        "<title>Welcome to nginx!</title>\n",
    )?;
    fs::write(
        folder.join("etc/nginx/nginx.conf"),
        "user root;\nerror_log /dev/stderr;\nevents {}\nhttp { access_log /dev/stdout; server { \
         listen 80; root /usr/share/nginx/html; } }\n",
    )?;
    fs::write(work.join("nginx.done"), "")?;
    Ok(folder)
}

/// Busybox, a link an applet, and a shell that chooses between it and bash.
pub(crate) fn busybox(program: &[u8], bash: &[u8], shell: &[u8]) -> Result<Layer> {
    let scratch = std::env::temp_dir().join(format!("busybox-{}", std::process::id()));
    fs::write(&scratch, program)?;
    fs::set_permissions(&scratch, fs::Permissions::from_mode(0o755))?;
    let names = applets(&scratch);
    fs::remove_file(&scratch)?;
    let mut layer = Layer::new();
    layer.file("bin/busybox", 0o755, program)?;
    for name in names? {
        if !["busybox", "bash", "sh"].contains(&name.as_str()) {
            layer.link(&format!("bin/{name}"), "busybox")?;
        }
    }
    layer.file("bin/bash", 0o755, bash)?;
    layer.file("bin/sh", 0o755, shell)?;
    layer.file("bin/printenv", 0o755, PRINTENV.as_bytes())?;
    for (path, mode) in [
        ("tmp", 0o1777),
        ("root", 0o700),
        ("home", 0o755),
        ("etc", 0o755),
    ] {
        layer.folder(path, mode)?;
    }
    layer.file("etc/passwd", 0o644, PASSWD.as_bytes())?;
    layer.file("etc/group", 0o644, GROUP.as_bytes())?;
    for link in ["usr/bin", "usr/sbin", "sbin"] {
        layer.link(link, if link == "sbin" { "bin" } else { "../bin" })?;
    }
    Ok(layer)
}

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

fn accounts(folder: &Path) -> Result<()> {
    let user = "user-defined-in-image:x:1000:1000::/home/user-defined-in-image:/bin/sh\n";
    let groups = "user-defined-in-image:x:1000:\n\
                  group-defined-in-image:x:50000:user-defined-in-image\n";
    fs::create_dir_all(folder.join("etc"))?;
    fs::write(folder.join("etc/passwd"), format!("{PASSWD}{user}"))?;
    fs::write(folder.join("etc/group"), format!("{GROUP}{groups}"))?;
    Ok(())
}

fn applets(busybox: &Path) -> Result<Vec<String>> {
    let output = command(busybox, Path::new("/")).arg("--list").output()?;
    ensure!(
        output.status.success(),
        "{} --list failed",
        busybox.display()
    );
    let names = String::from_utf8(output.stdout)?;
    Ok(names.lines().map(str::to_owned).collect())
}

/// Unpacks packages and what they need; false if that was done before.
fn unpack(work: &Path, name: &str, packages: &str) -> Result<(PathBuf, bool)> {
    let folder = work.join(name);
    let done = work.join(format!("{name}.done"));
    if done.exists() {
        return Ok((folder, false));
    }
    let _ = fs::remove_dir_all(&folder);
    say(&format!("unpacking {packages}"));
    let links =
        "for d in bin sbin lib lib64; do mkdir -p \"$1/usr/$d\"; ln -s usr/$d \"$1/$d\"; done";
    let status = command("mmdebstrap", work)
        .args(["--quiet", "--mode=root", "--variant=extract"])
        .arg(format!("--include={packages}"))
        .arg(format!("--setup-hook={links}"))
        .args([SUITE, name])
        .arg(mirror(work)?)
        .status()
        .context("run mmdebstrap: apt-get install mmdebstrap")?;
    ensure!(status.success(), "mmdebstrap of {packages} failed");
    for waste in [
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
        "usr/share/info",
        "var/cache",
        "var/lib/apt",
        "dev",
    ] {
        let path = folder.join(waste);
        if path.exists() {
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
    }
    fs::create_dir_all(folder.join("tmp"))?;
    fs::set_permissions(folder.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    Ok((folder, true))
}

/// The mirror of the machine's own apt.
pub(crate) fn mirror(work: &Path) -> Result<String> {
    let output = command("apt-get", work)
        .args([
            "indextargets",
            "--format",
            "$(REPO_URI)",
            "Created-By: Packages",
        ])
        .output()
        .context("run apt-get: Debian is needed")?;
    let text = String::from_utf8(output.stdout)?;
    let mut mirrors = text.lines().filter(|line| !line.contains("security"));
    let mirror = mirrors.next().context("apt knows no mirror")?;
    Ok(mirror.trim_end_matches('/').to_owned())
}
