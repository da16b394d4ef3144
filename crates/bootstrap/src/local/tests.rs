//! A whole cluster with stand-ins for server and agent, in a host network namespace of the test's
//! own: up, resume after kills, exec, stop, start, down; the host before and after.
//!
//! The stand-in is a shell script of the test: the server part listens by `busybox`-free means
//! only if python3 is there; otherwise the test says so and skips.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use netlink::Namespace;

use crate::local::{Cluster, Options, Up, clusters, down, node_exec, start, stop, up};
use crate::process::Process;
use crate::ranges::Wanted;
use crate::snapshot::{HostState, Scope};

const STAND_IN: &str = r#"#!/bin/sh
# usage: FILE server|agent --config FILE
case "$1" in
server) exec python3 -c '
import re, socket, sys
text = open(sys.argv[2]).read()
sockets = []
for host, port in re.findall(r"- (\d+\.\d+\.\d+\.\d+):(\d+)", text.split("advertise")[0]):
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((host, int(port))); s.listen(); sockets.append(s)
import signal; signal.pause()
' "$2" "$3" ;;
agent) touch /run/agent-was-here; exec sleep 1000 ;;
esac
"#;

struct World {
    name: &'static str,
    outside: Namespace,
    folder: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        // A test that failed half way leaves nothing either.
        let _ = self.down();
    }
}

impl World {
    fn new(name: &'static str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: not root");
            return None;
        }
        if !Path::new("/usr/bin/python3").exists() && !Path::new("/usr/local/bin/python3").exists()
        {
            eprintln!("skipped: the stand-in server needs python3");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let program = folder.path().join("stand-in");
        fs::write(&program, STAND_IN).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let outside = Namespace::anonymous().unwrap();
        let mut handle = outside.run(netlink::Handle::open).unwrap().unwrap();
        handle.set_up(1, true).unwrap();
        Some(Self {
            name,
            outside,
            folder,
        })
    }

    fn options(&self) -> Options {
        Options {
            root: Some(self.folder.path().join("data")),
            program: Some(self.folder.path().join("stand-in")),
        }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("kubeconfig")
    }

    fn request(&self, nodes: usize) -> Up {
        Up {
            nodes,
            kubeconfig: Some(self.kubeconfig()),
            options: self.options(),
            ..Up::new(self.name)
        }
    }

    fn up(&self, nodes: usize) -> Result<Cluster, crate::Error> {
        let request = self.request(nodes);
        self.outside
            .run(|| up(&request, &mut |line| eprintln!("  {line}")))
            .unwrap()
    }

    fn down(&self) -> Result<(), crate::Error> {
        self.outside
            .run(|| down(self.name, &self.options(), &mut |_| {}))
            .unwrap()
    }

    fn snapshot(&self) -> HostState {
        let scope = Scope {
            folders: vec![self.folder.path().to_owned(), "/run/transom".into()],
            commands: vec![self.folder.path().display().to_string()],
        };
        self.outside
            .run(|| HostState::take(&scope))
            .unwrap()
            .unwrap()
    }

    fn exec(&self, node: &str, words: &[&str]) -> i32 {
        let command: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        self.outside
            .run(|| node_exec(self.name, node, &command, &self.options()))
            .unwrap()
            .unwrap()
    }

    /// What of the difference is ours: other tests use the machine at the same time.
    fn left(&self, before: &HostState) -> Vec<String> {
        let own = [
            self.folder.path().display().to_string(),
            format!("transom-{}-", self.name),
            format!("settings-{}.", self.outside.identity().unwrap().1),
        ];
        let shared = [" mount ", " cgroup ", " file "];
        let mut all = self.snapshot().since(before);
        all.retain(|line| {
            !shared.iter().any(|kind| line.contains(kind)) || own.iter().any(|o| line.contains(o))
        });
        all
    }
}

