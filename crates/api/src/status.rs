//! `Status`: the one error (and the answer to a delete) on the API's wire.
//!
//! Owns reasons, codes, texts and the JSON form. Knows nothing of HTTP besides the code.
//! Source: apimachinery v0.36.3 pkg/api/errors/errors.go, pkg/apis/meta/v1/types.go;
//! apiserver v0.36.3 pkg/endpoints/handlers/negotiation/errors.go.

use crate::field::{Aggregate, FieldError};
use crate::kind::{Gk, Gr};
use crate::text::{json_string, quote};
use std::fmt;
use std::fmt::Write;

/// Values of `status.reason` and of `causes[].reason` outside field validation.
pub mod reason {
    macro_rules! reasons {
        ($($name:ident = $text:literal;)*) => {
            $(#[doc = concat!("`", $text, "`.")] pub const $name: &str = $text;)*
        };
    }
    reasons! {
        UNAUTHORIZED = "Unauthorized";
        FORBIDDEN = "Forbidden";
        NOT_FOUND = "NotFound";
        ALREADY_EXISTS = "AlreadyExists";
        CONFLICT = "Conflict";
        GONE = "Gone";
        INVALID = "Invalid";
        SERVER_TIMEOUT = "ServerTimeout";
        STORE_READ_ERROR = "StorageReadError";
        TIMEOUT = "Timeout";
        TOO_MANY_REQUESTS = "TooManyRequests";
        BAD_REQUEST = "BadRequest";
        METHOD_NOT_ALLOWED = "MethodNotAllowed";
        NOT_ACCEPTABLE = "NotAcceptable";
        REQUEST_ENTITY_TOO_LARGE = "RequestEntityTooLarge";
        UNSUPPORTED_MEDIA_TYPE = "UnsupportedMediaType";
        INTERNAL_ERROR = "InternalError";
        EXPIRED = "Expired";
        SERVICE_UNAVAILABLE = "ServiceUnavailable";
        UNEXPECTED_SERVER_RESPONSE = "UnexpectedServerResponse";
        FIELD_MANAGER_CONFLICT = "FieldManagerConflict";
        RESOURCE_VERSION_TOO_LARGE = "ResourceVersionTooLarge";
    }
}

/// One cause in `details.causes`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable reason.
    pub reason: String,
    /// Words.
    pub message: String,
    /// Path of the field.
    pub field: String,
}

/// The API's answer when there is no object to return.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Success instead of failure.
    pub success: bool,
    /// HTTP status code; 0 is left out.
    pub code: u16,
    /// Reason, see [`reason`].
    pub reason: String,
    /// Words.
    pub message: String,
    /// Details are printed, even if all of them are empty.
    pub has_details: bool,
    /// Name of the object.
    pub name: String,
    /// Its group.
    pub group: String,
    /// Its kind; upstream puts the resource here for most errors.
    pub kind: String,
    /// Its uid.
    pub uid: String,
    /// Causes.
    pub causes: Vec<Cause>,
    /// When to try again; 0 is left out.
    pub retry_after_seconds: u32,
    /// `metadata.continue` (an expired list may offer a fresh start).
    pub continue_token: String,
}

