//! The plan of a node.

use std::fmt::Write;
use std::path::Path;

use expect_test::expect;

use crate::cluster::Place;
use crate::node::{plan, resolvers, system_mounts};

/// What a node owns comes from the cluster's folder; the rest is the host's.
#[test]
fn second_node() {
    let place = Place::new(Path::new("/d"), "c").unwrap();
    let system = system_mounts(&[
        "/".into(),
        "/usr/local/x".into(),
        "/usr".into(),
        "/home".into(),
    ]);
    let plan = plan(&place, "c-1", 1, &system);
    let mut out = String::new();
    writeln!(
        out,
        "root {} upper {}",
        plan.root.display(),
        plan.upper.display()
    )
    .unwrap();
    writeln!(out, "network {}", plan.network.display()).unwrap();
    writeln!(out, "agent {}", plan.agent.join(" ")).unwrap();
    for (source, target) in &plan.binds {
        writeln!(out, "{} = {}", target.display(), source.display()).unwrap();
    }
    expect![[r#"
        root /d/clusters/c/nodes/c-1/root upper /d/clusters/c/nodes/c-1/upper
        network /d/clusters/c/netns/node-1
        agent /run/transom/bin/transom agent --config /var/lib/transom/agent.yaml
        /var/lib/transom = /d/clusters/c/nodes/c-1/data
        /var/lib/kubelet = /d/clusters/c/nodes/c-1/kubelet
        /var/log/pods = /d/clusters/c/nodes/c-1/pod-logs
        /etc/cni = /d/clusters/c/nodes/c-1/cni
        /run = /d/clusters/c/nodes/c-1/run
        /tmp = /d/clusters/c/nodes/c-1/tmp
        /usr = /usr
        /run/transom/bin/transom = /d/clusters/c/bin/transom
        /run/transom/netns-host = /d/clusters/c/netns/host
    "#]]
    .assert_eq(&out);
}

/// A resolver that only the host reaches is replaced by those behind it.
#[test]
fn resolver_files() {
    let real = || Some("nameserver 192.0.2.1\n".to_owned());
    let stub = || Some("# stub\nnameserver 127.0.0.53\noptions edns0\n".to_owned());
    let usual = || Some("nameserver 198.51.100.1\n".to_owned());
    assert_eq!(resolvers(stub(), real()), real().unwrap());
    assert_eq!(resolvers(usual(), real()), usual().unwrap());
    assert_eq!(resolvers(stub(), None), stub().unwrap());
    assert_eq!(resolvers(None, None), "");
}
