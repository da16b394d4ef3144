//! Who calls the kubelet, and whether it may: certificate or TokenReview → user,
//! SubjectAccessReview → verdict.
//!
//! Verdicts are kept for a while (users of tokens 2 min, allowed 5 min, denied 30 s, as upstream's
//! webhook authenticator and authorizer).

use std::collections::HashMap;
use std::time::Duration;

use client::Client;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use schema::Dom;
use tokio::time::Instant;
use transport::{PeerCertificates, Request};

const ALLOWED_FOR: Duration = Duration::from_secs(300);
const DENIED_FOR: Duration = Duration::from_secs(30);
const KEPT: usize = 1000;

/// A caller.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct User {
    name: String,
    groups: Vec<String>,
}

const TOKEN_FOR: Duration = Duration::from_secs(120);
/// The longest token that is asked about.
const TOKEN_BYTES: usize = 16 << 10;

type Question = (User, &'static str, &'static str);

/// Asks the API server and remembers.
pub(super) struct Access {
    client: Client,
    node: String,
    verdicts: Mutex<HashMap<Question, (bool, Instant)>>,
    /// Whose tokens are; `None`: nobody's.
    tokens: Mutex<HashMap<String, (Option<User>, Instant)>>,
}

/// The caller that a request's verified certificate names.
pub(super) fn user(request: &Request) -> Option<User> {
    let certificates = request.extensions().get::<PeerCertificates>()?;
    let subject = pki::parse_subject(certificates.0.first()?).ok()?;
    let mut groups = subject.organizations;
    groups.push("system:authenticated".to_owned());
    Some(User {
        name: subject.cn,
        groups,
    })
}

/// The token that a request carries.
fn bearer(request: &Request) -> Option<&str> {
    let header = request.headers().get(http::header::AUTHORIZATION)?;
    let (kind, token) = header.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let fits = !token.is_empty() && token.len() <= TOKEN_BYTES;
    (kind.eq_ignore_ascii_case("Bearer") && fits).then_some(token)
}

impl Access {
    pub(super) fn new(client: Client, node: &str) -> Self {
        Self {
            client,
            node: node.to_owned(),
            verdicts: Mutex::new(HashMap::new()),
            tokens: Mutex::new(HashMap::new()),
        }
    }

    /// Whether the caller may do what it asks, by any of `subresources`.
    pub(super) async fn check(
        &self,
        request: &Request,
        subresources: &'static [&'static str],
    ) -> Result<(), (StatusCode, String)> {
        let broken = |error: client::Error| {
            let why = format!("Authorization error ({})", base::Chain(&error));
            (StatusCode::INTERNAL_SERVER_ERROR, why)
        };
        let known = match (user(request), bearer(request)) {
            (Some(user), _) => Some(user),
            (None, Some(token)) => self.owner(token).await.map_err(broken)?,
            (None, None) => None,
        };
        let Some(user) = known else {
            return Err((StatusCode::UNAUTHORIZED, "Unauthorized".to_owned()));
        };
        let verb = match *request.method() {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "get",
        };
        for subresource in subresources {
            let question = (user.clone(), verb, *subresource);
            if self.verdict(question).await.map_err(broken)? {
                return Ok(());
            }
        }
        let why = format!(
            "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{}])\n",
            user.name,
            subresources.join(" ")
        );
        Err((StatusCode::FORBIDDEN, why))
    }

    async fn verdict(&self, question: Question) -> Result<bool, client::Error> {
        let known = self.verdicts.lock().get(&question).copied();
        if let Some((allowed, until)) = known
            && until > Instant::now()
        {
            return Ok(allowed);
        }
        let allowed = self.ask(&question).await?;
        let keep = if allowed { ALLOWED_FOR } else { DENIED_FOR };
        let mut verdicts = self.verdicts.lock();
        if verdicts.len() >= KEPT {
            verdicts.clear();
        }
        verdicts.insert(question, (allowed, Instant::now() + keep));
        Ok(allowed)
    }

    /// Whose a token is, by the API server.
    async fn owner(&self, token: &str) -> Result<Option<User>, client::Error> {
        let known = self.tokens.lock().get(token).cloned();
        if let Some((user, until)) = known
            && until > Instant::now()
        {
            return Ok(user);
        }
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        dom.set_str(root, "apiVersion", "authentication.k8s.io/v1");
        dom.set_str(root, "kind", "TokenReview");
        let spec = dom.ensure_map(root, "spec");
        dom.set_str(spec, "token", token);
        let path = "/apis/authentication.k8s.io/v1/tokenreviews";
        let content = Some(("application/json", dom.to_json(root).into()));
        let answer = self.client.bytes(Method::POST, path, content).await?;
        let answer = Dom::parse_json(&answer).unwrap_or_default();
        let status = answer.as_ref().get("status");
        let status = status.filter(|s| s.bool("authenticated").unwrap_or(false));
        let user = status
            .and_then(|status| status.get("user"))
            .map(|user| User {
                name: user.str("username").to_owned(),
                groups: user
                    .items("groups")
                    .filter_map(|group| group.as_str().map(str::to_owned))
                    .collect(),
            });
        let mut tokens = self.tokens.lock();
        if tokens.len() >= KEPT {
            tokens.clear();
        }
        tokens.insert(token.to_owned(), (user.clone(), Instant::now() + TOKEN_FOR));
        Ok(user)
    }

    async fn ask(&self, (user, verb, subresource): &Question) -> Result<bool, client::Error> {
        let mut dom = Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        dom.set_str(root, "apiVersion", "authorization.k8s.io/v1");
        dom.set_str(root, "kind", "SubjectAccessReview");
        let spec = dom.ensure_map(root, "spec");
        dom.set_str(spec, "user", &user.name);
        let groups = dom.ensure_list(spec, "groups");
        for group in &user.groups {
            let group = dom.new_str(group);
            dom.push(groups, group);
        }
        let attributes = dom.ensure_map(spec, "resourceAttributes");
        for (key, value) in [
            ("verb", *verb),
            ("version", "v1"),
            ("resource", "nodes"),
            ("subresource", *subresource),
            ("name", self.node.as_str()),
        ] {
            dom.set_str(attributes, key, value);
        }
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let content = Some(("application/json", dom.to_json(root).into()));
        let answer = self.client.bytes(Method::POST, path, content).await?;
        Ok(Dom::parse_json(&answer).ok().is_some_and(|dom| {
            let status = dom.as_ref().get("status");
            status
                .and_then(|status| status.bool("allowed"))
                .unwrap_or(false)
        }))
    }
}

#[cfg(test)]
mod tests;
