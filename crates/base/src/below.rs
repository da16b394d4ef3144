//! Paths that may not lead out of a folder, opened while the rest of the host goes on.
//!
//! Where such a path goes up, the kernel must know that nothing moved meanwhile. It looks at the
//! whole host: any rename or mount makes it give up and say so (`EAGAIN`), though the path has
//! nothing to do with it.
//! Example: `a/../b` below a volume while another pod saves a file → asked again, opened.
//! Source: openat2(2), `RESOLVE_BENEATH`; linux fs/namei.c, handle_dots.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// How often the kernel is asked: a second at least, so that whoever renames all the time delays
/// others and holds nobody for ever.
const TRIES: usize = 1 << 20;

/// Opens `path` below `root` as `resolve` allows; nothing is made.
pub fn open_below(
    root: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let (root, path) = (root.as_fd(), path.as_ref());
    until_sure(|| openat2(root, path, flags, Mode::empty(), resolve))
}

fn until_sure<T>(mut ask: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    let mut answers = (0..TRIES).map(|_| ask());
    let sure = answers.find(|answer| !matches!(answer, Err(Errno::AGAIN)));
    sure.unwrap_or(Err(Errno::AGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(unsure: usize, answer: rustix::io::Result<&str>, asked: usize) {
        let mut count = 0;
        let got = until_sure(|| {
            count += 1;
            if count <= unsure {
                return Err(Errno::AGAIN);
            }
            answer
        });
        let expected = match unsure < TRIES {
            true => answer,
            false => Err(Errno::AGAIN),
        };
        assert_eq!((got, count), (expected, asked));
    }

    #[test]
    fn asked_until_the_kernel_knows() {
        check(0, Ok("opened"), 1);
        check(3, Ok("opened"), 4);
        check(3, Err(Errno::XDEV), 4);
        check(TRIES - 1, Ok("opened"), TRIES);
        check(TRIES, Ok("opened"), TRIES);
    }
}
