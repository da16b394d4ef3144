//! Why a request gave no answer that its caller can use.

use api::Status;
use schema::Dom;
use transport::{BodyError, TransportError};

/// See the variants.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server answered with a Status.
    #[error("{verb} {path}: {}", status.message)]
    Api {
        /// HTTP method.
        verb: String,
        /// Request path.
        path: String,
        /// What the server said.
        status: Box<Status>,
    },
    /// No answer.
    #[error("{verb} {path}")]
    Transport {
        /// HTTP method.
        verb: String,
        /// Request path.
        path: String,
        /// What failed below.
        #[source]
        cause: Box<TransportError>,
    },
    /// The answer broke off.
    #[error("{verb} {path}: read the answer")]
    Body {
        /// HTTP method.
        verb: String,
        /// Request path.
        path: String,
        /// What failed below.
        #[source]
        cause: BodyError,
    },
    /// An answer that is not what the API promises.
    #[error("{verb} {path}: the answer is not {expected}")]
    Unexpected {
        /// HTTP method.
        verb: String,
        /// Request path.
        path: String,
        /// What was expected.
        expected: &'static str,
    },
}

/// What a caller may do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request may succeed later.
    Later,
    /// Read the object again first.
    AfterRead,
    /// The same request fails again.
    Never,
}

impl Error {
    /// The HTTP code of the server's answer, 0 when there was none.
    pub fn code(&self) -> u16 {
        match self {
            Self::Api { status, .. } => status.code(),
            Self::Transport { .. } | Self::Body { .. } | Self::Unexpected { .. } => 0,
        }
    }

    /// The reason of the server's Status, empty when there was none.
    pub fn reason(&self) -> &str {
        match self {
            Self::Api { status, .. } => &status.reason,
            Self::Transport { .. } | Self::Body { .. } | Self::Unexpected { .. } => "",
        }
    }

    /// The object does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code() == 404
    }

    /// Somebody else changed the object, or it exists already.
    pub fn is_conflict(&self) -> bool {
        self.reason() == "Conflict"
    }

    /// An object of that name exists.
    pub fn is_already_exists(&self) -> bool {
        self.reason() == "AlreadyExists"
    }

    /// The revision asked for is no longer in the log.
    pub fn is_expired(&self) -> bool {
        matches!(self.reason(), "Expired" | "Gone") || self.code() == 410
    }

    /// What may help.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Transport { .. } | Self::Body { .. } | Self::Unexpected { .. } => Retry::Later,
            Self::Api { status, .. } => match status.code() {
                409 if status.reason == "Conflict" => Retry::AfterRead,
                408 | 429 | 500..=599 => Retry::Later,
                _ => Retry::Never,
            },
        }
    }
}

/// Reads a Status from an answer's body.
pub(crate) fn read_status(json: &[u8]) -> Option<Status> {
    let dom = Dom::parse_json(json).ok()?;
    let root = dom.as_ref();
    if root.str("kind") != "Status" {
        return None;
    }
    let details = root.get("details");
    Some(Status {
        success: root.str("status") == "Success",
        code: root
            .int("code")
            .and_then(|code| u16::try_from(code).ok())
            .unwrap_or(0),
        reason: root.str("reason").to_owned(),
        message: root.str("message").to_owned(),
        has_details: details.is_some(),
        name: details.map_or("", |details| details.str("name")).to_owned(),
        kind: details.map_or("", |details| details.str("kind")).to_owned(),
        group: details
            .map_or("", |details| details.str("group"))
            .to_owned(),
        uid: details.map_or("", |details| details.str("uid")).to_owned(),
        ..Status::default()
    })
}
