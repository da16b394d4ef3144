//! Files of a sandbox that its containers share: hosts, hostname, resolv.conf. Pure.
//!
//! Source: containerd 2.x internal/cri/server/podsandbox/sandbox_run_linux.go, setupSandboxFiles.

use nodeapi::cri::DnsConfig;

/// `/etc/hosts` for containers whose kubelet brings none.
pub(crate) fn hosts(hostname: &str, ips: &[String]) -> String {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n",
    );
    for ip in ips.iter().filter(|_| !hostname.is_empty()) {
        text += &format!("{ip}\t{hostname}\n");
    }
    text
}

/// `/etc/resolv.conf`.
pub(crate) fn resolv_conf(dns: &DnsConfig) -> String {
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text += &format!("search {}\n", dns.searches.join(" "));
    }
    for server in &dns.servers {
        text += &format!("nameserver {server}\n");
    }
    if !dns.options.is_empty() {
        text += &format!("options {}\n", dns.options.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{hosts, resolv_conf};
    use expect_test::expect;

    #[test]
    fn files() {
        let dns = nodeapi::cri::DnsConfig {
            servers: vec!["10.96.0.10".into()],
            searches: vec!["a.svc".into(), "svc".into()],
            options: vec!["ndots:5".into()],
        };
        expect![[r#"
            search a.svc svc
            nameserver 10.96.0.10
            options ndots:5
        "#]]
        .assert_eq(&resolv_conf(&dns));
        assert!(hosts("p", &["10.0.0.1".into()]).ends_with("10.0.0.1\tp\n"));
    }
}
