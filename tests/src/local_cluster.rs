//! A real local cluster from the real binary: scenarios, several nodes, and a host left as found.
//!
//! Needs root, a static binary in `TRANSOM_BIN` and, for the scenarios, upstream's kubectl in
//! `SCENARIO_KUBECTL`; says why it skips.

use std::fs;
use std::path::Path;
use std::time::Duration;

use api::Gvr;
use bootstrap::snapshot::{HostState, Scope};

use crate::fixture::{self, Fixture, create_when_possible, wait_until_running};
use crate::until::object_until;

/// Brings a cluster up, runs every scenario, takes it down; the host is as before.
#[test]
fn scenarios_and_a_clean_host() {
    let Some(fixture) = Fixture::new("s") else {
        return;
    };
    let scope = Scope {
        folders: Vec::new(),
        commands: vec![fixture.folder.path().display().to_string()],
    };
    let before = HostState::take(&scope).unwrap();
    fixture.must(&["up", "--name", &fixture.name]);
    fixture.must(&["up", "--name", &fixture.name]);
    assert!(fixture.must(&["clusters"]).contains("running"));
    let printed = fixture.import_hello();
    assert!(
        printed.contains("localhost/transom-hello:latest"),
        "{printed}"
    );
    let node = fixture.cluster().nodes[0].name.clone();
    let program = fixture.binary.to_str().unwrap();
    let version = fixture.must(&[
        "node",
        "exec",
        "--name",
        &fixture.name,
        &node,
        "--",
        program,
        "--version",
    ]);
    assert!(version.contains("transom"), "{version}");
    let has_shell = crate::busybox::archive().is_some_and(|bytes| {
        let image = fixture.data().join("busybox.tar");
        fs::write(&image, bytes).unwrap();
        let file = image.to_str().unwrap();
        fixture.must(&["image", "import", "--name", &fixture.name, file]);
        true
    });
    if let Some(kubectl) = std::env::var_os("SCENARIO_KUBECTL") {
        let kubeconfig = fixture.cluster().admin_kubeconfig;
        for folder in ["api", "node"] {
            for file in crate::scenario::files(folder) {
                let text = fs::read_to_string(&file).unwrap();
                if text.contains("localhost/busybox") && !has_shell {
                    println!("{} skipped: needs Debian's busybox-static", file.display());
                    continue;
                }
                println!("{}", file.display());
                crate::scenario::run(&file, &kubeconfig, Path::new(&kubectl));
            }
        }
    } else {
        println!("scenarios skipped: SCENARIO_KUBECTL names no kubectl");
    }
    fixture.must(&["stop", "--name", &fixture.name]);
    fixture.must(&["start", "--name", &fixture.name]);
    fixture.must(&["down", "--name", &fixture.name]);
    let mut left = HostState::take(&scope).unwrap().since(&before);
    // What went away belonged to others.
    left.retain(|line| line.starts_with('+'));
    assert!(left.is_empty(), "left behind: {left:#?}");
}

