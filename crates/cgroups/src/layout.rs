//! Which cgroup hierarchies this process sees, and where.
//!
//! Read from `/proc/self/mountinfo` and `/proc/self/cgroup`, never assumed. A mount may show a
//! part of the hierarchy only (a container, a node of a local cluster): all paths of this crate
//! are relative to what the mount shows. Example: mountinfo root `/docker/x`, cgroup file
//! `/docker/x/y` → own path `/y`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Version of the control groups in use on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Version 1 hierarchies only.
    V1,
    /// Version 1 controllers beside a unified tree.
    Hybrid,
    /// The unified tree only.
    V2,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its controllers; `name=systemd` for a named one, empty for the unified tree.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Path of this process's group below the mount, `/` if it lies outside.
    pub own: String,
}

impl Hierarchy {
    /// Directory of the group `path` (absolute within what the mount shows).
    #[must_use]
    pub fn dir(&self, path: &str) -> PathBuf {
        self.mount.join(path.trim_start_matches('/'))
    }

    /// Last component of the mount point, as containers expect it (`memory`, `cpu,cpuacct`).
    #[must_use]
    pub fn name(&self) -> String {
        self.mount
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default()
    }
}

/// All hierarchies of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    v1: Vec<Hierarchy>,
    unified: Option<Hierarchy>,
}

impl Layout {
    /// Detects the hierarchies of this process.
    pub fn detect() -> Result<Layout, Error> {
        let read = |path: &str| {
            fs::read_to_string(path).map_err(|cause| Error::Read {
                path: path.into(),
                cause,
            })
        };
        Layout::parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?)
    }

    /// Pure part of [`Layout::detect`].
    pub fn parse(mountinfo: &str, cgroup: &str) -> Result<Layout, Error> {
        let groups = parse_groups(cgroup)?;
        let mut layout = Layout {
            v1: Vec::new(),
            unified: None,
        };
        for line in mountinfo.lines() {
            let Some(mount) = parse_mount(line)? else {
                continue;
            };
            let found = groups.iter().find(|group| match mount.unified {
                true => group.controllers.is_empty(),
                false => group
                    .controllers
                    .iter()
                    .any(|c| mount.options.iter().any(|o| o == c)),
            });
            let Some(group) = found else { continue };
            let hierarchy = Hierarchy {
                controllers: group.controllers.clone(),
                mount: mount.target,
                own: below(&mount.root, &group.path),
            };
            // A later mount on the same place hides the earlier; another place is a copy.
            if mount.unified {
                match &mut layout.unified {
                    Some(seen) if seen.mount != hierarchy.mount => {}
                    slot => *slot = Some(hierarchy),
                }
            } else {
                match layout
                    .v1
                    .iter_mut()
                    .find(|h| h.controllers == hierarchy.controllers)
                {
                    Some(seen) if seen.mount != hierarchy.mount => {}
                    Some(seen) => *seen = hierarchy,
                    None => layout.v1.push(hierarchy),
                }
            }
        }
        if layout.v1.is_empty() && layout.unified.is_none() {
            return Err(Error::NotMounted);
        }
        Ok(layout)
    }

    /// Which of the three worlds this is.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match (self.v1.is_empty(), &self.unified) {
            (true, _) => Mode::V2,
            (false, None) => Mode::V1,
            (false, Some(_)) => Mode::Hybrid,
        }
    }

    /// The version 1 hierarchies in mount order.
    #[must_use]
    pub fn v1(&self) -> &[Hierarchy] {
        &self.v1
    }

    /// The unified tree.
    #[must_use]
    pub fn unified(&self) -> Option<&Hierarchy> {
        self.unified.as_ref()
    }

    /// The version 1 hierarchy that owns `controller`.
    #[must_use]
    pub fn v1_of(&self, controller: &str) -> Option<&Hierarchy> {
        self.v1
            .iter()
            .find(|h| h.controllers.iter().any(|c| c == controller))
    }

    /// The first level of the mounted trees, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        let v1: Vec<String> = self.v1.iter().map(|h| h.controllers.join(",")).collect();
        format!(
            "{:?} v1=[{}] unified={}",
            self.mode(),
            v1.join(" "),
            self.unified.is_some()
        )
    }
}

struct OwnGroup {
    controllers: Vec<String>,
    path: String,
}

fn parse_groups(text: &str) -> Result<Vec<OwnGroup>, Error> {
    text.lines()
        .map(|line| {
            let bad = || Error::Parse {
                what: "/proc/self/cgroup",
                text: line.into(),
            };
            let mut fields = line.splitn(3, ':');
            fields.next().ok_or_else(bad)?;
            let controllers = fields.next().ok_or_else(bad)?;
            let path = fields.next().ok_or_else(bad)?;
            Ok(OwnGroup {
                controllers: controllers
                    .split(',')
                    .filter(|c| !c.is_empty())
                    .map(Into::into)
                    .collect(),
                path: path.into(),
            })
        })
        .collect()
}

struct CgroupMount {
    unified: bool,
    root: String,
    target: PathBuf,
    options: Vec<String>,
}

/// One line of mountinfo (proc_pid_mountinfo(5)); `None` for other file systems.
fn parse_mount(line: &str) -> Result<Option<CgroupMount>, Error> {
    let bad = || Error::Parse {
        what: "/proc/self/mountinfo",
        text: line.into(),
    };
    let (left, right) = line.split_once(" - ").ok_or_else(bad)?;
    let mut right = right.split(' ');
    let kind = right.next().ok_or_else(bad)?;
    if kind != "cgroup" && kind != "cgroup2" {
        return Ok(None);
    }
    let options = right.nth(1).unwrap_or_default();
    let left: Vec<&str> = left.split(' ').collect();
    let (Some(root), Some(target)) = (left.get(3), left.get(4)) else {
        return Err(bad());
    };
    Ok(Some(CgroupMount {
        unified: kind == "cgroup2",
        root: unescape(root),
        target: PathBuf::from(unescape(target)),
        options: options.split(',').map(Into::into).collect(),
    }))
}

/// Octal escapes of mountinfo: `\040` is a space.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest
            .get(at + 1..at + 4)
            .and_then(|d| u8::from_str_radix(d, 8).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// `path` seen through a mount whose root is `root`.
fn below(root: &str, path: &str) -> String {
    if root == "/" {
        return if path.starts_with("/..") {
            "/".into()
        } else {
            path.into()
        };
    }
    match Path::new(path).strip_prefix(root) {
        Ok(rest) => format!("/{}", rest.display()),
        Err(_) => "/".into(),
    }
}

#[cfg(test)]
mod tests;
