//! This machine passes; taken ports, full disks and missing programs are findings.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::preflight::{Subject, check};

fn findings(subject: &Subject) -> String {
    let all = check(subject);
    let grave = all
        .iter()
        .filter(|finding| !finding.warning && finding.object != "user");
    grave
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// Nothing stands in the way here, and nothing is left by the look.
#[test]
fn this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let subject = Subject {
        root: folder.path().join("a/b"),
        port: None,
        cgroup: "/transom-preflight-test".into(),
        program: "/proc/self/exe".into(),
    };
    assert_eq!(findings(&subject), "");
    assert!(!folder.path().join("a").exists());
}

/// All obstacles come at once.
#[test]
fn obstacles() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let subject = Subject {
        root: PathBuf::from("/tmp"),
        port: Some(port),
        cgroup: "/transom-preflight-test-2".into(),
        program: "/absent".into(),
    };
    let expected = format!(
        "port 127.0.0.1:{port}: Address already in use (os error 98); stop what listens there, or \
         choose another with --port\nprogram /absent: No such file or directory (os error 2); \
         install it again"
    );
    assert_eq!(findings(&subject), expected);
}
