//! A pod's token is replaced in time, and the old one ends: a simulated cluster, ten minutes of
//! virtual time, the kubelet's real files.
//!
//! Tokens live on a tmpfs, so this needs root. It runs as a child in a mount namespace of its own:
//! no mount outlives it, however it ends.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use testkit::{Options, SimCluster, simulate};

const CHILD: &str = "TRANSOM_TOKEN_ROTATION";

const POD: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot, namespace: default}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default}
spec:
  serviceAccountName: robot
  automountServiceAccountToken: false
  containers:
  - name: app
    image: busybox:1.36
    command: [sleep, infinity]
    volumeMounts:
    - {name: tokens, mountPath: /tokens}
  volumes:
  - name: tokens
    projected:
      sources:
      - serviceAccountToken: {path: token, expirationSeconds: 600}
";

#[test]
#[expect(clippy::disallowed_methods, reason = "it runs itself in a namespace")]
fn a_token_is_replaced_in_time() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root for a mount namespace");
        return;
    }
    let own = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--mount", "--propagation", "private"])
        .arg(own)
        .args(["--exact", "token_rotation::ten_minutes", "--ignored"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{errors}"
    );
}

#[test]
#[ignore = "the child of a_token_is_replaced_in_time"]
fn ten_minutes() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    simulate(Options::default(), run).unwrap();
}

async fn run(mut cluster: SimCluster) -> Result<()> {
    cluster.apply(POD).await?;
    cluster.tick(Duration::from_secs(5)).await;
    let pod = cluster.find("pod", "default", "web").await?;
    let pod = pod.context("the pod is there")?;
    let volumes = cluster.pod_folder("node-0", pod.uid()).join("volumes");
    let dir = volumes.join("kubernetes.io~projected/tokens");
    let first = read(&dir)?;
    let user = "system:serviceaccount:default:robot";
    assert_eq!(who(&cluster, &first.token).await?, user);

    // 80 % of 600 s are 480 s; files are looked at once a minute.
    cluster.tick(Duration::from_secs(465)).await;
    assert_eq!(read(&dir)?, first, "470 s: as it was");
    // Nobody answers: the token that is there serves on.
    cluster.cut("node-0")?;
    cluster.tick(Duration::from_secs(100)).await;
    assert_eq!(read(&dir)?, first, "570 s: no new one to be had");
    cluster.mend("node-0")?;
    cluster.tick(Duration::from_secs(70)).await;
    let second = read(&dir)?;
    assert_ne!(second.token, first.token, "640 s: a new one");
    // Contents change at once: a new folder, and a link that was renamed over the old one.
    assert_ne!(second.folder, first.folder);
    assert_eq!(fs::read_link(dir.join("token"))?, Path::new("..data/token"));
    let folders = fs::read_dir(&dir)?.count();
    assert_eq!(folders, 3, "nothing is left of the old one");

    // Both are good until the old one has ended and clocks may no longer differ.
    assert_eq!(who(&cluster, &first.token).await?, user);
    assert_eq!(who(&cluster, &second.token).await?, user);
    cluster.tick(Duration::from_secs(30)).await;
    let refused = "refused: service account token has expired";
    assert_eq!(who(&cluster, &first.token).await?, refused);
    assert_eq!(who(&cluster, &second.token).await?, user);

    // A token dies with its pod, long before its end.
    cluster.delete("pod", "default", "web", None).await?;
    cluster.tick(Duration::from_secs(40)).await;
    assert!(!dir.exists());
    let refused = "refused: service account token has been invalidated";
    assert_eq!(who(&cluster, &second.token).await?, refused);
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    token: String,
    folder: std::path::PathBuf,
}

fn read(dir: &Path) -> Result<Seen> {
    Ok(Seen {
        token: fs::read_to_string(dir.join("token")).context("read the token")?,
        folder: fs::read_link(dir.join("..data")).context("read the link to the contents")?,
    })
}

/// Who the API server takes the bearer of a token for.
async fn who(cluster: &SimCluster, token: &str) -> Result<String> {
    let reviews = api::Gvr::new("authentication.k8s.io", "v1", "tokenreviews");
    let body = format!(
        r#"{{"kind":"TokenReview","apiVersion":"authentication.k8s.io/v1","spec":{{"token":"{token}"}}}}"#
    );
    let review = cluster.client().resource(&reviews).create(body).await?;
    let review = review.parse()?;
    let status = review.as_ref().get("status").context("a status")?;
    Ok(match status.bool("authenticated") {
        Some(true) => status
            .at(&["user"])
            .map_or("", |user| user.str("username"))
            .to_owned(),
        _ => format!("refused: {}", status.str("error")),
    })
}
