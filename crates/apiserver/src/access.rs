//! Who asks, and whether they may: the two seams that `authn` and `authz` fill.
//!
//! Source: kubernetes v1.36.3 apiserver/pkg/authentication/authenticator,
//! apiserver/pkg/authorization/authorizer.

use http::request::Parts;
use transport::BoxFuture;

use crate::{RequestInfo, UserInfo};

/// Finds out who sent a request.
pub trait Authenticator: Send + Sync {
    /// None: there are no credentials; an error: they are wrong.
    fn authenticate<'a>(
        &'a self,
        parts: &'a Parts,
    ) -> BoxFuture<'a, Result<Option<UserInfo>, String>>;
}

/// What an authorizer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes.
    Allow {
        /// Why.
        reason: String,
    },
    /// No, whatever others say.
    Deny {
        /// Why.
        reason: String,
    },
    /// Ask the next one; in the end it means no.
    NoOpinion {
        /// Why.
        reason: String,
    },
}

/// An answer to "what may they".
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// What is allowed for sure.
    pub rules: Vec<registry::rbac::Rule>,
    /// There may be more.
    pub incomplete: bool,
    /// Why.
    pub error: String,
}

/// Decides whether a user may do it.
pub trait Authorizer: Send + Sync {
    /// Decides.
    fn authorize(&self, user: &UserInfo, info: &RequestInfo) -> Decision;

    /// What a user may do in a namespace, as far as it can be listed.
    fn rules_for(&self, user: &UserInfo, namespace: &str) -> Rules {
        let _ = (user, namespace);
        Rules {
            incomplete: true,
            ..Rules::default()
        }
    }
}

/// Lets administrators do everything and everybody see health and version; what is in force as
/// long as nothing else is configured.
#[derive(Debug)]
pub struct Minimal;

impl Authorizer for Minimal {
    fn authorize(&self, user: &UserInfo, info: &RequestInfo) -> Decision {
        let public = !info.is_resource
            && info.verb == "get"
            && ["/healthz", "/livez", "/readyz", "/version", "/version/"]
                .contains(&info.path.as_str());
        if user.is_in("system:masters") || public {
            return Decision::Allow {
                reason: String::new(),
            };
        }
        Decision::NoOpinion {
            reason: String::new(),
        }
    }
}

/// The user of requests without credentials.
pub fn anonymous() -> UserInfo {
    UserInfo {
        name: "system:anonymous".to_owned(),
        groups: vec!["system:unauthenticated".to_owned()],
        ..UserInfo::default()
    }
}