impl Status {
    fn failure(code: u16, reason: &str, message: String) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message,
            ..Self::default()
        }
    }

    fn about(mut self, resource: &Gr, name: &str) -> Self {
        self.has_details = true;
        self.group.clone_from(&resource.group);
        self.kind.clone_from(&resource.resource);
        name.clone_into(&mut self.name);
        self
    }

    /// Answer to a delete that left nothing behind. Its code is not printed, as upstream.
    #[must_use]
    pub fn deleted(resource: &Gr, name: &str, uid: &str) -> Self {
        let mut status = Self {
            success: true,
            ..Self::default()
        }
        .about(resource, name);
        uid.clone_into(&mut status.uid);
        status
    }

    /// Plain success with a code (bindings, evictions: 201).
    #[must_use]
    pub fn succeeded(code: u16) -> Self {
        Self {
            success: true,
            code,
            ..Self::default()
        }
    }

    /// 404 about an object.
    #[must_use]
    pub fn not_found(resource: &Gr, name: &str) -> Self {
        let message = format!("{resource} {} not found", quote(name));
        Self::failure(404, reason::NOT_FOUND, message).about(resource, name)
    }

    /// 404 about a path that no handler serves.
    #[must_use]
    pub fn path_not_found() -> Self {
        let message = "the server could not find the requested resource".to_owned();
        let mut status = Self::failure(404, reason::NOT_FOUND, message);
        status.has_details = true;
        status
    }

    /// 409: the name is taken.
    #[must_use]
    pub fn already_exists(resource: &Gr, name: &str) -> Self {
        let message = format!("{resource} {} already exists", quote(name));
        Self::failure(409, reason::ALREADY_EXISTS, message).about(resource, name)
    }

    /// 409: every generated name was taken.
    #[must_use]
    pub fn generate_name_conflict(resource: &Gr, name: &str, retry_after_seconds: u32) -> Self {
        let message = format!(
            "{resource} {} already exists, the server was not able to generate a unique name for the object",
            quote(name)
        );
        Self::failure(409, reason::ALREADY_EXISTS, message)
            .about(resource, name)
            .retry_after(retry_after_seconds)
    }

    /// 401; an empty reason reads `not authorized`.
    #[must_use]
    pub fn unauthorized(message: &str) -> Self {
        let message = if message.is_empty() {
            "not authorized"
        } else {
            message
        };
        Self::failure(401, reason::UNAUTHORIZED, message.to_owned())
    }

    /// 403.
    #[must_use]
    pub fn forbidden(resource: &Gr, name: &str, cause: &str) -> Self {
        let message = if resource.is_empty() {
            format!("forbidden: {cause}")
        } else if name.is_empty() {
            format!("{resource} is forbidden: {cause}")
        } else {
            format!("{resource} {} is forbidden: {cause}", quote(name))
        };
        Self::failure(403, reason::FORBIDDEN, message).about(resource, name)
    }

    /// 409: the write was based on an older revision or violates a precondition.
    #[must_use]
    pub fn conflict(resource: &Gr, name: &str, cause: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {resource} {}: {cause}",
            quote(name)
        );
        Self::failure(409, reason::CONFLICT, message).about(resource, name)
    }

    /// 409 of an update with an old resourceVersion, in upstream's words.
    #[must_use]
    pub fn modified(resource: &Gr, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 409 of server-side apply.
    #[must_use]
    pub fn apply_conflict(causes: Vec<Cause>, message: &str) -> Self {
        let mut status = Self::failure(409, reason::CONFLICT, message.to_owned());
        status.has_details = true;
        status.causes = causes;
        status
    }

    /// 410: no longer there.
    #[must_use]
    pub fn gone(message: &str) -> Self {
        Self::failure(410, reason::GONE, message.to_owned())
    }

    /// 410: the revision or continue token is too old.
    #[must_use]
    pub fn expired(message: &str) -> Self {
        Self::failure(410, reason::EXPIRED, message.to_owned())
    }

    /// 422 with all findings.
    #[must_use]
    pub fn invalid(kind: &Gk, name: &str, errors: &[FieldError]) -> Self {
        let mut message = format!("{kind} {} is invalid", quote(name));
        if !errors.is_empty() {
            let _ = write!(message, ": {}", Aggregate(errors));
        }
        let about = Gr {
            group: kind.group.clone(),
            resource: kind.kind.clone(),
        };
        let mut status = Self::failure(422, reason::INVALID, message).about(&about, name);
        status.causes = errors
            .iter()
            .map(|error| Cause {
                reason: error.kind.reason().to_owned(),
                message: error.body(),
                field: error.field.clone(),
            })
            .collect();
        status
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: &str) -> Self {
        Self::failure(400, reason::BAD_REQUEST, message.to_owned())
    }

    /// 429 of the server itself or of an eviction.
    #[must_use]
    pub fn too_many_requests(message: &str, retry_after_seconds: u32) -> Self {
        let mut status = Self::failure(429, reason::TOO_MANY_REQUESTS, message.to_owned())
            .retry_after(retry_after_seconds);
        status.has_details = true;
        status
    }

    /// 503.
    #[must_use]
    pub fn service_unavailable(message: &str) -> Self {
        Self::failure(503, reason::SERVICE_UNAVAILABLE, message.to_owned())
    }

    /// 405.
    #[must_use]
    pub fn method_not_supported(resource: &Gr, action: &str) -> Self {
        let message = format!(
            "{action} is not supported on resources of kind {}",
            quote(&resource.to_string())
        );
        Self::failure(405, reason::METHOD_NOT_ALLOWED, message).about(resource, "")
    }

    /// 405 where the request names no resource that upstream would print.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource".to_owned();
        let mut status = Self::failure(405, reason::METHOD_NOT_ALLOWED, message);
        status.has_details = true;
        status
    }

    /// 500 that asks to try again.
    #[must_use]
    pub fn server_timeout(resource: &Gr, operation: &str, retry_after_seconds: u32) -> Self {
        let message = format!(
            "The {operation} operation against {resource} could not be completed at this time, please try again."
        );
        Self::failure(500, reason::SERVER_TIMEOUT, message)
            .about(resource, operation)
            .retry_after(retry_after_seconds)
    }

    /// 500.
    #[must_use]
    pub fn internal(cause: &str) -> Self {
        let message = format!("Internal error occurred: {cause}");
        let mut status = Self::failure(500, reason::INTERNAL_ERROR, message);
        status.has_details = true;
        status.causes.push(Cause {
            message: cause.to_owned(),
            ..Cause::default()
        });
        status
    }

    /// 504.
    #[must_use]
    pub fn timeout(message: &str, retry_after_seconds: u32) -> Self {
        let mut status = Self::failure(504, reason::TIMEOUT, format!("Timeout: {message}"))
            .retry_after(retry_after_seconds);
        status.has_details = true;
        status
    }

    /// 504: a read at a revision that does not exist yet.
    #[must_use]
    pub fn revision_too_large(requested: u64, current: u64, retry_after_seconds: u32) -> Self {
        let message = format!("Too large resource version: {requested}, current: {current}");
        let mut status = Self::timeout(&message, retry_after_seconds);
        status.causes.push(Cause {
            reason: reason::RESOURCE_VERSION_TOO_LARGE.to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        });
        status
    }

    /// 413.
    #[must_use]
    pub fn too_large(message: &str) -> Self {
        let message = format!("Request entity too large: {message}");
        Self::failure(413, reason::REQUEST_ENTITY_TOO_LARGE, message)
    }

    /// 406 that lists what could be sent.
    #[must_use]
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!(
            "only the following media types are accepted: {}",
            accepted.join(", ")
        );
        Self::failure(406, reason::NOT_ACCEPTABLE, message)
    }

    /// 415 that lists what could be read.
    #[must_use]
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::failure(415, reason::UNSUPPORTED_MEDIA_TYPE, message)
    }

    /// Any code with a message and nothing else (plugins, webhooks).
    #[must_use]
    pub fn other(code: u16, reason: &str, message: &str) -> Self {
        Self::failure(code, reason, message.to_owned())
    }

    /// Sets `details.retryAfterSeconds`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after_seconds = seconds;
        self
    }

    /// The HTTP status code to send.
    #[must_use]
    pub fn code(&self) -> u16 {
        match (self.code, self.success) {
            (0, true) => 200,
            (0, false) => 500,
            (code, _) => code,
        }
    }

    /// `kind: Status` of `v1` in upstream's order of fields, without a final newline.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = String::with_capacity(160 + self.message.len());
        out.push_str(r#"{"kind":"Status","apiVersion":"v1","metadata":{"#);
        if !self.continue_token.is_empty() {
            out.push_str("\"continue\":");
            json_string(&mut out, &self.continue_token);
        }
        out.push_str("},\"status\":");
        out.push_str(if self.success {
            "\"Success\""
        } else {
            "\"Failure\""
        });
        member(&mut out, "message", &self.message);
        member(&mut out, "reason", &self.reason);
        if self.has_details {
            out.push_str(",\"details\":{");
            self.write_details(&mut out);
            out.push('}');
        }
        if self.code != 0 {
            let _ = write!(out, ",\"code\":{}", self.code);
        }
        out.push('}');
        out.into_bytes()
    }

    fn write_details(&self, out: &mut String) {
        member(out, "name", &self.name);
        member(out, "group", &self.group);
        member(out, "kind", &self.kind);
        member(out, "uid", &self.uid);
        if !self.causes.is_empty() {
            comma(out);
            out.push_str("\"causes\":[");
            for (i, cause) in self.causes.iter().enumerate() {
                out.push_str(if i == 0 { "{" } else { ",{" });
                member(out, "reason", &cause.reason);
                member(out, "message", &cause.message);
                member(out, "field", &cause.field);
                out.push('}');
            }
            out.push(']');
        }
        if self.retry_after_seconds != 0 {
            comma(out);
            let _ = write!(out, "\"retryAfterSeconds\":{}", self.retry_after_seconds);
        }
    }
}