/// Three nodes: every pod reaches every pod under its own address, the host reaches all, pods get
/// out; a node killed with everything in it comes back with its pods, and the others do not notice.
#[test]
fn three_nodes_and_a_dead_one() {
    let Some(fixture) = Fixture::new("n") else {
        return;
    };
    let name = fixture.name.clone();
    fixture.must(&["up", "--name", &name, "--nodes", "2"]);
    fixture.must(&["up", "--name", &name, "--nodes", "3"]);
    fixture.import_hello();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let nodes = fixture.cluster().nodes;
    assert_eq!(nodes.len(), 3);
    runtime.block_on(async {
        let client = fixture.client();
        let pods = client.namespaced(&Gvr::new("", "v1", "pods"), "default");
        let mut running = Vec::new();
        for node in &nodes {
            let pod = crate::kills::HELLO.replace("ticker", &node.name).replace(
                r#""spec":{"#,
                &format!(r#""spec":{{"nodeName":"{}","#, node.name),
            );
            create_when_possible(&pods, pod).await;
        }
        for node in &nodes {
            running.push(wait_until_running(&pods, &node.name).await);
        }
        for (node, (address, ..)) in nodes.iter().zip(&running) {
            let pod: std::net::Ipv4Addr = address.parse().unwrap();
            assert!(node.pods.contains(&pod), "{pod} in {}", node.pods);
        }
        everyone_reaches_everyone(&fixture, &running);
        let uid = pods.get(&nodes[1].name).await.unwrap().uid().to_owned();

        let victim = nodes[1].pid.unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(victim).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let (_, address, _) = &running[1];
        println!("node {} killed, its pod was {address}", nodes[1].name);
        fixture.must(&["start", "--name", &name]);
        let before = running[1].1.clone();
        running[1] = object_until(&pods, &nodes[1].name, "runs again", |pod| {
            fixture::running(pod).filter(|now| now.1 != before)
        })
        .await;
        let pod = pods.get(&nodes[1].name).await.unwrap();
        assert_eq!(pod.uid(), uid, "the same pod");
        assert_eq!(running[1].2, 1, "one restart");
        for index in [0, 2] {
            let now = wait_until_running(&pods, &nodes[index].name).await;
            assert_eq!(now, running[index], "a pod of another node changed");
        }
        everyone_reaches_everyone(&fixture, &running);
    });
    fixture.must(&["node", "stop", "--name", &name, &nodes[2].name]);
    let status = fixture.must(&["status", "--name", &name]);
    assert!(status.contains("dead"), "{status}");
    let refused = fixture.refused(&[
        "node",
        "exec",
        "--name",
        &name,
        &nodes[2].name,
        "--",
        "true",
    ]);
    assert_eq!(
        refused,
        "error: node NAME-2 of cluster \"NAME\" does not run; `transom node start -C NAME NAME-2` \
         brings it back\n"
    );
    fixture.must(&["node", "start", "--name", &name, &nodes[2].name]);
}

/// What `make run` shows: three replicas on three nodes behind a Service, asked through a port of
/// each node, and updated under load without a failed request.
/// What they choose shows in routes and sockets only once they run.
#[test]
fn clusters_of_two_folders_that_start_at_once_share_nothing() {
    let Some(first) = Fixture::new("t") else {
        return;
    };
    let second = first.beside();
    std::thread::scope(|scope| {
        for fixture in [&first, &second] {
            scope.spawn(|| fixture.must(&["up", "--name", &fixture.name]));
        }
    });
    let (one, other) = (first.cluster(), second.cluster());
    for range in one.ranges.all() {
        for theirs in other.ranges.all() {
            let apart = !range.contains(&theirs) && !theirs.contains(&range);
            assert!(apart, "{range} and {theirs}");
        }
    }
    assert_ne!(one.api, other.api);
}

#[test]
fn the_demo() {
    let Some(fixture) = Fixture::new("r") else {
        return;
    };
    let text = fixture.must(&["demo", "--name", &fixture.name]);
    println!("{text}");
    let update = text
        .lines()
        .find(|line| line.starts_with("Rolling update to v2: "))
        .unwrap();
    assert!(update.ends_with(", 0 failed"), "{update}");
    assert!(update.contains("answered by v1") && update.contains("answered by v2"));
    assert!(text.contains("answered by 3 pods"), "{text}");
}

/// From the host and from every node's and pod's network to every pod's port.
#[track_caller]
fn everyone_reaches_everyone(fixture: &Fixture, pods: &[(String, String, i64)]) {
    let ask = |address: &str| -> Result<String, std::io::Error> {
        use std::io::{Read as _, Write as _};
        let target = std::net::SocketAddr::new(address.parse().unwrap(), 8080);
        let mut stream = std::net::TcpStream::connect_timeout(&target, Duration::from_secs(5))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    let mut from = vec![(
        "the host".to_owned(),
        netlink::Namespace::current().unwrap(),
    )];
    for node in fixture.cluster().nodes {
        let agent = crate::kills::agent_of(node.pid.unwrap()).unwrap();
        for pid in [Some(agent), container_of(agent)].into_iter().flatten() {
            let path = format!("/proc/{pid}/ns/net");
            let namespace = netlink::Namespace::open(Path::new(&path)).unwrap();
            from.push((format!("{} {pid}", node.name), namespace));
        }
    }
    assert_eq!(from.len(), 1 + 2 * pods.len(), "host, nodes and pods");
    for (who, namespace) in &from {
        for (address, ..) in pods {
            let answer = namespace.run(|| ask(address)).unwrap();
            let text = answer.unwrap_or_else(|error| panic!("{who} → {address}: {error}"));
            assert!(text.contains("Hello from"), "{who} → {address}: {text}");
        }
    }
}

/// A process of a pod on the node whose agent is `agent`: one of the node's processes that runs
/// `hello`.
fn container_of(agent: u32) -> Option<u32> {
    let space = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/uts")).ok();
    let own = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    // The shim's parent is the node's pid 1: found by what contains it.
    let node = fs::read_to_string(format!("/proc/{agent}/status")).ok()?;
    let parent: u32 = node
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))?
        .trim()
        .parse()
        .ok()?;
    let mut open = vec![parent];
    while let Some(pid) = open.pop() {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if line.split('\0').any(|word| word == "hello") && own(pid) != own(agent) {
            return (space(pid) != space(agent)).then_some(pid);
        }
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        open.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    None
}
