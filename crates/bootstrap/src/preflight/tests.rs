//! This machine passes; every lack of another one is named with cause and next step.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use expect_test::{Expect, expect};
use netlink::nft::{BaseChain, Family, Hook, Table};

use crate::preflight::{Facts, Subject, Tried, check, judge};

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
        exists: false,
        port: None,
        cgroup: "/transom-preflight-test".into(),
        program: "/proc/self/exe".into(),
        installed: false,
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
        exists: false,
        port: Some(port),
        cgroup: "/transom-preflight-test-2".into(),
        program: "/absent".into(),
        installed: false,
    };
    let expected = format!(
        "port 127.0.0.1:{port}: Address already in use (os error 98); stop what listens there, or \
         choose another with --api-port\nprogram /absent: No such file or directory (os error 2); \
         install it again"
    );
    assert_eq!(findings(&subject), expected);
}

/// A machine that has everything, after `change`.
#[track_caller]
fn check_lack(change: impl FnOnce(&mut Facts), expect: Expect) {
    let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let mut facts = Facts {
        namespaces: names(&super::NAMESPACES),
        controllers: Some(names(&super::CONTROLLERS)),
        free: Some(64 << 30),
        ..Facts::default()
    };
    change(&mut facts);
    let subject = Subject {
        root: "/var/lib/transom".into(),
        exists: false,
        port: Some(6443),
        cgroup: "/transom-default".into(),
        program: "/usr/bin/transom".into(),
        installed: false,
    };
    let lines: Vec<String> = judge(&subject, &facts)
        .iter()
        .map(|finding| {
            let warning = if finding.warning { "warning: " } else { "" };
            format!("{warning}{finding}")
        })
        .collect();
    expect.assert_eq(&lines.join("\n"));
}

/// Kernel features, one by one and together.
#[test]
fn kernel() {
    check_lack(|_| {}, expect![[""]]);
    check_lack(
        |facts| facts.overlay = Tried::Absent,
        expect![
            "overlayfs: not in this kernel; load the module overlay, or boot a kernel with CONFIG_OVERLAY_FS"
        ],
    );
    check_lack(
        |facts| facts.veth = Tried::Absent,
        expect![
            "veth links: not in this kernel; load the module veth, or boot a kernel with CONFIG_VETH"
        ],
    );
    check_lack(
        |facts| facts.nftables = Tried::Absent,
        expect![
            "nftables: not in this kernel; load the modules nf_tables, nft_chain_nat and nft_masq, or boot a kernel with them"
        ],
    );
    check_lack(
        |facts| facts.network = Tried::Failed("unshare: EPERM".into()),
        expect![
            "network namespaces: unshare: EPERM; allow this user to make namespaces (CAP_SYS_ADMIN)"
        ],
    );
    check_lack(
        |facts| facts.controllers = Some(vec!["cpu".into(), "cpuset".into(), "pids".into()]),
        expect![
            "cgroup controller memory: is in no hierarchy; boot with cgroup_enable=memory, and without cgroup_disable=memory, on the kernel's command line"
        ],
    );
    check_lack(
        |facts| {
            facts.controllers = None;
            facts.group = Tried::Failed("no control group hierarchy is mounted".into());
        },
        expect![
            "control groups: no control group hierarchy is mounted; mount cgroup2 on /sys/fs/cgroup, writable (a container needs a hierarchy of its own)"
        ],
    );
    check_lack(
        |facts| {
            facts.uid = 1000;
            facts
                .namespaces
                .retain(|name| name != "pid" && name != "cgroup");
            facts.overlay = Tried::Absent;
        },
        expect![[r#"
            user: uid 1000 may not make namespaces and links; run the command with sudo
            pid namespaces: the kernel does not have them; boot a kernel with CONFIG_NAMESPACES and all its kinds
            cgroup namespaces: the kernel does not have them; boot a kernel with CONFIG_NAMESPACES and all its kinds
            overlayfs: not in this kernel; load the module overlay, or boot a kernel with CONFIG_OVERLAY_FS"#]],
    );
}

/// The data folder.
#[test]
fn data_folder() {
    check_lack(
        |facts| facts.free = Some(12 << 20),
        expect![
            "data folder /var/lib/transom: 12 MiB are free on its file system; free 200 MiB or more, or set TRANSOM_DATA to a folder elsewhere"
        ],
    );
    check_lack(
        |facts| facts.free = Some(500 << 20),
        expect![
            "warning: data folder /var/lib/transom: 500 MiB are free on its file system; free some space before images fill it"
        ],
    );
    check_lack(
        |facts| facts.on_overlay = true,
        expect![
            "data folder /var/lib/transom: is on overlayfs, which cannot hold the nodes' writable layers; set TRANSOM_DATA to a folder on a real file system, such as a volume"
        ],
    );
    check_lack(
        |facts| facts.closed = Some("/var/lib".into()),
        expect![
            "data folder /var/lib/transom: the control plane's own user may not pass /var/lib; set TRANSOM_DATA to a folder that everyone may pass (o+x)"
        ],
    );
    check_lack(
        |facts| facts.no_folder = Some("/var/lib/transom".into()),
        expect![
            "data folder /var/lib/transom: /var/lib/transom is not a folder; set TRANSOM_DATA to a folder, or to one that does not exist yet"
        ],
    );
}

/// Other people's firewalls: iptables' chains get rules of ours, others a warning.
#[test]
fn firewalls() {
    let drops = |family, table: &str, name: &str, hook: Hook| BaseChain {
        table: Table::new(family, table),
        name: name.to_owned(),
        hook: hook as u32,
        priority: 0,
        drops: true,
    };
    check_lack(
        |facts| {
            facts.chains = vec![
                drops(Family::Ip, "filter", "FORWARD", Hook::Forward),
                drops(Family::Ip, "filter", "INPUT", Hook::Input),
                drops(Family::Ip6, "filter", "FORWARD", Hook::Forward),
                drops(Family::Inet, "transom-a", "forward", Hook::Forward),
            ];
        },
        expect![[""]],
    );
    check_lack(
        |facts| {
            facts.chains = vec![drops(
                Family::Inet,
                "firewalld",
                "filter_FORWARD",
                Hook::Forward,
            )];
            facts.legacy_filter = true;
        },
        expect![[r#"
            warning: nft chain inet firewalld filter_FORWARD: drops forwarded packets by default, pods' way out too; accept links named trh* there
            warning: iptables-legacy: has a filter table, which may drop what pods send out; if they cannot get out: iptables-legacy -I FORWARD -i trh+ -j ACCEPT and iptables-legacy -I FORWARD -o trh+ -j ACCEPT"#]],
    );
}
