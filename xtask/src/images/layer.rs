//! One layer: a plain tar whose times and owners do not depend on the machine.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use tar::{Builder, EntryType, Header};

pub(crate) struct Layer {
    tar: Builder<Vec<u8>>,
    folders: BTreeSet<String>,
}

impl Layer {
    pub(crate) fn new() -> Layer {
        Layer {
            tar: Builder::new(Vec::new()),
            folders: BTreeSet::new(),
        }
    }

    /// All of a folder, in the order of names.
    pub(crate) fn of_folder(folder: &Path) -> Result<Layer> {
        let mut layer = Layer::new();
        layer.add(folder, "")?;
        Ok(layer)
    }

    fn add(&mut self, folder: &Path, below: &str) -> Result<()> {
        let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            let metadata = entry.metadata()?;
            let mode = metadata.mode() & 0o7777;
            if metadata.is_dir() {
                self.folder(&name, mode)?;
                self.add(&entry.path(), &format!("{name}/"))?;
            } else if metadata.is_symlink() {
                let target = fs::read_link(entry.path())?;
                self.link(&name, &target.to_string_lossy())?;
            } else if metadata.is_file() {
                self.file(&name, mode, &fs::read(entry.path())?)?;
            }
        }
        Ok(())
    }

    pub(crate) fn file(&mut self, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
        self.parents(path)?;
        let mut header = header(EntryType::Regular, mode);
        header.set_size(contents.len() as u64);
        self.tar.append_data(&mut header, path, contents)?;
        Ok(())
    }

    pub(crate) fn folder(&mut self, path: &str, mode: u32) -> Result<()> {
        self.parents(path)?;
        if self.folders.insert(path.to_owned()) {
            let mut header = header(EntryType::Directory, mode);
            self.tar
                .append_data(&mut header, format!("{path}/"), &[][..])?;
        }
        Ok(())
    }

    pub(crate) fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.parents(path)?;
        let mut header = header(EntryType::Symlink, 0o777);
        self.tar.append_link(&mut header, path, target)?;
        Ok(())
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        match path.rsplit_once('/') {
            Some((parent, _)) => self.folder(parent, 0o755),
            None => Ok(()),
        }
    }

    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        Ok(self.tar.into_inner()?)
    }
}

fn header(kind: EntryType, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}
