//! Who sent a request: client certificate, service-account token, or nobody.
//!
//! The first that is there decides; one that is there but wrong refuses the request, except that
//! a good certificate beats a bad token. The handshake has already refused certificates of other
//! CAs. Impersonation comes later, with authorization (`filters`).
//! Source: kubernetes v1.36.3 pkg/kubeapiserver/authenticator/config.go,
//! apiserver/pkg/authentication/request/{x509,bearertoken,anonymous}.

mod tokens;

use std::fmt::Write;
use std::sync::Arc;

use base::Clock;
use http::header::AUTHORIZATION;
use http::request::Parts;
use pki::jwt::KeySet;
use registry::Lookup;
use ring::digest::{SHA256, digest};
use store::StoreError;
use transport::{BoxFuture, PeerCertificates};

use crate::authz::Authz;
use crate::{Authenticator, Server, UserInfo};

/// What the group of everybody who said who they are is called.
const AUTHENTICATED: &str = "system:authenticated";
/// Key of the extra field that names the credential.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

/// Where requests without credentials are let through as system:anonymous.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Anonymous {
    /// Everywhere; what they may is then for the roles to say. Upstream's default.
    #[default]
    Everywhere,
    /// On these paths only; elsewhere they are unauthorized.
    Paths(Vec<String>),
    /// Nowhere.
    Nowhere,
}

/// What service-account tokens are checked against.
#[derive(Clone)]
pub struct TokenChecks {
    /// Keys that sign them, and those that did.
    pub keys: KeySet,
    /// Accepted issuers.
    pub issuers: Vec<String>,
    /// One of these must be an audience of a token.
    pub audiences: Vec<String>,
    /// Reads the objects that a token is bound to.
    pub lookup: Arc<dyn Lookup>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
}

/// Puts in force: who sent a request by certificate and token, and what they may by node and role.
/// `keys` are those whose tokens are believed; issuer and audiences are those of the server's own
/// tokens.
pub fn secure(server: &Server, keys: KeySet, anonymous: Anonymous) -> Result<(), StoreError> {
    let own = server.config.tokens.as_ref();
    let checks = TokenChecks {
        keys,
        issuers: own.map(|tokens| tokens.issuer()).into_iter().collect(),
        audiences: own.map(|tokens| tokens.audiences()).unwrap_or_default(),
        lookup: server.lookup(),
        clock: Arc::clone(&server.config.clock),
    };
    let authz = Authz::new(server.store().clone(), server.root())?;
    server.set_authenticator(Arc::new(Authn::new(checks, anonymous)));
    server.set_authorizer(Arc::new(authz));
    Ok(())
}

/// The chain of authenticators.
pub struct Authn {
    tokens: TokenChecks,
    anonymous: Anonymous,
}

impl std::fmt::Debug for Authn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authn")
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}

impl Authn {
    /// Believes client certificates, and tokens that pass the checks.
    pub fn new(tokens: TokenChecks, anonymous: Anonymous) -> Self {
        Self { tokens, anonymous }
    }

    fn check(&self, parts: &Parts) -> Result<Option<UserInfo>, String> {
        if let Some(user) = certificate_user(parts) {
            return Ok(Some(user));
        }
        if let Some(token) = bearer_token(parts) {
            return self.tokens.user(token).map(Some);
        }
        let allowed = match &self.anonymous {
            Anonymous::Everywhere => true,
            Anonymous::Nowhere => false,
            Anonymous::Paths(paths) => paths.iter().any(|path| path == parts.uri.path()),
        };
        if allowed {
            Ok(None)
        } else {
            Err("no credentials".to_owned())
        }
    }
}

impl Authenticator for Authn {
    fn authenticate<'a>(
        &'a self,
        parts: &'a Parts,
    ) -> BoxFuture<'a, Result<Option<UserInfo>, String>> {
        Box::pin(std::future::ready(self.check(parts)))
    }
}

/// CN is the user, O are the groups.
fn certificate_user(parts: &Parts) -> Option<UserInfo> {
    let chain = parts.extensions.get::<PeerCertificates>()?;
    let leaf = chain.0.first()?;
    let subject = match pki::parse_subject(leaf) {
        Ok(subject) => subject,
        Err(error) => {
            tracing::warn!(err = %base::Chain(&error), "client certificate without usable subject");
            return None;
        }
    };
    if subject.cn.is_empty() {
        return None;
    }
    let mut id = String::from("X509SHA256=");
    for byte in digest(&SHA256, leaf).as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(id, "{byte:02x}");
    }
    let mut groups = subject.organizations;
    groups.push(AUTHENTICATED.to_owned());
    Some(UserInfo {
        name: subject.cn,
        uid: String::new(),
        groups,
        extra: vec![(CREDENTIAL.to_owned(), vec![id])],
    })
}

fn bearer_token(parts: &Parts) -> Option<&str> {
    let value = parts.headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_start();
    // Upstream takes what follows up to the next space, and nothing at all as no token.
    let token = token.split(' ').next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests;
