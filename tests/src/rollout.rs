//! Rolling updates on the simulated cluster, looked at every 50 ms of virtual time: never fewer
//! pods serve than may be missing, never more exist than may surge.

use std::time::Duration;

use anyhow::{Context as _, Result};
use testkit::{Options, SimCluster, simulate};

struct Bounds {
    replicas: usize,
    surge: usize,
    unavailable: usize,
}

fn deployment(bounds: &Bounds, step: usize) -> String {
    format!(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {}
  strategy: {{rollingUpdate: {{maxSurge: {}, maxUnavailable: {}}}}}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}, annotations: {{step: "{step}"}}}}
    spec:
      automountServiceAccountToken: false
      containers:
      - name: app
        image: busybox:1.36
        command: [sh, -c, "trap 'sleep 1; exit 0' TERM; sleep 1; touch /ready; sleep infinity"]
        readinessProbe: {{exec: {{command: [cat, /ready]}}, periodSeconds: 1}}
"#,
        bounds.replicas, bounds.surge, bounds.unavailable
    )
}

/// Pods that serve, and pods that are wanted.
async fn count(cluster: &SimCluster) -> Result<(usize, usize)> {
    let pods = cluster.list("pods", "default").await?;
    let (mut serving, mut wanted) = (0, 0);
    for pod in pods {
        let dom = pod.parse().context("parse a pod")?;
        if !api::meta::of(dom.as_ref()).is_deleting() {
            wanted += 1;
            serving += usize::from(api::pod::is_ready(dom.as_ref()));
        }
    }
    Ok((serving, wanted))
}

fn check(seed: u64, bounds: &Bounds) {
    let options = Options {
        seed,
        nodes: 3,
        latency: Duration::from_millis(300),
        ..Options::default()
    };
    let result = simulate(options, async |cluster| {
        cluster.apply(&deployment(bounds, 0)).await?;
        cluster.tick(Duration::from_secs(30)).await;
        for step in 1..=3 {
            cluster.apply(&deployment(bounds, step)).await?;
            // The second update is overtaken by the third.
            let looks = if step == 2 { 40 } else { 1200 };
            for look in 0..looks {
                cluster.tick(Duration::from_millis(50)).await;
                let (serving, wanted) = count(&cluster).await?;
                let place = format!("seed {seed}, step {step}, look {look}");
                assert!(
                    serving >= bounds.replicas - bounds.unavailable,
                    "{place}: {serving} serve"
                );
                assert!(
                    wanted <= bounds.replicas + bounds.surge,
                    "{place}: {wanted} pods"
                );
            }
        }
        let object = cluster.find("deploy", "default", "web").await?;
        let dom = object
            .context("the deployment")?
            .parse()
            .context("parse it")?;
        let status = dom.as_ref().get("status").context("a status")?;
        assert_eq!(status.int("updatedReplicas"), Some(4), "seed {seed}");
        assert_eq!(status.int("availableReplicas"), Some(4), "seed {seed}");
        assert_eq!(cluster.list("rs", "default").await?.len(), 4);
        Ok(())
    });
    result.unwrap();
}

#[test]
fn enough_pods_serve_at_any_time() {
    for (seed, surge, unavailable) in [(1, 1, 0), (2, 0, 1), (3, 2, 1)] {
        let bounds = Bounds {
            replicas: 4,
            surge,
            unavailable,
        };
        check(seed, &bounds);
    }
}
