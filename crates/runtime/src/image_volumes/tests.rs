//! Mounts of layers made by hand; needs root.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use expect_test::{Expect, expect};

use super::*;
use crate::persist::remove_dir;

/// `count` layers, each with a file of its own and `top` as it sees it; none without root.
fn layers(dir: &Path, count: usize) -> Option<Vec<PathBuf>> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return None;
    }
    let layers = (0..count).rev().map(|number| {
        let layer = dir.join(format!("layers/{number:064}/fs"));
        fs::create_dir_all(layer.join("etc")).unwrap();
        fs::write(layer.join(format!("etc/{number}")), "x").unwrap();
        fs::write(layer.join("top"), number.to_string()).unwrap();
        layer
    });
    Some(layers.collect())
}

#[track_caller]
fn check(sub_path: &str, expect: Expect) {
    let dir = tempfile::tempdir().unwrap();
    let Some(lowers) = layers(dir.path(), 2) else {
        return;
    };
    symlink("etc", lowers[0].join("near")).unwrap();
    symlink("/etc", lowers[0].join("far")).unwrap();
    symlink("../../..", lowers[0].join("up")).unwrap();
    let container = dir.path().join("container");
    let volume = ImageVolume { index: 3, lowers };
    let got = match volume.mount(&container, sub_path) {
        Ok(path) => {
            let mut names: Vec<String> = fs::read_dir(&path)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            let write = fs::write(path.join("new"), "x").unwrap_err().kind();
            format!("{names:?}, write: {write:?}")
        }
        Err(error) => error.message,
    };
    expect.assert_eq(&got);
    remove_dir(&container).unwrap();
    assert!(!container.exists());
    assert!(volume.lowers[0].join("top").exists());
}

#[test]
fn sub_paths() {
    check(
        "",
        expect![[r#"["etc", "far", "near", "top", "up"], write: ReadOnlyFilesystem"#]],
    );
    check("etc", expect![[r#"["0", "1"], write: ReadOnlyFilesystem"#]]);
    check(
        "near",
        expect![[r#"["0", "1"], write: ReadOnlyFilesystem"#]],
    );
    check(
        "top",
        expect![[
            r#"ImageVolumeMountFailed: sub path "top" of the image: only a directory can be mounted"#
        ]],
    );
    check(
        "none",
        expect![[
            r#"ImageVolumeMountFailed: sub path "none" of the image: No such file or directory (os error 2)"#
        ]],
    );
    check(
        "far",
        expect![[
            r#"ImageVolumeMountFailed: sub path "far" of the image: Invalid cross-device link (os error 18)"#
        ]],
    );
    check(
        "up",
        expect![[
            r#"ImageVolumeMountFailed: sub path "up" of the image: Invalid cross-device link (os error 18)"#
        ]],
    );
    check(
        "../x",
        expect![[
            r#"ImageVolumeMountFailed: sub path "../x" of the image: Invalid cross-device link (os error 18)"#
        ]],
    );
    check(
        "/etc",
        expect![[
            r#"ImageVolumeMountFailed: sub path "/etc" of the image: Invalid cross-device link (os error 18)"#
        ]],
    );
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "whether the kernel starts it is the question"
)]
fn nothing_of_an_image_runs() {
    let dir = tempfile::tempdir().unwrap();
    let Some(lowers) = layers(dir.path(), 1) else {
        return;
    };
    let program = lowers[0].join("program");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let volume = ImageVolume { index: 0, lowers };
    let all = volume.mount(dir.path(), "").unwrap();
    let error = std::process::Command::new(all.join("program"))
        .current_dir("/")
        .env_clear()
        .spawn()
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    unmount_all(dir.path());
}

/// More layers than their paths fit into one page of options, both ways.
#[test]
fn a_hundred_and_twenty_layers() {
    let dir = tempfile::tempdir().unwrap();
    let Some(lowers) = layers(dir.path(), 120) else {
        return;
    };
    for by in [overlay, overlay_by_page] {
        let at = dir.path().join("images/0/all");
        fs::create_dir_all(&at).unwrap();
        by(&lowers, &at).unwrap();
        assert_eq!(fs::read_to_string(at.join("top")).unwrap(), "119");
        assert_eq!(fs::read_dir(at.join("etc")).unwrap().count(), 120);
        unmount_all(dir.path());
        assert!(!at.join("top").exists());
    }
}
