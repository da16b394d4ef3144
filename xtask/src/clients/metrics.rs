//! Upstream's metrics-server as a pod: it asks kubelets for /metrics/resource and answers with the
//! metrics API, behind delegated authentication and authorization.
//!
//! It is asked through the proxy of its Service, and by way of its APIService, which needs an API
//! server that aggregates others.

use anyhow::Result;

use super::check::Check;
use super::step::{self, Step, step};
use super::suite::Setting;

const STEPS: &[Step] = &[
    step(
        "runs as another user and is ready: it has scraped the kubelets",
        "kubectl apply -f {files}/server.yaml",
        &[],
    ),
    step(
        "runs as another user and is ready: it has scraped the kubelets",
        "kubectl rollout status deployment/metrics-server -n kube-system --timeout=60s",
        &["successfully rolled out"],
    ),
    step(
        "through the proxy of its Service: nodes",
        "kubectl get --raw /api/v1/namespaces/kube-system/services/https:metrics-server:https/proxy/apis/metrics.k8s.io/v1beta1/nodes",
        &["NodeMetrics", "\"cpu\":", "\"memory\":"],
    ),
    step(
        "through the proxy of its Service: its own pod",
        "kubectl get --raw /api/v1/namespaces/kube-system/services/https:metrics-server:https/proxy/apis/metrics.k8s.io/v1beta1/namespaces/kube-system/pods",
        &["PodMetrics", "metrics-server-"],
    ),
    step(
        "its log tells of no failed scrape",
        "kubectl logs -n kube-system deployment/metrics-server --tail=-1",
        &["Serving securely", "!Failed to scrape node"],
    ),
    step(
        "through its APIService (aggregation)",
        "kubectl apply -f {files}/apiservice.yaml",
        &["created"],
    ),
    step(
        "through its APIService (aggregation)",
        "kubectl wait apiservice/v1beta1.metrics.k8s.io --for=condition=Available --timeout=20s",
        &["condition met"],
    ),
    step("kubectl top nodes", "kubectl top nodes", &["CPU(cores)"]),
    step(
        "kubectl top pods, with their containers",
        "kubectl top pods --containers -n kube-system",
        &["CPU(cores)", "metrics-server-"],
    ),
];

pub(super) fn run(setting: &Setting) -> Result<Vec<Check>> {
    step::run(setting, STEPS)
}
