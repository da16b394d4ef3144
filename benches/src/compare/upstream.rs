//! Upstream's control plane on loopback: etcd, API server, controller manager, scheduler.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use pki::{Ca, Identity, Profile, San, Usage};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::owner;
use crate::usage::Process;

const START_WITHIN: Duration = Duration::from_secs(60);
/// How long a killed program may take to be gone.
const END_WITHIN: Duration = Duration::from_secs(5);
const LIFETIME: Duration = Duration::from_secs(86_400);

/// Ends with the value: every child is killed and waited for.
pub(super) struct Upstream {
    children: Vec<(&'static str, Child)>,
    pub(super) kubeconfig: PathBuf,
}

impl Upstream {
    /// Gives also the time from the exec of the first program to /readyz.
    pub(super) async fn start(binaries: &Path, work: &Path) -> Result<(Self, Duration)> {
        let folder = work.join("upstream");
        fs::create_dir_all(&folder)?;
        // Only this API server's certificate is signed by this CA: an answer over TLS is its own.
        let ca = Ca::generate("kubernetes", Timestamp::now())?;
        let [etcd, peer, api] = [free_port()?, free_port()?, free_port()?];
        let server = ca.issue(
            &profile("kube-apiserver", &[], Usage::Server),
            Timestamp::now(),
        )?;
        save(&folder, "apiserver", &server)?;
        fs::write(folder.join("ca.crt"), ca.cert_pem())?;
        let key = pki::KeyPair::generate()?;
        fs::write(folder.join("sa.key"), key.pem())?;
        fs::write(folder.join("sa.pub"), key.public_pem())?;
        let path = |name: &str| folder.join(name).display().to_string();
        for (name, user, groups) in [
            ("admin", "admin", &["system:masters"][..]),
            ("kcm", "system:kube-controller-manager", &[]),
            ("scheduler", "system:kube-scheduler", &[]),
        ] {
            let identity = ca.issue(&profile(user, groups, Usage::Client), Timestamp::now())?;
            let text = kubeconfig(api, ca.cert_pem(), &identity);
            fs::write(folder.join(format!("{name}.kubeconfig")), text)?;
        }
        let mut upstream = Self {
            children: Vec::new(),
            kubeconfig: folder.join("admin.kubeconfig"),
        };
        let begin = Instant::now();
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        upstream.spawn(
            binaries,
            &folder,
            "etcd",
            &[
                format!("--data-dir={}", path("etcd")),
                format!("--listen-client-urls={}", url(etcd)),
                format!("--advertise-client-urls={}", url(etcd)),
                format!("--listen-peer-urls={}", url(peer)),
                format!("--initial-advertise-peer-urls={}", url(peer)),
                format!("--initial-cluster=default={}", url(peer)),
            ],
        )?;
        upstream.spawn(
            binaries,
            &folder,
            "kube-apiserver",
            &[
                format!("--etcd-servers={}", url(etcd)),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={api}"),
                "--advertise-address=192.0.2.1".to_owned(),
                format!("--client-ca-file={}", path("ca.crt")),
                format!("--tls-cert-file={}", path("apiserver.crt")),
                format!("--tls-private-key-file={}", path("apiserver.key")),
                format!("--service-account-key-file={}", path("sa.pub")),
                format!("--service-account-signing-key-file={}", path("sa.key")),
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
                "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
                "--authorization-mode=Node,RBAC".to_owned(),
                "--enable-admission-plugins=NodeRestriction".to_owned(),
            ],
        )?;
        let ready = upstream.wait_ready(begin).await?;
        for port in [etcd, api] {
            owner::check(port, &upstream.processes())?;
        }
        upstream.spawn(
            binaries,
            &folder,
            "kube-controller-manager",
            &[
                format!("--kubeconfig={}", path("kcm.kubeconfig")),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={}", free_port()?),
                "--leader-elect=false".to_owned(),
                "--use-service-account-credentials=true".to_owned(),
                format!("--service-account-private-key-file={}", path("sa.key")),
                format!("--root-ca-file={}", path("ca.crt")),
            ],
        )?;
        // Without the default limit of 50 requests a second, which would be what is measured.
        upstream.spawn(
            binaries,
            &folder,
            "kube-scheduler",
            &[
                format!("--kubeconfig={}", path("scheduler.kubeconfig")),
                "--bind-address=127.0.0.1".to_owned(),
                format!("--secure-port={}", free_port()?),
                "--leader-elect=false".to_owned(),
                "--kube-api-qps=5000".to_owned(),
                "--kube-api-burst=5000".to_owned(),
            ],
        )?;
        Ok((upstream, ready))
    }

