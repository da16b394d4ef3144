//! What goes wrong before and under a cluster: each with one clear message, and nothing lost.
//!
//! The real binary as people call it. Missing kernel features are tested where they are judged
//! (`bootstrap::preflight`). Needs root and `TRANSOM_BIN`; says why it skips.

use std::fs;
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::time::Duration;

use api::Gvr;
use bootstrap::snapshot::{HostState, Scope};
use expect_test::{Expect, expect};
use netlink::rt::{Prefix, Route, Veth};
use netlink::{Handle, Namespace};

use crate::fixture::Fixture;

#[track_caller]
fn check(fixture: &Fixture, words: &[&str], expect: Expect) {
    expect.assert_eq(&fixture.refused(words));
}

/// Someone who is not root.
#[test]
fn not_root() {
    let Some(mut fixture) = Fixture::new("u") else {
        return;
    };
    // The folder that it was built in may be closed to others.
    let program = fixture.folder.path().join("transom");
    fs::copy(&fixture.binary, &program).unwrap();
    fs::set_permissions(fixture.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fixture.binary = program;
    let mut other = fixture.command(&["up", "--name", &fixture.name]);
    other.uid(65534).gid(65534).current_dir("/");
    let (good, text) = fixture.run(other);
    assert!(!good, "{text}");
    expect![[r#"
        error: user: uid 65534 may not make namespaces and links; run the command with sudo
    "#]]
    .assert_eq(&fixture.plain(&text));
    assert!(!fixture.data().exists());
}

/// Ranges that no cluster can have, each with one that it could have.
#[test]
fn ranges() {
    let Some(fixture) = Fixture::new("r") else {
        return;
    };
    // A host with Docker's bridge, and nothing else that could differ from day to day.
    let host = Namespace::anonymous().unwrap();
    let mut handle = Handle::open_in(host.as_fd()).unwrap();
    let lo = handle.link_by_name("lo").unwrap().unwrap().index;
    handle.set_up(lo, true).unwrap();
    let docker = handle
        .add_veth(&Veth {
            name: "docker0",
            address: None,
            peer_name: "far",
            peer_address: None,
            peer_namespace: None,
            mtu: None,
            alias: "",
        })
        .unwrap();
    handle.set_up(docker, true).unwrap();
    let bridge = Prefix::new("172.17.0.1".parse::<std::net::IpAddr>().unwrap(), 16);
    handle.add_address(docker, bridge).unwrap();
    let fixture = fixture.on(host);
    let up = |options: &[&'static str]| {
        let name: Vec<&str> = vec!["up", "--name", &fixture.name];
        fixture.refused(&[name, options.to_vec()].concat())
    };
    expect![[r#"
        error: pod range 10.1.2.3/16: has host bits set; did you mean 10.1.0.0/16?
    "#]]
    .assert_eq(&up(&["--pod-range", "10.1.2.3/16"]));
    expect![[r#"
        error: service range ten: is not an address range; write it as in 10.244.0.0/16
    "#]]
    .assert_eq(&up(&["--service-range", "ten"]));
    expect![[r#"
        error: pod range 10.1.0.0/25: is too small; give at least a /24
        node range fd00::/64: is not an IPv4 range; write it as in 10.244.0.0/16
    "#]]
    .assert_eq(&up(&[
        "--pod-range",
        "10.1.0.0/25",
        "--node-range",
        "fd00::/64",
    ]));
    expect![[r#"
        error: node range 172.17.3.0/24: meets 172.17.0.0/16, which is an address of docker0; --node-range 172.31.0.0/24 is free, or remove what uses it
    "#]].assert_eq(&up(&["--node-range", "172.17.3.0/24"]));
    expect![[r#"
        error: pod range 10.1.0.0/16: meets the service range 10.1.128.0/20; --pod-range 10.244.0.0/16 is free
    "#]].assert_eq(&up(&[
        "--pod-range",
        "10.1.0.0/16",
        "--service-range",
        "10.1.128.0/20",
    ]));
    expect![[r#"
        error: pod range 10.1.0.0/23: has room for 2 nodes of /24 each; give a larger one, or fewer nodes
    "#]].assert_eq(&up(&["--pod-range", "10.1.0.0/23", "--nodes", "3"]));
    expect![[r#"
        error: 65 nodes: is not a possible number; give --nodes from 0 to 64
    "#]]
    .assert_eq(&up(&["--nodes", "65"]));
    assert!(!fixture.data().exists());
}

/// The API's port is taken, while a cluster is made and when it comes back.
#[test]
fn port_taken() {
    let Some(fixture) = Fixture::new("p") else {
        return;
    };
    let name = fixture.name.clone();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let words = ["up", "--name", &name, "--api-port", &port, "--nodes", "1"];
    let text = fixture.refused(&words).replace(&port, "PORT");
    expect![[r#"
        error: port 127.0.0.1:PORT: Address already in use (os error 98); stop what listens there, or choose another with --api-port
    "#]].assert_eq(&text);
    assert!(!fixture.data().exists());
    drop(other);
    fixture.must(&words);
    fixture.must(&["stop", "--name", &name]);
    let other = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    let text = fixture.refused(&["start", "--name", &name]);
    expect![[r#"
        error: port 127.0.0.1:PORT: Address already in use (os error 98); stop what listens there: a cluster's port is fixed when it is made
    "#]].assert_eq(&text.replace(&port, "PORT"));
    drop(other);
    fixture.must(&["start", "--name", &name]);
    let text = fixture.refused(&["up", "--name", &name, "--api-port", "1"]);
    expect![[r#"
        error: port 1: the cluster has PORT; is fixed when a cluster is made; take it down first, or leave it out
    "#]]
    .assert_eq(&text.replace(&port, "PORT"));
}

/// Configuration files of server and agent.
#[test]
fn configuration() {
    let Some(fixture) = Fixture::new("c") else {
        return;
    };
    let file = fixture.folder.path().join("config.yaml");
    let path = file.to_str().unwrap();
    let refuse = |applet: &str, text: Option<&str>| {
        match text {
            Some(text) => fs::write(&file, text).unwrap(),
            None => drop(fs::remove_file(&file)),
        }
        fixture.refused(&[applet, "--config", path])
    };
    expect![[r#"
        error: read DIR/config.yaml: No such file or directory (os error 2)
    "#]]
    .assert_eq(&refuse("server", None));
    expect![[r#"
        error: DIR/config.yaml is not a valid server configuration: line 2 column 1: unknown field `colour`, expected one of clusterName, dataDir, pkiDir, listen, advertise, podRanges, serviceRanges, nodeMaskV4, nodeMaskV6, nodes, clusterDomain, clusterDns, serviceAccountIssuer, log
         --> <input>:2:1
          |
        1 | clusterName: a
        2 | colour: red
          | ^ unknown field `colour`, expected one of clusterName, dataDir, pkiDir, listen, advertise, podRanges, serviceRanges, nodeMaskV4, nodeMaskV6, nodes, clusterDomain, clusterDns, serviceAccountIssuer, log
    "#]].assert_eq(&refuse("server", Some("clusterName: a\ncolour: red\n")));
    expect![[r#"
        error: DIR/config.yaml is not a valid server configuration: line 1 column 14: expected string scalar
         --> <input>:1:14
          |
        1 | clusterName: [a
          |              ^ expected string scalar
    "#]].assert_eq(&refuse("server", Some("clusterName: [a\n")));
    expect![[r#"
        error: DIR/config.yaml is not a valid agent configuration: line 2 column 9: invalid socket address syntax
         --> <input>:2:9
          |
        1 | clusterName: a
        2 | server: nowhere
          |         ^ invalid socket address syntax
    "#]].assert_eq(&refuse("agent", Some("clusterName: a\nserver: nowhere\n")));
}

/// Data folders that hold something else, and a state that cannot be read.
#[test]
fn data_folders() {
    let Some(fixture) = Fixture::new("f") else {
        return;
    };
    let name = fixture.name.clone();
    fs::write(fixture.data(), "not a folder").unwrap();
    check(
        &fixture,
        &["up", "--name", &name],
        expect![[r#"
        error: data folder DIR/data: DIR/data is not a folder; set TRANSOM_DATA to a folder, or to one that does not exist yet
    "#]],
    );
    fs::remove_file(fixture.data()).unwrap();

    let folder = fixture.data().join("clusters").join(&name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("thesis.txt"), "years of work").unwrap();
    check(
        &fixture,
        &["up", "--name", &name],
        expect![[r#"
        error: DIR/data/clusters/NAME/thesis.txt is not of a cluster, in the folder that cluster "NAME" would have; move it away, choose another name with --name, or another data folder with TRANSOM_DATA
    "#]],
    );
    check(
        &fixture,
        &["down", "--name", &name],
        expect![[r#"
        error: DIR/data/clusters/NAME/thesis.txt is not of a cluster, in the folder that cluster "NAME" would have; move it away, choose another name with --name, or another data folder with TRANSOM_DATA
    "#]],
    );
    assert_eq!(
        fs::read_to_string(folder.join("thesis.txt")).unwrap(),
        "years of work"
    );
    fs::remove_file(folder.join("thesis.txt")).unwrap();

    let state = folder.join("cluster.json");
    fs::write(&state, "{\"version\": 1, \"na").unwrap();
    check(
        &fixture,
        &["up", "--name", &name],
        expect![[r#"
        error: DIR/data/clusters/NAME/cluster.json cannot be read as a cluster's state; restore the file, or remove the cluster with `transom down -C NAME`: EOF while parsing a string at line 1 column 18
    "#]],
    );
    check(
        &fixture,
        &["status", "--name", &name],
        expect![[r#"
        error: DIR/data/clusters/NAME/cluster.json cannot be read as a cluster's state; restore the file, or remove the cluster with `transom down -C NAME`: EOF while parsing a string at line 1 column 18
    "#]],
    );
    let listed = fixture.must(&["clusters"]);
    assert!(
        listed.contains("warning: ") && listed.contains("NODES"),
        "{listed}"
    );
    fixture.must(&["down", "--name", &name]);
    check(
        &fixture,
        &["down", "--name", &name],
        expect![[r#"
        error: no cluster named "NAME"; `transom clusters` lists those that exist
    "#]],
    );
    check(
        &fixture,
        &["up", "--name", "No/Good"],
        expect![[r#"
        error: cluster name "No/Good": is not a lower-case DNS label of at most 32 characters; choose a name such as "dev" or "team-1"
    "#]],
    );
    assert!(!fixture.data().exists());
}

/// The database's bytes are changed behind the store's back: the control plane refuses by name
/// and changes nothing; with the old bytes everything is there again.
#[test]
fn damaged_database() {
    let Some(fixture) = Fixture::new("d") else {
        return;
    };
    let name = fixture.name.clone();
    fixture.must(&["up", "--name", &name]);
    let create = |count: u32| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let client = fixture.client();
            let maps = client.namespaced(&Gvr::new("", "v1", "configmaps"), "default");
            for number in 0..count {
                let json = config_map(&format!("kept-{number}"), "v");
                maps.create(json).await.unwrap();
            }
            maps.list(&client::ListOptions::default())
                .await
                .unwrap()
                .items
                .len()
        })
    };
    let present = create(50);
    fixture.must(&["stop", "--name", &name]);
    let database = fixture.cluster().folder.join("server/store.db");
    let good = fs::read(&database).unwrap();
    for (at, what) in [(good.len() / 2, "a page"), (20, "the header")] {
        let mut bad = good.clone();
        for byte in &mut bad[at..at + 64] {
            *byte ^= 0xff;
        }
        overwrite(&database, &bad);
        let text = fixture.refused(&["start", "--name", &name]);
        let said = text.lines().find(|line| line.contains("is damaged"));
        println!("{what}: {text}");
        let said = said
            .unwrap_or_else(|| panic!("{what}: {text}"))
            .replace(&name, "NAME");
        assert!(said.contains("server/store.db is damaged: "), "{said}");
        let next = "nothing was changed: restore a snapshot, or move the file away to start empty";
        assert!(said.ends_with(next), "{said}");
        assert_eq!(fs::read(&database).unwrap(), bad, "{what}");
        fixture.must(&["stop", "--name", &name]);
    }
    overwrite(&database, &good);
    fixture.must(&["start", "--name", &name]);
    assert_eq!(create(0), present);
}

/// New content for a file that keeps its owner and mode.
fn overwrite(path: &Path, bytes: &[u8]) {
    for rest in ["-wal", "-shm"] {
        let beside = path.with_file_name(format!("store.db{rest}"));
        drop(fs::remove_file(beside));
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path)
        .unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
}

fn config_map(name: &str, value: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"k":"{value}"}}}}"#
    )
}

/// The disk runs full under a cluster: writes fail by name, reads go on, a full disk does not keep
/// it from stopping, and with room everything goes on with all that was acknowledged.
#[test]
fn disk_full() {
    let Some(fixture) = Fixture::new("x") else {
        return;
    };
    let fixture = fixture.with_disk(c"size=700m,mode=755");
    let name = fixture.name.clone();
    let data = fixture.data();
    fixture.must(&["up", "--name", &name]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let ballast = data.join("ballast");
    runtime.block_on(async {
        let client = fixture.client();
        let maps = client.namespaced(&Gvr::new("", "v1", "configmaps"), "default");
        maps.create(config_map("before", "v")).await.unwrap();
        fill(&ballast);
        let error = loop {
            // The log's last block may have room yet.
            let value = "v".repeat(4000);
            match maps
                .create(config_map(
                    &format!("n{}", base::Rng::from_os().u64()),
                    &value,
                ))
                .await
            {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        let text = base::Chain(&error).to_string();
        let text = fixture.plain(&text);
        let at = text.find("/default/n").unwrap();
        let end = text[at..].find(':').unwrap() + at;
        let text = format!("{}/default/N{}", &text[..at], &text[end..]);
        expect!["POST /api/v1/namespaces/default/configmaps: write /registry/configmaps/default/N: DIR/data/clusters/NAME/server/store.db is full (database or disk is full); nothing was written: free space on its file system"].assert_eq(&text);
        maps.get("before").await.unwrap();
    });
    fixture.must(&["stop", "--name", &name]);
    check(
        &fixture,
        &["start", "--name", &name],
        expect![[r#"
        error: data folder DIR/data: 0 MiB are free on its file system; free 8 MiB or more
    "#]],
    );
    fs::remove_file(&ballast).unwrap();
    fixture.must(&["start", "--name", &name]);
    runtime.block_on(async {
        let client = fixture.client();
        let maps = client.namespaced(&Gvr::new("", "v1", "configmaps"), "default");
        maps.get("before").await.unwrap();
        fill(&ballast);
        let big = config_map("late", &"v".repeat(100_000));
        maps.create(big.clone()).await.unwrap_err();
        // Room comes under a running control plane.
        fs::remove_file(&ballast).unwrap();
        maps.create(big).await.unwrap();
    });
    fixture.must(&["down", "--name", &name]);
}

fn fill(ballast: &Path) {
    let mut file = fs::File::create(ballast).unwrap();
    let block = vec![1; 1 << 20];
    let mut size = block.len();
    while size > 0 {
        if std::io::Write::write_all(&mut file, &block[..size]).is_err() {
            size /= 2;
        }
    }
}

/// `up` killed at any moment: the next `up` completes what it left, and `down` leaves nothing.
#[test]
fn killed_up() {
    let Some(fixture) = Fixture::new("k") else {
        return;
    };
    let name = fixture.name.clone();
    let scope = Scope {
        folders: Vec::new(),
        commands: vec![fixture.folder.path().display().to_string()],
    };
    let before = HostState::take(&scope).unwrap();
    for millis in [1, 15, 60, 150] {
        let mut command = fixture.command(&["up", "--name", &name, "--nodes", "2"]);
        let null = std::process::Stdio::null;
        let mut child = command.stdout(null()).stderr(null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
        fixture.must(&["up", "--name", &name, "--nodes", "2"]);
        fixture.must(&["down", "--name", &name]);
    }
    let mut left = HostState::take(&scope).unwrap().since(&before);
    left.retain(|line| line.starts_with('+'));
    assert!(left.is_empty(), "left behind: {left:#?}");
}

/// A host with Docker's policy (forwarded packets are dropped unless accepted) and without IPv6:
/// nodes get out, and nothing of ours stays in Docker's chain.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "iptables makes the host as Docker leaves it"
)]
fn beside_docker_without_ipv6() {
    let Some(fixture) = Fixture::new("o") else {
        return;
    };
    let (host, outside) = (
        Namespace::anonymous().unwrap(),
        Namespace::anonymous().unwrap(),
    );
    for namespace in [&host, &outside] {
        let off = || fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", "1");
        // A kernel without IPv6 is as good.
        drop(namespace.run(off).unwrap());
    }
    let mut near = Handle::open_in(host.as_fd()).unwrap();
    let mut far = Handle::open_in(outside.as_fd()).unwrap();
    let link = near
        .add_veth(&Veth {
            name: "eth0",
            address: None,
            peer_name: "eth0",
            peer_address: None,
            peer_namespace: Some(outside.as_fd()),
            mtu: None,
            alias: "",
        })
        .unwrap();
    let ends = [(&mut near, "192.0.2.2"), (&mut far, "192.0.2.1")];
    for (handle, address) in ends {
        for name in ["lo", "eth0"] {
            let index = handle.link_by_name(name).unwrap().unwrap().index;
            handle.set_up(index, true).unwrap();
            if name == "eth0" {
                let address: std::net::IpAddr = address.parse().unwrap();
                handle.add_address(index, Prefix::new(address, 24)).unwrap();
            }
        }
    }
    let gateway: std::net::IpAddr = "192.0.2.1".parse().unwrap();
    let mut default = Route::default_via(gateway);
    default.link = Some(link);
    near.replace_route(&default).unwrap();
    let iptables = |words: &str| {
        let mut command = std::process::Command::new("iptables-nft");
        command.args(words.split(' '));
        host.run(move || command.output()).unwrap()
    };
    let Ok(_) = iptables("-P FORWARD DROP") else {
        println!("skipped: no iptables-nft");
        return;
    };
    for words in [
        "-N DOCKER-USER",
        "-A FORWARD -j DOCKER-USER",
        "-P INPUT DROP",
        "-A INPUT -i lo -j ACCEPT",
    ] {
        assert!(iptables(words).unwrap().status.success(), "{words}");
    }
    let rules = || String::from_utf8(iptables("-S").unwrap().stdout).unwrap();
    let before = rules();
    let listener = outside
        .run(|| TcpListener::bind("192.0.2.1:8000"))
        .unwrap()
        .unwrap();
    let server = std::thread::spawn(move || listener.accept().unwrap().1.ip());
    let host = host.try_clone().unwrap();
    let fixture = fixture.on(host);
    let name = fixture.name.clone();
    fixture.must(&["up", "--name", &name, "--nodes", "2"]);
    let node = fixture.cluster().nodes[1].name.clone();
    let script = "exec 3<>/dev/tcp/192.0.2.1/8000";
    let words = [
        "node", "exec", "--name", &name, &node, "--", "bash", "-c", script,
    ];
    fixture.must(&words);
    assert_eq!(
        server.join().unwrap().to_string(),
        "192.0.2.2",
        "as the host"
    );
    fixture.must(&["down", "--name", &name]);
    assert_eq!(rules(), before);
}
