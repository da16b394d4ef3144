//! The embedded shim and its copy on disk.
//!
//! Written once under its content hash and never overwritten, because shims of older versions
//! still run from theirs. It is executed through a detached read-only mount of that file: a
//! container that gets hold of `/proc/PID/exe` of a shim's child cannot write to it.
#![expect(unsafe_code, reason = "open_tree and mount_setattr with attributes")]

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::Error;

const BYTES: &[u8] = include_bytes!(env!("TRANSOM_SHIM"));

/// An installed shim, ready to be executed.
#[derive(Debug)]
pub struct ShimBinary {
    path: PathBuf,
    mount: Option<OwnedFd>,
}

impl ShimBinary {
    /// Writes the embedded shim into `directory` unless it is there.
    pub fn install(directory: &Path) -> Result<ShimBinary, Error> {
        let path = directory.join(format!("transom-shim-{:016x}", hash(BYTES)));
        let file = |operation, path: &Path| {
            let path = path.to_path_buf();
            move |cause| Error::File {
                operation,
                path,
                cause,
            }
        };
        fs::create_dir_all(directory).map_err(file("create", directory))?;
        let complete = fs::metadata(&path).is_ok_and(|m| m.len() == BYTES.len() as u64);
        if !complete {
            let temporary = directory.join(format!(".transom-shim-{}", std::process::id()));
            let write = || -> io::Result<()> {
                let mut options = fs::OpenOptions::new();
                options.write(true).create(true).truncate(true).mode(0o500);
                let mut file = options.open(&temporary)?;
                file.write_all(BYTES)?;
                file.set_permissions(fs::Permissions::from_mode(0o500))?;
                drop(file);
                fs::rename(&temporary, &path)
            };
            write().map_err(file("write", &path))?;
        }
        // Without the mount (an old kernel, a sandbox) the file itself has to do.
        let mount = read_only_mount(&path).ok();
        Ok(ShimBinary { path, mount })
    }

    /// Installed, but executed from its file as a careless runtime would.
    #[cfg(test)]
    pub(crate) fn from_its_file(directory: &Path) -> Result<ShimBinary, Error> {
        let binary = ShimBinary::install(directory)?;
        Ok(ShimBinary {
            mount: None,
            ..binary
        })
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path to execute.
    pub(crate) fn executable(&self) -> PathBuf {
        match &self.mount {
            Some(fd) => PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())),
            None => self.path.clone(),
        }
    }
}

/// FNV-1a: names a version, protects nothing.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3)
    })
}

fn read_only_mount(path: &Path) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        user_namespace: u64,
    }
    let path = std::ffi::CString::new(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()))?;
    let flags = 1 | libc::O_CLOEXEC;
    // SAFETY: a valid C string; the descriptor is owned at once.
    let fd = unsafe {
        let fd = libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags);
        let fd = i32::try_from(fd).unwrap_or(-1);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    let attr = MountAttr {
        set: 1,
        clear: 0,
        propagation: 0,
        user_namespace: 0,
    };
    // SAFETY: pointers are valid for the call, the size is that of the struct.
    let ret = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    };
    if ret < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(fd)
    }
}
