//! Layers as folders: attributes, whiteouts, merged parents, and what is refused.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};

use super::{Limits, unpack};
use crate::digest::Digest;
use crate::tar::Writer;

/// Owners, devices and overlay attributes need root.
fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped {test}: needs root");
    }
    root
}

type Entries<'a> = &'a [(u8, &'a str, &'a str, u32, &'a str)];

fn archive(entries: Entries<'_>) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    for (flag, path, link, mode, contents) in entries {
        tar.entry(
            *flag,
            path.as_bytes(),
            link.as_bytes(),
            *mode,
            contents.as_bytes(),
        )
        .unwrap();
    }
    tar.finish().unwrap()
}

struct Stack {
    folder: tempfile::TempDir,
    layers: Vec<PathBuf>,
}

impl Stack {
    fn new() -> Stack {
        Stack {
            folder: tempfile::tempdir().unwrap(),
            layers: Vec::new(),
        }
    }

    fn add(&mut self, tar: &[u8]) -> Result<&Path, crate::ImageError> {
        let target = self.folder.path().join(self.layers.len().to_string());
        std::fs::create_dir(&target).unwrap();
        let parents: Vec<PathBuf> = self.layers.iter().rev().cloned().collect();
        unpack(tar, &target, &parents, Digest::of(tar), &Limits::default())?;
        self.layers.push(target);
        Ok(self.layers.last().unwrap())
    }
}

/// A line per file: type and mode, path, what is in it.
fn show(root: &Path) -> String {
    let mut lines = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let stat = std::fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let mut value = [0; 8];
            let detail = if stat.is_symlink() {
                format!(" -> {}", std::fs::read_link(&path).unwrap().display())
            } else if stat.is_file() {
                format!(
                    " {:?} links {}",
                    std::fs::read_to_string(&path).unwrap(),
                    stat.nlink()
                )
            } else if stat.is_dir() {
                todo.push(path.clone());
                let opaque = rustix::fs::getxattr(&path, "trusted.overlay.opaque", &mut value);
                if opaque.is_ok() {
                    " opaque".to_owned()
                } else {
                    String::new()
                }
            } else {
                format!(" device {}", stat.rdev())
            };
            lines.push(format!("{name} {:o}{detail}", stat.mode()));
        }
    }
    lines.sort();
    lines.join("\n")
}

