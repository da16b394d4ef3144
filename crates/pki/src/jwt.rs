//! JSON Web Tokens: signed with one key, verified against several.
//!
//! Owns signature, header, and the time claims (`exp`, `nbf`, `iat`); what the other claims mean
//! is the caller's. ES256 and RS256 only, and the algorithm is the key's, never the header's word.
//! Source: RFC 7515, 7517, 7519; kubernetes v1.36 pkg/serviceaccount/{jwt,claims,openidmetadata}.go.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::key::Form;
use crate::{KeyPair, PkiError, PublicKey};

/// The claims of a token.
pub type Claims = Map<String, Value>;

/// How far clocks may differ (go-jose's default leeway).
const LEEWAY_SECONDS: i64 = 60;
/// Longer tokens are refused unread.
const TOKEN_BYTES: usize = 16 * 1024;

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not a token of the form that is used here: maybe another authenticator's.
    #[error("token is malformed")]
    Malformed,
    /// No key of ours made its signature.
    #[error("invalid bearer token: no key verifies its signature")]
    Signature,
    /// Its time is over.
    #[error("service account token has expired")]
    Expired,
    /// Its time has not come.
    #[error("service account token is not valid yet")]
    NotYet,
}

/// Signs tokens.
#[derive(Debug)]
pub struct SigningKey {
    key: KeyPair,
    header: String,
}

impl SigningKey {
    /// Signs with `key`: ES256 for ECDSA P-256, RS256 for RSA.
    pub fn new(key: KeyPair) -> Self {
        let algorithm = if key.is_rsa() { "RS256" } else { "ES256" };
        let id = crate::key_id(key.spki());
        let header = format!(r#"{{"alg":"{algorithm}","kid":"{id}"}}"#);
        Self {
            key,
            header: URL_SAFE_NO_PAD.encode(header),
        }
    }

    /// The key itself, to be saved.
    pub fn key(&self) -> &KeyPair {
        &self.key
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Claims) -> Result<String, PkiError> {
        let claims = serde_json::to_string(claims);
        self.sign_json(&claims.map_err(|error| PkiError::parse("claims", error))?)
    }

    /// A token with claims that are JSON already; they are not looked at.
    pub fn sign_json(&self, claims: &str) -> Result<String, PkiError> {
        let message = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign_fixed(message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

/// Keys whose tokens are believed: the current one and those it replaced.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<PublicKey>,
}

impl KeySet {
    /// These keys, the preferred one first.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
        }
    }

    /// The claims of `token` if one of the keys signed it and `now` is in its time.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Claims, TokenError> {
        let (message, header, claims, signature) = split(token)?;
        let algorithm = header
            .get("alg")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let id = header.get("kid").and_then(Value::as_str);
        let fits = |key: &&PublicKey| {
            let own = match key.form() {
                Form::P256(_) => "ES256",
                Form::Rsa(..) => "RS256",
            };
            algorithm == own && id.is_none_or(|id| id == key.id())
        };
        let mut candidates = self.keys.iter().filter(fits);
        if !candidates.any(|key| key.verifies(message.as_bytes(), &signature)) {
            return Err(TokenError::Signature);
        }
        let seconds = now.as_second();
        let time = |name: &str| claims.get(name).and_then(seconds_of);
        if time("exp").is_some_and(|end| seconds > end.saturating_add(LEEWAY_SECONDS)) {
            return Err(TokenError::Expired);
        }
        let begin = time("nbf").max(time("iat"));
        if begin.is_some_and(|begin| seconds < begin.saturating_sub(LEEWAY_SECONDS)) {
            return Err(TokenError::NotYet);
        }
        Ok(claims)
    }

    /// The same, with the claims as the JSON that was signed.
    pub fn verify_json(&self, token: &str, now: Timestamp) -> Result<Vec<u8>, TokenError> {
        self.verify(token, now)?;
        let claims = token.split('.').nth(1).ok_or(TokenError::Malformed)?;
        URL_SAFE_NO_PAD
            .decode(claims)
            .map_err(|_| TokenError::Malformed)
    }

    /// The key set as upstream serves it at /openid/v1/jwks.
    pub fn jwks(&self) -> String {
        let keys = self.keys.iter().map(|key| {
            let (id, encode) = (key.id(), |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes));
            match key.form() {
                Form::P256(point) => format!(
                    r#"{{"use":"sig","kty":"EC","kid":"{id}","crv":"P-256","alg":"ES256","x":"{}","y":"{}"}}"#,
                    encode(&point[1..33]),
                    encode(&point[33..]),
                ),
                Form::Rsa(n, e) => format!(
                    r#"{{"use":"sig","kty":"RSA","kid":"{id}","alg":"RS256","n":"{}","e":"{}"}}"#,
                    encode(n),
                    encode(e),
                ),
            }
        });
        format!(r#"{{"keys":[{}]}}"#, keys.collect::<Vec<_>>().join(","))
    }

    /// The algorithms in use, for the discovery document.
    pub fn algorithms(&self) -> Vec<&'static str> {
        let mut all: Vec<_> = self
            .keys
            .iter()
            .map(|key| match key.form() {
                Form::P256(_) => "ES256",
                Form::Rsa(..) => "RS256",
            })
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// The `iss` claim without any check: decides which authenticator a token belongs to.
pub fn issuer(token: &str) -> Option<String> {
    let (_, _, claims, _) = split(token).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

type Parts<'a> = (&'a str, Claims, Claims, Vec<u8>);

fn split(token: &str) -> Result<Parts<'_>, TokenError> {
    if token.len() > TOKEN_BYTES {
        return Err(TokenError::Malformed);
    }
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
    let (header, claims) = message.split_once('.').ok_or(TokenError::Malformed)?;
    let decode = |part: &str| {
        URL_SAFE_NO_PAD
            .decode(part)
            .map_err(|_| TokenError::Malformed)
    };
    let object = |part: &str| {
        serde_json::from_slice::<Claims>(&decode(part)?).map_err(|_| TokenError::Malformed)
    };
    Ok((
        message,
        object(header)?,
        object(claims)?,
        decode(signature)?,
    ))
}

fn seconds_of(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_f64().map(|seconds| seconds as i64))
}
