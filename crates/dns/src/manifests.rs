//! What a cluster starts with so that names work, as kubeadm's addon has it.
//!
//! Unlike there the Service has no selector: no pod answers, the agents do. `publish` writes its
//! endpoints. Who needs another DNS gives the Service a selector; `publish` then steps back.
//! Source: kubernetes v1.36.3 cmd/kubeadm/app/phases/addons/dns/manifests.go.

use std::net::IpAddr;

/// An object that a new cluster gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// API group, empty for core.
    pub group: &'static str,
    /// Resource.
    pub resource: &'static str,
    /// Empty for cluster-scoped ones.
    pub namespace: &'static str,
    /// The object.
    pub json: String,
}

/// The user of the DNS servers.
pub(crate) const ACCOUNT: &str = "coredns";
/// The service account as whom `publish` writes.
const PUBLISHER: &str = "transom-dns";
/// The user of the DNS servers, as certificates name it.
pub const SERVER_USER: &str = "system:serviceaccount:kube-system:coredns";
/// The user as whom `publish` writes.
pub const PUBLISHER_USER: &str = "system:serviceaccount:kube-system:transom-dns";
/// The ConfigMap with the Corefile.
pub(crate) const CONFIG_MAP: &str = "coredns";
/// Where it and the Service are.
pub(crate) const NAMESPACE: &str = "kube-system";
/// The Service.
pub(crate) const SERVICE: &str = "kube-dns";

/// The Corefile of a new cluster.
#[must_use]
pub fn default_corefile(domain: &str) -> String {
    format!(
        ".:53 {{
    errors
    health {{
       lameduck 5s
    }}
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    prometheus :9153
    forward . /etc/resolv.conf {{
       max_concurrent 1000
    }}
    cache 30 {{
       disable success {domain}
       disable denial {domain}
    }}
    loop
    reload
    loadbalance
}}
"
    )
}

/// All objects, the Service with its address last.
#[must_use]
pub fn manifests(domain: &str, address: IpAddr) -> Vec<Manifest> {
    const RBAC: &str = "rbac.authorization.k8s.io";
    let one = |group, resource, namespace, json: String| Manifest {
        group,
        resource,
        namespace,
        json,
    };
    let mut corefile = String::new();
    api::text::json_string(&mut corefile, &default_corefile(domain));
    let subject =
        format!(r#"[{{"kind":"ServiceAccount","name":"{ACCOUNT}","namespace":"{NAMESPACE}"}}]"#);
    let publisher =
        format!(r#"[{{"kind":"ServiceAccount","name":"{PUBLISHER}","namespace":"{NAMESPACE}"}}]"#);
    let role_ref = |kind: &str, name: &str| {
        format!(r#"{{"apiGroup":"{RBAC}","kind":"{kind}","name":"{name}"}}"#)
    };
    vec![
        one("", "serviceaccounts", NAMESPACE, format!(r#"{{"metadata":{{"name":"{ACCOUNT}"}}}}"#)),
        one(RBAC, "clusterroles", "", r#"{"metadata":{"name":"system:coredns"},"rules":[{"apiGroups":[""],"resources":["endpoints","services","pods","namespaces"],"verbs":["list","watch"]},{"apiGroups":["discovery.k8s.io"],"resources":["endpointslices"],"verbs":["list","watch"]}]}"#.to_owned()),
        one(RBAC, "clusterrolebindings", "", format!(
            r#"{{"metadata":{{"name":"system:coredns"}},"roleRef":{},"subjects":{subject}}}"#,
            role_ref("ClusterRole", "system:coredns"))),
        // Where coredns has a mounted file and a log, ours has the ConfigMap itself and events.
        one(RBAC, "roles", NAMESPACE, format!(
            r#"{{"metadata":{{"name":"transom:coredns"}},"rules":[{{"apiGroups":[""],"resources":["configmaps"],"resourceNames":["{CONFIG_MAP}"],"verbs":["get","list","watch"]}},{{"apiGroups":[""],"resources":["events"],"verbs":["create","patch"]}}]}}"#)),
        one(RBAC, "rolebindings", NAMESPACE, format!(
            r#"{{"metadata":{{"name":"transom:coredns"}},"roleRef":{},"subjects":{subject}}}"#,
            role_ref("Role", "transom:coredns"))),
        // The control plane's part: `publish`.
        one(RBAC, "clusterroles", "", r#"{"metadata":{"name":"transom:dns-publisher"},"rules":[{"apiGroups":[""],"resources":["nodes"],"verbs":["list","watch"]}]}"#.to_owned()),
        one(RBAC, "clusterrolebindings", "", format!(
            r#"{{"metadata":{{"name":"transom:dns-publisher"}},"roleRef":{},"subjects":{publisher}}}"#,
            role_ref("ClusterRole", "transom:dns-publisher"))),
        one(RBAC, "roles", NAMESPACE, r#"{"metadata":{"name":"transom:dns-publisher"},"rules":[{"apiGroups":[""],"resources":["services"],"verbs":["get","list","watch"]},{"apiGroups":[""],"resources":["endpoints"],"verbs":["create","get","list","update","watch"]},{"apiGroups":["discovery.k8s.io"],"resources":["endpointslices"],"verbs":["create","delete","get","list","update","watch"]}]}"#.to_owned()),
        one(RBAC, "rolebindings", NAMESPACE, format!(
            r#"{{"metadata":{{"name":"transom:dns-publisher"}},"roleRef":{},"subjects":{publisher}}}"#,
            role_ref("Role", "transom:dns-publisher"))),
        one("", "configmaps", NAMESPACE, format!(
            r#"{{"metadata":{{"name":"{CONFIG_MAP}"}},"data":{{"Corefile":{corefile}}}}}"#)),
        one("", "services", NAMESPACE, format!(
            r#"{{"metadata":{{"name":"{SERVICE}","labels":{{"k8s-app":"kube-dns","kubernetes.io/cluster-service":"true","kubernetes.io/name":"CoreDNS"}}}},"spec":{{"clusterIP":"{address}","trafficDistribution":"PreferSameNode","ports":[{{"name":"dns","port":53,"protocol":"UDP","targetPort":53}},{{"name":"dns-tcp","port":53,"protocol":"TCP","targetPort":53}}]}}}}"#)),
    ]
}
