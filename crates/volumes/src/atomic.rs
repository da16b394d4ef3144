//! A folder of small files that changes all at once.
//!
//! Layout: the files are in `..<time>/`, `..data` is a symbolic link to that folder, and each
//! top-level name links to `..data/<name>`. An update writes a new folder and renames a new link
//! over `..data`: a reader sees the old files or the new ones. Example:
//! `a → ..data/a`, `..data → ..2026_11_21_10_00_00.1`, `..2026_11_21_10_00_00.1/a`.
//! Source: kubernetes v1.36 pkg/volume/util/atomic_writer.go.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path};

use crate::VolumeError;

/// One file's bytes and mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Contents.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Owner, when it is not root.
    pub owner: Option<u32>,
}

/// Relative path → file.
pub type Files = BTreeMap<String, File>;

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes `dir` show exactly `files`; false when it did already. `stamp` names the new folder and
/// must differ from that of earlier calls; `group` becomes the group of everything.
pub fn write_files(
    dir: &Path,
    files: &Files,
    stamp: &str,
    group: Option<u32>,
) -> Result<bool, VolumeError> {
    for name in files.keys() {
        check_name(name)?;
    }
    let current = fs::read_link(dir.join(DATA)).ok();
    if let Some(current) = &current
        && shows(&dir.join(current), files, group)
    {
        // A crash may have come between the contents and the names that lead to them.
        let folder = current.to_string_lossy();
        finish(dir, &folder, files)?;
        return Ok(false);
    }
    let folder = format!("..{stamp}");
    let new = dir.join(&folder);
    fs::create_dir(&new).map_err(VolumeError::io("create folder", &new))?;
    own(&new, None, group)?;
    set_mode(&new, folder_mode(group))?;
    for (name, file) in files {
        let path = new.join(name);
        make_parents(&new, name, group)?;
        fs::write(&path, &file.bytes).map_err(VolumeError::io("write", &path))?;
        own(&path, file.owner, group)?;
        set_mode(&path, effective_mode(file, group))?;
    }
    let link = dir.join(DATA_NEW);
    match fs::remove_file(&link) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(VolumeError::io("remove", &link)(error));
        }
        _ => {}
    }
    symlink(&folder, &link).map_err(VolumeError::io("link", &link))?;
    fs::rename(&link, dir.join(DATA)).map_err(VolumeError::io("rename", &link))?;
    finish(dir, &folder, files)?;
    Ok(true)
}

/// Links the names to the current contents and removes what is left of earlier ones.
fn finish(dir: &Path, folder: &str, files: &Files) -> Result<(), VolumeError> {
    let tops: BTreeSet<&str> = files
        .keys()
        .filter_map(|name| name.split('/').next())
        .collect();
    for top in &tops {
        let link = dir.join(top);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(top), &link).map_err(VolumeError::io("link", &link))?;
        }
    }
    clean(dir, folder, &tops)
}

/// Folders on the way to a file; the umask has no say in their mode.
fn make_parents(new: &Path, name: &str, group: Option<u32>) -> Result<(), VolumeError> {
    for (end, _) in name.match_indices('/') {
        let folder = new.join(&name[..end]);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            result => result.map_err(VolumeError::io("create folder", &folder))?,
        }
        own(&folder, None, group)?;
        set_mode(&folder, folder_mode(group))?;
    }
    Ok(())
}

fn own(path: &Path, owner: Option<u32>, group: Option<u32>) -> Result<(), VolumeError> {
    if owner.is_none() && group.is_none() {
        return Ok(());
    }
    std::os::unix::fs::chown(path, owner, group)
        .map_err(VolumeError::io("change the owner of", path))
}

/// With an fsGroup the group may read in any case (roMask of volume_linux.go).
fn effective_mode(file: &File, group: Option<u32>) -> u32 {
    file.mode | if group.is_some() { 0o440 } else { 0 }
}

/// With an fsGroup folders hand their group down (setgid).
fn folder_mode(group: Option<u32>) -> u32 {
    if group.is_some() { 0o2755 } else { 0o755 }
}

