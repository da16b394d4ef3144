use std::time::Duration;

use super::Weather;
use crate::cluster::{Options, simulate};

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      automountServiceAccountToken: false
      containers: [{name: app, image: busybox, command: [sleep, infinity]}]
";

/// Every write is heard twice, and done as if it had been meant once.
#[test]
fn a_repeated_write_reaches_the_server_twice() {
    let options = Options {
        way: Duration::from_millis(3),
        ..Options::default()
    };
    let (requests, pods) = simulate(options, |cluster| async move {
        cluster.set_weather(Weather {
            repeated: 1000,
            ..Weather::default()
        });
        cluster.apply(DEPLOYMENT).await?;
        cluster.tick(Duration::from_secs(60)).await;
        cluster.set_weather(Weather::default());
        cluster.tick(Duration::from_secs(60)).await;
        let pods = cluster.list("pods", "default").await?.len();
        Ok((cluster.trace().requests(), pods))
    })
    .unwrap();
    let asks = "system:serviceaccount:kube-system:deployment-controller POST \
                /apis/apps/v1/namespaces/default/replicasets";
    let heard = requests.iter().filter(|request| request.what == asks);
    assert_eq!(heard.count(), 2);
    assert_eq!(pods, 2);
}
