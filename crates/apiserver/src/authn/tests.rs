//! Requests with and without credentials.

use std::collections::HashMap;
use std::sync::Arc;

use base::{Clock, ManualClock};
use expect_test::{Expect, expect};
use http::header::AUTHORIZATION;
use pki::jwt::{KeySet, SigningKey};
use pki::{Ca, KeyPair, Profile};
use registry::Lookup;
use schema::Dom;
use transport::PeerCertificates;

use super::{Anonymous, Authn, TokenChecks};
use crate::Authenticator;

const START: &str = "2026-11-21T06:00:00Z";

/// Objects by `prefix/namespace/name`.
#[derive(Default)]
struct Objects(HashMap<String, String>);

impl Lookup for Objects {
    fn get(&self, prefix: &str, namespace: &str, name: &str) -> Option<Dom> {
        let json = self.0.get(&format!("{prefix}/{namespace}/{name}"))?;
        Some(Dom::parse_json(json.as_bytes()).unwrap())
    }

    fn list(&self, _prefix: &str, _namespace: &str) -> Vec<Dom> {
        Vec::new()
    }
}

struct World {
    key: SigningKey,
    clock: Arc<ManualClock>,
}

impl World {
    fn new() -> Self {
        Self {
            key: SigningKey::new(KeyPair::generate().unwrap()),
            clock: Arc::new(ManualClock::new(START.parse().unwrap())),
        }
    }

    fn authn(&self, objects: &[(&str, &str)], anonymous: Anonymous) -> Authn {
        let objects = objects
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let checks = TokenChecks {
            keys: KeySet::new([self.key.key().public().unwrap()]),
            issuers: vec!["https://kubernetes.default.svc".to_owned()],
            audiences: vec!["https://kubernetes.default.svc".to_owned()],
            lookup: Arc::new(Objects(objects.collect())),
            clock: self.clock.clone(),
        };
        Authn::new(checks, anonymous)
    }

    fn token(&self, more: &str) -> String {
        let now = self.clock.now().as_second();
        self.key
            .sign_json(&format!(
                r#"{{"aud":["https://kubernetes.default.svc"],"exp":{},"iat":{now},"nbf":{now},
                    "iss":"https://kubernetes.default.svc","jti":"j1","sub":"system:serviceaccount:a:bot",
                    "kubernetes.io":{{"namespace":"a","serviceaccount":{{"name":"bot","uid":"u1"}}{more}}}}}"#,
                now + 3600
            ))
            .unwrap()
    }
}

#[track_caller]
fn check(authn: &Authn, request: http::Request<()>, expect: Expect) {
    let (parts, ()) = request.into_parts();
    let answer = futures_util::future::FutureExt::now_or_never(authn.authenticate(&parts));
    let text = match answer.unwrap() {
        Ok(None) => "nobody".to_owned(),
        Ok(Some(user)) => {
            let extra: Vec<_> = user
                .extra
                .iter()
                .map(|(k, v)| format!("{k}={}", v.join(",")))
                .collect();
            format!(
                "{} uid={} {} {}",
                user.name,
                user.uid,
                user.groups.join(","),
                extra.join(" ")
            )
        }
        Err(error) => format!("refused: {error}"),
    };
    expect.assert_eq(&text);
}

fn bearer(token: &str) -> http::Request<()> {
    let request = http::Request::get("/api/v1/pods");
    request
        .header(AUTHORIZATION, format!("Bearer {token}"))
        .body(())
        .unwrap()
}

