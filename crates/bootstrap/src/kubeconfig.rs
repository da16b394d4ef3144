//! Kubeconfig files: made for a cluster, merged into the user's own, taken out again.
//!
//! Everything in the user's file that is not ours stays as it is, unknown fields too; comments do
//! not survive (as with kubectl). Entries are named `transom-NAME`. The file belongs to the user
//! who called, also under sudo. Source: kubernetes v1.36 client-go/tools/clientcmd (lock file,
//! mode 0600).

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use serde_json::{Map, Value, json};

use crate::config::parse;
use crate::error::Error;
use crate::files;
use crate::process::Process;

const LISTS: [&str; 3] = ["clusters", "users", "contexts"];
const LOCK_ATTEMPTS: u32 = 40;

/// One cluster as one user sees it.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Name of cluster, user and context.
    pub name: &'a str,
    /// Address of the API.
    pub server: SocketAddr,
    /// PEM of the cluster CA.
    pub ca: &'a str,
    /// PEM of the client certificate.
    pub certificate: &'a str,
    /// PEM of its key.
    pub key: &'a str,
}

/// The context's name of a local cluster.
#[must_use]
pub fn context(cluster: &str) -> String {
    format!("transom-{cluster}")
}

/// A kubeconfig of its own for `entry`.
pub fn write(path: &Path, entry: &Entry<'_>) -> Result<(), Error> {
    save(path, &merged(json!({}), entry))
}

/// Puts `entry` into the kubeconfig at `target` and makes it current. Returns the context that
/// was current before, if another.
pub fn merge(target: &Target, entry: &Entry<'_>) -> Result<Option<String>, Error> {
    target.edit(|old| {
        let before = old
            .get("current-context")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let before = Some(before.to_owned()).filter(|b| !b.is_empty() && b != entry.name);
        (Some(merged(old, entry)), before)
    })
}

/// Takes `name` out of the kubeconfig at `target`; if it was current, `before` becomes current
/// again, when it still exists. A file that holds nothing else is removed.
pub fn remove(target: &Target, name: &str, before: Option<&str>) -> Result<(), Error> {
    // What a killed `up` left.
    drop(Lock::of_the_dead(&target.path));
    files::remove_rest(&target.path)?;
    if !target.path.exists() {
        return Ok(());
    }
    let empty = target.edit(|old| match without(old, name, before) {
        Some(rest) => (Some(rest), false),
        None => (None, true),
    })?;
    if empty {
        files::remove(&target.path)?;
        if let Some(folder) = target.path.parent()
            && folder.file_name().is_some_and(|n| n == ".kube")
        {
            files::remove_if_empty(folder);
        }
    }
    Ok(())
}

/// Puts an entry into the configuration in `text` and takes it out again: it is gone, and what else
/// is there can be written.
pub(crate) fn there_and_back(text: &str) {
    let Ok(old) = parse::<Value>(text) else {
        return;
    };
    let entry = Entry {
        name: "transom-fuzz",
        server: SocketAddr::from(([127, 0, 0, 1], 6443)),
        ca: "ca",
        certificate: "certificate",
        key: "key",
    };
    let with = merged(old, &entry);
    assert_eq!(with["current-context"], entry.name, "it is current");
    if let Some(rest) = without(with, entry.name, None) {
        let written = serde_saphyr::to_string(&rest).unwrap_or_default();
        for list in LISTS {
            let all = rest[list].as_array().into_iter().flatten();
            let left = all.filter(|item| item["name"] == entry.name).count();
            assert_eq!(left, 0, "it is gone");
        }
        let again = parse::<Value>(&written);
        assert!(again.is_ok(), "what is written reads: {written}");
    }
}

fn merged(old: Value, entry: &Entry<'_>) -> Value {
    let mut all = match old {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    all.entry("apiVersion").or_insert_with(|| json!("v1"));
    all.entry("kind").or_insert_with(|| json!("Config"));
    let name = entry.name;
    let items = [
        json!({"name": name, "cluster": {
            "server": format!("https://{}", entry.server),
            "certificate-authority-data": STANDARD.encode(entry.ca),
        }}),
        json!({"name": name, "user": {
            "client-certificate-data": STANDARD.encode(entry.certificate),
            "client-key-data": STANDARD.encode(entry.key),
        }}),
        json!({"name": name, "context": {"cluster": name, "user": name}}),
    ];
    for (list, item) in LISTS.iter().zip(items) {
        let slot = all.entry(*list).or_insert(Value::Null);
        if !slot.is_array() {
            *slot = json!([]);
        }
        if let Some(list) = slot.as_array_mut() {
            list.retain(|other| other["name"] != name);
            list.push(item);
        }
    }
    all.insert("current-context".to_owned(), json!(name));
    Value::Object(all)
}

/// The rest without `name`; `None` when nothing of anyone else is left.
fn without(mut all: Value, name: &str, before: Option<&str>) -> Option<Value> {
    let mut others = 0;
    for list in LISTS {
        if let Some(list) = all.get_mut(list).and_then(Value::as_array_mut) {
            list.retain(|other| other["name"] != name);
            others += list.len();
        }
    }
    if all["current-context"] == name {
        let exists = |context: &&str| {
            let contexts = all["contexts"].as_array();
            contexts.is_some_and(|list| list.iter().any(|other| other["name"] == **context))
        };
        let next = before.filter(exists).unwrap_or_default();
        all["current-context"] = json!(next);
    }
    (others > 0).then_some(all)
}

/// A kubeconfig file and the user it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The file.
    pub path: PathBuf,
    /// Its owner when it is made; the caller when absent.
    pub owner: Option<(u32, u32)>,
}

