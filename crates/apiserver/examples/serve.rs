//! A control plane on 127.0.0.1 with keys of its own, for clients and suites from outside.
//!
//! `cargo run -p apiserver --example serve -- DIR PORT` writes DIR/kubeconfig. Client
//! certificates and service-account tokens are believed, roles and nodes decide. Nothing of this is used by the product.
#![expect(clippy::unwrap_used, reason = "an example may stop")]
#![expect(clippy::print_stdout, reason = "it talks to a terminal")]

use std::sync::Arc;

use apiserver::authn::{self, Anonymous};
use apiserver::{Config, Front, Server, SignedTokens};
use base::{Clock, Shutdown, SystemClock};
use pki::jwt::{KeySet, SigningKey};
use transport::server::{ServerConfig, serve};
use transport::tls::{Certificates, ClientCas, ServerTls};

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

#[tokio::main]
async fn main() {
    base::telemetry::init("info");
    let mut args = std::env::args().skip(1);
    let dir = std::path::PathBuf::from(args.next().unwrap_or_else(|| "/tmp/transom-serve".into()));
    let port: u16 = args.next().and_then(|p| p.parse().ok()).unwrap_or(18443);
    std::fs::create_dir_all(&dir).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now = clock.now();
    let ca = pki::Ca::generate("kubernetes", now).unwrap();
    let server = ca
        .issue(
            &pki::Profile::server("kube-apiserver", ["127.0.0.1", "localhost", "10.96.0.1"]),
            now,
        )
        .unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    write("ca.crt", ca.cert_pem());
    for (file, cn, groups) in [
        ("admin", "kubernetes-admin", vec!["system:masters"]),
        (
            "controller-manager",
            "system:kube-controller-manager",
            vec![],
        ),
        ("scheduler", "system:kube-scheduler", vec![]),
    ] {
        let id = ca.issue(&pki::Profile::client(cn, groups), now).unwrap();
        write(&format!("{file}.crt"), &id.cert_pem);
        write(&format!("{file}.key"), &id.key_pem);
        let at = |name: &str| dir.join(name).display().to_string();
        write(
            if file == "admin" { "kubeconfig" } else { file },
            &format!(
                "apiVersion: v1\nkind: Config\nclusters:\n- name: c\n  cluster:\n    server: https://127.0.0.1:{port}\n    certificate-authority: {}\nusers:\n- name: u\n  user:\n    client-certificate: {}\n    client-key: {}\ncontexts:\n- name: x\n  context:\n    cluster: c\n    user: u\ncurrent-context: x\n",
                at("ca.crt"),
                at(&format!("{file}.crt")),
                at(&format!("{file}.key"))
            ),
        );
    }
    let shutdown = Shutdown::new();
    let mut kept = store::Config::new(&dir.join("state.db"));
    kept.marker = apiserver::marks;
    let store = store::Store::open(&kept).unwrap();
    let key = pki::KeyPair::generate().unwrap();
    write("sa.key", key.pem());
    write("sa.pub", &key.public_pem());
    let keys = KeySet::new([key.public().unwrap()]);
    let mut config = Config::new(store, Arc::clone(&clock), shutdown.clone());
    config.client_ca_pem = ca.cert_pem().to_owned();
    config.advertise = Some(([10, 255, 255, 1], port).into());
    config.tokens = Some(Arc::new(SignedTokens::new(
        SigningKey::new(key),
        keys.clone(),
        ISSUER,
    )));
    let api = Server::open(config).await.unwrap();
    authn::secure(&api, keys, Anonymous::Everywhere).unwrap();
    let tls = ServerTls {
        certificates: Certificates::from_pem(server.cert_pem.as_bytes(), server.key_pem.as_bytes())
            .unwrap(),
        client_cas: Some(ClientCas::from_pem(ca.cert_pem().as_bytes()).unwrap()),
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    println!(
        "serving on 127.0.0.1:{port}, kubeconfig {}",
        dir.join("kubeconfig").display()
    );
    let config = ServerConfig {
        tls: Some(tls),
        ..ServerConfig::default()
    };
    serve(listener, config, Arc::new(Front(api)), shutdown)
        .await
        .unwrap();
}
