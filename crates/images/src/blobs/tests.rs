//! The store keeps what is right and nothing else.

use super::Blobs;
use crate::digest::Digest;

#[test]
fn wrong_bytes_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path()).unwrap();
    let promised = Digest::of(b"right");
    let error = blobs
        .copy(&mut b"wrong".as_slice(), Some(("x", promised)), 100)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("digest mismatch of x: expected sha256:"),
        "{error}"
    );
    assert!(blobs.copy(&mut [0; 101].as_slice(), None, 100).is_err());
    let left = |name: &str| std::fs::read_dir(folder.path().join(name)).unwrap().count();
    assert_eq!((left("blobs/sha256"), left("ingest")), (0, 0));
}

#[test]
fn a_download_goes_on_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let whole = Digest::of(b"hello world");
    let blobs = Blobs::open(folder.path()).unwrap();
    blobs.resume(&whole).unwrap().write(b"hello ").unwrap();
    // As after kill -9: a new process opens the store.
    let blobs = Blobs::open(folder.path()).unwrap();
    let mut ingest = blobs.resume(&whole).unwrap();
    assert_eq!(ingest.bytes(), 6);
    ingest.write(b"world").unwrap();
    ingest.commit(Some(("x", whole))).unwrap();
    assert_eq!(blobs.read(&whole, 100).unwrap(), b"hello world");
    assert!(blobs.read(&whole, 5).is_err());
}

#[test]
fn damage_on_disk_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path()).unwrap();
    let digest = blobs.put(b"document").unwrap();
    std::fs::write(blobs.path(&digest), b"documenT").unwrap();
    let error = blobs.read(&digest, 100).unwrap_err().to_string();
    assert!(
        error.starts_with("digest mismatch of stored blob sha256:"),
        "{error}"
    );
}

#[test]
fn sweeping_keeps_what_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(folder.path()).unwrap();
    let (a, b) = (blobs.put(b"a").unwrap(), blobs.put(b"bb").unwrap());
    assert_eq!(blobs.sweep(0, |digest| *digest == a).unwrap(), 2);
    assert_eq!((blobs.size(&a), blobs.size(&b)), (Some(1), None));
}