fn kill(pid: u32) {
    let raw = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(raw, rustix::process::Signal::KILL).unwrap();
    while Process::of(pid).is_some() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// `down` leaves nothing: after a plain life, after kills of everything, after a kill of `up`.
#[test]
fn life_of_a_cluster() {
    let Some(world) = World::new("life") else {
        return;
    };
    let before = world.snapshot();
    let cluster = world.up(2).unwrap();
    assert_eq!(cluster.nodes.len(), 2);
    assert!(cluster.nodes.iter().all(|node| node.pid.is_some()));
    assert!(
        fs::read_to_string(world.kubeconfig())
            .unwrap()
            .contains("transom-life")
    );
    let listed = world
        .outside
        .run(|| clusters(&world.options()))
        .unwrap()
        .unwrap();
    assert_eq!(listed.0, std::slice::from_ref(&cluster));

    // A node is a host of its own: name, processes, folders, control groups, network.
    assert_eq!(world.exec("life-0", &["/bin/sh", "-c", "exit 7"]), 7);
    let script = "set -e; test $(hostname) = life-1; test -e /run/agent-was-here; \
                  test -e /var/lib/transom/agent.yaml; test -e /etc/machine-id; \
                  test $(cat /proc/1/comm) = transom-node; \
                  test -e /run/transom/bin/transom; \
                  grep -q ' / /sys/fs/cgroup' /proc/self/mountinfo; \
                  touch /usr/of-node-1; test -z \"$(ls -A /var/log/pods)\"; \
                  python3 -c \"import socket; socket.create_connection(('API', PORT), 2)\"";
    let script = script
        .replace("API", &cluster.api_inside.ip().to_string())
        .replace("PORT", &cluster.api_inside.port().to_string());
    assert_eq!(world.exec("life-1", &["/bin/sh", "-c", &script]), 0);
    assert!(!Path::new("/usr/of-node-1").exists());

    // The control plane has its own user and no capabilities.
    let server = cluster.server_pid.unwrap();
    let status = fs::read_to_string(format!("/proc/{server}/status")).unwrap();
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    assert!(!status.contains("Uid:\t0"), "{status}");

    // A killed control plane comes back by itself.
    kill(server);
    let again = || {
        let now = world
            .outside
            .run(|| crate::local::cluster("life", &world.options()));
        now.unwrap()
            .unwrap()
            .server_pid
            .filter(|pid| *pid != server)
    };
    let pid = (0..500).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        again()
    });
    assert!(pid.is_some());

    // Resume changes nothing that runs, and completes what was killed.
    let cluster = world.up(2).unwrap();
    assert_eq!(world.up(2).unwrap(), cluster);
    kill(cluster.nodes[1].pid.unwrap());
    let resumed = world.up(2).unwrap();
    assert_eq!(resumed.server_pid, cluster.server_pid);
    assert_eq!(resumed.nodes[0], cluster.nodes[0]);
    assert_ne!(resumed.nodes[1].pid, cluster.nodes[1].pid);
    assert_eq!(
        world.exec("life-1", &["/usr/bin/test", "-e", "/usr/of-node-1"]),
        0
    );

    let quiet = |run: &(dyn Fn() -> Result<(), crate::Error> + Sync)| {
        world.outside.run(run).unwrap().unwrap();
    };
    quiet(&|| stop(world.name, &world.options(), &mut |_| {}));
    let listed = world
        .outside
        .run(|| clusters(&world.options()))
        .unwrap()
        .unwrap();
    assert!(listed.0[0].stopped && listed.0[0].server_pid.is_none());
    quiet(&|| start(world.name, &world.options(), &mut |_| {}).map(|_| ()));
    assert_eq!(world.up(3).unwrap().nodes.len(), 3);

    world.down().unwrap();
    assert_eq!(world.left(&before), Vec::<String>::new());
    let error = world.down().unwrap_err().to_string();
    assert_eq!(
        error,
        "no cluster named \"life\"; `transom clusters` lists those that exist"
    );
}

/// A predecessor that was killed half way, and one whose state file is gone, leave nothing either.
#[test]
fn down_after_a_killed_up() {
    let Some(world) = World::new("killed") else {
        return;
    };
    let before = world.snapshot();
    let cluster = world.up(1).unwrap();
    fs::remove_file(cluster.folder.join("cluster.json")).unwrap();
    fs::remove_file(cluster.folder.join("keeper/current")).unwrap();
    fs::remove_file(cluster.folder.join("nodes/killed-0/current")).unwrap();
    fs::remove_file(world.kubeconfig()).unwrap();
    world.down().unwrap();
    assert_eq!(world.left(&before), Vec::<String>::new());
}

/// A server that ends at once is reported with its log, and the cluster can still be taken down.
#[test]
fn a_server_that_dies() {
    let Some(world) = World::new("dies") else {
        return;
    };
    let before = world.snapshot();
    let program = world.folder.path().join("stand-in");
    fs::write(&program, "#!/bin/sh\necho no good >&2; exit 3\n").unwrap();
    let error = world.up(1).unwrap_err().to_string();
    assert!(
        error.starts_with("the control plane ended at once"),
        "{error}"
    );
    assert!(error.ends_with("no good"), "{error}");
    fs::write(&program, STAND_IN).unwrap();
    world.down().unwrap();
    let mut left = world.left(&before);
    left.retain(|line| !line.contains("stand-in"));
    assert_eq!(left, Vec::<String>::new());
}

