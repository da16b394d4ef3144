//! All files with their modes; a second run keeps them and completes what is missing.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use expect_test::expect;

use crate::certs;
use crate::cluster::{Place, State};
use crate::ranges::{Wanted, choose};

fn list(folder: &std::path::Path) -> Vec<String> {
    let mut all: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            format!("{} {mode:o}", path.file_name().unwrap().to_string_lossy())
        })
        .collect();
    all.sort();
    all
}

/// Keys are 0600; a lost certificate is issued anew, everything else stays.
#[test]
fn complete_and_stable() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(folder.path(), "c").unwrap();
    let state = State {
        version: 1,
        name: "c".to_owned(),
        created: String::new(),
        ranges: choose(&Wanted::default(), &[]).unwrap(),
        port: 6443,
        uid: rustix::process::getuid().as_raw(),
        nodes: vec!["c-0".to_owned()],
        kubeconfig: None,
        context_before: None,
        stopped: false,
    };
    certs::ensure(&place, &state).unwrap();
    certs::ensure_node(&place, &state, 0).unwrap();
    let own = certs::folder(&place);
    let mut all = list(&own);
    all.extend(list(&place.join("nodes/c-0/data/pki")));
    expect![[r#"
        admin.crt 644
        admin.key 600
        apiserver-kubelet-client.crt 644
        apiserver-kubelet-client.key 600
        apiserver.crt 644
        apiserver.key 600
        ca.crt 644
        ca.key 600
        controller-manager.crt 644
        controller-manager.key 600
        front-proxy-ca.crt 644
        front-proxy-ca.key 600
        front-proxy-client.crt 644
        front-proxy-client.key 600
        sa.key 600
        sa.pub 644
        scheduler.crt 644
        scheduler.key 600
        ca.crt 644
        dns-client.crt 644
        dns-client.key 600
        kube-proxy-client.crt 644
        kube-proxy-client.key 600
        kubelet-client.crt 644
        kubelet-client.key 600
        kubelet.crt 644
        kubelet.key 600"#]]
    .assert_eq(&all.join("\n"));
    let read = |name: &str| fs::read_to_string(own.join(name)).unwrap();
    let before = (read("ca.crt"), read("sa.key"), read("apiserver.crt"));
    fs::remove_file(own.join("apiserver.crt")).unwrap();
    certs::ensure(&place, &state).unwrap();
    let after = (read("ca.crt"), read("sa.key"), read("apiserver.crt"));
    assert_eq!((&before.0, &before.1), (&after.0, &after.1));
    assert_ne!(before.2, after.2);
    assert!(certs::admin(&place).is_ok());
}
