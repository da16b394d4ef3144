//! Bearer tokens, re-read from their file as it is rotated.
//!
//! Source: kubernetes v1.36 client-go/transport/token_source.go (the file is read again after a
//! minute; a read that fails keeps the last token).

use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use http::HeaderValue;
use tokio::time::Instant;

use crate::TransportError;

const REREAD: Duration = Duration::from_secs(60);

/// Where a bearer token comes from.
#[derive(Clone)]
pub enum Token {
    /// Always this one.
    Fixed(String),
    /// The content of a file that somebody rotates.
    File(PathBuf),
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(_) => f.write_str("Token(fixed)"),
            Self::File(path) => write!(f, "Token({})", path.display()),
        }
    }
}

pub(super) struct Source {
    token: Token,
    cached: Mutex<Option<(HeaderValue, Instant)>>,
}

impl From<Token> for Source {
    fn from(token: Token) -> Self {
        Self {
            token,
            cached: Mutex::new(None),
        }
    }
}

impl Source {
    /// The value of the `Authorization` header.
    pub(super) fn header(&self) -> Result<HeaderValue, TransportError> {
        let mut cached = self
            .cached
            .lock()
            .unwrap_or_else(|poison| poison.into_inner());
        let path = match (&self.token, &*cached) {
            (Token::Fixed(_), Some((value, _))) => return Ok(value.clone()),
            (Token::File(_), Some((value, at))) if at.elapsed() < REREAD => {
                return Ok(value.clone());
            }
            (Token::Fixed(token), None) => {
                let value = bearer(token)?;
                *cached = Some((value.clone(), Instant::now()));
                return Ok(value);
            }
            (Token::File(path), _) => path,
        };
        let fresh = std::fs::read_to_string(path).map_err(|cause| TransportError::Read {
            path: path.clone(),
            cause,
        });
        let value = match (fresh.and_then(|text| bearer(text.trim())), &*cached) {
            (Ok(value), _) => value,
            (Err(error), Some((value, _))) => {
                tracing::warn!(err = %base::Chain(&error), "token file unreadable, keeps the last");
                value.clone()
            }
            (Err(error), None) => return Err(error),
        };
        *cached = Some((value.clone(), Instant::now()));
        Ok(value)
    }
}

fn bearer(token: &str) -> Result<HeaderValue, TransportError> {
    let value = HeaderValue::from_str(&format!("Bearer {token}"));
    let mut value = value.map_err(|error| TransportError::Malformed {
        what: "bearer token",
        reason: error.to_string(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}
