//! A real node of this host, as root: its own root, groups, pid 1 and agent.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use cgroups::{Group, Layout};

use super::{Node, NodeInitSpec, spawn};
use crate::ShimBinary;

struct Bed {
    dir: tempfile::TempDir,
    group: Group,
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Ok(Some(node)) = Node::find(&self.dir.path().join("state")) {
            node.kill().ok();
            node.wait(Duration::from_secs(5)).ok();
        }
        self.group.kill().ok();
        self.group.remove().ok();
    }
}

fn wait_for(what: impl Fn() -> bool) {
    for _ in 0..300 {
        if what() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("not in time");
}

#[test]
fn node_lives_respawns_its_agent_and_ends() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: not root");
        return;
    }
    let dir = tempfile::Builder::new()
        .prefix("transom-node-")
        .tempdir_in("/var/tmp")
        .unwrap();
    let layout = Arc::new(Layout::detect().unwrap());
    let path = format!("/transom-node-{}", std::process::id());
    let bed = Bed {
        group: Group::new(&layout, &path).unwrap(),
        dir,
    };
    bed.group.create().unwrap();
    let binary = ShimBinary::install(&bed.dir.path().join("bin")).unwrap();
    let state = bed.dir.path().join("state");
    let script = "hostname; echo pid $$; cat /proc/1/comm; ls /sys/fs/cgroup/memory | head -1; \
        echo made > /root-of-node; sleep 1000";
    let spec = NodeInitSpec {
        name: "node-7".into(),
        directory: state.clone(),
        lowers: vec!["/".into()],
        upper: bed.dir.path().join("upper"),
        work: bed.dir.path().join("work"),
        at: bed.dir.path().join("at"),
        mounts: Vec::new(),
        net: "new".into(),
        cgroup: bed.group.clone(),
        args: ["/bin/sh", "-c", script].map(Into::into).into(),
        env: vec![crate::defaults::PATH.into()],
        log: bed.dir.path().join("agent.log"),
        stop_grace: Duration::from_secs(1),
        sysctls: vec!["net.ipv4.ip_forward=1".into()],
    };
    let node = spawn(&binary, &spec).unwrap();
    let log = || fs::read_to_string(&spec.log).unwrap_or_default();
    let starts = || log().matches("node-7").count();
    wait_for(|| bed.dir.path().join("upper/root-of-node").exists());
    assert!(
        log().starts_with("node-7\npid 2\ntransom-node\n"),
        "{}",
        log()
    );
    assert!(!fs::exists("/root-of-node").unwrap());
    assert_eq!(Node::find(&state).unwrap().unwrap().pid(), node.pid());
    // The agent comes back after a restart, pid 1 stays.
    node.restart_agent().unwrap();
    wait_for(|| starts() == 2);
    let inside = [
        "sh",
        "-c",
        "hostname; cat /proc/sys/net/ipv4/ip_forward; ls /proc | grep -c '^[0-9]'",
    ];
    let output = node
        .command(&binary, &inside.map(Into::into))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.starts_with("node-7\n1\n"),
        "{text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    node.stop().unwrap();
    assert!(node.wait(Duration::from_secs(5)).unwrap());
    rustix::mount::unmount(state.join("net"), rustix::mount::UnmountFlags::DETACH).unwrap();
    assert!(Node::find(&state).unwrap().is_none());
}

/// A node runs containers as the host does: this very test program, started inside one, passes.
#[test]
fn containers_run_inside_a_node() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: not root");
        return;
    }
    let dir = tempfile::Builder::new()
        .prefix("transom-node-")
        .tempdir_in("/var/tmp")
        .unwrap();
    let layout = Arc::new(Layout::detect().unwrap());
    let path = format!("/transom-nested-{}", std::process::id());
    let bed = Bed {
        group: Group::new(&layout, &path).unwrap(),
        dir,
    };
    bed.group.create().unwrap();
    let binary = ShimBinary::install(&bed.dir.path().join("bin")).unwrap();
    // The writable folders of a node are on a real file system.
    let private = bed.dir.path().join("private");
    fs::create_dir(&private).unwrap();
    let spec = NodeInitSpec {
        name: "nested".into(),
        directory: bed.dir.path().join("state"),
        lowers: vec!["/".into()],
        upper: bed.dir.path().join("upper"),
        work: bed.dir.path().join("work"),
        at: bed.dir.path().join("at"),
        mounts: vec![crate::defaults::bind(
            &private.to_string_lossy(),
            "/var/tmp",
            0,
        )],
        net: "new".into(),
        cgroup: bed.group.clone(),
        args: ["/bin/sleep", "1000"].map(Into::into).into(),
        env: vec![crate::defaults::PATH.into()],
        log: bed.dir.path().join("agent.log"),
        stop_grace: Duration::from_secs(1),
        sysctls: Vec::new(),
    };
    let node = spawn(&binary, &spec).unwrap();
    let tests = std::env::current_exe()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let mut program = vec![tests, "--test-threads=2".into()];
    program.push("client::tests".into());
    let output = node.command(&binary, &program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text} {}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        text.contains("test result: ok") && !text.contains("ok. 0 passed"),
        "{text}"
    );
    node.kill().unwrap();
    assert!(node.wait(Duration::from_secs(5)).unwrap());
    rustix::mount::unmount(
        spec.directory.join("net"),
        rustix::mount::UnmountFlags::DETACH,
    )
    .unwrap();
}
