//! Upstream's side: etcd and kube-apiserver from a folder of binaries, on free ports of loopback;
//! its controllers, too, for what wants a control plane that does something.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use pki::{Ca, Profile};
use tokio::time::{Instant, sleep};

use crate::case::Case;
use crate::ours::ISSUER;
use crate::side::Side;

const START_WITHIN: Duration = Duration::from_secs(120);

/// Ends with the value: every child is killed.
pub(crate) struct Upstream {
    folder: PathBuf,
    port: u16,
    children: Vec<(&'static str, Child)>,
}

impl Drop for Upstream {
    fn drop(&mut self) {
        for (_, child) in &mut self.children {
            let _gone = child.kill();
            let _status = child.wait();
        }
    }
}

pub(crate) async fn start(binaries: &Path, work: &Path) -> Result<(Upstream, Side)> {
    let folder = work.join("upstream");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder)?;
    // Programs that upstream starts or that ask it stand elsewhere.
    let folder = fs::canonicalize(&folder)?;
    let now = Timestamp::now();
    let ca = Ca::generate("kubernetes", now)?;
    let server = ca.issue(&Profile::server("kube-apiserver", ["127.0.0.1"]), now)?;
    let admin = ca.issue(&Profile::client("admin", ["system:masters"]), now)?;
    let key = pki::KeyPair::generate()?;
    for (name, text) in [
        ("ca.crt", ca.cert_pem()),
        ("apiserver.crt", &server.cert_pem),
        ("apiserver.key", &server.key_pem),
        ("sa.key", key.pem()),
        ("sa.pub", &key.public_pem()),
        ("admin.crt", &admin.cert_pem),
        ("admin.key", &admin.key_pem),
    ] {
        fs::write(folder.join(name), text)?;
    }
    let [etcd, peer, api] = [free_port()?, free_port()?, free_port()?];
    let path = |name: &str| folder.join(name).display().to_string();
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let mut upstream = Upstream {
        folder: folder.clone(),
        port: api,
        children: Vec::new(),
    };
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
            "--unsafe-no-fsync".to_owned(),
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
            format!("--service-account-issuer={ISSUER}"),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--enable-admission-plugins=NodeRestriction".to_owned(),
        ],
    )?;
    let mut side = Side::secure(
        &format!("https://127.0.0.1:{api}"),
        ca.cert_pem().as_bytes(),
        admin.cert_pem.as_bytes(),
        admin.key_pem.as_bytes(),
    )?;
    upstream.wait_ready(&mut side, &folder).await?;
    Ok((upstream, side))
}

impl Upstream {
    /// A kubeconfig of its administrator.
    pub(crate) fn kubeconfig(&self) -> Result<PathBuf> {
        let port = self.port;
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: upstream\n\
             clusters: [{{name: upstream, cluster: {{server: 'https://127.0.0.1:{port}', certificate-authority: ca.crt}}}}]\n\
             users: [{{name: admin, user: {{client-certificate: admin.crt, client-key: admin.key}}}}]\n\
             contexts: [{{name: upstream, context: {{cluster: upstream, user: admin}}}}]\n"
        );
        let file = self.folder.join("kubeconfig");
        fs::write(&file, text)?;
        Ok(file)
    }

    /// Starts the controllers.
    pub(crate) fn control(&mut self, binaries: &Path) -> Result<()> {
        let kubeconfig = self.kubeconfig()?;
        let folder = self.folder.clone();
        let path = |name: &str| folder.join(name).display().to_string();
        let arguments = [
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--service-account-private-key-file={}", path("sa.key")),
            format!("--root-ca-file={}", path("ca.crt")),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", free_port()?),
            "--leader-elect=false".to_owned(),
        ];
        self.spawn(binaries, &folder, "kube-controller-manager", &arguments)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a test runs the programs it compares with"
    )]
    fn spawn(
        &mut self,
        binaries: &Path,
        folder: &Path,
        name: &'static str,
        arguments: &[String],
    ) -> Result<()> {
        let log = fs::File::create(folder.join(format!("{name}.log")))?;
        let program =
            fs::canonicalize(binaries.join(name)).with_context(|| format!("find {name}"))?;
        let child = Command::new(&program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("run {}", program.display()))?;
        self.children.push((name, child));
        Ok(())
    }

    async fn wait_ready(&mut self, side: &mut Side, folder: &Path) -> Result<()> {
        let begin = Instant::now();
        let case = Case::new("", "", "GET", "/readyz");
        loop {
            for (name, child) in &mut self.children {
                if let Some(status) = child.try_wait()? {
                    bail!(
                        "{name} ended: {status}; see {name}.log in {}",
                        folder.display()
                    );
                }
            }
            if side
                .send(&case)
                .await
                .is_ok_and(|answer| answer.code == 200)
            {
                return Ok(());
            }
            if begin.elapsed() > START_WITHIN {
                bail!("upstream's API server is not ready after {START_WITHIN:?}");
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port")?;
    Ok(listener.local_addr()?.port())
}