/// Unpacks layers one on top of the other and shows the last one.
#[track_caller]
fn check(layers: &[Entries<'_>], expect: Expect) {
    if !is_root("unpack") {
        return;
    }
    let mut stack = Stack::new();
    let mut last = String::new();
    for entries in layers {
        last = match stack.add(&archive(entries)) {
            Ok(root) => show(root),
            Err(error) => {
                format!("error: {error}").replace(stack.folder.path().to_str().unwrap(), "TMP")
            }
        };
    }
    expect.assert_eq(&last);
}

#[test]
fn modes_links_and_devices() {
    check(
        &[&[
            (b'5', "./", "", 0o755, ""),
            (b'5', "./bin", "", 0o755, ""),
            (b'0', "./bin/su", "", 0o4755, "elf"),
            (b'1', "./bin/ln", "./bin/su", 0o755, ""),
            (b'2', "./sh", "/bin/su", 0o777, ""),
            (b'3', "./null", "", 0o666, ""),
            (b'5', "tmp/", "", 0o1777, ""),
        ]],
        expect![[r#"
            bin 40755
            bin/ln 104755 "elf" links 2
            bin/su 104755 "elf" links 2
            null 20666 device 0
            sh 120777 -> /bin/su
            tmp 41777"#]],
    );
}

#[test]
fn whiteouts_become_overlays() {
    let base: Entries<'_> = &[
        (b'5', "etc", "", 0o755, ""),
        (b'0', "etc/a", "", 0o644, "a"),
        (b'5', "var", "", 0o700, ""),
        (b'0', "var/b", "", 0o644, "b"),
        (b'5', "opt", "", 0o755, ""),
        (b'0', "opt/c", "", 0o644, "c"),
    ];
    check(
        &[
            base,
            &[
                (b'0', "etc/.wh.a", "", 0, ""),
                (b'0', "var/.wh..wh..opq", "", 0, ""),
                (b'0', "var/new", "", 0o644, "n"),
                (b'0', ".wh.opt", "", 0, ""),
                (b'5', "opt", "", 0o755, ""),
                (b'0', "opt/d", "", 0o644, "d"),
            ],
        ],
        expect![[r#"
            etc 40755
            etc/a 20000 device 0
            opt 40755 opaque
            opt/d 100644 "d" links 1
            var 40700 opaque
            var/new 100644 "n" links 1"#]],
    );
    // The order does not matter, and a lowest layer has nothing to hide.
    check(
        &[
            base,
            &[
                (b'5', "opt", "", 0o755, ""),
                (b'0', "opt/d", "", 0o644, "d"),
                (b'0', ".wh.opt", "", 0, ""),
                (b'0', "etc/a", "", 0o600, "A"),
                (b'0', "etc/.wh.a", "", 0, ""),
            ],
        ],
        expect![[r#"
            etc 40755
            etc/a 100600 "A" links 1
            opt 40755 opaque
            opt/d 100644 "d" links 1"#]],
    );
    check(&[&[(b'0', ".wh.x", "", 0, "")]], expect![""]);
}

#[test]
fn missing_parents_come_from_below() {
    check(
        &[
            &[
                (b'5', "usr", "", 0o755, ""),
                (b'5', "usr/bin", "", 0o711, ""),
                (b'0', "usr/bin/tool", "", 0o4755, "t"),
                (b'2', "bin", "usr/bin", 0o777, ""),
                (b'2', "lib", "/usr/lib", 0o777, ""),
            ],
            &[
                (b'0', "bin/new", "", 0o755, "n"),
                (b'0', "lib/x/y", "", 0o644, "y"),
                (b'1', "hard", "usr/bin/tool", 0o755, ""),
            ],
        ],
        expect![[r#"
            hard 104755 "t" links 2
            usr 40755
            usr/bin 40711
            usr/bin/new 100755 "n" links 1
            usr/bin/tool 104755 "t" links 2
            usr/lib 40755
            usr/lib/x 40755
            usr/lib/x/y 100644 "y" links 1"#]],
    );
}

#[test]
fn later_entries_replace_earlier_ones() {
    check(
        &[&[
            (b'5', "d", "", 0o755, ""),
            (b'0', "d/x", "", 0o644, "x"),
            (b'0', "d", "", 0o644, "file"),
            (b'0', "e", "", 0o644, "1"),
            (b'2', "e", "d", 0o777, ""),
            (b'0', "f", "", 0o644, "f"),
            (b'5', "f", "", 0o700, ""),
        ]],
        expect![[r#"
            d 100644 "file" links 1
            e 120777 -> d
            f 40700"#]],
    );
}

#[test]
fn links_are_contained() {
    // An absolute link means the image's root, never the host's.
    check(
        &[&[
            (b'2', "e", "/etc", 0o777, ""),
            (b'0', "e/passwd", "", 0o644, "mine"),
        ]],
        expect![[r#"
            e 120777 -> /etc
            etc 40755
            etc/passwd 100644 "mine" links 1"#]],
    );
}

#[test]
fn hostile_entries_are_refused() {
    let long = "n".repeat(256);
    let deep = "d/".repeat(300);
    let table: Vec<(Entries<'_>, Expect)> = vec![
        (
            &[(b'0', "/etc/passwd", "", 0, "")],
            expect![[r#"error: refused archive entry "/etc/passwd": its path is absolute"#]],
        ),
        (
            &[(b'0', "a/../../x", "", 0, "")],
            expect![[r#"error: refused archive entry "a/../../x": its path has a '..'"#]],
        ),
        (
            &[
                (b'2', "up", "../../../..", 0, ""),
                (b'0', "up/x", "", 0, ""),
            ],
            expect![[
                r#"error: refused archive entry "up/x": a link on its way climbs out of the root"#
            ]],
        ),
        (
            &[
                (b'2', "a", "b", 0, ""),
                (b'2', "b", "a", 0, ""),
                (b'0', "a/x", "", 0, ""),
            ],
            expect![[r#"error: refused archive entry "a/x": too many links on its way"#]],
        ),
        (
            &[(b'1', "h", "/etc/passwd", 0, "")],
            expect![[
                r#"error: refused archive entry "h": hard link to "/etc/passwd": its path is absolute"#
            ]],
        ),
        (
            &[(b'1', "h", "../../etc/passwd", 0, "")],
            expect![[
                r#"error: refused archive entry "h": hard link to "../../etc/passwd": its path has a '..'"#
            ]],
        ),
        (
            &[
                (b'2', "u", "../..", 0, ""),
                (b'1', "h", "u/etc/passwd", 0, ""),
            ],
            expect![[
                r#"error: refused archive entry "u/etc/passwd": a link on its way climbs out of the root"#
            ]],
        ),
        (
            &[(b'1', "h", "missing", 0, "")],
            expect![[
                r#"error: refused archive entry "h": hard link to "missing", which does not exist"#
            ]],
        ),
        (
            &[(b'5', "d", "", 0, ""), (b'1', "h", "d", 0, "")],
            expect![[r#"error: refused archive entry "h": hard link to a folder"#]],
        ),
        (
            &[(b'0', "f", "", 0, ""), (b'0', "f/x", "", 0, "")],
            expect![[
                r#"error: refused archive entry "f/x": something on its way is not a folder"#
            ]],
        ),
        (
            &[(b'0', ".", "", 0, "")],
            expect![[r#"error: refused archive entry ".": it replaces the root"#]],
        ),
        (
            &[(b'2', "l", "", 0, "")],
            expect![[r#"error: refused archive entry "l": its target is empty or too long"#]],
        ),
        (
            &[(b'Z', "z", "", 0, "")],
            expect![[r#"error: refused archive entry "z": unknown type 'Z'"#]],
        ),
    ];
    for (entries, expect) in table {
        check(&[entries], expect);
    }
    for (path, reason) in [(&long, "longer than 255"), (&deep, "256 folders")] {
        let error = Stack::new()
            .add(&archive(&[(b'5', path, "", 0, "")]))
            .map(|_| ());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn attributes_that_steer_the_host_are_dropped() {
    if !is_root("attributes") {
        return;
    }
    let mut tar = Writer::new(Vec::new());
    let mut records = Vec::new();
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    for (key, value) in [
        ("SCHILY.xattr.trusted.overlay.redirect", b"/etc".as_slice()),
        ("SCHILY.xattr.security.capability", capability),
        ("mtime", b"1234.5"),
    ] {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while length != rest + length.to_string().len() {
            length = rest + length.to_string().len();
        }
        records.extend(format!("{length} {key}=").as_bytes());
        records.extend(value);
        records.push(b'\n');
    }
    tar.block(b'x', b"pax", b"", 0, &records).unwrap();
    tar.file("f", 0o755, b"x").unwrap();
    let mut stack = Stack::new();
    let file = stack.add(&tar.finish().unwrap()).unwrap().join("f");
    let mut value = [0; 64];
    assert!(rustix::fs::getxattr(&file, "trusted.overlay.redirect", &mut value).is_err());
    assert_eq!(
        rustix::fs::getxattr(&file, "security.capability", &mut value).unwrap(),
        20
    );
    let stat = std::fs::metadata(&file).unwrap();
    assert_eq!((stat.mtime(), stat.mtime_nsec()), (1234, 500_000_000));
}

#[test]
fn bombs_and_wrong_diff_ids_are_refused() {
    if !is_root("bombs") {
        return;
    }
    let zeros = "0".repeat(1 << 20);
    let tar = archive(&[(b'0', "a", "", 0o644, &zeros), (b'0', "b", "", 0o644, "")]);
    let check = |blob: &[u8], diff_id: Digest, limits: Limits, expect: Expect| {
        let folder = tempfile::tempdir().unwrap();
        let got = unpack(blob, folder.path(), &[], diff_id, &limits);
        expect.assert_eq(&got.map_or_else(
            |error| base::Chain(&error).to_string(),
            |done| format!("{done:?}"),
        ));
    };
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::stream::encode_all(&tar[..], 3).unwrap();
    let right = Digest::of(&tar);
    for blob in [&tar, &gzip, &zstd] {
        check(
            blob,
            right,
            Limits::default(),
            expect!["Unpacked { entries: 2, bytes: 1048576 }"],
        );
    }
    let small = Limits {
        bytes: 1 << 19,
        ..Limits::default()
    };
    check(
        &gzip,
        right,
        small,
        expect![[r#"size of "a" exceeds the limit of 524288"#]],
    );
    let tight = Limits {
        bytes: (1 << 20) + 100,
        ..Limits::default()
    };
    check(
        &zstd,
        right,
        tight,
        expect!["read the layer: the layer unpacks to more bytes than the limit allows"],
    );
    let few = Limits {
        entries: 1,
        ..Limits::default()
    };
    check(
        &tar,
        right,
        few,
        expect!["number of entries of the layer exceeds the limit of 1"],
    );
    check(
        &tar,
        Digest::of(b"other"),
        Limits::default(),
        expect![
            "digest mismatch of unpacked layer (diff id): expected sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, got sha256:d3a9ed4ae81c837dfbe46bbf686c54962ddce80d82190e33707600c3e2c47e78"
        ],
    );
    check(
        &gzip[..gzip.len() / 2],
        right,
        Limits::default(),
        expect!["read the layer: incomplete deflate stream"],
    );
}

/// What GNU tar packs (hard links, sparse files, long names) comes out the same.
#[test]
fn gnu_tar_round_trip() {
    if !is_root("gnu tar") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    let long = source.join("l".repeat(120)).join("m".repeat(120));
    std::fs::create_dir_all(&long).unwrap();
    std::fs::write(long.join("file"), "deep").unwrap();
    std::fs::hard_link(long.join("file"), source.join("hard")).unwrap();
    std::os::unix::fs::symlink("hard", source.join("soft")).unwrap();
    let sparse = std::fs::File::create(source.join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"island", 500_000).unwrap();
    for format in ["gnu", "pax", "ustar"] {
        let archive = folder.path().join(format);
        #[expect(clippy::disallowed_methods, reason = "the oracle")]
        let tar = std::process::Command::new("tar")
            .current_dir(&source)
            .args(["--sparse", "--format", format, "-cf"])
            .arg(&archive)
            .arg(".")
            .output();
        let Ok(tar) = tar else {
            eprintln!("skipped gnu_tar_round_trip: no tar");
            return;
        };
        if format == "ustar" && !tar.status.success() {
            continue; // it cannot hold such names
        }
        let bytes = std::fs::read(&archive).unwrap();
        let mut stack = Stack::new();
        let root = stack
            .add(&bytes)
            .unwrap_or_else(|error| panic!("{format}: {error}"));
        let strip = |text: String| text.replace('\0', "");
        assert_eq!(strip(show(root)), strip(show(&source)), "{format}");
        assert!(std::fs::metadata(root.join("sparse")).unwrap().blocks() * 512 < 1 << 19);
    }
}

/// What the kernel makes of the folders: whiteouts hide, opaque folders cover.
#[test]
fn overlayfs_agrees() {
    if !is_root("overlayfs") {
        return;
    }
    let mut stack = Stack::new();
    let base: Entries<'_> = &[
        (b'5', "etc", "", 0o755, ""),
        (b'0', "etc/gone", "", 0o644, "1"),
        (b'0', "etc/stays", "", 0o644, "1"),
        (b'5', "covered", "", 0o755, ""),
        (b'0', "covered/old", "", 0o644, "1"),
        (b'5', "replaced", "", 0o755, ""),
        (b'0', "replaced/old", "", 0o644, "1"),
        (b'5', "usr", "", 0o755, ""),
        (b'2', "lib", "usr/lib", 0o777, ""),
    ];
    let top: Entries<'_> = &[
        (b'0', "etc/.wh.gone", "", 0, ""),
        (b'0', "covered/.wh..wh..opq", "", 0, ""),
        (b'0', "covered/new", "", 0o644, "2"),
        (b'0', ".wh.replaced", "", 0, ""),
        (b'0', "replaced/new", "", 0o644, "2"),
        (b'0', "lib/x", "", 0o644, "2"),
    ];
    stack.add(&archive(base)).unwrap();
    stack.add(&archive(top)).unwrap();
    let merged = stack.folder.path().join("merged");
    std::fs::create_dir(&merged).unwrap();
    let lowers: Vec<String> = stack
        .layers
        .iter()
        .rev()
        .map(|layer| layer.display().to_string())
        .collect();
    let script = format!(
        "mount -t overlay overlay -o lowerdir={} {} && cd {1} && find . | sort",
        lowers.join(":"),
        merged.display()
    );
    // A mount namespace of its own: nothing to clean up.
    #[expect(clippy::disallowed_methods, reason = "the oracle")]
    let seen = std::process::Command::new("unshare")
        .current_dir("/")
        .args(["-m", "sh", "-c", &script])
        .output();
    let Ok(seen) = seen else {
        eprintln!("skipped overlayfs_agrees: no unshare");
        return;
    };
    assert!(
        seen.status.success(),
        "{}",
        String::from_utf8_lossy(&seen.stderr)
    );
    expect![[r#"
        .
        ./covered
        ./covered/new
        ./etc
        ./etc/stays
        ./lib
        ./replaced
        ./replaced/new
        ./usr
        ./usr/lib
        ./usr/lib/x
    "#]]
    .assert_eq(&String::from_utf8_lossy(&seen.stdout));
}

/// Whatever the entries say, nothing outside the layer's folder changes.
mod containment {
    use proptest::prelude::{Strategy, any, prop, prop_assert_eq, proptest};

    use super::{Digest, Limits, Path, PathBuf, Writer, unpack};

    #[derive(Clone, Debug)]
    struct Step {
        flag: u8,
        path: String,
        link: String,
    }

    /// Short paths of parts that meet each other often; OUT stands for the folder to reach.
    fn path() -> impl Strategy<Value = String> {
        let parts = ["a", "b", "c", "..", ".", "", ".wh.a", ".wh..wh..opq", "OUT"];
        prop::collection::vec(prop::sample::select(parts.to_vec()), 1..5)
            .prop_map(|parts| parts.join("/"))
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let flag = prop::sample::select(vec![b'0', b'1', b'2', b'5', b'6']);
        let step = (flag, path(), path(), any::<bool>());
        let step = step.prop_map(|(flag, path, link, absolute)| Step {
            flag,
            path,
            link: if absolute {
                format!("OUT/{link}")
            } else {
                link
            },
        });
        prop::collection::vec(step, 1..12)
    }

    fn outside(root: &Path) -> Vec<(PathBuf, String)> {
        let mut seen = Vec::new();
        let mut todo = vec![root.to_owned()];
        while let Some(folder) = todo.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let stat = std::fs::symlink_metadata(&path).unwrap();
                if stat.is_dir() {
                    todo.push(path.clone());
                }
                let detail = format!(
                    "{:?} {:?} {:?}",
                    stat.permissions(),
                    stat.len(),
                    stat.modified()
                );
                seen.push((path, detail));
            }
        }
        seen.sort();
        seen
    }

    proptest! {
        #[test]
        fn nothing_escapes(layers in prop::collection::vec(steps(), 1..4)) {
            if !super::is_root("nothing_escapes") {
                return Ok(());
            }
            let folder = tempfile::tempdir().unwrap();
            let out = folder.path().join("out");
            std::fs::create_dir_all(out.join("a/b")).unwrap();
            std::fs::write(out.join("c"), "precious").unwrap();
            let before = outside(&out);
            let mut parents: Vec<PathBuf> = Vec::new();
            for (number, steps) in layers.iter().enumerate() {
                let target = folder.path().join(format!("layer{number}"));
                std::fs::create_dir(&target).unwrap();
                // One entry after the other, so that a refused one does not hide the rest.
                for length in 1..=steps.len() {
                    let mut tar = Writer::new(Vec::new());
                    for step in &steps[..length] {
                        let name = |text: &str| text.replace("OUT", out.to_str().unwrap());
                        let (path, link) = (name(&step.path), name(&step.link));
                        tar.entry(step.flag, path.as_bytes(), link.as_bytes(), 0o6777, b"x").unwrap();
                    }
                    let tar = tar.finish().unwrap();
                    let _ = unpack(&tar[..], &target, &parents, Digest::of(&tar), &Limits::default());
                }
                parents.insert(0, target);
            }
            prop_assert_eq!(before, outside(&out));
            prop_assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1 + layers.len());
        }
    }
}
