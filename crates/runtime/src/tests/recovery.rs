//! The agent dies, the shim dies: what is found again.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nodeapi::{RuntimeService as _, cri};
use parking_lot::Mutex;

use super::{Bed, NoNetwork, OneImage, bed, open};

/// What kill -9 of the agent leaves: everything runs on, exits are not lost, addresses stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_agent_finds_everything() {
    let Some(mut bed) = bed("recover").await else {
        return;
    };
    let sandbox = bed.run("p").await;
    let runs = bed
        .up(&sandbox, "runs", &["echo", "ready", "sleep", "60"])
        .await;
    let ends = bed.up(&sandbox, "ends", &["sleep", "1", "exit", "4"]).await;
    let waits = bed
        .create(
            &sandbox,
            bed.config("waits", &["echo", "late", "exit", "0"]),
        )
        .await
        .unwrap();
    let pid = bed
        .runtime
        .inner
        .container(&runs)
        .unwrap()
        .1
        .record
        .lock()
        .pid;
    bed.wait_log("runs", "ready").await;
    // Left-overs of operations that were cut off.
    let half = bed.dir.path().join("root/sandboxes/half");
    fs::create_dir_all(half.join("containers")).unwrap();
    bed.shutdown.trigger();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    bed.reopen().await;
    assert!(!half.exists());
    let status = bed.status(&ends).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (4, "Error"));
    assert_eq!(
        bed.status(&runs).await.state,
        cri::ContainerState::ContainerRunning as i32
    );
    assert_eq!(
        bed.runtime
            .inner
            .container(&runs)
            .unwrap()
            .1
            .record
            .lock()
            .pid,
        pid
    );
    let request = cri::PodSandboxStatusRequest {
        pod_sandbox_id: sandbox.clone(),
        verbose: false,
    };
    let status = bed
        .runtime
        .pod_sandbox_status(request)
        .await
        .unwrap()
        .status
        .unwrap();
    assert_eq!(
        (status.state, status.network.unwrap().ip.as_str()),
        (0, "10.9.0.7")
    );
    bed.start(&waits).await.unwrap();
    assert_eq!(bed.ended(&waits).await.exit_code, 0);
    assert_eq!(bed.log("waits"), "stdout F late\n");
    assert_eq!(
        bed.exec(&runs, &["/prog", "echo", "x"], 5)
            .await
            .unwrap()
            .stdout,
        b"x\n"
    );
    let stop = bed.stop(&runs, 0);
    stop.await;
    assert_eq!(bed.status(&runs).await.exit_code, 137);
    bed.remove_all().await;
}

/// A shim that is killed takes its containers along, and the sandbox says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_shim_is_noticed() {
    let Some(bed) = bed("bereaved").await else {
        return;
    };
    let sandbox = bed.run("p").await;
    let id = bed
        .up(&sandbox, "a", &["echo", "ready", "sleep", "60"])
        .await;
    let dir = bed.runtime.inner.sandbox(&sandbox).unwrap().dir.clone();
    let state = oci::client::read_state(&dir).unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(state.shim_pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let status = bed.ended(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (255, "Unknown"));
    for _ in 0..200 {
        if !bed.runtime.inner.sandbox(&sandbox).unwrap().is_ready() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bed.runtime.inner.list_sandboxes(None)[0].state, 1);
    bed.remove_all().await;
}

/// Variables that make [`agent_to_be_killed`] an agent: state, group, root of the image.
const CHILD: [&str; 3] = [
    "TRANSOM_TEST_DIR",
    "TRANSOM_TEST_GROUP",
    "TRANSOM_TEST_ROOT",
];

/// Makes and removes pods until it is killed; nothing to do when it is run as a test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_to_be_killed() {
    let [Ok(dir), Ok(parent), Ok(root)] = CHILD.map(std::env::var) else {
        return;
    };
    let images = Arc::new(OneImage {
        root: root.into(),
        held: Mutex::default(),
    });
    let network = Arc::new(NoNetwork::default());
    let dir = PathBuf::from(dir);
    let (runtime, shutdown) = open(&dir, &parent, &images, &network).await;
    // Goes with the folder around it: who is killed removes nothing.
    let own = tempfile::tempdir_in(&dir).unwrap();
    let bed = Bed {
        dir: own,
        parent,
        images,
        network,
        runtime,
        shutdown,
    };
    for n in 0.. {
        let sandbox = bed.run(&format!("x{}-{n}", std::process::id())).await;
        let id = bed.up(&sandbox, "a", &["exit", "0"]).await;
        bed.ended(&id).await;
        let pod_sandbox_id = sandbox;
        let stop = cri::StopPodSandboxRequest {
            pod_sandbox_id: pod_sandbox_id.clone(),
        };
        bed.runtime.stop_pod_sandbox(stop).await.unwrap();
        let remove = cri::RemovePodSandboxRequest { pod_sandbox_id };
        bed.runtime.remove_pod_sandbox(remove).await.unwrap();
    }
}

/// kill -9 at random moments under load: the old pod stays untouched, nothing half-made remains.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_kills_of_the_agent() {
    let Some(mut bed) = bed("kills").await else {
        return;
    };
    let sandbox = bed.run("stays").await;
    let stays = bed
        .up(&sandbox, "stays", &["echo", "ready", "sleep", "600"])
        .await;
    bed.wait_log("stays", "ready").await;
    let pid = bed
        .runtime
        .inner
        .container(&stays)
        .unwrap()
        .1
        .record
        .lock()
        .pid;
    bed.shutdown.trigger();
    let mut random = base::Rng::new(7);
    for _ in 0..12 {
        #[expect(clippy::disallowed_methods, reason = "this test program as an agent")]
        let mut agent = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["tests::recovery::agent_to_be_killed", "--exact"])
            .env(CHILD[0], bed.dir.path())
            .env(CHILD[1], &bed.parent)
            .env(CHILD[2], &bed.images.root)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(40 + random.below(250))).await;
        assert!(
            agent.try_wait().unwrap().is_none(),
            "the agent failed by itself"
        );
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
    bed.reopen().await;
    assert_eq!(
        bed.status(&stays).await.state,
        cri::ContainerState::ContainerRunning as i32
    );
    assert_eq!(
        bed.runtime
            .inner
            .container(&stays)
            .unwrap()
            .1
            .record
            .lock()
            .pid,
        pid
    );
    let listed = bed.runtime.inner.list_sandboxes(None);
    println!("sandboxes after the kills: {}", listed.len());
    assert_eq!(
        bed.exec(&stays, &["/prog", "echo", "x"], 5)
            .await
            .unwrap()
            .stdout,
        b"x\n"
    );
    bed.remove_all().await;
    let group = bed.runtime.inner.group(&bed.parent).unwrap();
    assert_eq!(group.processes().unwrap(), Vec::<u32>::new());
    let shims = fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .filter(|p| {
            let environment = fs::read_link(p.path().join("fd/2")).unwrap_or_default();
            environment.starts_with(bed.dir.path())
        });
    assert_eq!(shims.count(), 0, "shims are left");
}
