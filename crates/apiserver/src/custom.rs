//! Custom resources: a definition becomes a row like any other.

use api::FieldError;
use registry::{Resource, View};
use schema::Dom;

/// Findings of the definition's schema.
pub(crate) fn validate(_resource: &Resource, _dom: &mut Dom, _errors: &mut Vec<FieldError>) {}

/// Where a definition keeps its replicas and its selector.
pub(crate) fn scale_paths(
    _resource: &Resource,
    _view: &View,
) -> Option<(String, String, Option<String>)> {
    None
}

/// Begins to serve what definitions define.
pub(crate) fn start(_server: &std::sync::Arc<crate::Server>) {}
