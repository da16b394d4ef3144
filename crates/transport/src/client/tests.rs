//! Client and server of this crate against each other, over loopback.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::Shutdown;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::server::{Limits, ServerConfig, serve};
use crate::tls::{Certificates, ClientCas, ServerTls, Trust};
use crate::{Body, PeerAddr, PeerCertificates, Response, Service, service_fn};

struct TestCa(CertifiedIssuer<'static, KeyPair>);

impl TestCa {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec!["ca".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    fn issue(&self, name: &str) -> Arc<Certificates> {
        let (chain, key) = self.issue_pem(name);
        Certificates::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
    }

    fn issue_pem(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

/// Says what it knows of a request.
fn describe() -> Arc<dyn Service> {
    service_fn(|request: Request| async move {
        let certificates = request.extensions().get::<PeerCertificates>();
        let certificates = certificates.map_or(0, |certificates| certificates.0.len());
        let loopback = request
            .extensions()
            .get::<PeerAddr>()
            .unwrap()
            .0
            .ip()
            .is_loopback();
        let token = request.headers().get(AUTHORIZATION).cloned();
        let token = token.map_or_else(String::new, |t| t.to_str().unwrap().to_owned());
        let (version, path) = (request.version(), request.uri().path().to_owned());
        let body = request.into_body().collect(1 << 20).await.unwrap().len();
        let text = format!(
            "{version:?} {path} certificates={certificates} loopback={loopback} \
             token={token:?} body={body}"
        );
        Response::new(Body::from(text))
    })
}

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    task: base::tasks::Handle,
}

async fn start(tls: Option<ServerTls>, limits: Limits, service: Arc<dyn Service>) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (shutdown, never) = (Shutdown::new(), Shutdown::new());
    let config = ServerConfig { tls, limits };
    let stop = shutdown.clone();
    let task = base::tasks::spawn("server", &never, async move {
        serve(listener, config, service, stop).await.unwrap();
    });
    std::mem::forget(never);
    Running {
        address,
        shutdown,
        task,
    }
}

async fn start_tls(ca: &TestCa, service: Arc<dyn Service>) -> Running {
    let tls = ServerTls {
        certificates: ca.issue("localhost"),
        client_cas: Some(ClientCas::from_pem(&ca.pem()).unwrap()),
    };
    start(Some(tls), Limits::default(), service).await
}

fn client_tls(ca: &TestCa) -> ClientTls {
    ClientTls::new(Trust::from_pem(&ca.pem()).unwrap())
}

fn client(server: &Running, tls: Option<ClientTls>) -> HttpClient {
    let mut endpoint = Endpoint::http("127.0.0.1", server.address.port());
    endpoint.tls = tls;
    HttpClient::new(endpoint).unwrap()
}

async fn get(client: &HttpClient, path: &str) -> Result<String, TransportError> {
    let response = client
        .call(http::Request::get(path).body(Body::empty()).unwrap())
        .await?;
    let body = response.into_body().collect(1 << 20).await.unwrap();
    Ok(String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn http2_over_tls_with_and_without_certificate() {
    let ca = TestCa::new();
    let server = start_tls(&ca, describe()).await;
    let anonymous = client(&server, Some(client_tls(&ca)));
    assert_eq!(
        get(&anonymous, "/a?b=c").await.unwrap(),
        "HTTP/2.0 /a certificates=0 loopback=true token=\"\" body=0"
    );
    let known = client(
        &server,
        Some(client_tls(&ca).with_identity(ca.issue("admin"))),
    );
    assert_eq!(
        get(&known, "/a").await.unwrap(),
        "HTTP/2.0 /a certificates=1 loopback=true token=\"\" body=0"
    );
}

#[tokio::test]
async fn foreign_certificates_are_refused_by_both_sides() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    let server = start_tls(&ca, describe()).await;
    let bad_client = client(
        &server,
        Some(client_tls(&ca).with_identity(other.issue("admin"))),
    );
    assert!(get(&bad_client, "/").await.is_err());
    let bad_trust = client(&server, Some(client_tls(&other)));
    let error = get(&bad_trust, "/").await.unwrap_err();
    assert!(
        matches!(error, TransportError::Handshake { .. }),
        "{error:?}"
    );
    let careless = client(&server, Some(ClientTls::new(Trust::Anyone)));
    assert!(get(&careless, "/").await.is_ok());
}

#[tokio::test]
async fn certificates_and_cas_are_replaced_while_serving() {
    let (ca, next) = (TestCa::new(), TestCa::new());
    let certificates = ca.issue("localhost");
    let cas = ClientCas::from_pem(&ca.pem()).unwrap();
    let tls = ServerTls {
        certificates: certificates.clone(),
        client_cas: Some(cas.clone()),
    };
    let server = start(Some(tls), Limits::default(), describe()).await;
    let (chain, key) = next.issue_pem("localhost");
    certificates
        .replace(chain.as_bytes(), key.as_bytes())
        .unwrap();
    cas.replace(&next.pem()).unwrap();
    let old = client(&server, Some(client_tls(&ca)));
    assert!(get(&old, "/").await.is_err());
    let new = client(
        &server,
        Some(client_tls(&next).with_identity(next.issue("admin"))),
    );
    assert!(get(&new, "/").await.unwrap().contains("certificates=1"));
}

#[tokio::test]
async fn plain_http_reuses_its_connection() {
    let service = service_fn(|request: Request| async move {
        Response::new(Body::from(
            request
                .extensions()
                .get::<PeerAddr>()
                .unwrap()
                .0
                .to_string(),
        ))
    });
    let server = start(None, Limits::default(), service).await;
    let client = client(&server, None);
    let first = get(&client, "/").await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(get(&client, "/").await.unwrap(), first);
}

#[tokio::test]
async fn tokens_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "abc\n").unwrap();
    let server = start(None, Limits::default(), describe()).await;
    let endpoint = Endpoint::http("127.0.0.1", server.address.port());
    let client = HttpClient::new(endpoint.with_token(Token::File(path))).unwrap();
    assert!(
        get(&client, "/")
            .await
            .unwrap()
            .contains("token=\"Bearer abc\"")
    );
}

/// Far more requests at once than connections may carry: each waits for its turn, the server
/// never sees more than connections × streams, and every one is answered.
#[tokio::test]
async fn ten_thousand_requests_at_once() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    let ca = TestCa::new();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (running, peak) = (now.clone(), most.clone());
    let service = service_fn(move |request: Request| {
        let (running, peak) = (running.clone(), peak.clone());
        async move {
            peak.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            running.fetch_sub(1, SeqCst);
            Response::new(Body::from(request.uri().path().to_owned()))
        }
    });
    let server = start_tls(&ca, service).await;
    let client = client(&server, Some(client_tls(&ca)));
    let calls = (0..10_000).map(|n| {
        let client = client.clone();
        async move { get(&client, &format!("/{n}")).await.unwrap() == format!("/{n}") }
    });
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|fits| *fits));
    assert_eq!(now.load(SeqCst), 0);
    let most = most.load(SeqCst);
    assert!((100..=16 * 250).contains(&most), "{most}");
}

