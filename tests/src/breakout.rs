//! A hostile pod of a real cluster: what it tries against its node and against its neighbours.
//!
//! The attacker is `crates/oci/src/client/tests/attacks.c`, in an image of its own. Each attack
//! also runs where it must succeed (a privileged pod, the victim's own pod, the administrator), or
//! its failing would prove nothing. The ways out that need a mistake of the runtime are tested in
//! `oci`; docs/SECURITY.md has the table. Needs root, `TRANSOM_BIN` and a C compiler.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use client::{Api, Client};
use images::build::Build;
use images::{ImageConfig, Reference};
use transport::client::{Endpoint, HttpClient, Token};
use transport::tls::{ClientTls, Trust};

use crate::fixture::{Fixture, create_when_possible};
use crate::until::object_until;

const SOURCE: &str = include_str!("../../crates/oci/src/client/tests/attacks.c");
/// In a Secret of the victim's.
const TREASURE: &str = "the-treasure-of-b";
/// The same for who looks for it, whose own words must not hold it.
const SOUGHT: &str = "the-treas|ure-of-b";

/// What a pod tries against its node: word, argument, and whether a privileged pod succeeds on
/// every machine.
const AGAINST_THE_NODE: &[(&str, &str, bool)] = &[
    ("read", "/proc/kcore", false),
    ("read", "/proc/keys", true),
    ("read", "/proc/interrupts", true),
    ("read", "/proc/timer_list", false),
    ("read", "/proc/sched_debug", false),
    ("list", "/proc/scsi", false),
    ("list", "/proc/acpi", false),
    ("list", "/sys/firmware", false),
    ("list", "/sys/devices/virtual/powercap", false),
    ("write", "/proc/sysrq-trigger", false),
    ("write", "/proc/sys/kernel/core_pattern", true),
    ("write", "/proc/sys/kernel/modprobe", false),
    ("write", "/proc/sys/vm/drop_caches", true),
    ("write", "/proc/sys/net/ipv4/ip_forward", true),
    ("write", "/proc/irq/default_smp_affinity", false),
    ("write", "/sys/kernel/uevent_helper", false),
    ("write", "/sys/power/state", false),
    (
        "write",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        false,
    ),
    ("create", "/sys/fs/cgroup/memory/notify_on_release", false),
    (
        "write",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        false,
    ),
    ("write", "/sys/fs/cgroup/devices/devices.allow", false),
    ("write", "/sys/fs/cgroup/pids/pids.max", false),
    ("write", "/sys/fs/cgroup/pids.max", false),
    ("write", "/sys/fs/cgroup/cgroup.procs", false),
    ("read", "/dev/mem", false),
    ("read", "/dev/kmsg", false),
    ("node", "b:7:0", false),
    ("node", "b:8:0", false),
    ("node", "b:254:0", false),
    ("node", "c:1:1", false),
    ("node", "c:10:200", true),
    ("mount", "/tmp", true),
    ("remount", "/proc/sys", false),
    ("remount", "/sys", true),
    ("uncover", "/proc/keys", false),
    ("uncover", "/proc/sys", false),
    ("fresh-proc", "", true),
    ("release-agent", "memory", false),
    ("release-agent", "rdma", false),
    ("call", "bpf", true),
    ("call", "swapon", true),
    ("call", "acct", true),
    ("call", "pivot_root", true),
    ("call", "sethostname", true),
    ("call", "kexec_load", false),
    ("call", "init_module", false),
    ("call", "delete_module", false),
    ("processes", "1", false),
    ("abstract", "", false),
];

/// The attacker's image, `localhost/attacks:latest`.
fn import_attacker(fixture: &Fixture) -> bool {
    let folder = fixture.folder.path();
    let (source, program) = (folder.join("attacks.c"), folder.join("attacks"));
    fs::write(&source, SOURCE).unwrap();
    #[expect(clippy::disallowed_methods, reason = "a test compiles its helper")]
    let status = std::process::Command::new("gcc")
        .args(["-O1", "-w", "-static", "-o"])
        .args([&program, &source])
        .status();
    if !status.is_ok_and(|status| status.success()) {
        println!("skipped: no C compiler that links statically");
        return false;
    }
    let bytes = fs::read(&program).unwrap();
    let config = ImageConfig {
        entrypoint: vec!["/attacks".to_owned()],
        ..ImageConfig::default()
    };
    let reference: Reference = "localhost/attacks:latest".parse().unwrap();
    let files: &[(&str, u32, &[u8])] = &[("attacks", 0o755, &bytes), ("tmp/", 0o1777, b"")];
    let build = Build::new(config).uncompressed().files(files).unwrap();
    let archive = folder.join("attacks.tar");
    fs::write(&archive, build.archive(&reference).unwrap()).unwrap();
    let file = archive.to_str().unwrap();
    fixture.must(&["image", "import", "--name", &fixture.name, file]);
    true
}

