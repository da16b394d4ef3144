//! Network namespaces: made, kept by a bind-mounted file, entered by a short-lived thread.
//!
//! A namespace lives without a process in a bind mount of its nsfs file. Knows nothing of what is
//! inside it. Source: setns(2), unshare(2), namespaces(7).
#![expect(
    unsafe_code,
    reason = "rustix marks unshare unsafe because of CLONE_FILES"
)]

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::error::{Error, What};

/// The magic number of nsfs in statfs(2).
const NSFS_MAGIC: u64 = 0x6e73_6673;
const OWN: &str = "/proc/thread-self/ns/net";

/// A handle that keeps a network namespace alive.
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Namespace {
    /// The calling thread's namespace.
    pub fn current() -> Result<Self, Error> {
        Self::open(Path::new(OWN))
    }

    /// Opens the namespace behind an nsfs file; refuses a file that is not one.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let what = || What::new("open network namespace", path.display());
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(
            |errno| Error::System {
                what: what(),
                call: "open",
                errno,
            },
        )?;
        let stat = rustix::fs::fstatfs(&fd).map_err(|errno| Error::System {
            what: what(),
            call: "fstatfs",
            errno,
        })?;
        #[expect(clippy::cast_sign_loss, reason = "f_type is a magic number")]
        if stat.f_type as u64 != NSFS_MAGIC {
            return Err(Error::Answer {
                what: what(),
                reason: "the file is not a namespace",
            });
        }
        Ok(Self { fd })
    }

    /// Makes a namespace that lives as long as this handle or a process inside it.
    pub fn anonymous() -> Result<Self, Error> {
        in_thread("make network namespace", || {
            unshare_network()?;
            Self::current()
        })?
    }

    /// Makes a namespace and keeps it in a bind mount on `path`, whose folder must exist.
    pub fn create(path: &Path) -> Result<Self, Error> {
        let what = || What::new("make network namespace", path.display());
        let file = File::create(path).map_err(|e| system(what(), "create", &e))?;
        drop(file);
        let made = in_thread("make network namespace", || {
            unshare_network()?;
            rustix::mount::mount_bind(OWN, path).map_err(|errno| Error::System {
                what: what(),
                call: "mount",
                errno,
            })?;
            Self::open(path)
        })
        .flatten();
        if made.is_err() {
            let _ = std::fs::remove_file(path);
        }
        made
    }

    /// Whether `path` holds a live namespace (false for a plain file left over by a reboot).
    #[must_use]
    pub fn is_at(path: &Path) -> bool {
        Self::open(path).is_ok()
    }

    /// Removes the bind mount and the file; absent is fine.
    pub fn remove(path: &Path) -> Result<(), Error> {
        let what = || What::new("remove network namespace", path.display());
        loop {
            match rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
                Ok(()) => {}
                Err(Errno::INVAL | Errno::NOENT) => break,
                Err(errno) => {
                    return Err(Error::System {
                        what: what(),
                        call: "umount",
                        errno,
                    });
                }
            }
        }
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(system(what(), "unlink", &e)),
            _ => Ok(()),
        }
    }

    /// Runs `work` in a short-lived thread inside this namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        run_in(self.as_fd(), work)
    }

    /// Device and inode of the nsfs file: equal for the same namespace.
    pub fn identity(&self) -> Result<(u64, u64), Error> {
        let stat = rustix::fs::fstat(&self.fd).map_err(|errno| Error::System {
            what: What::new("identify network namespace", ""),
            call: "fstat",
            errno,
        })?;
        Ok((stat.st_dev, stat.st_ino))
    }

    /// A second handle on the same namespace.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 0).map_err(|errno| Error::System {
            what: What::new("duplicate network namespace", ""),
            call: "fcntl",
            errno,
        })?;
        Ok(Self { fd })
    }
}

/// Runs `work` in a short-lived thread inside the network namespace `fd`.
pub fn run_in<T: Send>(fd: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    in_thread("enter network namespace", || {
        rustix::thread::move_into_link_name_space(fd, Some(LinkNameSpaceType::Network)).map_err(
            |errno| Error::System {
                what: What::new("enter network namespace", ""),
                call: "setns",
                errno,
            },
        )?;
        Ok(work())
    })
    .flatten()
}

/// Moves the calling thread for good. Meant for a process that is about to exec, or for a thread
/// that owns itself.
pub fn enter(fd: BorrowedFd<'_>) -> Result<(), Error> {
    rustix::thread::move_into_link_name_space(fd, Some(LinkNameSpaceType::Network)).map_err(
        |errno| Error::System {
            what: What::new("enter network namespace", ""),
            call: "setns",
            errno,
        },
    )
}

fn unshare_network() -> Result<(), Error> {
    // SAFETY: CLONE_NEWNET changes only the calling thread's network namespace; no descriptor
    // table is unshared, which is what makes the call unsafe in general.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|errno| Error::System {
        what: What::new("make network namespace", ""),
        call: "unshare",
        errno,
    })
}

/// Runs `work` in a thread of its own, so that a namespace change ends with it.
fn in_thread<T: Send>(
    operation: &'static str,
    work: impl FnOnce() -> T + Send,
) -> Result<T, Error> {
    let failed = |reason| Error::Answer {
        what: What::new(operation, ""),
        reason,
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("netns".to_owned())
            .stack_size(512 << 10)
            .spawn_scoped(scope, work)
            .map_err(|e| system(What::new(operation, ""), "clone", &e))?
            .join()
            .map_err(|_| failed("the helper thread panicked"))
    })
}

fn system(what: What, call: &'static str, error: &io::Error) -> Error {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    Error::System { what, call, errno }
}
