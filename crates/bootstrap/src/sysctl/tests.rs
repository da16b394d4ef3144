//! First and last cluster, a reboot in between, a broken record.

use std::fs;

use crate::sysctl::Place;

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("sys/net/ipv4")).unwrap();
        let world = Self { folder };
        world.write("0");
        world
    }

    fn place(&self, boot: &str) -> Place {
        let root = self.folder.path();
        Place {
            folder: root.join("run"),
            settings: root.join("sys"),
            boot: boot.to_owned(),
            namespace: 7,
        }
    }

    fn write(&self, value: &str) {
        fs::write(self.folder.path().join("sys/net/ipv4/ip_forward"), value).unwrap();
    }

    fn value(&self) -> String {
        fs::read_to_string(self.folder.path().join("sys/net/ipv4/ip_forward")).unwrap()
    }
}

/// The last one out restores, and nothing of the record stays.
#[test]
fn first_records_last_restores() {
    let world = World::new();
    let place = world.place("b1");
    place.acquire("a").unwrap();
    place.acquire("b").unwrap();
    place.acquire("b").unwrap();
    assert_eq!(world.value(), "1");
    place.release("a").unwrap();
    assert_eq!(world.value(), "1");
    place.release("b").unwrap();
    place.release("b").unwrap();
    assert_eq!(world.value(), "0");
    assert!(!world.folder.path().join("run").exists());
}

/// A reboot voids the record: what the kernel came up with is the new "before".
#[test]
fn a_reboot_voids_the_record() {
    let world = World::new();
    world.place("b1").acquire("a").unwrap();
    let place = world.place("b2");
    world.write("1");
    place.acquire("a").unwrap();
    place.release("a").unwrap();
    assert_eq!(world.value(), "1");
}

/// A broken record costs the way back, not the command.
#[test]
fn a_broken_record() {
    let world = World::new();
    let place = world.place("b1");
    place.acquire("a").unwrap();
    fs::write(place.file(), "{").unwrap();
    place.acquire("b").unwrap();
    place.release("b").unwrap();
    assert_eq!(world.value(), "1");
}
