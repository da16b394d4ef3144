//! What registries and archives send: documents of images, tars, layers that want to climb out; and
//! how images are called.

use std::path::Path;

use crate::{Heap, Target};

/// What is here.
pub const TARGETS: &[Target] = &[
    Target::new("reference", reference, 512, Heap::SMALL),
    Target::new("manifest", manifest, 4096, Heap::DOCUMENT),
    Target::new("tar", tar, 16384, Heap::DOCUMENT),
    Target::new("layer", layer, 8192, Heap::DOCUMENT),
];

/// Law: what was read is printed so that it reads the same.
pub(crate) fn reference(data: &[u8]) {
    let source = crate::text(data);
    let Ok(reference) = source.parse::<images::Reference>() else {
        return;
    };
    let printed = reference.to_string();
    let again = crate::again(&printed, str::parse::<images::Reference>);
    assert_eq!(reference, again, "{source:?} is printed as {printed:?}");
}

/// A manifest or index, and after a line of dashes a configuration.
pub(crate) fn manifest(data: &[u8]) {
    for part in crate::parts(data) {
        images::fuzz::documents(part);
    }
}

pub(crate) fn tar(data: &[u8]) {
    images::fuzz::tar(&sealed(data));
}

/// Headers whose checksum says so get the right one, so that changes get past it.
fn sealed(data: &[u8]) -> Vec<u8> {
    const MARK: &[u8] = b"CHECKSUM";
    let mut data = data.to_vec();
    for block in data.chunks_exact_mut(512) {
        if &block[148..156] == MARK {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            let text = format!("{sum:06o}\0 ");
            block[148..156].copy_from_slice(&text.as_bytes()[..8]);
        }
    }
    data
}

/// Layers, one on top of the other, unpacked beside a file that must stay as it is.
pub(crate) fn layer(data: &[u8]) {
    let top = tempfile::Builder::new()
        .prefix("fuzz-layer-")
        .tempdir_in(memory())
        .expect("a folder");
    let canary = top.path().join("canary");
    std::fs::write(&canary, b"alive").expect("a canary");
    let (below, above) = (top.path().join("0"), top.path().join("1"));
    std::fs::create_dir(&below).expect("a folder");
    std::fs::create_dir(&above).expect("a folder");
    let parts = crate::parts(data);
    let mut parents: Vec<std::path::PathBuf> = Vec::new();
    for (part, folder) in parts.iter().zip([below, above]) {
        images::fuzz::unpack(&sealed(part), &folder, &parents);
        parents.insert(0, folder);
    }
    let mut names: Vec<_> = std::fs::read_dir(top.path())
        .expect("the folder is there")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["0", "1", "canary"], "a layer climbed out");
    let text = std::fs::read(&canary).expect("the canary is there");
    assert_eq!(text, b"alive", "a layer changed what is not its own");
}

/// Memory where there is some, for thousands of folders a second.
fn memory() -> &'static Path {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() {
        shared
    } else {
        Path::new("/tmp")
    }
}
