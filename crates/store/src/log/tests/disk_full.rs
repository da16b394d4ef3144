//! A file system without room: a small tmpfs in a mount namespace of its own (needs root).

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::log::tests::crash::child;
use crate::log::tests::{commit, dump, put, wait};
use crate::{Config, Store, StoreError, Txn};

const DIRECTORY: &str = "TRANSOM_STORE_FULL_DIR";

#[test]
fn disk_full() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    if !status.lines().any(|line| line.starts_with("Uid:\t0\t")) {
        println!("skipped: needs root for a mount namespace");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let script =
        "mount -t tmpfs -o size=6m tmpfs \"$TRANSOM_STORE_FULL_DIR\" && exec \"$0\" \"$@\"";
    let wrapper = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        script,
    ];
    let variables = [(DIRECTORY, dir.path())];
    let name = "log::tests::disk_full::fills_the_disk";
    let output = child(name, &wrapper, &variables)
        .wait_with_output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
}

#[test]
#[ignore = "the child of disk_full"]
fn fills_the_disk() {
    let Some(dir) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let dir = PathBuf::from(dir);
    let ballast = dir.join("ballast");
    std::fs::write(&ballast, vec![1; 2 << 20]).unwrap();
    let config = Config::new(&dir.join("store.db"));
    let store = Store::open(&config).unwrap();
    let mut count = 0;
    loop {
        let (next, error) = fill(&store, count);
        let text = base::Chain(&error).to_string();
        assert!(matches!(error, StoreError::Full { .. }), "{text}");
        let name = format!("write /big/{next}: {} is full", config.path.display());
        assert!(text.starts_with(&name), "{text}");
        // What moves from the log to the database may leave room for some more.
        if std::mem::replace(&mut count, next) == next {
            break;
        }
    }
    // Nothing of the failed writes shows; reads go on.
    let before = dump(&store, None).len();
    assert_eq!(store.current_revision().0, 1 + count);
    assert_eq!(dump(&store, None).len(), before);
    // With room again it goes on by itself, and all of it is there after a restart.
    std::fs::remove_file(&ballast).unwrap();
    commit(&store, put("/small", "v"));
    let (more, _) = fill(&store, count);
    assert!(more > count);
    let state = dump(&store, None);
    drop(store);
    room(&dir);
    let store = Store::open(&config).unwrap();
    assert_eq!(state, dump(&store, None));
}

/// Whatever a full disk left half done must not keep the store from opening.
fn room(dir: &Path) {
    let free = dir.join("store.db.new");
    drop(std::fs::remove_file(free));
}

fn fill(store: &Store, from: u64) -> (u64, StoreError) {
    let mut rng = base::Rng::new(from);
    for n in from.. {
        let mut value = vec![0; 50_000];
        rng.bytes(&mut value);
        let txn = Txn::create(Bytes::from(format!("/big/{n}")), value.into());
        if let Err(error) = wait(store.txn(txn)) {
            return (n, error);
        }
    }
    unreachable!("the disk has an end");
}