/// Wrong requests are refused with all findings before anything is changed.
#[test]
fn refusals() {
    let Some(world) = World::new("refused") else {
        return;
    };
    let before = world.snapshot();
    let mut request = world.request(65);
    request.ranges = Wanted {
        pods: Some("10.1.2.3/16".into()),
        ..Wanted::default()
    };
    request.options.program = Some("/absent".into());
    let refuse = |request: &Up| {
        world
            .outside
            .run(|| up(request, &mut |_| {}))
            .unwrap()
            .unwrap_err()
            .to_string()
    };
    let text = refuse(&request);
    assert_eq!(
        text,
        "program /absent: No such file or directory (os error 2); install it again\n65 nodes: is \
         not a possible number; give --nodes from 0 to 64\npod range 10.1.2.3/16: has host bits \
         set; did you mean 10.1.0.0/16?"
    );
    let name = Up {
        name: "No/Good".into(),
        ..world.request(1)
    };
    assert!(refuse(&name).starts_with("cluster name \"No/Good\": is not a lower-case DNS label"));
    assert_eq!(world.left(&before), Vec::<String>::new());
}

/// Environment variable that makes `up_in_child` work instead of returning at once.
const CHILD: &str = "TRANSOM_TEST_UP";

/// Not a test of its own: the process that `killed_at_random` kills.
#[test]
fn up_in_child() {
    let Ok(folder) = std::env::var(CHILD) else {
        return;
    };
    let folder = PathBuf::from(folder);
    let request = Up {
        nodes: 2,
        kubeconfig: Some(folder.join("kubeconfig")),
        options: Options {
            root: Some(folder.join("data")),
            program: Some(folder.join("stand-in")),
        },
        ..Up::new("random")
    };
    let _ = up(&request, &mut |_| {});
}

/// `up` killed at any moment: the next `up` completes it, or `down` leaves nothing.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "the killed process is this test's own program"
)]
fn killed_at_random() {
    let Some(world) = World::new("random") else {
        return;
    };
    let before = world.snapshot();
    let mut random = base::Rng::from_os();
    for round in 0..24 {
        let delay = Duration::from_millis(5 + random.below(300));
        let spawn = || {
            std::process::Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "local::tests::up_in_child", "--test-threads=1"])
                .env(CHILD, world.folder.path())
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap()
        };
        let mut child = world.outside.run(spawn).unwrap();
        std::thread::sleep(delay);
        child.kill().unwrap();
        child.wait().unwrap();
        if round % 2 == 1 {
            let cluster = world.up(2).unwrap();
            assert!(cluster.server_pid.is_some(), "after {delay:?}");
            if let Some(node) = cluster.nodes.iter().find(|node| node.pid.is_none()) {
                let log = node.data.with_file_name("current");
                let life = fs::read_to_string(&log).unwrap();
                let folder = log.with_file_name(format!("life-{life}"));
                let files: Vec<_> = fs::read_dir(&folder).unwrap().flatten().collect();
                let text = fs::read_to_string(folder.join("node.log")).unwrap_or_default();
                panic!("after {delay:?}: {files:?}\n{text}");
            }
        }
        match world.down() {
            Ok(()) | Err(crate::Error::NoCluster(_)) => {}
            Err(error) => panic!("after {delay:?}: {}", base::Chain(&error)),
        }
        assert_eq!(world.left(&before), Vec::<String>::new(), "after {delay:?}");
    }
}

/// A reboot takes processes, namespaces, links and tables, and leaves files: `up` resumes.
#[test]
fn after_a_reboot() {
    let Some(world) = World::new("reboot") else {
        return;
    };
    world.up(1).unwrap();
    let layout = std::sync::Arc::new(cgroups::Layout::detect().unwrap());
    let place = crate::cluster::Place::new(&world.folder.path().join("data"), "reboot").unwrap();
    let group = cgroups::Group::new(&layout, &place.cgroup()).unwrap();
    crate::lives::remove_group(&group).unwrap();
    crate::host::mounts::unmount_below(&place.dir()).unwrap();
    world
        .outside
        .run(|| {
            let mut handle = netlink::Handle::open().unwrap();
            // Its other end's namespace went with the last process: the kernel may have been faster.
            let _was_there = handle.delete_link_named(&place.link()).unwrap();
            let mut batch = netlink::nft::Batch::new();
            batch.delete_table(&place.table());
            netlink::Nft::open().unwrap().commit(batch).unwrap();
        })
        .unwrap();
    let listed = world
        .outside
        .run(|| clusters(&world.options()))
        .unwrap()
        .unwrap();
    assert_eq!(
        (listed.0[0].server_pid, listed.0[0].nodes[0].pid),
        (None, None)
    );
    let resumed = world.up(1).unwrap();
    assert!(resumed.server_pid.is_some() && resumed.nodes[0].pid.is_some());
    assert_eq!(world.exec("reboot-0", &["/bin/true"]), 0);
    world.down().unwrap();
}
