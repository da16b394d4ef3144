//! Service-account tokens: who they speak for, and whether what they are bound to still exists.
//!
//! A token dies with its service account, and with the pod, secret or node it is bound to; an
//! object that is being deleted keeps it alive for a minute after its deletion time.
//! Source: kubernetes v1.36.3 pkg/serviceaccount/{jwt,claims,util}.go.

use api::meta;
use jiff::Timestamp;
use schema::{Dom, Ref};

use super::{AUTHENTICATED, CREDENTIAL, TokenChecks};
use crate::UserInfo;

/// How long an object that is going still counts.
const LEEWAY_SECONDS: i64 = 60;
const INVALIDATED: &str = "service account token has been invalidated";

impl TokenChecks {
    /// The service account that `token` speaks for.
    pub(super) fn user(&self, token: &str) -> Result<UserInfo, String> {
        let issuer = pki::jwt::issuer(token);
        if !issuer.is_some_and(|issuer| self.issuers.contains(&issuer)) {
            return Err("invalid bearer token".to_owned());
        }
        let now = self.clock.now();
        let claims = self
            .keys
            .verify_json(token, now)
            .map_err(|error| error.to_string())?;
        let claims = Dom::parse_json(&claims).map_err(|_| "malformed claims".to_owned())?;
        let claims = claims.as_ref();
        let audiences: Vec<&str> = match claims.get("aud").and_then(Ref::as_str) {
            Some(one) => vec![one],
            None => claims.items("aud").map(Ref::text).collect(),
        };
        if !audiences
            .iter()
            .any(|one| self.audiences.iter().any(|own| own == one))
        {
            return Err(format!(
                "token audiences {audiences:?} is invalid for the target audiences {:?}",
                self.audiences
            ));
        }
        let own = claims.get("kubernetes.io").unwrap_or(Ref::null());
        let account = own.get("serviceaccount").unwrap_or(Ref::null());
        let (namespace, name) = (own.str("namespace"), account.str("name"));
        if claims.str("sub") != format!("system:serviceaccount:{namespace}:{name}") {
            return Err("sub claim does not match the service account".to_owned());
        }
        self.account_lives(namespace, account, now)?;
        let (pod, node) = (own.get("pod"), own.get("node"));
        if let Some(secret) = own.get("secret") {
            self.lives("secrets", "secret", namespace, secret, now)?;
        }
        if let Some(pod) = pod {
            self.lives("pods", "pod", namespace, pod, now)?;
        } else if let Some(node) = node {
            self.lives("minions", "node", "", node, now)?;
        }
        let mut extra = Vec::new();
        let mut add = |key: &str, value: &str| {
            if !value.is_empty() {
                extra.push((key.to_owned(), vec![value.to_owned()]));
            }
        };
        if !claims.str("jti").is_empty() {
            add(CREDENTIAL, &format!("JTI={}", claims.str("jti")));
        }
        for (object, kind) in [(node, "node"), (pod, "pod")] {
            let object = object.unwrap_or(Ref::null());
            add(
                &format!("authentication.kubernetes.io/{kind}-name"),
                object.str("name"),
            );
            add(
                &format!("authentication.kubernetes.io/{kind}-uid"),
                object.str("uid"),
            );
        }
        Ok(UserInfo {
            name: claims.str("sub").to_owned(),
            uid: account.str("uid").to_owned(),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                AUTHENTICATED.to_owned(),
            ],
            extra,
        })
    }

    fn account_lives(&self, namespace: &str, claim: Ref<'_>, now: Timestamp) -> Result<(), String> {
        let name = claim.str("name");
        let Some(account) = self.lookup.get("serviceaccounts", namespace, name) else {
            return Err(format!("serviceaccounts {name:?} not found"));
        };
        let deletion = deletion_of(account.as_ref());
        let account = meta::of(account.as_ref());
        let (own, claimed) = (account.uid(), claim.str("uid"));
        if own != claimed {
            return Err(format!(
                "service account UID ({own}) does not match claim ({claimed})"
            ));
        }
        if gone(deletion, now) {
            return Err(format!(
                "service account {namespace}/{name} has been deleted"
            ));
        }
        Ok(())
    }

    fn lives(
        &self,
        prefix: &str,
        kind: &str,
        namespace: &str,
        claim: Ref<'_>,
        now: Timestamp,
    ) -> Result<(), String> {
        let Some(object) = self.lookup.get(prefix, namespace, claim.str("name")) else {
            return Err(INVALIDATED.to_owned());
        };
        let deletion = deletion_of(object.as_ref());
        let object = meta::of(object.as_ref());
        let (own, claimed) = (object.uid(), claim.str("uid"));
        if own != claimed {
            return Err(format!(
                "{kind} UID ({own}) does not match service account {kind} ref claim ({claimed})"
            ));
        }
        if gone(deletion, now) {
            return Err(INVALIDATED.to_owned());
        }
        Ok(())
    }
}

fn deletion_of(object: Ref<'_>) -> Option<Timestamp> {
    let text = object.at(&["metadata", "deletionTimestamp"])?;
    text.text().parse().ok()
}

/// Whether an object's deletion time is well past.
fn gone(deletion: Option<Timestamp>, now: Timestamp) -> bool {
    deletion.is_some_and(|at| at.as_second() < now.as_second() - LEEWAY_SECONDS)
}