/// Removes links and folders of earlier contents.
fn clean(dir: &Path, folder: &str, tops: &BTreeSet<&str>) -> Result<(), VolumeError> {
    for entry in fs::read_dir(dir).map_err(VolumeError::io("list", dir))? {
        let entry = entry.map_err(VolumeError::io("list", dir))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name == DATA || name == folder || tops.contains(name.as_ref()) {
            continue;
        }
        let path = entry.path();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_dir {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(VolumeError::io("remove", &path))?;
    }
    Ok(())
}

fn shows(folder: &Path, files: &Files, group: Option<u32>) -> bool {
    let same = |(name, file): (&String, &File)| {
        let path = folder.join(name);
        fs::read(&path).is_ok_and(|bytes| bytes == file.bytes)
            && fs::metadata(&path).is_ok_and(|meta| {
                meta.permissions().mode() & 0o7777 == effective_mode(file, group)
                    && file.owner.is_none_or(|owner| meta.uid() == owner)
                    && group.is_none_or(|group| meta.gid() == group)
            })
    };
    files.iter().all(same) && count(folder) == files.len()
}

fn count(folder: &Path) -> usize {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| {
            if entry.path().is_dir() {
                count(&entry.path())
            } else {
                1
            }
        })
        .sum()
}

fn set_mode(path: &Path, mode: u32) -> Result<(), VolumeError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(VolumeError::io("change the mode of", path))
}

/// Relative, no `..`, and no top-level name that starts with `..`.
fn check_name(name: &str) -> Result<(), VolumeError> {
    let path = Path::new(name);
    let normal = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || !normal || name.starts_with("..") {
        return Err(VolumeError::FileName {
            name: name.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter()
            .map(|(name, text)| {
                let file = File {
                    bytes: text.as_bytes().to_vec(),
                    mode: 0o644,
                    owner: None,
                };
                ((*name).to_owned(), file)
            })
            .collect()
    }

    #[test]
    fn contents_change_all_at_once_and_old_names_go() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
        let first = files(&[("a", "1"), ("sub/b", "2")]);
        assert!(write_files(dir.path(), &first, "t1", None).unwrap());
        assert_eq!((read("a"), read("sub/b")), ("1".into(), "2".into()));
        assert!(
            !write_files(dir.path(), &first, "t2", None).unwrap(),
            "nothing changed"
        );
        let second = files(&[("a", "3")]);
        assert!(write_files(dir.path(), &second, "t3", None).unwrap());
        assert_eq!((read("a"), read("sub/b")), ("3".into(), String::new()));
        let mut left: Vec<String> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, ["..data", "..t3", "a"]);
    }

    #[test]
    fn a_crash_before_the_links_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let one = files(&[("a", "1"), ("b", "2")]);
        write_files(dir.path(), &one, "t1", None).unwrap();
        fs::remove_file(dir.path().join("b")).unwrap();
        fs::create_dir(dir.path().join("..half")).unwrap();
        assert!(!write_files(dir.path(), &one, "t2", None).unwrap());
        assert_eq!(fs::read_to_string(dir.path().join("b")).unwrap(), "2");
        assert!(!dir.path().join("..half").exists());
    }

    #[test]
    fn a_group_may_read_and_owners_are_kept() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped a_group_may_read_and_owners_are_kept: needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut one = files(&[("sub/secret", "x")]);
        let file = one.get_mut("sub/secret").unwrap();
        (file.mode, file.owner) = (0o400, Some(1000));
        assert!(write_files(dir.path(), &one, "t1", Some(2000)).unwrap());
        assert!(!write_files(dir.path(), &one, "t2", Some(2000)).unwrap());
        let show = |name: &str| {
            let meta = fs::metadata(dir.path().join(name)).unwrap();
            format!("{:o} {} {}", meta.mode() & 0o7777, meta.uid(), meta.gid())
        };
        assert_eq!(show("sub"), "2755 0 2000");
        assert_eq!(show("sub/secret"), "440 1000 2000");
    }

    #[test]
    fn names_that_climb_out_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["../x", "/x", "a/../../x", "", "..x", "a/./../.."] {
            let result = write_files(dir.path(), &files(&[(name, "")]), "t", None);
            assert!(
                matches!(result, Err(VolumeError::FileName { .. })),
                "{name}"
            );
        }
    }
}
