//! Rows of what is asked and answered at once, and never stored.

use crate::resource::{Resource, Verbs};

pub(super) fn rows() -> Vec<Resource> {
    let mut rows = vec![
        Resource::cluster(
            "authentication.k8s.io",
            "v1",
            "selfsubjectreviews",
            "SelfSubjectReview",
        ),
        Resource::cluster("authentication.k8s.io", "v1", "tokenreviews", "TokenReview"),
        Resource::cluster(
            "authorization.k8s.io",
            "v1",
            "selfsubjectaccessreviews",
            "SelfSubjectAccessReview",
        ),
        Resource::cluster(
            "authorization.k8s.io",
            "v1",
            "selfsubjectrulesreviews",
            "SelfSubjectRulesReview",
        ),
        Resource::cluster(
            "authorization.k8s.io",
            "v1",
            "subjectaccessreviews",
            "SubjectAccessReview",
        ),
        Resource::namespaced(
            "authorization.k8s.io",
            "v1",
            "localsubjectaccessreviews",
            "LocalSubjectAccessReview",
        ),
    ];
    for row in &mut rows {
        row.verbs = Verbs::CREATE;
        row.prefix = "".into();
    }
    rows
}
