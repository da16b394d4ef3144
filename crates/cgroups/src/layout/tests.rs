//! Text fixtures of real hosts.

use expect_test::{Expect, expect};

use super::Layout;

#[track_caller]
fn check(mountinfo: &str, cgroup: &str, expect: Expect) {
    let layout = match Layout::parse(mountinfo, cgroup) {
        Ok(layout) => layout,
        Err(e) => return expect.assert_eq(&format!("error: {e}\n")),
    };
    let mut out = format!("{:?}\n", layout.mode());
    for h in layout.v1().iter().chain(layout.unified()) {
        out += &format!(
            "[{}] {} own={}\n",
            h.controllers.join(","),
            h.mount.display(),
            h.own
        );
    }
    expect.assert_eq(&out);
}

#[test]
fn hybrid_with_one_mount_each() {
    check(
        "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
",
        "9:name=systemd:/\n4:memory:/process_api/0d7c\n1:cpu:/\n0::/\n",
        expect![[r#"
            Hybrid
            [cpu] /sys/fs/cgroup/cpu own=/
            [memory] /sys/fs/cgroup/memory own=/process_api/0d7c
            [name=systemd] /sys/fs/cgroup/systemd own=/
            [] /sys/fs/cgroup/unified own=/
        "#]],
    );
}

#[test]
fn v1_with_shared_hierarchies_in_a_container() {
    check(
        "50 40 0:30 /docker/ab /sys/fs/cgroup/cpu,cpuacct ro,nosuid master:9 - cgroup cgroup rw,cpu,cpuacct
51 40 0:31 /docker/ab /sys/fs/cgroup/me\\040m ro - cgroup cgroup rw,memory
",
        "5:cpu,cpuacct:/docker/ab/x\n4:memory:/docker/ab\n3:pids:/docker/ab\n",
        expect![[r#"
            V1
            [cpu,cpuacct] /sys/fs/cgroup/cpu,cpuacct own=/x
            [memory] /sys/fs/cgroup/me m own=/
        "#]],
    );
}

#[test]
fn pure_v2_under_systemd() {
    check(
        "35 24 0:30 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
",
        "0::/system.slice/transom.service\n",
        expect![[r#"
            V2
            [] /sys/fs/cgroup own=/system.slice/transom.service
        "#]],
    );
}

/// A copy of the tree elsewhere (a container's view, a build sandbox) does not replace the first.
#[test]
fn second_mount_of_the_same_tree_is_ignored() {
    check(
        "35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n99 24 0:30 / /var/x rw - cgroup2 cgroup2 rw\n",
        "0::/../outside\n",
        expect![[r#"
            V2
            [] /sys/fs/cgroup own=/
        "#]],
    );
}

#[test]
fn nothing_mounted() {
    check(
        "22 27 0:21 / /proc rw - proc proc rw\n",
        "0::/\n",
        expect![[r#"
            error: no cgroup hierarchy is mounted
        "#]],
    );
}

#[test]
fn damaged_text_is_an_error() {
    check(
        "nonsense\n",
        "0::/\n",
        expect![[r#"
            error: parse /proc/self/mountinfo: "nonsense"
        "#]],
    );
}
