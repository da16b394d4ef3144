//! OpenAPI v3 as far as clients need it before they write: which paths take which parameters.
//!
//! kubectl asks it whether the server checks fields; without an answer it would refuse to create.
//! Types' schemas come with `kubectl explain`.
//! Source: kubectl v0.36.3 pkg/../resource/query_param_verifier_v3.go; kube-openapi handler3.

use std::fmt::Write;

use crate::catalog::Catalog;

/// `/openapi/v3`
pub(crate) fn index(catalog: &Catalog) -> String {
    let mut out = String::from("{\"paths\":{");
    let mut first = true;
    for group in catalog.groups() {
        for version in &group.versions {
            let path = if group.name.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{}/{version}", group.name)
            };
            let comma = if first { "" } else { "," };
            first = false;
            let hash = catalog.of(&group.name, version).len();
            let _ = write!(
                out,
                r#"{comma}"{path}":{{"serverRelativeURL":"/openapi/v3/{path}?hash={hash:X}"}}"#
            );
        }
    }
    out.push_str("}}\n");
    out
}

/// `/openapi/v3/apis/G/V`
pub(crate) fn document(catalog: &Catalog, group: &str, version: &str) -> Option<String> {
    if !catalog.has_version(group, version) {
        return None;
    }
    let base = if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    };
    let mut out = String::from(
        r#"{"openapi":"3.0.0","info":{"title":"Kubernetes","version":"v1.36.3"},"paths":{"#,
    );
    let parameter = |name: &str| {
        format!(
            r#"{{"name":"{name}","in":"query","schema":{{"type":"string","uniqueItems":true}}}}"#
        )
    };
    let parameters = ["dryRun", "fieldManager", "fieldValidation", "force"]
        .map(parameter)
        .join(",");
    for (index, served) in catalog.of(group, version).iter().enumerate() {
        let row = &served.resource;
        let comma = if index > 0 { "," } else { "" };
        let scope = if row.is_namespaced() {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let gvk = format!(
            r#""x-kubernetes-group-version-kind":{{"group":"{group}","version":"{version}","kind":"{}"}}"#,
            row.kind
        );
        let action = |action: &str| {
            format!(
                r#"{{"x-kubernetes-action":"{action}",{gvk},"parameters":[{parameters}],"responses":{{"200":{{"description":"OK"}}}}}}"#
            )
        };
        let _ = write!(
            out,
            r#"{comma}"{base}{scope}/{plural}":{{"post":{post}}},"{base}{scope}/{plural}/{{name}}":{{"put":{put},"patch":{patch}}}"#,
            plural = row.plural,
            post = action("post"),
            put = action("put"),
            patch = action("patch"),
        );
    }
    out.push_str("},\"components\":{\"schemas\":{}}}\n");
    Some(out)
}