const ACCOUNT: (&str, &str) = (
    "serviceaccounts/a/bot",
    r#"{"metadata":{"name":"bot","uid":"u1"}}"#,
);
const POD: (&str, &str) = ("pods/a/web", r#"{"metadata":{"name":"web","uid":"p1"}}"#);

#[test]
fn tokens_speak_for_their_account() {
    let world = World::new();
    let authn = world.authn(&[ACCOUNT, POD], Anonymous::Everywhere);
    check(
        &authn,
        bearer(&world.token("")),
        expect![
            "system:serviceaccount:a:bot uid=u1 system:serviceaccounts,system:serviceaccounts:a,system:authenticated authentication.kubernetes.io/credential-id=JTI=j1"
        ],
    );
    let bound = world.token(r#","pod":{"name":"web","uid":"p1"},"node":{"name":"n","uid":"n1"}"#);
    check(
        &authn,
        bearer(&bound),
        expect![
            "system:serviceaccount:a:bot uid=u1 system:serviceaccounts,system:serviceaccounts:a,system:authenticated authentication.kubernetes.io/credential-id=JTI=j1 authentication.kubernetes.io/node-name=n authentication.kubernetes.io/node-uid=n1 authentication.kubernetes.io/pod-name=web authentication.kubernetes.io/pod-uid=p1"
        ],
    );
    world.clock.advance(std::time::Duration::from_secs(3700));
    check(
        &authn,
        bearer(&bound),
        expect!["refused: service account token has expired"],
    );
}

#[test]
fn tokens_die_with_what_they_are_bound_to() {
    let world = World::new();
    let everywhere = || Anonymous::Everywhere;
    let bound = world.token(r#","pod":{"name":"web","uid":"p1"}"#);
    check(
        &world.authn(&[ACCOUNT], everywhere()),
        bearer(&bound),
        expect!["refused: service account token has been invalidated"],
    );
    let again = ("pods/a/web", r#"{"metadata":{"name":"web","uid":"p2"}}"#);
    check(
        &world.authn(&[ACCOUNT, again], everywhere()),
        bearer(&bound),
        expect!["refused: pod UID (p2) does not match service account pod ref claim (p1)"],
    );
    let going =
        r#"{"metadata":{"name":"bot","uid":"u1","deletionTimestamp":"2026-11-21T05:58:59Z"}}"#;
    check(
        &world.authn(&[("serviceaccounts/a/bot", going)], everywhere()),
        bearer(&world.token("")),
        expect!["refused: service account a/bot has been deleted"],
    );
    let fresh = going.replace("05:58:59", "05:59:01");
    check(
        &world.authn(&[("serviceaccounts/a/bot", &fresh)], everywhere()),
        bearer(&world.token("")),
        expect![
            "system:serviceaccount:a:bot uid=u1 system:serviceaccounts,system:serviceaccounts:a,system:authenticated authentication.kubernetes.io/credential-id=JTI=j1"
        ],
    );
    let other = World::new();
    check(
        &world.authn(&[ACCOUNT], everywhere()),
        bearer(&other.token("")),
        expect!["refused: invalid bearer token: no key verifies its signature"],
    );
    check(
        &world.authn(&[], everywhere()),
        bearer("abc"),
        expect!["refused: invalid bearer token"],
    );
}

#[test]
fn certificates_name_user_and_groups() {
    let world = World::new();
    let ca = Ca::generate("kubernetes", world.clock.now()).unwrap();
    let node = Profile::client("system:node:n1", ["system:nodes"]);
    let identity = ca.issue(&node, world.clock.now()).unwrap();
    let chain = transport::tls::parse_certificates(identity.cert_pem.as_bytes()).unwrap();
    let mut request = bearer("not-a-token");
    request
        .extensions_mut()
        .insert(PeerCertificates(chain.into()));
    let (parts, ()) = request.into_parts();
    let authn = world.authn(&[], Anonymous::Nowhere);
    let user = authn.check(&parts).unwrap().unwrap();
    assert_eq!(user.name, "system:node:n1");
    assert_eq!(user.groups, ["system:nodes", "system:authenticated"]);
    assert!(user.extra[0].1[0].starts_with("X509SHA256="));
}

#[test]
fn anonymous_requests_pass_where_configured() {
    let world = World::new();
    let request = |path: &str| http::Request::get(path).body(()).unwrap();
    let everywhere = world.authn(&[], Anonymous::Everywhere);
    check(&everywhere, request("/api"), expect!["nobody"]);
    let paths = Anonymous::Paths(vec!["/livez".to_owned(), "/readyz".to_owned()]);
    let paths = world.authn(&[], paths);
    check(&paths, request("/livez?verbose"), expect!["nobody"]);
    check(&paths, request("/api"), expect!["refused: no credentials"]);
    check(
        &world.authn(&[], Anonymous::Nowhere),
        request("/livez"),
        expect!["refused: no credentials"],
    );
}
