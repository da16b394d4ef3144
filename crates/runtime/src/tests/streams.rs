//! Commands, streams, images over the socket.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use base::{Shutdown, SystemClock};
use nodeapi::{Code, Io, RuntimeService as _, Streams, TerminalSize, cri};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::bed;
use crate::Runtime;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_in_a_container() {
    let Some(bed) = bed("exec").await else { return };
    let sandbox = bed.run("p").await;
    let id = bed
        .up(&sandbox, "a", &["echo", "ready", "sleep", "60"])
        .await;
    let answer = bed
        .exec(&id, &["/prog", "id", "err", "oops", "exit", "5"], 10)
        .await
        .unwrap();
    assert_eq!(
        (
            answer.stdout.as_slice(),
            answer.stderr.as_slice(),
            answer.exit_code
        ),
        (&b"7:8\n"[..], &b"oops\n"[..], 5)
    );
    let late = bed
        .exec(&id, &["/prog", "sleep", "60"], 1)
        .await
        .unwrap_err();
    assert_eq!(late.code, Code::DeadlineExceeded);
    let missing = bed.exec(&id, &["/none"], 1).await.unwrap_err();
    assert!(
        missing.message.contains("exec: \"/none\""),
        "{}",
        missing.message
    );

    let (ours, theirs) = tokio::io::duplex(1024);
    let (input, mut feed) = tokio::io::duplex(1024);
    feed.write_all(b"hello\n").await.unwrap();
    drop(feed);
    let request = cri::ExecRequest {
        container_id: id.clone(),
        cmd: ["/prog", "read", "read", "exit", "6"]
            .map(Into::into)
            .into(),
        stdin: true,
        stdout: true,
        ..Default::default()
    };
    let io = Io {
        stdin: Some(Box::new(input)),
        stdout: Some(Box::new(theirs)),
        ..Io::default()
    };
    let mut text = String::new();
    let mut ours = ours;
    let (status, _) = tokio::join!(
        Streams::exec(&bed.runtime, request, io),
        ours.read_to_string(&mut text)
    );
    assert_eq!(
        (status.unwrap().code, text.as_str()),
        (6, "got hello\ngot eof\n")
    );

    let (mut ours, theirs) = tokio::io::duplex(1024);
    let (sizes, resize) = tokio::sync::mpsc::channel(1);
    sizes
        .send(TerminalSize {
            width: 77,
            height: 20,
        })
        .await
        .unwrap();
    let request = cri::ExecRequest {
        container_id: id.clone(),
        cmd: ["/prog", "tty", "env", "TERM"].map(Into::into).into(),
        tty: true,
        stdout: true,
        ..Default::default()
    };
    let io = Io {
        stdout: Some(Box::new(theirs)),
        resize: Some(resize),
        ..Io::default()
    };
    let mut text = String::new();
    let (status, _) = tokio::join!(
        Streams::exec(&bed.runtime, request, io),
        ours.read_to_string(&mut text)
    );
    assert_eq!(
        (status.unwrap().code, text.as_str()),
        (0, "tty 1 77\r\nxterm\r\n")
    );
    bed.remove_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attach_and_port_forward() {
    let Some(bed) = bed("streams").await else {
        return;
    };
    let sandbox = bed.run("p").await;
    let mut config = bed.config("a", &["read", "exit", "9"]);
    (config.stdin, config.stdin_once) = (true, true);
    let id = bed.create(&sandbox, config).await.unwrap();
    bed.start(&id).await.unwrap();
    let (input, mut feed) = tokio::io::duplex(64);
    let (mut ours, theirs) = tokio::io::duplex(64);
    let request = cri::AttachRequest {
        container_id: id.clone(),
        stdin: true,
        stdout: true,
        ..Default::default()
    };
    let io = Io {
        stdin: Some(Box::new(input)),
        stdout: Some(Box::new(theirs)),
        ..Io::default()
    };
    let mut text = String::new();
    let client = async {
        feed.write_all(b"ping\n").await.unwrap();
        ours.read_to_string(&mut text).await.unwrap();
    };
    let (status, ()) = tokio::join!(Streams::attach(&bed.runtime, request, io), client);
    assert_eq!((status.unwrap().code, text.as_str()), (9, "got ping\n"));

    bed.up(&sandbox, "server", &["listen", "8080"]).await;
    bed.wait_log("server", "ready").await;
    let (mut ours, theirs) = tokio::io::duplex(64);
    let mut text = String::new();
    let client = async {
        ours.write_all(b"hi").await.unwrap();
        ours.read_to_string(&mut text).await.unwrap();
        // The pod ended the connection; a client that waits to be told so keeps its own end open.
        ours
    };
    let (forwarded, _ours) = tokio::join!(
        Streams::port_forward(&bed.runtime, &sandbox, 8080, Box::new(theirs)),
        client
    );
    forwarded.unwrap();
    assert_eq!(text, "echo hi");
    let (_, theirs) = tokio::io::duplex(64);
    let refused = Streams::port_forward(&bed.runtime, &sandbox, 8081, Box::new(theirs))
        .await
        .unwrap_err();
    assert!(
        refused.message.contains("localhost:8081"),
        "{}",
        refused.message
    );
    bed.remove_all().await;
}

/// The real image store and the socket: what crictl sees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn real_images_over_the_socket() {
    let Some(mut bed) = bed("socket").await else {
        return;
    };
    let store = images::Config::new(bed.dir.path().join("images"));
    let store = images::Images::open(store, Arc::new(SystemClock)).unwrap();
    let program = fs::read(bed.images.root.join("prog")).unwrap();
    let reference: images::Reference = "registry.local/demo:v1".parse().unwrap();
    let config = images::ImageConfig {
        entrypoint: vec!["/bin/prog".into()],
        cmd: vec!["echo".into(), "from the image".into()],
        user: "12".into(),
        ..images::ImageConfig::default()
    };
    let build = images::build::Build::new(config)
        .files(&[("bin/prog", 0o755, &program)])
        .unwrap();
    let archive = build.archive(&reference).unwrap();
    store
        .import(std::io::Cursor::new(archive), None)
        .await
        .unwrap();
    let node_images = Arc::new(crate::NodeImages::new(store, images::Registries::default()));
    bed.shutdown.trigger();
    let shutdown = Shutdown::new();
    let config = bed.runtime.inner.config.clone();
    let clock = Arc::new(SystemClock);
    let runtime = Runtime::open(
        config,
        node_images.clone(),
        bed.network.clone(),
        clock,
        shutdown.clone(),
    );
    (bed.runtime, bed.shutdown) = (runtime.await.unwrap(), shutdown.clone());

    let path = bed.dir.path().join("cri.sock");
    let (served, runtime, images) = (path.clone(), bed.runtime.clone(), node_images.clone());
    base::tasks::spawn("socket", &shutdown.clone(), async move {
        crate::serve(&served, Arc::new(runtime), images, shutdown)
            .await
            .unwrap();
    });
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let address = format!("unix://{}", path.display());
    let channel = tonic::transport::Endpoint::try_from(address)
        .unwrap()
        .connect_lazy();
    let images = nodeapi::socket::RemoteImages::new(channel.clone());
    let runtime = nodeapi::socket::RemoteRuntime::new(channel);
    let version = runtime
        .version(cri::VersionRequest::default())
        .await
        .unwrap();
    assert_eq!(
        (
            version.runtime_name.as_str(),
            version.runtime_version.as_str()
        ),
        ("transom", "test")
    );
    let listed = nodeapi::ImageService::list_images(&images, Default::default())
        .await
        .unwrap();
    assert_eq!(listed.images[0].repo_tags, ["registry.local/demo:v1"]);
    assert_eq!(listed.images[0].uid.as_ref().unwrap().value, 12);
    let request = cri::RunPodSandboxRequest {
        config: Some(bed.pod("p")),
        ..Default::default()
    };
    let sandbox = runtime
        .run_pod_sandbox(request)
        .await
        .unwrap()
        .pod_sandbox_id;
    let mut config = bed.config("a", &[]);
    config.image.as_mut().unwrap().image = listed.images[0].id.clone();
    let request = cri::CreateContainerRequest {
        pod_sandbox_id: sandbox.clone(),
        config: Some(config),
        sandbox_config: None,
    };
    let id = runtime
        .create_container(request)
        .await
        .unwrap()
        .container_id;
    runtime
        .start_container(cri::StartContainerRequest {
            container_id: id.clone(),
        })
        .await
        .unwrap();
    let status = bed.ended(&id).await;
    assert_eq!(
        (status.exit_code, bed.log("a").as_str()),
        (0, "stdout F from the image\n")
    );
    assert_eq!(status.image.unwrap().image, "registry.local/demo:v1");
    let missing = cri::ContainerStatusRequest {
        container_id: "nothing".into(),
        verbose: false,
    };
    let error = runtime.container_status(missing).await.unwrap_err();
    assert_eq!(
        (error.code, error.message.as_str()),
        (Code::NotFound, "container \"nothing\" not found")
    );
    bed.remove_all().await;
}
