//! The guest's disks: Debian's packages, kept between runs, and the program under test.
//!
//! The first disk is a whole small Debian, installed by mmdebstrap from the mirror of the machine's
//! own apt; the second holds the program and the trial's script. Everything is below .build/vm.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::images::mirror;
use crate::tool::{command, modified, say};

/// Its systemd is the last that runs version 1 control groups, and its kernel has all of them.
const SUITE: &str = "bookworm";
const PACKAGES: &str = "linux-image-cloud-amd64,initramfs-tools,systemd,systemd-sysv,udev,\
iproute2,nftables,procps,kmod,busybox-static";
const DISK: &str = "3G";

/// What a machine boots from.
pub(super) struct Disks {
    pub(super) kernel: PathBuf,
    pub(super) initrd: PathBuf,
    pub(super) system: PathBuf,
    pub(super) payload: PathBuf,
}

pub(super) fn make(root: &Path, work: &Path, binary: &Path) -> Result<Disks> {
    let sources = root.join("xtask/vm");
    let system = work.join("system.img");
    let own = ["vm-trial", "vm.service", "10-vm.network"];
    let newest = own.map(|name| modified(&sources.join(name)));
    if modified(&system) < newest.into_iter().max().flatten() {
        install(work, &sources, &system)?;
    }
    let payload = work.join("payload.img");
    let folder = work.join("payload");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    strip(binary, &folder.join("transom"))?;
    let script = folder.join("trial.sh");
    fs::copy(sources.join("trial.sh"), &script)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    let bytes = fs::metadata(folder.join("transom"))?.len();
    pack(&folder, &payload, &format!("{}M", (bytes >> 20) + 32))?;
    fs::remove_dir_all(&folder)?;
    Ok(Disks {
        kernel: work.join("vmlinuz"),
        initrd: work.join("initrd.img"),
        system,
        payload,
    })
}

fn install(work: &Path, sources: &Path, system: &Path) -> Result<()> {
    let folder = work.join("system");
    let _ = fs::remove_dir_all(&folder);
    say(&format!("installing {PACKAGES}"));
    let status = command("mmdebstrap", work)
        .args(["--quiet", "--mode=root", "--variant=minbase"])
        .arg(format!("--include={PACKAGES}"))
        .args([SUITE, "system"])
        .arg(mirror(work)?)
        .status()
        .context("run mmdebstrap: apt-get install mmdebstrap")?;
    ensure!(status.success(), "mmdebstrap of {PACKAGES} failed");
    place(sources, &folder, "vm-trial", "usr/local/sbin", 0o755)?;
    place(sources, &folder, "vm.service", "etc/systemd/system", 0o644)?;
    place(
        sources,
        &folder,
        "10-vm.network",
        "etc/systemd/network",
        0o644,
    )?;
    let wants = folder.join("etc/systemd/system");
    for (target, unit, from) in [
        ("multi-user", "vm", "/etc/systemd/system"),
        ("multi-user", "systemd-networkd", "/lib/systemd/system"),
        (
            "network-online",
            "systemd-networkd-wait-online",
            "/lib/systemd/system",
        ),
    ] {
        let wants = wants.join(format!("{target}.target.wants"));
        fs::create_dir_all(&wants)?;
        let link = wants.join(format!("{unit}.service"));
        let _ = fs::remove_file(&link);
        symlink(format!("{from}/{unit}.service"), link)?;
    }
    fs::write(folder.join("etc/hostname"), "guest\n")?;
    fs::write(
        folder.join("etc/hosts"),
        "127.0.0.1 localhost\n127.0.1.1 guest\n",
    )?;
    fs::write(folder.join("etc/resolv.conf"), "")?;
    for (prefix, name) in [("vmlinuz-", "vmlinuz"), ("initrd.img-", "initrd.img")] {
        let boot = folder.join("boot");
        let files = fs::read_dir(&boot)?.collect::<Result<Vec<_>, _>>()?;
        let found = files
            .iter()
            .find(|file| file.file_name().to_string_lossy().starts_with(prefix));
        let found = found.with_context(|| format!("the packages brought no {prefix}…"))?;
        fs::copy(found.path(), work.join(name))?;
    }
    fs::remove_dir_all(folder.join("var/cache/apt"))?;
    fs::create_dir_all(folder.join("var/cache/apt"))?;
    let part = work.join("system.img.part");
    pack(&folder, &part, DISK)?;
    fs::remove_dir_all(&folder)?;
    fs::rename(&part, system)?;
    Ok(())
}

fn place(sources: &Path, folder: &Path, name: &str, at: &str, mode: u32) -> Result<()> {
    let target = folder.join(at).join(name);
    fs::create_dir_all(folder.join(at))?;
    fs::copy(sources.join(name), &target).with_context(|| target.display().to_string())?;
    fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
    Ok(())
}

/// Without debugging information it is a third.
fn strip(binary: &Path, target: &Path) -> Result<()> {
    let folder = Path::new("/");
    let status = command("strip", folder)
        .arg("-o")
        .arg(target)
        .arg(binary)
        .status()
        .context("run strip: apt-get install binutils")?;
    ensure!(status.success(), "strip {} failed", binary.display());
    Ok(())
}

/// A file system of `size` that holds the folder.
fn pack(folder: &Path, image: &Path, size: &str) -> Result<()> {
    let _ = fs::remove_file(image);
    let status = command("mkfs.ext4", Path::new("/"))
        .args(["-q", "-F", "-m", "0", "-d"])
        .args([folder, image])
        .arg(size)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .status()
        .context("run mkfs.ext4: apt-get install e2fsprogs")?;
    ensure!(status.success(), "mkfs.ext4 {} failed", image.display());
    Ok(())
}
