//! Upstream's CoreDNS as pods of the cluster: it finds Services and EndpointSlices by its own
//! watches, and must say what the cluster's own server says (tests/clients/coredns/web.yaml,
//! script `same`).

use anyhow::Result;

use super::check::Check;
use super::step::{self, Step, step};
use super::suite::Setting;

const STEPS: &[Step] = &[
    step(
        "two replicas with one capability and a read-only root are ready",
        "kubectl apply -f {files}/dns.yaml",
        &[],
    ),
    step(
        "two replicas with one capability and a read-only root are ready",
        "kubectl rollout status deployment/dns -n names --timeout=60s",
        &["successfully rolled out"],
    ),
    step(
        "Services made after it started",
        "kubectl apply -f {files}/web.yaml",
        &[],
    ),
    step(
        "Services made after it started",
        "kubectl rollout status deployment/web -n names --timeout=60s",
        &["successfully rolled out"],
    ),
    step(
        "Services made after it started",
        "kubectl wait pod/asks -n names --for=condition=Ready --timeout=30s",
        &[],
    ),
    step(
        "the address of a Service",
        "kubectl exec -n names asks -- sh /scripts/same web.names.svc.cluster.local A",
        &["Address: "],
    ),
    step(
        "no IPv6 address",
        "kubectl exec -n names asks -- sh /scripts/same web.names.svc.cluster.local AAAA",
        &["answer:"],
    ),
    step(
        "the pods of a headless Service",
        "kubectl exec -n names asks -- sh /scripts/same bare.names.svc.cluster.local A",
        &["Address: "],
    ),
    step(
        "ports by SRV, of a Service and of its pods",
        "kubectl exec -n names asks -- sh /scripts/same _http._tcp.web.names.svc.cluster.local SRV",
        &["0 100 80 web.names.svc.cluster.local"],
    ),
    step(
        "ports by SRV, of a Service and of its pods",
        "kubectl exec -n names asks -- sh /scripts/same _http._tcp.bare.names.svc.cluster.local SRV",
        &["0 50 8080"],
    ),
    step(
        "an external name",
        "kubectl exec -n names asks -- sh /scripts/same elsewhere.names.svc.cluster.local CNAME",
        &["canonical name = www.example.org"],
    ),
    step(
        "the name of a Service's address",
        "kubectl exec -n names asks -- sh /scripts/reverse",
        &["name = web.names.svc.cluster.local"],
    ),
    step(
        "a name that is not there",
        "kubectl exec -n names asks -- sh /scripts/same nothing.names.svc.cluster.local A",
        &["NXDOMAIN"],
    ),
    step(
        "the API's own Service",
        "kubectl exec -n names asks -- sh /scripts/same kubernetes.default.svc.cluster.local A",
        &["Address: "],
    ),
    step(
        "a Service without pods any more",
        "kubectl scale deployment/web -n names --replicas=0",
        &[],
    ),
    step(
        "a Service without pods any more",
        "kubectl wait pod -l app=web -n names --for=delete --timeout=30s",
        &[],
    ),
    step(
        "a Service without pods any more",
        "kubectl exec -n names asks -- sleep 2",
        &[],
    ),
    step(
        "a Service without pods any more",
        "kubectl exec -n names asks -- sh /scripts/same bare.names.svc.cluster.local A",
        &["!Address: "],
    ),
    step(
        "its log tells of no failed watch",
        "kubectl logs -n names deployment/dns --tail=-1",
        &["CoreDNS-1.", "!Failed to watch", "!failed to list"],
    ),
    step(
        "deleted with all it had",
        "kubectl delete namespace names --timeout=60s",
        &["deleted"],
    ),
];

pub(super) fn run(setting: &Setting) -> Result<Vec<Check>> {
    step::run(setting, STEPS)
}
