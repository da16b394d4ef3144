//! The pod's `/etc/hosts`. Source: kubernetes v1.36 pkg/kubelet/kubelet_pods.go,
//! managedHostsFileContent, nodeHostsFileContent.

use schema::Ref;

/// The file's text: local names, the pod's own addresses, host aliases.
pub(super) fn hosts_file(
    pod: Ref<'_>,
    addresses: &[String],
    hostname: &str,
    domain: &str,
) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n\
         127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         fe00::\tip6-mcastprefix\n\
         fe00::1\tip6-allnodes\n\
         fe00::2\tip6-allrouters\n",
    );
    let spec = pod.get("spec");
    let subdomain = spec.map_or("", |spec| spec.str("subdomain"));
    let namespace = pod
        .get("metadata")
        .map_or("", |metadata| metadata.str("namespace"));
    for address in addresses {
        if subdomain.is_empty() {
            text.push_str(&format!("{address}\t{hostname}\n"));
        } else {
            let full = format!("{hostname}.{subdomain}.{namespace}.svc.{domain}");
            text.push_str(&format!("{address}\t{full}\t{hostname}\n"));
        }
    }
    add_aliases(&mut text, spec);
    text
}

/// The file of a pod on the node's network: the node's own and the pod's aliases.
pub(super) fn node_hosts_file(pod: Ref<'_>, nodes: &str) -> String {
    let mut text = format!("# Kubernetes-managed hosts file (host network).\n{nodes}");
    add_aliases(&mut text, pod.get("spec"));
    text
}

fn add_aliases(text: &mut String, spec: Option<Ref<'_>>) {
    let aliases: Vec<_> = spec
        .into_iter()
        .flat_map(|spec| spec.items("hostAliases"))
        .collect();
    if !aliases.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        for alias in aliases {
            let names: Vec<&str> = alias
                .items("hostnames")
                .filter_map(|name| name.as_str())
                .collect();
            text.push_str(&format!("{}\t{}\n", alias.str("ip"), names.join("\t")));
        }
    }
}