/// A container of the attacker's image.
fn container(name: &str, words: &[&str], more: serde_json::Value) -> serde_json::Value {
    let mut container = serde_json::json!({
        "name": name, "image": "localhost/attacks:latest", "imagePullPolicy": "Never", "args": words,
    });
    for (key, value) in more.as_object().unwrap() {
        container[key] = value.clone();
    }
    container
}

async fn pod(pods: &Api, name: &str, containers: Vec<serde_json::Value>, more: serde_json::Value) {
    let mut spec = serde_json::json!({
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": containers,
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let json = serde_json::json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec,
    });
    create_when_possible(pods, json.to_string()).await;
}

async fn log(client: &Client, namespace: &str, pod: &str, container: &str) -> String {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/log?container={container}");
    match client.bytes(http::Method::GET, &path, None).await {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(_) => String::new(),
    }
}

/// The log once it holds `word`.
async fn wait_log(client: &Client, namespace: &str, pod: &str, one: &str, word: &str) -> String {
    let mut text = String::new();
    for _ in 0..600 {
        text = log(client, namespace, pod, one).await;
        if text.contains(word) {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{namespace}/{pod} {one}: no {word:?} after a minute in {text:?}");
}

async fn address(pods: &Api, name: &str) -> String {
    object_until(pods, name, "has an address", |pod| {
        let ip = pod.as_ref().get("status")?.str("podIP");
        (!ip.is_empty()).then(|| ip.to_owned())
    })
    .await
}

/// Somebody with a token, or nobody.
fn caller(url: &str, token: Option<&str>) -> Client {
    let mut endpoint = Endpoint::from_url(url, ClientTls::new(Trust::Anyone)).unwrap();
    if let Some(token) = token {
        endpoint = endpoint.with_token(Token::Fixed(token.to_owned()));
    }
    Client::new(Arc::new(HttpClient::new(endpoint).unwrap()), "attacker")
}

/// The code that a GET is answered with.
async fn code(client: &Client, path: &str) -> u16 {
    match client.bytes(http::Method::GET, path, None).await {
        Ok(_) => 200,
        Err(error) => error.code(),
    }
}

/// Pods of three kinds against their node; only the privileged one gets anywhere.
async fn against_the_node(client: &Client) {
    let pods = client.namespaced(&Gvr::new("", "v1", "pods"), "a");
    let mut words: Vec<&str> = AGAINST_THE_NODE
        .iter()
        .flat_map(|(word, argument, _)| [*word, *argument])
        .collect();
    words.extend(["echo", "the end"]);
    let kinds = [
        ("ordinary", serde_json::json!({}), false),
        (
            "unconfined",
            serde_json::json!({"seccompProfile": {"type": "Unconfined"}}),
            false,
        ),
        ("privileged", serde_json::json!({"privileged": true}), false),
        ("on-the-host", serde_json::json!({}), true),
    ];
    for (name, security, host) in &kinds {
        let more = serde_json::json!({"securityContext": security});
        let spec = match host {
            true => serde_json::json!({"hostPID": true, "hostNetwork": true}),
            false => serde_json::json!({}),
        };
        pod(&pods, name, vec![container("c", &words, more)], spec).await;
    }
    for (name, ..) in &kinds {
        let text = wait_log(client, "a", name, "c", "the end").await;
        let lines: Vec<&str> = text.lines().filter(|l| !l.starts_with("in ")).collect();
        for (word, argument, sure) in AGAINST_THE_NODE {
            let start = format!("{word} {argument}: ");
            let said = lines.iter().find_map(|line| line.strip_prefix(&start));
            let said = said.unwrap_or_else(|| panic!("{name}: no {start}in {text}"));
            match *name {
                "privileged" if *sure => assert_eq!(said, "DONE", "control: {start}"),
                // It asked for the host's processes and sockets.
                "on-the-host" if *word == "processes" => assert_eq!(said, "DONE"),
                "privileged" => {}
                _ => assert!(said.starts_with("refused"), "{name}: {start}{said}"),
            }
        }
    }
}

/// Files, tokens, processes and packets of a pod in another namespace.
async fn against_neighbours(fixture: &Fixture, client: &Client) {
    let resource =
        |name: &str, namespace: &str| client.namespaced(&Gvr::new("", "v1", name), namespace);
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "treasure"},
        "stringData": {"file": TREASURE},
    });
    resource("secrets", "b")
        .create(secret.to_string())
        .await
        .unwrap();
    let (ours, theirs) = (resource("pods", "a"), resource("pods", "b"));
    let mount = serde_json::json!({
        "env": [{"name": "TREASURE", "value": TREASURE}],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    });
    let volumes =
        serde_json::json!({"volumes": [{"name": "v", "secret": {"secretName": "treasure"}}]});
    let own = [
        "create",
        "/v/new",
        "replace",
        "/v/..data",
        "find",
        SOUGHT,
        "sniff",
        "60",
        "hush",
        "sleep",
        "600",
    ];
    let victims = vec![
        container("listens", &["udp-listen", "9000"], mount.clone()),
        container("own", &own, mount),
    ];
    pod(&theirs, "victim", victims, volumes).await;
    wait_log(client, "b", "victim", "listens", "ready").await;
    let victim = address(&theirs, "victim").await;
    let text = wait_log(client, "b", "victim", "own", "find").await;
    assert!(
        text.contains("DONE"),
        "control: the treasure is there: {text}"
    );

    let mut words = vec!["sleep", "1"];
    for _ in 0..12 {
        words.extend(["udp", &victim, "9000", "hush", "sleep", "1"]);
    }
    pod(
        &theirs,
        "friend",
        vec![container("c", &words, serde_json::json!({}))],
        serde_json::json!({}),
    )
    .await;
    let friend = address(&theirs, "friend").await;
    let words = [
        "find",
        SOUGHT,
        "processes",
        "1",
        "arp",
        &victim,
        "arp",
        &friend,
        "arp",
        "169.254.1.1",
        "spoof",
        &friend,
        &victim,
        "9000",
        "as-a-friend",
        "spoof",
        "192.0.2.1",
        &victim,
        "9000",
        "as-nobody",
        "udp",
        &victim,
        "9000",
        "as-itself",
        "sniff",
        "4",
        "hush",
        "echo",
        "the end",
    ];
    pod(
        &ours,
        "mallory",
        vec![container("c", &words, serde_json::json!({}))],
        serde_json::json!({}),
    )
    .await;
    let mallory = address(&ours, "mallory").await;
    the_nodes_loopback(fixture, &ours).await;
    let text = wait_log(client, "a", "mallory", "c", "the end").await;
    for line in ["processes 1: refused", "sniff 4: refused (nothing heard)"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(text.contains(&format!("find {SOUGHT}: refused")), "{text}");
    let sent = text
        .lines()
        .filter(|l| l.starts_with("spoof") && l.ends_with("DONE"))
        .count();
    assert_eq!(sent, 2, "control: the packets left: {text}");
    let heard = wait_log(client, "b", "victim", "listens", "as-itself").await;
    let line = format!("heard as-itself from {mallory}");
    assert!(heard.contains(&line), "control: {line}: {heard}");
    let line = format!("heard hush from {friend}");
    assert!(heard.contains(&line), "control: {line}: {heard}");
    assert!(
        !heard.contains("as-a-friend") && !heard.contains("as-nobody"),
        "{heard}"
    );
    wait_log(client, "b", "victim", "own", "sniff 60: DONE").await;
}

