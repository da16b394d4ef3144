//! Lives of pods and containers.

use nodeapi::{Code, RuntimeService as _, cri};

use super::bed;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn life_of_a_pod() {
    let Some(bed) = bed("life").await else { return };
    let mut events = bed.runtime.container_events().await.unwrap();
    let sandbox = bed.run("p").await;
    assert_eq!(bed.run("p").await, sandbox, "the same request again");
    let request = cri::PodSandboxStatusRequest {
        pod_sandbox_id: sandbox.clone(),
        verbose: true,
    };
    let status = bed
        .runtime
        .pod_sandbox_status(request)
        .await
        .unwrap()
        .status
        .unwrap();
    assert_eq!(status.network.unwrap().ip, "10.9.0.7");
    let args = [
        "id",
        "env",
        "FROM",
        "env",
        "HOSTNAME",
        "cat",
        "/etc/hostname",
        "cat",
        "/etc/hosts",
        "exit",
        "3",
    ];
    let id = bed.up(&sandbox, "a", &args).await;
    let status = bed.ended(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (3, "Error"));
    assert_eq!(status.image.unwrap().image, "docker.io/library/test:1");
    assert!(status.created_at <= status.started_at && status.started_at <= status.finished_at);
    let log = bed.log("a");
    assert!(
        log.starts_with("stdout F 7:8\nstdout F image\nstdout F p\nstdout F p\n"),
        "{log}"
    );
    assert!(log.ends_with("stdout F 10.9.0.7\tp\n"), "{log}");
    let mut kinds = Vec::new();
    while kinds.len() < 3 {
        kinds.push(events.recv().await.unwrap().container_event_type);
    }
    // A container may end before the call that started it returns.
    kinds.sort_unstable();
    assert_eq!(kinds, [0, 1, 2]);
    let gone = bed
        .create(&sandbox, bed.config("a", &[]))
        .await
        .unwrap_err();
    assert_eq!(gone.code, Code::AlreadyExists);
    let mut config = bed.config("b", &[]);
    config.image.as_mut().unwrap().image = "other".into();
    assert!(
        bed.create(&sandbox, config)
            .await
            .unwrap_err()
            .is_not_found()
    );
    bed.remove_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_do_not_start() {
    let Some(bed) = bed("nostart").await else {
        return;
    };
    let sandbox = bed.run("p").await;
    let mut config = bed.config("a", &[]);
    config.command = vec!["/missing".into()];
    let id = bed.create(&sandbox, config).await.unwrap();
    let error = bed.start(&id).await.unwrap_err();
    let text = "unable to start container process: exec: \"/missing\": stat /missing: no such file or directory";
    assert_eq!(error.message, text);
    let status = bed.ended(&id).await;
    assert_eq!(
        (status.exit_code, status.reason.as_str()),
        (128, "StartError")
    );
    let mut config = bed.config("b", &[]);
    config
        .linux
        .as_mut()
        .unwrap()
        .security_context
        .as_mut()
        .unwrap()
        .run_as_username = "x".into();
    let error = bed.create(&sandbox, config).await.unwrap_err();
    assert!(
        error.message.contains("unable to find user x"),
        "{}",
        error.message
    );
    bed.remove_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_network_leaves_nothing() {
    let Some(bed) = bed("nonet").await else {
        return;
    };
    *bed.network.refuses.lock() = true;
    let request = cri::RunPodSandboxRequest {
        config: Some(bed.pod("p")),
        ..Default::default()
    };
    let error = bed.runtime.run_pod_sandbox(request).await.unwrap_err();
    assert!(
        error.message.contains("no free address in 10.9.0.0/24"),
        "{}",
        error.message
    );
    bed.remove_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_asks_first_and_kills_then() {
    let Some(bed) = bed("stop").await else { return };
    let sandbox = bed.run("p").await;
    let polite = bed
        .up(
            &sandbox,
            "polite",
            &["trap", "echo", "ready", "sleep", "60"],
        )
        .await;
    let stubborn = bed
        .up(
            &sandbox,
            "stubborn",
            &[
                "ignore", "child", "echo", "ready", "sleep", "60", "sleep", "60",
            ],
        )
        .await;
    bed.wait_log("polite", "ready").await;
    bed.wait_log("stubborn", "ready").await;
    bed.stop(&polite, 20).await;
    assert_eq!(bed.status(&polite).await.exit_code, 42);
    bed.stop(&stubborn, 1).await;
    assert_eq!(bed.status(&stubborn).await.exit_code, 137);
    bed.stop(&stubborn, 1).await;
    bed.remove_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_statistics_and_oom() {
    let Some(bed) = bed("limits").await else {
        return;
    };
    let sandbox = bed.run("p").await;
    let mut config = bed.config("a", &["eat", "100"]);
    let resources = cri::LinuxContainerResources {
        memory_limit_in_bytes: 32 << 20,
        cpu_shares: 102,
        ..Default::default()
    };
    config.linux.as_mut().unwrap().resources = Some(resources.clone());
    let id = bed.create(&sandbox, config).await.unwrap();
    bed.start(&id).await.unwrap();
    let status = bed.ended(&id).await;
    assert_eq!(
        (status.exit_code, status.reason.as_str()),
        (137, "OOMKilled")
    );

    let id = bed
        .up_as_root(
            &sandbox,
            "b",
            &["write", "/file", "echo", "ready", "sleep", "60"],
        )
        .await;
    bed.wait_log("b", "ready").await;
    let update = cri::UpdateContainerResourcesRequest {
        container_id: id.clone(),
        linux: Some(resources),
        ..Default::default()
    };
    bed.runtime
        .update_container_resources(update)
        .await
        .unwrap();
    let linux = bed.status(&id).await.resources.unwrap().linux.unwrap();
    assert_eq!(
        (linux.memory_limit_in_bytes, linux.cpu_shares),
        (32 << 20, 102)
    );
    let request = cri::PodSandboxStatsRequest {
        pod_sandbox_id: sandbox,
    };
    let stats = bed
        .runtime
        .pod_sandbox_stats(request)
        .await
        .unwrap()
        .stats
        .unwrap()
        .linux
        .unwrap();
    assert_eq!(stats.process.unwrap().process_count.unwrap().value, 1);
    assert!(stats.memory.unwrap().usage_bytes.unwrap().value > 0);
    let container = &stats.containers[0];
    let used = container
        .writable_layer
        .as_ref()
        .unwrap()
        .used_bytes
        .as_ref()
        .unwrap()
        .value;
    assert!((1 << 20..2 << 20).contains(&used), "{used}");
    let memory = container.memory.as_ref().unwrap();
    assert!(memory.available_bytes.as_ref().unwrap().value <= 32 << 20);
    bed.remove_all().await;
}

/// Many pods at once; prints how long one takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_in_parallel() {
    let Some(bed) = bed("parallel").await else {
        return;
    };
    #[expect(clippy::disallowed_methods, reason = "a measurement")]
    let begin = std::time::Instant::now();
    let names: Vec<String> = (0..8).map(|n| format!("p{n}")).collect();
    let mut all = Vec::new();
    for name in &names {
        all.push(async {
            let sandbox = bed.run(name).await;
            let id = bed.up(&sandbox, name, &["exit", "0"]).await;
            assert_eq!(bed.ended(&id).await.exit_code, 0);
        });
    }
    let mut pinned: Vec<_> = all.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        pinned.retain_mut(|f| f.as_mut().poll(cx).is_pending());
        if pinned.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    println!("8 pods with a container that ends: {:?}", begin.elapsed());
    bed.remove_all().await;
}

/// The group that the kubelet names for a pod goes with the pod's last sandbox, and no other does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_named_group_goes_with_its_last_sandbox() {
    let Some(bed) = bed("named").await else {
        return;
    };
    let named = format!("{}/pods/one", bed.parent);
    let group = |path: &str| bed.runtime.inner.group(path).unwrap();
    let mut sandboxes = Vec::new();
    for (name, parent) in [
        ("p", named.as_str()),
        ("q", named.as_str()),
        ("r", &format!("{}/pods", bed.parent)),
    ] {
        let mut config = bed.pod(name);
        config.linux = Some(cri::LinuxPodSandboxConfig {
            cgroup_parent: parent.to_owned(),
            ..Default::default()
        });
        let request = cri::RunPodSandboxRequest {
            config: Some(config),
            runtime_handler: String::new(),
        };
        let made = bed.runtime.run_pod_sandbox(request).await.unwrap();
        sandboxes.push(made.pod_sandbox_id);
    }
    for sandbox in &sandboxes {
        bed.up(sandbox, "a", &["sleep", "60"]).await;
    }
    let remove = async |sandbox: &str| {
        let pod_sandbox_id = sandbox.to_owned();
        let request = cri::RemovePodSandboxRequest { pod_sandbox_id };
        bed.runtime.remove_pod_sandbox(request).await.unwrap();
    };
    // The group above it holds others: it stays with them.
    remove(&sandboxes[2]).await;
    remove(&sandboxes[0]).await;
    assert!(group(&named).exists(), "another sandbox is in it");
    remove(&sandboxes[1]).await;
    assert!(!group(&named).exists(), "nobody is in it");
    assert!(group(&format!("{}/pods", bed.parent)).exists());
    bed.remove_all().await;
}
