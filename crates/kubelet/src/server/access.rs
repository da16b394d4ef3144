//! Who calls the kubelet, and whether it may: certificate → user, SubjectAccessReview → verdict.
//!
//! Verdicts are kept for a while (allowed 5 min, denied 30 s, as upstream's webhook authorizer).

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

type Question = (User, &'static str, &'static str);

/// Asks the API server and remembers.
pub(super) struct Access {
    client: Client,
    node: String,
    verdicts: Mutex<HashMap<Question, (bool, Instant)>>,
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

impl Access {
    pub(super) fn new(client: Client, node: &str) -> Self {
        Self {
            client,
            node: node.to_owned(),
            verdicts: Mutex::new(HashMap::new()),
        }
    }

    pub(super) async fn check(
        &self,
        request: &Request,
        subresource: &'static str,
    ) -> Result<(), (StatusCode, String)> {
        let Some(user) = user(request) else {
            return Err((StatusCode::UNAUTHORIZED, "Unauthorized".to_owned()));
        };
        let verb = match *request.method() {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "get",
        };
        let name = user.name.clone();
        let question = (user, verb, subresource);
        let known = self.verdicts.lock().get(&question).copied();
        let allowed = match known {
            Some((allowed, until)) if until > Instant::now() => allowed,
            _ => match self.ask(&question).await {
                Ok(allowed) => {
                    let keep = if allowed { ALLOWED_FOR } else { DENIED_FOR };
                    let mut verdicts = self.verdicts.lock();
                    if verdicts.len() >= KEPT {
                        verdicts.clear();
                    }
                    verdicts.insert(question, (allowed, Instant::now() + keep));
                    allowed
                }
                Err(error) => {
                    let why = format!("Authorization error ({})", base::Chain(&error));
                    return Err((StatusCode::INTERNAL_SERVER_ERROR, why));
                }
            },
        };
        if allowed {
            return Ok(());
        }
        let why = format!(
            "Forbidden (user={name}, verb={verb}, resource=nodes, subresource(s)=[{subresource}])\n"
        );
        Err((StatusCode::FORBIDDEN, why))
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