/// CVE-2020-8558: what listens on the node's loopback only is not reached over a pod's link, whether
/// or not the link routes loopback for a host port.
async fn the_nodes_loopback(fixture: &Fixture, pods: &Api) {
    let node = fixture.cluster().nodes[0].clone();
    let network = format!("/proc/{}/ns/net", node.pid.unwrap());
    let network = netlink::Namespace::open(std::path::Path::new(&network)).unwrap();
    let socket = network
        .run(|| std::net::UdpSocket::bind("0.0.0.0:9999"))
        .unwrap()
        .unwrap();
    let limit = Some(Duration::from_secs(30));
    let more = serde_json::json!({
        "ports": [{"containerPort": 80, "hostPort": 8088}],
        "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
    });
    let plain = serde_json::json!({"env": more["env"]});
    let to = node.address.to_string();
    let words = [
        "spoof",
        "$(IP)",
        "127.0.0.1",
        "9999",
        "loopback",
        "spoof",
        "$(IP)",
        &to,
        "9999",
        "node",
        "udp",
        &to,
        "9999",
        "the end",
    ];
    for (name, more) in [("with-port", more), ("without", plain)] {
        pod(
            pods,
            name,
            vec![container("c", &words, more)],
            serde_json::json!({}),
        )
        .await;
        let mut heard = Vec::new();
        let mut word = [0; 64];
        let waiting = tokio::task::spawn_blocking({
            let socket = socket.try_clone().unwrap();
            move || {
                socket.set_read_timeout(limit).unwrap();
                while !heard.contains(&"the end".to_owned()) {
                    let (length, _) = socket.recv_from(&mut word).unwrap();
                    heard.push(String::from_utf8_lossy(&word[..length]).into_owned());
                }
                heard
            }
        });
        assert_eq!(waiting.await.unwrap(), ["node", "the end"], "{name}");
    }
}

