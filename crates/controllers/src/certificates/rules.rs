//! What the cluster's signers accept, for how long they sign, and when a request is old. Pure.
//!
//! Source: kubernetes v1.36.3 pkg/apis/certificates/helpers.go,
//! pkg/controller/certificates/signer/signer.go, cleaner/cleaner.go.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use pki::{Csr, San};

use crate::certificates::request::Request;

pub(super) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub(super) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
pub(super) const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub(super) const LEGACY: &str = "kubernetes.io/legacy-unknown";

const HOUR: Duration = Duration::from_secs(3600);
/// Upstream's --cluster-signing-duration.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
const SHORTEST: Duration = Duration::from_secs(600);

pub(super) fn is_known(signer: &str) -> bool {
    matches!(
        signer,
        KUBELET_CLIENT | KUBELET_SERVING | API_CLIENT | LEGACY
    )
}

/// Why a signer refuses, in upstream's words.
pub(super) fn accept(signer: &str, csr: &Csr, usages: &[String]) -> Result<(), String> {
    match signer {
        KUBELET_CLIENT => {
            of_nodes(csr)?;
            if let Some(san) = csr.sans().first() {
                return Err(match san {
                    San::Dns(_) => "DNS subjectAltNames are not allowed".to_owned(),
                    San::Ip(_) => "IP subjectAltNames are not allowed".to_owned(),
                });
            }
            foreign(csr)?;
            node_usages(usages, "client auth")?;
            of_node(csr)
        }
        KUBELET_SERVING => {
            of_nodes(csr)?;
            if csr.sans().is_empty() {
                return Err("DNS or IP subjectAltName is required".to_owned());
            }
            foreign(csr)?;
            node_usages(usages, "server auth")?;
            of_node(csr)
        }
        API_CLIENT => client_usages(usages),
        _ => Ok(()),
    }
}

fn of_nodes(csr: &Csr) -> Result<(), String> {
    match csr.subject().organizations.as_slice() {
        [only] if only == "system:nodes" => Ok(()),
        _ => Err("subject organization is not system:nodes".to_owned()),
    }
}

fn of_node(csr: &Csr) -> Result<(), String> {
    match csr.subject().cn.starts_with("system:node:") {
        true => Ok(()),
        false => Err("subject common name does not begin with system:node:".to_owned()),
    }
}

fn foreign(csr: &Csr) -> Result<(), String> {
    match csr.has_foreign_sans() {
        true => Err("Email subjectAltNames are not allowed".to_owned()),
        false => Ok(()),
    }
}

fn node_usages(usages: &[String], needed: &str) -> Result<(), String> {
    let given: BTreeSet<&str> = usages.iter().map(String::as_str).collect();
    let all: BTreeSet<&str> = ["digital signature", "key encipherment", needed].into();
    let without_rsa: BTreeSet<&str> = ["digital signature", needed].into();
    if given == all || given == without_rsa {
        return Ok(());
    }
    let words: Vec<&str> = all.into_iter().collect();
    Err(format!("usages did not match [{}]", words.join(" ")))
}

fn client_usages(usages: &[String]) -> Result<(), String> {
    for usage in usages {
        if !["digital signature", "key encipherment", "client auth"].contains(&usage.as_str()) {
            return Err(format!("invalid usage for client certificate: {usage}"));
        }
    }
    match usages.iter().any(|usage| usage == "client auth") {
        true => Ok(()),
        false => Err("missing required usage for client certificate: client auth".to_owned()),
    }
}

pub(super) fn lifetime(asked_seconds: Option<i64>) -> Duration {
    let Some(seconds) = asked_seconds else {
        return LONGEST;
    };
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).clamp(SHORTEST, LONGEST)
}

/// How long a request is still kept: an hour once it is decided, a day while nobody decides.
pub(super) fn time_left(request: &Request, now: Timestamp) -> Option<Duration> {
    let decided = [request.approved, request.denied, request.failed];
    let (since, kept) = match decided.into_iter().flatten().min() {
        Some(since) => (since, HOUR),
        None => (request.created?, HOUR * 24),
    };
    let age = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    Some(kept.saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use pki::{KeyPair, Profile};

    use super::*;

    #[track_caller]
    fn check(signer: &str, subject: [&str; 2], sans: &[&str], usages: &str, expected: Expect) {
        let key = KeyPair::generate().unwrap();
        let mut profile = Profile::server(subject[0], sans.iter().copied());
        profile.organizations = vec![subject[1].to_owned()];
        let csr = Csr::parse(&Csr::create(&profile, &key).unwrap()).unwrap();
        let usages: Vec<String> = usages.split(", ").map(str::to_owned).collect();
        let text = accept(signer, &csr, &usages).err();
        expected.assert_eq(&text.unwrap_or_else(|| "signed".into()));
    }

    const NODE: [&str; 2] = ["system:node:a", "system:nodes"];

    #[test]
    fn signers() {
        check(
            KUBELET_CLIENT,
            NODE,
            &[],
            "digital signature, client auth",
            expect!["signed"],
        );
        check(
            KUBELET_CLIENT,
            NODE,
            &["a"],
            "digital signature, client auth",
            expect!["DNS subjectAltNames are not allowed"],
        );
        check(
            KUBELET_CLIENT,
            ["a", "system:nodes"],
            &[],
            "digital signature, client auth",
            expect!["subject common name does not begin with system:node:"],
        );
        check(
            KUBELET_CLIENT,
            ["a", "b"],
            &[],
            "client auth",
            expect!["subject organization is not system:nodes"],
        );
        check(
            KUBELET_SERVING,
            NODE,
            &["10.0.0.1"],
            "digital signature, key encipherment, server auth",
            expect!["signed"],
        );
        check(
            KUBELET_SERVING,
            NODE,
            &[],
            "server auth",
            expect!["DNS or IP subjectAltName is required"],
        );
        check(
            KUBELET_SERVING,
            NODE,
            &["a"],
            "client auth",
            expect!["usages did not match [digital signature key encipherment server auth]"],
        );
        check(
            API_CLIENT,
            ["jane", "dev"],
            &[],
            "client auth",
            expect!["signed"],
        );
        check(
            API_CLIENT,
            ["jane", "dev"],
            &[],
            "server auth",
            expect!["invalid usage for client certificate: server auth"],
        );
        check(
            API_CLIENT,
            ["jane", "dev"],
            &[],
            "digital signature",
            expect!["missing required usage for client certificate: client auth"],
        );
    }

    #[test]
    fn times() {
        assert_eq!(lifetime(None), LONGEST);
        assert_eq!(lifetime(Some(1)), SHORTEST);
        assert_eq!(lifetime(Some(i64::MAX)), LONGEST);
        let now: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let mut request = Request {
            created: "2026-01-01T12:00:00Z".parse().ok(),
            ..Request::default()
        };
        assert_eq!(time_left(&request, now), Some(HOUR * 12));
        request.approved = "2026-01-01T22:00:00Z".parse().ok();
        assert_eq!(time_left(&request, now), Some(Duration::ZERO));
    }
}