impl Status {
    /// Reads a `Status` document, as a client gets it from any server.
    #[must_use]
    pub fn from_document(document: schema::Ref<'_>) -> Option<Self> {
        if document.str("kind") != "Status" {
            return None;
        }
        let text = |from: Option<schema::Ref<'_>>, key: &str| {
            from.map(|from| from.str(key).to_owned())
                .unwrap_or_default()
        };
        let details = document.get("details").filter(|details| !details.is_null());
        let number = |from: Option<schema::Ref<'_>>, key: &str| from.and_then(|f| f.int(key));
        let small = |n: Option<i64>| n.and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        let causes = details
            .into_iter()
            .flat_map(|details| details.items("causes"));
        Some(Self {
            success: document.str("status") == "Success",
            code: u16::try_from(small(document.int("code"))).unwrap_or(0),
            reason: document.str("reason").to_owned(),
            message: document.str("message").to_owned(),
            has_details: details.is_some(),
            name: text(details, "name"),
            group: text(details, "group"),
            kind: text(details, "kind"),
            uid: text(details, "uid"),
            causes: causes
                .map(|cause| Cause {
                    reason: cause.str("reason").to_owned(),
                    message: cause.str("message").to_owned(),
                    field: cause.str("field").to_owned(),
                })
                .collect(),
            retry_after_seconds: small(number(details, "retryAfterSeconds")),
            continue_token: text(document.get("metadata"), "continue"),
        })
    }

    /// 422 of a JSON patch that does not apply: upstream keeps the cause to itself.
    #[must_use]
    pub fn unprocessable_patch() -> Self {
        let message = "the server rejected our request due to an error in our request".to_owned();
        let mut status = Self::failure(422, reason::INVALID, message);
        status.has_details = true;
        status
    }

    /// 500 of an error that upstream prints as it stands.
    #[must_use]
    pub fn plain_error(message: &str) -> Self {
        Self::failure(500, "", message.to_owned())
    }

    /// 406 as upstream's handlers answer when no representation fits.
    #[must_use]
    pub fn no_representation(available: &[&str]) -> Self {
        let message = format!(
            "406: Not Acceptable\n\nAvailable representations: {}",
            available.join(", ")
        );
        let mut status = Self::failure(406, reason::NOT_ACCEPTABLE, message);
        status.has_details = true;
        status
    }
}

fn comma(out: &mut String) {
    if !out.ends_with('{') {
        out.push(',');
    }
}

fn member(out: &mut String, name: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    comma(out);
    out.push('"');
    out.push_str(name);
    out.push_str("\":");
    json_string(out, value);
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests;