/// The API server and the kubelet, as nobody and as the pod's own service account.
async fn against_the_api(fixture: &Fixture, client: &Client) {
    let request = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{}}"#;
    let accounts = client.namespaced(&Gvr::new("", "v1", "serviceaccounts"), "a");
    let made = accounts
        .create_subresource("default", "token", request)
        .await
        .unwrap();
    let made: serde_json::Value = serde_json::from_slice(&made).unwrap();
    let token = made["status"]["token"].as_str().unwrap().to_owned();
    let text = fs::read_to_string(fixture.cluster().admin_kubeconfig).unwrap();
    let server = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("server: "))
        .unwrap();
    let node = fixture.cluster().nodes[0].name.clone();
    let paths = [
        "/api/v1/secrets".to_owned(),
        "/api/v1/namespaces/a/secrets".to_owned(),
        "/api/v1/namespaces/b/secrets/treasure".to_owned(),
        "/api/v1/namespaces/b/pods".to_owned(),
        "/api/v1/namespaces/b/pods/victim".to_owned(),
        "/api/v1/namespaces/b/pods/victim/log".to_owned(),
        "/api/v1/namespaces/b/pods/victim/exec?command=id&container=own&stdout=true".to_owned(),
        "/api/v1/namespaces/b/pods/victim:9000/proxy/".to_owned(),
        format!("/api/v1/nodes/{node}"),
        format!("/api/v1/nodes/{node}/proxy/pods"),
        "/apis/rbac.authorization.k8s.io/v1/clusterroles".to_owned(),
        "/apis/apps/v1/namespaces/a/deployments".to_owned(),
        "/metrics".to_owned(),
        "/debug/pprof/".to_owned(),
    ];
    for path in &paths {
        for (who, token) in [("nobody", None), ("its account", Some(token.as_str()))] {
            let got = code(&caller(server, token), path).await;
            assert!(matches!(got, 401 | 403), "{who} at {path}: {got}");
        }
    }
    for path in &paths[..6] {
        let path = path.replace("/log", "/log?container=listens");
        assert_eq!(code(client, &path).await, 200, "control: {path}");
    }
    let anonymous = caller(server, Some(&token));
    let (method, kind) = (http::Method::POST, "application/json");
    for path in [
        "/api/v1/namespaces/b/serviceaccounts/default/token",
        "/api/v1/namespaces/a/serviceaccounts/default/token",
    ] {
        let answer = anonymous
            .bytes(method.clone(), path, Some((kind, request.into())))
            .await;
        assert_eq!(answer.unwrap_err().code(), 403, "{path}");
    }

    let nodes = client.resource(&Gvr::new("", "v1", "nodes"));
    let object = nodes.get(&node).await.unwrap().parse().unwrap();
    let addresses = object.as_ref().get("status").unwrap();
    let address = addresses
        .items("addresses")
        .find(|one| one.str("type") == "InternalIP")
        .unwrap()
        .str("address")
        .to_owned();
    let kubelet = format!("https://{address}:10250");
    for path in [
        "/pods",
        "/runningpods/",
        "/containerLogs/b/victim/listens",
        "/exec/b/victim/own?command=id&output=1",
        "/run/b/victim/own?cmd=id",
        "/attach/b/victim/own",
        "/portForward/b/victim",
        "/logs/",
        "/metrics",
        "/stats/summary",
        "/configz",
        "/debug/pprof/",
    ] {
        assert_eq!(
            code(&caller(&kubelet, None), path).await,
            401,
            "nobody at {path}"
        );
        let got = code(&caller(&kubelet, Some(&token)), path).await;
        assert_eq!(got, 403, "its account at {path}");
    }
}

#[test]
fn a_hostile_pod_stays_inside() {
    let Some(fixture) = Fixture::new("h") else {
        return;
    };
    fixture.must(&["up", "--name", &fixture.name]);
    if !import_attacker(&fixture) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = fixture.client();
        let namespaces = client.resource(&Gvr::new("", "v1", "namespaces"));
        for name in ["a", "b"] {
            let json = format!(r#"{{"metadata":{{"name":"{name}"}}}}"#);
            namespaces.create(json).await.unwrap();
        }
        tokio::join!(
            against_the_node(&client),
            against_neighbours(&fixture, &client)
        );
        against_the_api(&fixture, &client).await;
    });
}
