//! Merge into nothing, into a user's file, and out again.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use expect_test::expect;

use crate::kubeconfig::{Entry, Target, home_of, merge, remove};

const USERS: &str = "\
apiVersion: v1
kind: Config
preferences: {colors: true}
clusters:
- name: prod
  cluster: {server: https://prod.example:6443, insecure-skip-tls-verify: false}
users:
- name: '0123'
  user:
    exec: {command: login, args: ['yes', '1e3', 'a: b'], env: null}
contexts:
- name: prod
  context: {cluster: prod, user: '0123', namespace: x}
current-context: prod
";

fn entry() -> Entry<'static> {
    Entry {
        name: "transom-dev",
        server: "127.0.0.1:6443".parse().unwrap(),
        ca: "CA",
        certificate: "CERT",
        key: "KEY",
    }
}

fn target(folder: &tempfile::TempDir) -> Target {
    let path: PathBuf = folder.path().join(".kube").join("config");
    Target { path, owner: None }
}

/// A new file is made with mode 0600 and removed with its folder when nothing else is in it.
#[test]
fn alone() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(&folder);
    assert_eq!(merge(&target, &entry()).unwrap(), None);
    assert_eq!(merge(&target, &entry()).unwrap(), None);
    expect![[r#"
        apiVersion: v1
        clusters:
        - cluster:
            certificate-authority-data: Q0E=
            server: https://127.0.0.1:6443
          name: transom-dev
        contexts:
        - context:
            cluster: transom-dev
            user: transom-dev
          name: transom-dev
        current-context: transom-dev
        kind: Config
        users:
        - name: transom-dev
          user:
            client-certificate-data: Q0VSVA==
            client-key-data: S0VZ
    "#]]
    .assert_eq(&fs::read_to_string(&target.path).unwrap());
    assert_eq!(
        fs::metadata(&target.path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    remove(&target, "transom-dev", None).unwrap();
    remove(&target, "transom-dev", None).unwrap();
    assert!(!folder.path().join(".kube").exists());
}

/// What the user had stays, odd strings too; the former context becomes current again.
#[test]
fn beside_others() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(&folder);
    fs::create_dir(folder.path().join(".kube")).unwrap();
    fs::write(&target.path, USERS).unwrap();
    let before = merge(&target, &entry()).unwrap();
    assert_eq!(before.as_deref(), Some("prod"));
    let with = fs::read_to_string(&target.path).unwrap();
    assert!(with.contains("current-context: transom-dev"), "{with}");
    remove(&target, "transom-dev", before.as_deref()).unwrap();
    expect![[r#"
        apiVersion: v1
        clusters:
        - cluster:
            insecure-skip-tls-verify: false
            server: https://prod.example:6443
          name: prod
        contexts:
        - context:
            cluster: prod
            namespace: x
            user: "0123"
          name: prod
        current-context: prod
        kind: Config
        preferences:
          colors: true
        users:
        - name: "0123"
          user:
            exec:
              args:
              - "yes"
              - "1e3"
              - "a: b"
              command: login
              env: null
    "#]]
    .assert_eq(&fs::read_to_string(&target.path).unwrap());
}

/// A file that is not YAML is refused and left alone.
#[test]
fn broken() {
    let folder = tempfile::tempdir().unwrap();
    let target = target(&folder);
    fs::create_dir(folder.path().join(".kube")).unwrap();
    fs::write(&target.path, "a: [").unwrap();
    let error = merge(&target, &entry()).unwrap_err().to_string();
    assert!(error.ends_with("is not a valid kubeconfig"), "{error}");
    assert_eq!(fs::read_to_string(&target.path).unwrap(), "a: [");
    assert_eq!(
        fs::read_dir(folder.path().join(".kube")).unwrap().count(),
        1
    );
}

/// The home of a user comes from the password file.
#[test]
fn homes() {
    let passwd = "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/sh\n";
    assert_eq!(home_of(passwd, 1000), Some("/home/ann".into()));
    assert_eq!(home_of(passwd, 7), None);
}
