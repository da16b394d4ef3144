//! Service-account tokens signed with a key of the control plane.

use base::Chain;
use pki::jwt::{Claims, KeySet, SigningKey};

use crate::Tokens;

/// Signs with one key, in the name of one issuer.
#[derive(Debug)]
pub struct SignedTokens {
    key: SigningKey,
    keys: KeySet,
    issuer: String,
    audiences: Vec<String>,
}

impl SignedTokens {
    /// `keys` are those whose tokens are believed, the signing one among them.
    pub fn new(key: SigningKey, keys: KeySet, issuer: &str) -> SignedTokens {
        SignedTokens {
            key,
            keys,
            issuer: issuer.to_owned(),
            audiences: vec![issuer.to_owned()],
        }
    }
}

impl Tokens for SignedTokens {
    fn sign(&self, claims_json: &str) -> Result<String, String> {
        let claims: Claims = serde_json::from_str(claims_json).map_err(|e| e.to_string())?;
        self.key
            .sign(&claims)
            .map_err(|error| Chain(&error).to_string())
    }

    fn issuer(&self) -> String {
        self.issuer.clone()
    }

    fn audiences(&self) -> Vec<String> {
        self.audiences.clone()
    }

    fn jwks(&self) -> String {
        self.keys.jwks()
    }
}