#[tokio::test]
async fn streamed_bodies_arrive_as_they_are_sent() {
    let ca = TestCa::new();
    let service = service_fn(|_| async {
        let (sender, body) = Body::channel(1);
        let shutdown = Shutdown::new();
        base::tasks::spawn("events", &shutdown, async move {
            for n in 0..3 {
                sender.send(format!("event {n}\n").into()).await;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            sender.closed().await;
        });
        std::mem::forget(shutdown);
        Response::new(body)
    });
    let server = start_tls(&ca, service).await;
    let client = client(&server, Some(client_tls(&ca)));
    let request = http::Request::get("/watch").body(Body::empty()).unwrap();
    let mut body = client.call(request).await.unwrap().into_body();
    for n in 0..3 {
        let chunk = body.next().await.unwrap().unwrap();
        assert_eq!(chunk, format!("event {n}\n"));
    }
}

#[tokio::test]
async fn exec_over_tls() {
    let ca = TestCa::new();
    let server = start_tls(&ca, crate::streams::tests::upper_case_server()).await;
    let client = client(&server, Some(client_tls(&ca)));
    crate::streams::tests::check_exec(&client).await;
}

#[tokio::test]
async fn silent_and_oversized_clients_are_cut() {
    let ca = TestCa::new();
    let limits = Limits {
        handshake_timeout: Duration::from_millis(50),
        idle_timeout: Duration::from_millis(50),
        header_bytes: 8192,
        ..Limits::default()
    };
    let tls = ServerTls {
        certificates: ca.issue("localhost"),
        client_cas: None,
    };
    let mut buffer = Vec::new();
    let secure = start(Some(tls), limits.clone(), describe()).await;
    let mut silent = TcpStream::connect(secure.address).await.unwrap();
    assert_eq!(silent.read_to_end(&mut buffer).await.unwrap(), 0);

    let plain = start(None, limits, describe()).await;
    let mut silent = TcpStream::connect(plain.address).await.unwrap();
    assert_eq!(silent.read_to_end(&mut buffer).await.unwrap(), 0);
    let mut slow = TcpStream::connect(plain.address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nhost").await.unwrap();
    let _ = slow.read_to_end(&mut buffer).await;
    assert!(!buffer.starts_with(b"HTTP/1.1 200"));
    let client = client(&plain, None);
    let mut request = http::Request::get("/").body(Body::empty()).unwrap();
    let long = HeaderValue::from_str(&"x".repeat(20_000)).unwrap();
    request.headers_mut().insert("x-long", long);
    let status = client.call(request).await.map(|response| response.status());
    assert!(
        status.as_ref().is_ok_and(|status| *status == 431) || status.is_err(),
        "{status:?}"
    );
}

#[tokio::test]
async fn a_panic_costs_one_request() {
    let server = start(
        None,
        Limits::default(),
        service_fn(|request: Request| async move {
            assert!(request.uri().path() != "/bad", "expected by the test");
            Response::new(Body::from("fine"))
        }),
    )
    .await;
    let client = client(&server, None);
    assert!(
        get(&client, "/bad")
            .await
            .unwrap()
            .starts_with("This request caused")
    );
    assert_eq!(get(&client, "/good").await.unwrap(), "fine");
}

#[tokio::test]
async fn shutdown_lets_running_requests_finish() {
    let ca = TestCa::new();
    let service = service_fn(|_| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Response::new(Body::from("done"))
    });
    let server = start_tls(&ca, service).await;
    let client = client(&server, Some(client_tls(&ca)));
    let running = get(&client, "/");
    let stop = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        server.shutdown.trigger();
    };
    let (answer, ()) = tokio::join!(running, stop);
    assert_eq!(answer.unwrap(), "done");
    drop(client);
    server.task.join().await;
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn one_client_for_many_hosts() {
    let ca = TestCa::new();
    let (first, second) = (
        start_tls(&ca, describe()).await,
        start_tls(&ca, describe()).await,
    );
    let hosts =
        Hosts::new(client_tls(&ca).with_identity(ca.issue("kube-apiserver-kubelet-client")));
    for server in [&first, &second, &first] {
        let uri = format!("https://{}/containerLogs/a/b/c", server.address);
        let mut request = http::Request::get(uri).body(Body::empty()).unwrap();
        // A proxied request still names the server that the client spoke to.
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_static("10.96.0.1"));
        let body = hosts
            .call(request)
            .await
            .unwrap()
            .into_body()
            .collect(1000)
            .await
            .unwrap();
        assert!(body.starts_with(b"HTTP/2.0 /containerLogs/a/b/c certificates=1"));
    }
    let request = http::Request::get("/a").body(Body::empty()).unwrap();
    let error = hosts.call(request).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "request URL is not usable: /a names no server"
    );
}