impl Target {
    /// `flag`, or the first file of KUBECONFIG, or `.kube/config` of the invoking user: under sudo
    /// the one who called sudo.
    #[must_use]
    pub fn choose(flag: Option<&Path>) -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let number = |name| variable(name)?.to_str()?.parse::<u32>().ok();
        let root = rustix::process::geteuid().is_root();
        let owner = number("SUDO_UID").zip(number("SUDO_GID")).filter(|_| root);
        if let Some(path) = flag {
            return Self {
                path: path.to_owned(),
                owner,
            };
        }
        let listed = variable("KUBECONFIG")
            .and_then(|list| std::env::split_paths(&list).find(|p| !p.as_os_str().is_empty()));
        if let Some(path) = listed {
            return Self { path, owner };
        }
        let home = owner
            .and_then(|(uid, _)| home_of(&fs::read_to_string("/etc/passwd").ok()?, uid))
            .or_else(|| variable("HOME").map(PathBuf::from))
            .unwrap_or_else(|| "/root".into());
        Self {
            path: home.join(".kube").join("config"),
            owner,
        }
    }

    /// Reads, changes and replaces the file under kubectl's lock. No new content: no change.
    fn edit<T>(&self, change: impl FnOnce(Value) -> (Option<Value>, T)) -> Result<T, Error> {
        if let Some(folder) = self.path.parent()
            && !folder.as_os_str().is_empty()
            && !folder.exists()
        {
            fs::create_dir_all(folder).map_err(Error::file("create", folder))?;
            self.own(folder)?;
        }
        // A link (dotfiles) stays a link.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let lock = Lock::take(&path)?;
        let text = files::read(&path)?.unwrap_or_default();
        let old: Value = if text.trim().is_empty() {
            json!({})
        } else {
            parse(&text).map_err(|cause| Error::Content {
                kind: "kubeconfig",
                path: path.clone(),
                cause,
            })?
        };
        let owner = fs::metadata(&path).ok().map(|meta| {
            use std::os::unix::fs::MetadataExt;
            (meta.uid(), meta.gid())
        });
        let (new, value) = change(old);
        if let Some(new) = new {
            save(&path, &new)?;
            match owner {
                Some((uid, gid)) if rustix::process::geteuid().is_root() => {
                    files::give(&path, uid, gid)?;
                }
                _ => self.own(&path)?,
            }
        }
        drop(lock);
        Ok(value)
    }

    fn own(&self, path: &Path) -> Result<(), Error> {
        match self.owner {
            Some((uid, gid)) => files::give(path, uid, gid),
            None => Ok(()),
        }
    }
}

fn save(path: &Path, value: &Value) -> Result<(), Error> {
    let text = serde_saphyr::to_string(value).map_err(|error| Error::Content {
        kind: "kubeconfig",
        path: path.to_owned(),
        cause: error.to_string().into(),
    })?;
    files::write(path, text.as_bytes(), 0o600)
}

fn home_of(passwd: &str, uid: u32) -> Option<PathBuf> {
    let lines = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>());
    let mut homes = lines
        .filter(|f| f.len() >= 6 && f[2].parse() == Ok(uid))
        .map(|f| f[5].into());
    homes.next()
}

/// kubectl's lock: a file beside the kubeconfig. Ours holds our pid, so that a killed holder's
/// lock does not lock for ever.
struct Lock(PathBuf);

const HOLDER: &str = "transom ";

impl Lock {
    fn path(kubeconfig: &Path) -> PathBuf {
        let mut name = kubeconfig.as_os_str().to_owned();
        name.push(".lock");
        name.into()
    }

    fn take(kubeconfig: &Path) -> Result<Self, Error> {
        let lock = Self::path(kubeconfig);
        let mut attempt = 0;
        loop {
            drop(Self::of_the_dead(kubeconfig));
            match create_with(&lock, &format!("{HOLDER}{}", std::process::id())) {
                Ok(()) => return Ok(Self(lock)),
                Err(error)
                    if error.kind() == io::ErrorKind::AlreadyExists && attempt < LOCK_ATTEMPTS =>
                {
                    attempt += 1;
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(error) => return Err(Error::file("create", &lock)(error)),
            }
        }
    }

    /// The lock of one of us that lives no more; dropping it removes it.
    fn of_the_dead(kubeconfig: &Path) -> Option<Self> {
        let lock = Self::path(kubeconfig);
        let text = fs::read_to_string(&lock).ok()?;
        let pid: u32 = text.strip_prefix(HOLDER)?.parse().ok()?;
        Process::of(pid).is_none().then_some(Self(lock))
    }
}

/// Creates a file that must not exist, with its content from the first instant on where the file
/// system can do that.
fn create_with(path: &Path, text: &str) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    match rustix::fs::open(folder.unwrap_or(Path::new(".")), flags, mode) {
        Ok(fd) => {
            let mut file = fs::File::from(fd);
            file.write_all(text.as_bytes())?;
            let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
            let follow = AtFlags::SYMLINK_FOLLOW;
            Ok(rustix::fs::linkat(CWD, unnamed, CWD, path, follow)?)
        }
        Err(_) => {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(path)?;
            file.write_all(text.as_bytes())
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests;