    fn spawn(
        &mut self,
        binaries: &Path,
        folder: &Path,
        name: &'static str,
        arguments: &[String],
    ) -> Result<()> {
        let log = fs::File::create(folder.join(format!("{name}.log")))?;
        let child = Command::new(binaries.join(name))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("run {}", binaries.join(name).display()))?;
        self.children.push((name, child));
        Ok(())
    }

    async fn wait_ready(&mut self, begin: Instant) -> Result<Duration> {
        loop {
            for (name, child) in &mut self.children {
                if let Some(status) = child.try_wait()? {
                    let log = self.kubeconfig.with_file_name(format!("{name}.log"));
                    let text = fs::read_to_string(log).unwrap_or_default();
                    let lines: Vec<&str> = text.lines().collect();
                    let last = lines[lines.len().saturating_sub(5)..].join("\n");
                    bail!("{name} ended ({status}); the end of its log:\n{last}");
                }
            }
            if let Ok(connection) = kubectl::connect(&self.kubeconfig, None) {
                let answer = connection.client.bytes(http::Method::GET, "/readyz", None);
                if answer.await.is_ok() {
                    return Ok(begin.elapsed());
                }
            }
            if begin.elapsed() > START_WITHIN {
                bail!("upstream's API server is not ready after {START_WITHIN:?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn ended(&mut self) -> bool {
        let mut children = self.children.iter_mut();
        children.all(|(_, child)| !matches!(child.try_wait(), Ok(None)))
    }

    pub(super) fn processes(&self) -> Vec<Process> {
        let ids = self
            .children
            .iter()
            .filter_map(|(name, child)| Some((*name, child.id()?)));
        ids.map(|(name, id)| Process::new(id, name)).collect()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            // It may have ended by itself.
            let _ = child.start_kill();
        }
        let step = Duration::from_millis(10);
        let mut waited = Duration::ZERO;
        while waited < END_WITHIN && !self.ended() {
            std::thread::sleep(step);
            waited += step;
        }
    }
}

fn profile(cn: &str, organizations: &[&str], usage: Usage) -> Profile {
    Profile {
        cn: cn.to_owned(),
        organizations: organizations.iter().map(|&name| name.to_owned()).collect(),
        sans: match usage {
            Usage::Server => vec![San::Ip(Ipv4Addr::LOCALHOST.into())],
            Usage::Client => Vec::new(),
        },
        usages: vec![usage],
        lifetime: LIFETIME,
    }
}

fn save(folder: &Path, name: &str, identity: &Identity) -> Result<()> {
    fs::write(folder.join(format!("{name}.crt")), &identity.cert_pem)?;
    fs::write(folder.join(format!("{name}.key")), &identity.key_pem)?;
    Ok(())
}

fn kubeconfig(port: u16, ca: &str, identity: &Identity) -> String {
    let [ca, cert, key] =
        [ca, &identity.cert_pem, &identity.key_pem].map(|text| BASE64.encode(text));
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: up\n  cluster:\n    server: https://127.0.0.1:{port}\n    certificate-authority-data: {ca}\nusers:\n- name: user\n  user:\n    client-certificate-data: {cert}\n    client-key-data: {key}\ncontexts:\n- name: up\n  context:\n    cluster: up\n    user: user\ncurrent-context: up\n"
    )
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr()?.port())
}
