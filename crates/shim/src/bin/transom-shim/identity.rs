//! Who a process is: users and groups from the image, limits, capabilities, seccomp, exec.
//!
//! Names are looked up in the container's own `/etc/passwd` and `/etc/group`, opened inside its
//! root and bounded. Source: moby/sys/user (GetExecUser), runc 1.2 libcontainer/init_linux.go
//! (order of identity changes), containerd 2.x pkg/oci/spec_opts.go (additional groups).

use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;

use shim::spec::{Process, Rlimit};

use crate::credentials;
use crate::sys::{self, During, Failure, Result, describe, fail};

/// Largest user database that is read.
const MAX_DATABASE: usize = 1 << 20;

/// The user that a process becomes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
    pub(crate) home: String,
}

/// Looks `process.user` up in `root`.
pub(crate) fn find_user(root: &OwnedFd, process: &Process) -> Result<User> {
    let passwd = read_database(root, "/etc/passwd");
    let group = read_database(root, "/etc/group");
    resolve_user(process, &passwd, &group)
}

fn read_database(root: &OwnedFd, path: &str) -> String {
    let read = || -> io::Result<Vec<u8>> {
        let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = sys::open_in(root, path, flags, 0)?;
        if sys::stat(&file)?.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; MAX_DATABASE];
        let mut length = 0;
        while length < bytes.len() {
            match sys::read(&file, &mut bytes[length..])? {
                0 => break,
                n => length += n,
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    };
    // An image without users is common; numbers need no database.
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

fn resolve_user(process: &Process, passwd: &str, group: &str) -> Result<User> {
    let (name, group_name) = match process.user.split_once(':') {
        Some((name, group_name)) => (name, Some(group_name).filter(|g| !g.is_empty())),
        None => (process.user.as_str(), None),
    };
    let number: Option<u32> = if name.is_empty() {
        Some(0)
    } else {
        name.parse().ok()
    };
    let entry = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [user, _, uid, gid, _, home, ..] = fields.as_slice() else {
            return None;
        };
        let (uid, gid) = (uid.parse::<u32>().ok()?, gid.parse::<u32>().ok()?);
        let same = number.map_or(*user == name, |n| n == uid);
        same.then(|| ((*user).to_string(), uid, gid, (*home).to_string()))
    });
    let (user_name, uid, mut gid, home) = match (entry, number) {
        (Some(entry), _) => entry,
        (None, Some(uid)) => (String::new(), uid, 0, "/".into()),
        (None, None) => {
            return fail(format!(
                "unable to find user {name}: no matching entries in passwd file"
            ));
        }
    };
    let entries = || {
        group.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
            Some((
                name,
                gid.parse::<u32>().ok()?,
                fields.next().unwrap_or_default(),
            ))
        })
    };
    if let Some(wanted) = group_name {
        let found = entries()
            .find(|(name, ..)| *name == wanted)
            .map(|(_, gid, _)| gid);
        gid = match found.or_else(|| wanted.parse().ok()) {
            Some(gid) => gid,
            None => {
                return fail(format!(
                    "unable to find group {wanted}: no matching entries in group file"
                ));
            }
        };
    }
    let mut groups = vec![gid];
    groups.extend(&process.groups);
    if process.merge_groups && !user_name.is_empty() {
        groups.extend(
            entries()
                .filter(|(.., m)| m.split(',').any(|m| m == user_name))
                .map(|e| e.1),
        );
    }
    let mut seen = Vec::new();
    groups.retain(|g| {
        !seen.contains(g) && {
            seen.push(*g);
            true
        }
    });
    Ok(User {
        uid,
        gid,
        groups,
        home,
    })
}

/// Applies resource limits; a hard limit that may not be raised stays as it is.
pub(crate) fn set_limits(limits: &[Rlimit], warnings: &mut Vec<String>) -> Result<()> {
    for limit in limits {
        match credentials::set_rlimit(limit.resource, limit.soft, limit.hard) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(libc::EPERM) => {
                let describe = || format!("set resource limit {}", limit.resource);
                let hard = credentials::hard_limit(limit.resource).during(describe)?;
                credentials::set_rlimit(limit.resource, limit.soft.min(hard), hard)
                    .during(describe)?;
                warnings.push(format!(
                    "resource limit {} stays at {hard}: raising it to {} is not permitted",
                    limit.resource, limit.hard
                ));
            }
            Err(e) => return Err(e).during(|| format!("set resource limit {}", limit.resource)),
        }
    }
    Ok(())
}

