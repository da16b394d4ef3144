//! Namespaces shared with the host, the pod, another container.

use std::fs;

use nodeapi::{RuntimeService as _, cri};

use super::bed;

fn namespaces(network: cri::NamespaceMode, pid: cri::NamespaceMode) -> cri::NamespaceOption {
    cri::NamespaceOption {
        network: network as i32,
        pid: pid as i32,
        ipc: network as i32,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn privileged_in_the_host_namespaces() {
    let Some(bed) = bed("host").await else { return };
    let options = namespaces(cri::NamespaceMode::Node, cri::NamespaceMode::Node);
    let mut pod = bed.pod("p");
    pod.hostname = String::new();
    pod.linux = Some(cri::LinuxPodSandboxConfig {
        security_context: Some(cri::LinuxSandboxSecurityContext {
            namespace_options: Some(options.clone()),
            privileged: true,
            ..Default::default()
        }),
        ..Default::default()
    });
    let request = cri::RunPodSandboxRequest {
        config: Some(pod),
        ..Default::default()
    };
    let sandbox = bed
        .runtime
        .run_pod_sandbox(request)
        .await
        .unwrap()
        .pod_sandbox_id;
    let args = [
        "cat",
        "/proc/1/comm",
        "cat",
        "/proc/sys/kernel/hostname",
        "cat",
        "/etc/hostname",
        "write",
        "/proc/sys/kernel/ns_last_pid",
        "child",
        "exit",
        "0",
    ];
    let mut config = bed.config("a", &args);
    let security = config
        .linux
        .as_mut()
        .unwrap()
        .security_context
        .as_mut()
        .unwrap();
    security.namespace_options = Some(options);
    security.privileged = true;
    security.run_as_user = Some(cri::Int64Value { value: 0 });
    let id = bed.create(&sandbox, config).await.unwrap();
    bed.start(&id).await.unwrap();
    let status = bed.ended(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (0, "Completed"));
    let host = |path: &str| fs::read_to_string(path).unwrap();
    let name = host("/proc/sys/kernel/hostname");
    let expect = [host("/proc/1/comm"), name.clone(), name];
    let expect: String = expect
        .iter()
        .map(|line| format!("stdout F {line}"))
        .collect();
    assert_eq!(bed.log("a"), expect);
    assert!(bed.network.connected.lock().is_empty());
    bed.remove_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shared_processes_and_a_debugger() {
    let Some(bed) = bed("share").await else {
        return;
    };
    let shared = namespaces(cri::NamespaceMode::Pod, cri::NamespaceMode::Pod);
    let mut pod = bed.pod("shared");
    pod.linux = Some(cri::LinuxPodSandboxConfig {
        security_context: Some(cri::LinuxSandboxSecurityContext {
            namespace_options: Some(shared.clone()),
            ..Default::default()
        }),
        sysctls: [(
            "net.ipv4.ip_unprivileged_port_start".to_string(),
            "1000".to_string(),
        )]
        .into(),
        ..Default::default()
    });
    let request = cri::RunPodSandboxRequest {
        config: Some(pod),
        ..Default::default()
    };
    let sandbox = bed
        .runtime
        .run_pod_sandbox(request)
        .await
        .unwrap()
        .pod_sandbox_id;
    let start = "/proc/sys/net/ipv4/ip_unprivileged_port_start";
    let mut config = bed.config(
        "a",
        &[
            "cat",
            "/proc/1/comm",
            "cat",
            start,
            "echo",
            "ready",
            "sleep",
            "60",
        ],
    );
    config
        .linux
        .as_mut()
        .unwrap()
        .security_context
        .as_mut()
        .unwrap()
        .namespace_options = Some(shared);
    let id = bed.create(&sandbox, config).await.unwrap();
    bed.start(&id).await.unwrap();
    bed.wait_log("a", "ready").await;
    assert_eq!(
        bed.log("a"),
        "stdout F pod-init\nstdout F 1000\nstdout F ready\n"
    );

    // An ephemeral container that looks at another one's processes.
    let sandbox = bed.run("target").await;
    let target = bed
        .up(&sandbox, "b", &["echo", "ready", "sleep", "60"])
        .await;
    bed.wait_log("b", "ready").await;
    let mut config = bed.config("c", &["cat", "/proc/1/comm", "exit", "0"]);
    let options = cri::NamespaceOption {
        pid: cri::NamespaceMode::Target as i32,
        target_id: target.clone(),
        ..Default::default()
    };
    config
        .linux
        .as_mut()
        .unwrap()
        .security_context
        .as_mut()
        .unwrap()
        .namespace_options = Some(options);
    let id = bed.create(&sandbox, config).await.unwrap();
    bed.start(&id).await.unwrap();
    assert_eq!(bed.ended(&id).await.exit_code, 0);
    assert_eq!(bed.log("c"), "stdout F prog\n");
    assert_eq!(
        bed.status(&target).await.state,
        cri::ContainerState::ContainerRunning as i32
    );
    bed.remove_all().await;
}