#[tokio::test]
async fn errors_name_the_endpoint() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = HttpClient::new(Endpoint::http("127.0.0.1", address.port())).unwrap();
    let error = get(&client, "/").await.unwrap_err();
    assert_eq!(error.to_string(), format!("connect to {address}"));
    assert!(error.never_sent());
    let ftp = Endpoint::from_url("ftp://a", ClientTls::new(Trust::System)).unwrap_err();
    assert_eq!(
        ftp.to_string(),
        "server URL is not usable: \"ftp://a\" has neither http nor https as scheme"
    );
}

/// Upstream's kubectl against our exec, where `TRANSOM_KUBECTL` names the binary.
#[tokio::test(flavor = "multi_thread")]
async fn kubectl_exec() {
    let Ok(kubectl) = std::env::var("TRANSOM_KUBECTL") else {
        println!("skipped: TRANSOM_KUBECTL is not set");
        return;
    };
    let exec = crate::streams::tests::upper_case_server();
    let ca = TestCa::new();
    let server = start_tls(&ca, one_pod("/exec", exec)).await;
    let url = format!("--server=https://{}", server.address);
    let mut child = tokio::process::Command::new(kubectl)
        .args([
            &url,
            "--kubeconfig=/dev/null",
            "--insecure-skip-tls-verify",
            "--token=x",
            "-v=6",
        ])
        .args(["exec", "-i", "web", "-c", "nginx", "--", "tr", "a-z", "A-Z"])
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = "some words\n".repeat(20_000);
    let (written, output) = tokio::join!(
        async move { stdin.write_all(input.as_bytes()).await },
        child.wait_with_output()
    );
    let _ = written;
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(
        output.stdout == "SOME WORDS\n".repeat(20_000).as_bytes(),
        "{errors}"
    );
}

