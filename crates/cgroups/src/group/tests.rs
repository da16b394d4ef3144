//! Real groups of this host, as root, below a group of their own.

use std::process::{Child, Stdio};
use std::sync::Arc;

use super::Group;
use crate::device::DeviceRule;
use crate::layout::{Layout, Mode};
use crate::limits::Limits;

/// A group that is killed and removed at the end of the test.
struct Own(Group);

impl Drop for Own {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.remove().ok();
    }
}

fn own(name: &str) -> Option<Own> {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: not root");
        return None;
    }
    let layout = match Layout::detect() {
        Ok(layout) => Arc::new(layout),
        Err(e) => {
            println!("skipped: {e}");
            return None;
        }
    };
    let path = format!("/transom-test-{}-{name}", std::process::id());
    let group = Own(Group::new(&layout, &path).unwrap());
    if let Err(e) = group.0.create() {
        println!("skipped: {e}");
        return None;
    }
    Some(group)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test process with explicit arguments"
)]
fn sleeper() -> Child {
    std::process::Command::new("/bin/sleep")
        .arg("60")
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn create_join_kill_remove() {
    let Some(own) = own("life") else { return };
    let group = own.0.child("a").unwrap().child("b").unwrap();
    group.create().unwrap();
    group.create().unwrap();
    assert!(group.exists());
    let mut child = sleeper();
    group.join(child.id(), true).unwrap();
    assert_eq!(own.0.processes().unwrap(), [child.id()]);
    own.0.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9)
    );
    own.0.remove().unwrap();
    own.0.remove().unwrap();
    assert!(!group.exists());
}

#[test]
fn limits_reach_the_kernel_and_can_be_raised_and_lowered() {
    let Some(own) = own("limits") else { return };
    let group = own.0.child("c").unwrap();
    group.create().unwrap();
    for megabytes in [32, 64, 16] {
        let limits = Limits {
            memory: Some(megabytes << 20),
            memory_and_swap: Some(megabytes << 20),
            cpu_shares: Some(512),
            cpu_quota_us: Some(50_000),
            cpu_period_us: Some(100_000),
            cpuset_cpus: Some("0".into()),
            pids: Some(17),
            ..Limits::default()
        };
        group.apply(&limits).unwrap();
        assert_eq!(
            group.stats().unwrap().memory_limit,
            (megabytes as u64) << 20
        );
    }
    if group.layout().mode() != Mode::V2 {
        let read = |c: &str, f: &str| {
            std::fs::read_to_string(group.dir_of(c).unwrap().join(f))
                .unwrap()
                .trim()
                .to_string()
        };
        assert_eq!(read("cpu", "cpu.shares"), "512");
        assert_eq!(read("cpuset", "cpuset.cpus"), "0");
        assert_eq!(read("pids", "pids.max"), "17");
        let null = DeviceRule::allow_char(Some(1), Some(3), "rwm");
        group
            .apply_devices(&[DeviceRule::deny_all(), null])
            .unwrap();
        assert_eq!(read("devices", "devices.list"), "c 1:3 rwm");
    }
}

#[test]
fn freeze_and_statistics() {
    let Some(own) = own("freeze") else { return };
    let mut child = sleeper();
    own.0.join(child.id(), true).unwrap();
    own.0.freeze(true).unwrap();
    own.0.freeze(false).unwrap();
    let stats = own.0.stats().unwrap();
    assert_eq!(stats.pids, 1);
    assert_eq!(own.0.oom_kills().unwrap(), 0);
    own.0.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn paths_that_climb_are_refused() {
    let layout = Layout::parse("35 24 0:30 / /x rw - cgroup2 c rw\n", "0::/\n").unwrap();
    let layout = Arc::new(layout);
    for bad in ["", "a", "/a/../b", "/a//b", "/a/."] {
        assert!(Group::new(&layout, bad).is_err(), "{bad:?}");
    }
    assert!(Group::new(&layout, "/").unwrap().remove().is_err());
}

/// The same rules by the kernel's verifier, on a group that a shell is moved into.
#[test]
fn device_programs_are_enforced_on_the_unified_tree() {
    let Some(own) = own("program") else { return };
    if own.0.unified_dir().is_none() {
        println!("skipped: no unified tree");
        return;
    }
    let rules = [
        DeviceRule::deny_all(),
        DeviceRule::allow_char(Some(1), Some(3), "rwm"),
        DeviceRule::allow_char(Some(1), Some(9), "r"),
    ];
    own.0.apply_devices_by_program(&rules).unwrap();
    let script = format!(
        "echo $$ > {}/cgroup.procs; (: < /dev/null) && echo null; (: < /dev/urandom) && echo r; \
         (: > /dev/urandom) || echo no-w; (: < /dev/zero) || echo no-zero",
        own.0.unified_dir().unwrap().display()
    );
    #[expect(
        clippy::disallowed_methods,
        reason = "a test process with explicit arguments"
    )]
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", &script])
        .env_clear()
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        text,
        "null\nr\nno-w\nno-zero\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
