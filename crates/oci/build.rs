//! Builds the shim as a small static program of fixed address, for embedding.
//!
//! A second cargo with its own target directory inside OUT_DIR, offline (the only dependency,
//! libc, is there for this crate too). Static so that it runs on any distribution; not
//! position-independent because relocation costs every process private memory.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    for path in ["../shim/src", "../shim/Cargo.toml", "build.rs"] {
        println!("cargo:rerun-if-changed={path}");
    }
    let out = PathBuf::from(variable("OUT_DIR")).join("shim");
    let target = variable("TARGET");
    let flags = [
        "-Ctarget-feature=+crt-static",
        "-Crelocation-model=static",
        "-Cstrip=symbols",
    ];
    #[expect(
        clippy::disallowed_methods,
        reason = "a build script runs cargo, nothing else does"
    )]
    let mut cargo = Command::new(variable("CARGO"));
    cargo
        .args([
            "build",
            "--quiet",
            "--offline",
            "--package",
            "shim",
            "--bin",
            "transom-shim",
        ])
        .args(["--profile", "shim", "--target", &target])
        .arg("--target-dir")
        .arg(&out)
        .current_dir(variable("CARGO_MANIFEST_DIR"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    // What the outer build sets for itself (clippy, coverage, targets) is not meant for this.
    for name in [
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_TARGET_DIR",
        "CLIPPY_ARGS",
    ] {
        cargo.env_remove(name);
    }
    let status = cargo.status();
    assert!(
        status.as_ref().is_ok_and(|s| s.success()),
        "build of the shim failed: {status:?}"
    );
    let binary = out.join(target).join("shim").join("transom-shim");
    println!("cargo:rustc-env=TRANSOM_SHIM={}", binary.display());
}
