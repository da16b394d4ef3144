//! What a CRI call fails with: a gRPC code and a sentence.
//!
//! The kubelet decides by the code (`NotFound` on removal is success) and shows the sentence.
//! Source: k8s.io/cri-api v0.36.3 pkg/errors; gRPC status codes.

/// The gRPC codes that CRI uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The caller gave up.
    Cancelled,
    /// Anything that has no better code.
    Unknown,
    /// The request itself is wrong.
    InvalidArgument,
    /// The call took too long (exec probes).
    DeadlineExceeded,
    /// The sandbox, container or image does not exist.
    NotFound,
    /// The thing to create exists.
    AlreadyExists,
    /// The registry or the policy refused.
    PermissionDenied,
    /// A limit was met.
    ResourceExhausted,
    /// The object is not in the state that the call needs.
    FailedPrecondition,
    /// The call is not offered.
    Unimplemented,
    /// An invariant does not hold.
    Internal,
    /// The service cannot answer now.
    Unavailable,
}

/// A failed CRI call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct CriError {
    /// The class of the failure.
    pub code: Code,
    /// Names operation, object and cause.
    pub message: String,
}

impl CriError {
    /// A failure of the given class.
    pub fn new(code: Code, message: impl Into<String>) -> CriError {
        CriError {
            code,
            message: message.into(),
        }
    }

    /// The object does not exist.
    pub fn not_found(message: impl Into<String>) -> CriError {
        CriError::new(Code::NotFound, message)
    }

    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> CriError {
        CriError::new(Code::InvalidArgument, message)
    }

    /// The object is in the wrong state.
    pub fn precondition(message: impl Into<String>) -> CriError {
        CriError::new(Code::FailedPrecondition, message)
    }

    /// A failure inside the service.
    pub fn internal(message: impl Into<String>) -> CriError {
        CriError::new(Code::Internal, message)
    }

    /// A failure with no better class.
    pub fn unknown(message: impl Into<String>) -> CriError {
        CriError::new(Code::Unknown, message)
    }

    /// The call is not offered.
    pub fn unimplemented(method: &str) -> CriError {
        CriError::new(
            Code::Unimplemented,
            format!("method {method} is not implemented"),
        )
    }

    /// Whether the object was missing; removal treats that as success.
    pub fn is_not_found(&self) -> bool {
        self.code == Code::NotFound
    }
}

const CODES: &[(Code, tonic::Code)] = &[
    (Code::Cancelled, tonic::Code::Cancelled),
    (Code::Unknown, tonic::Code::Unknown),
    (Code::InvalidArgument, tonic::Code::InvalidArgument),
    (Code::DeadlineExceeded, tonic::Code::DeadlineExceeded),
    (Code::NotFound, tonic::Code::NotFound),
    (Code::AlreadyExists, tonic::Code::AlreadyExists),
    (Code::PermissionDenied, tonic::Code::PermissionDenied),
    (Code::ResourceExhausted, tonic::Code::ResourceExhausted),
    (Code::FailedPrecondition, tonic::Code::FailedPrecondition),
    (Code::Unimplemented, tonic::Code::Unimplemented),
    (Code::Internal, tonic::Code::Internal),
    (Code::Unavailable, tonic::Code::Unavailable),
];

impl From<CriError> for tonic::Status {
    fn from(error: CriError) -> tonic::Status {
        let code = CODES.iter().find(|(ours, _)| *ours == error.code);
        tonic::Status::new(
            code.map_or(tonic::Code::Unknown, |(_, wire)| *wire),
            error.message,
        )
    }
}

impl From<tonic::Status> for CriError {
    fn from(status: tonic::Status) -> CriError {
        let code = CODES.iter().find(|(_, wire)| *wire == status.code());
        CriError::new(
            code.map_or(Code::Unknown, |(ours, _)| *ours),
            status.message(),
        )
    }
}