/// Sets the OOM score; a lower one than we may give is replaced by ours.
pub(crate) fn set_oom_score(score: Option<i32>, warnings: &mut Vec<String>) -> Result<()> {
    let Some(score) = score else { return Ok(()) };
    match std::fs::write("/proc/self/oom_score_adj", score.to_string()) {
        Ok(()) => Ok(()),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EACCES | libc::EPERM)) => {
            warnings.push(format!(
                "oom_score_adj {score} is not permitted: the inherited one stays"
            ));
            Ok(())
        }
        Err(e) => Err(e).during(|| format!("set oom_score_adj to {score}")),
    }
}

/// Everything from root to the user, in the order that each step still permits the next.
pub(crate) fn become_user(process: &Process, user: &User) -> Result<()> {
    let step = |name: &'static str| move || name.to_string();
    let own = credentials::permitted_capabilities().during(step("read capabilities"))?;
    let wanted = process.capabilities.permitted & own;
    // The agent's would be every container's.
    credentials::new_session_keyring().during(step("make a session keyring"))?;
    if !process.no_new_privs && !process.seccomp.0.is_empty() {
        // Without no_new_privs the filter needs CAP_SYS_ADMIN: before that goes.
        credentials::set_seccomp(&process.seccomp.0).during(step("install the seccomp filter"))?;
    }
    for capability in 0..64 {
        match credentials::bounding_has(capability) {
            Err(_) => break,
            Ok(has) if has && process.capabilities.bounding >> capability & 1 == 0 => {
                credentials::bounding_drop(capability).during(step("drop a capability"))?;
            }
            Ok(_) => {}
        }
    }
    credentials::keep_capabilities(true).during(step("keep capabilities"))?;
    credentials::set_ids(user.uid, user.gid, &user.groups)
        .during(|| format!("become user {} of group {}", user.uid, user.gid))?;
    credentials::set_capabilities(wanted, process.capabilities.inheritable & own)
        .during(step("set capabilities"))?;
    credentials::keep_capabilities(false).during(step("reset keep capabilities"))?;
    for capability in 0..64 {
        if process.capabilities.ambient >> capability & 1 == 1 {
            credentials::ambient_raise(capability).during(step("raise an ambient capability"))?;
        }
    }
    if process.no_new_privs {
        credentials::set_no_new_privs().during(step("set no_new_privs"))?;
        if !process.seccomp.0.is_empty() {
            credentials::set_seccomp(&process.seccomp.0)
                .during(step("install the seccomp filter"))?;
        }
    }
    Ok(())
}

/// A process ready to be executed: strings made in advance.
pub(crate) struct Program {
    candidates: Vec<CString>,
    args: Vec<CString>,
    env: Vec<CString>,
    name: String,
    searched: bool,
}

impl Program {
    pub(crate) fn new(process: &Process, user: &User) -> Result<Program> {
        let Some(name) = process.args.first() else {
            return fail("no command specified");
        };
        let strings = |list: &[String]| -> Result<Vec<CString>> {
            list.iter()
                .map(|s| sys::c_string(s).during(|| format!("use {s:?}")))
                .collect()
        };
        let mut env = strings(&process.env)?;
        if !process.env.iter().any(|e| e.starts_with("HOME=")) {
            env.push(sys::c_string(&format!("HOME={}", user.home)).during(|| "set HOME".into())?);
        }
        let searched = !name.contains('/');
        let candidates = if searched {
            let path = process
                .env
                .iter()
                .rev()
                .find_map(|e| e.strip_prefix("PATH="));
            path.unwrap_or_default()
                .split(':')
                .filter_map(|dir| sys::c_string(&format!("{dir}/{name}")).ok())
                .collect()
        } else {
            strings(std::slice::from_ref(name))?
        };
        Ok(Program {
            candidates,
            args: strings(&process.args)?,
            env,
            name: name.clone(),
            searched,
        })
    }

    /// Executes it; returns why not.
    pub(crate) fn exec(&self) -> Failure {
        let mut denied = None;
        for candidate in &self.candidates {
            let e = credentials::exec(candidate, &self.args, &self.env);
            match e.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) if self.searched => {}
                Some(libc::EACCES) if self.searched => denied = Some(e),
                _ => denied = Some(e),
            }
            if !self.searched {
                break;
            }
        }
        let name = &self.name;
        let cause = match denied {
            None => "executable file not found in $PATH".into(),
            Some(e) if e.raw_os_error() == Some(libc::ENOENT) => {
                format!("stat {name}: no such file or directory")
            }
            Some(e) => describe(&e),
        };
        Failure(format!("exec: {name:?}: {cause}"))
    }
}
