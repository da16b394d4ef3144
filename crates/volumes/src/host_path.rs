//! The type check of a hostPath volume, and the two types that create what is missing.
//!
//! Source: kubernetes v1.36 pkg/volume/hostpath/host_path.go.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use crate::VolumeError;

/// `hostPath.type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostPathType {
    /// No check.
    #[default]
    Unset,
    /// A folder, made when missing.
    DirectoryOrCreate,
    /// A folder.
    Directory,
    /// A file, made when missing.
    FileOrCreate,
    /// A file.
    File,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl HostPathType {
    /// The API's name of the type.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "" => Self::Unset,
            "DirectoryOrCreate" => Self::DirectoryOrCreate,
            "Directory" => Self::Directory,
            "FileOrCreate" => Self::FileOrCreate,
            "File" => Self::File,
            "Socket" => Self::Socket,
            "CharDevice" => Self::CharDevice,
            "BlockDevice" => Self::BlockDevice,
            _ => return None,
        })
    }
}

/// Checks `path`, creating it where the type says so.
pub fn check_host_path(path: &Path, kind: HostPathType) -> Result<(), VolumeError> {
    let mode = |bits: u32| fs::set_permissions(path, fs::Permissions::from_mode(bits));
    if !path.exists() {
        match kind {
            // A missing folder appears, as with a bind mount of Docker's.
            HostPathType::Unset | HostPathType::DirectoryOrCreate => {
                fs::create_dir_all(path)
                    .and_then(|()| mode(0o755))
                    .map_err(VolumeError::io("create folder", path))?;
            }
            HostPathType::FileOrCreate => {
                fs::File::create_new(path)
                    .and_then(|_| mode(0o644))
                    .map_err(VolumeError::io("create file", path))?;
            }
            _ => {}
        }
    }
    let found = fs::metadata(path).map(|metadata| metadata.file_type());
    let is = |test: fn(&fs::FileType) -> bool| found.as_ref().is_ok_and(test);
    let (right, wanted) = match kind {
        HostPathType::Unset => (true, ""),
        HostPathType::DirectoryOrCreate | HostPathType::Directory => {
            (is(fs::FileType::is_dir), "directory")
        }
        HostPathType::FileOrCreate | HostPathType::File => (is(fs::FileType::is_file), "file"),
        HostPathType::Socket => (is(FileTypeExt::is_socket), "socket file"),
        HostPathType::CharDevice => (is(FileTypeExt::is_char_device), "character device"),
        HostPathType::BlockDevice => (is(FileTypeExt::is_block_device), "block device"),
    };
    if right {
        return Ok(());
    }
    Err(VolumeError::HostPathType {
        path: path.to_owned(),
        wanted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked_and_created() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("x");
        assert!(check_host_path(&missing, HostPathType::Directory).is_err());
        assert!(check_host_path(&missing, HostPathType::DirectoryOrCreate).is_ok());
        assert!(check_host_path(&missing, HostPathType::File).is_err());
        let file = dir.path().join("f");
        assert!(check_host_path(&file, HostPathType::FileOrCreate).is_ok());
        assert!(check_host_path(&file, HostPathType::Socket).is_err());
    }
}