/// An API with one pod whose `path` is served by `stream`: as much as kubectl needs.
fn one_pod(path: &'static str, stream: Arc<dyn Service>) -> Arc<dyn Service> {
    service_fn(move |request: Request| {
        let stream = stream.clone();
        async move {
            if request.uri().path().ends_with(path) {
                return stream.call(request).await;
            }
            let document = match request.uri().path() {
                "/api" => r#"{"kind":"APIVersions","versions":["v1"]}"#,
                "/apis" => r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[]}"#,
                "/api/v1" => {
                    r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1","resources":[
                        {"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["get"]}]}"#
                }
                _ => {
                    r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"web","namespace":"default"},
                        "spec":{"containers":[{"name":"nginx"}]},"status":{"phase":"Running"}}"#
                }
            };
            let mut response = Response::new(Body::from(document));
            let json = HeaderValue::from_static("application/json");
            response
                .headers_mut()
                .insert(http::header::CONTENT_TYPE, json);
            response
        }
    })
}

/// Upstream's kubectl forwards a port through our SPDY inside a WebSocket.
#[tokio::test(flavor = "multi_thread")]
async fn kubectl_port_forward() {
    let Ok(kubectl) = std::env::var("TRANSOM_KUBECTL") else {
        println!("skipped: TRANSOM_KUBECTL is not set");
        return;
    };
    let backend = start(None, Limits::default(), describe()).await;
    let target = backend.address;
    let forward = service_fn(move |request: Request| async move {
        crate::streams::serve_port_forward(request, move |port, mut stream| async move {
            if port != 80 {
                return Err(format!("connect to port {port}: connection refused"));
            }
            let mut inside = TcpStream::connect(target)
                .await
                .map_err(|e| e.to_string())?;
            let _end = tokio::io::copy_bidirectional(&mut inside, &mut stream).await;
            Ok(())
        })
    });
    let ca = TestCa::new();
    let server = start_tls(&ca, one_pod("/portforward", forward)).await;
    let url = format!("--server=https://{}", server.address);
    let mut child = tokio::process::Command::new(kubectl)
        .args([
            &url,
            "--kubeconfig=/dev/null",
            "--insecure-skip-tls-verify",
            "--token=x",
        ])
        .args([
            "port-forward",
            "--address=127.0.0.1",
            "pod/web",
            ":80",
            ":81",
        ])
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdout = tokio::io::BufReader::new(child.stdout.take().unwrap());
    let mut ports = Vec::new();
    for _ in 0..2 {
        let mut line = String::new();
        tokio::io::AsyncBufReadExt::read_line(&mut stdout, &mut line)
            .await
            .unwrap();
        // Forwarding from 127.0.0.1:40000 -> 80
        let port = line
            .split(':')
            .nth(1)
            .and_then(|rest| rest.split(' ').next());
        ports.push(
            port.unwrap_or_else(|| panic!("{line}"))
                .parse::<u16>()
                .unwrap(),
        );
    }
    let client = HttpClient::new(Endpoint::http("127.0.0.1", ports[0])).unwrap();
    for n in 0..20 {
        let request = http::Request::post(format!("/{n}")).body(Body::from("x".repeat(300_000)));
        let response = client.call(request.unwrap()).await.unwrap();
        let body = response.into_body().collect(1000).await.unwrap();
        assert!(body.ends_with(b"body=300000"), "{body:?}");
    }
    let refused = HttpClient::new(Endpoint::http("127.0.0.1", ports[1])).unwrap();
    assert!(get(&refused, "/").await.is_err());
    let mut errors = tokio::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut errors, &mut line)
        .await
        .unwrap();
    assert!(
        line.contains("connect to port 81: connection refused"),
        "{line}"
    );
    child.kill().await.unwrap();
}
