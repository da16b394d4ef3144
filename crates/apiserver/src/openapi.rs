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
pub(crate) fn document(catalog: &Catalog, group: &str, version: &str) -> Option<Vec<u8>> {
    if !catalog.has_version(group, version) {
        return None;
    }
    let all = catalog.of(group, version);
    if all
        .iter()
        .any(|served| served.resource.definition.is_some())
    {
        return Some(custom(&all, group, version).into_bytes());
    }
    let mut named: Vec<(String, bool, api::Gvk, Vec<&'static str>)> = Vec::new();
    for served in &all {
        let row = &served.resource;
        let verbs = |verbs: registry::Verbs| verbs.iter().map(registry::Verb::as_str).collect();
        let own = row.gvk(served.view());
        named.push((
            row.plural.to_string(),
            row.is_namespaced(),
            own.clone(),
            verbs(row.verbs),
        ));
        for sub in &row.subresources {
            let kind = sub.kind.clone().unwrap_or_else(|| own.clone());
            named.push((
                format!("{}/{}", row.plural, sub.name),
                row.is_namespaced(),
                kind,
                verbs(sub.verbs),
            ));
        }
    }
    let rows: Vec<schema::openapi::Row<'_>> = named
        .iter()
        .map(|(path, namespaced, gvk, verbs)| schema::openapi::Row {
            path,
            namespaced: *namespaced,
            group: &gvk.group,
            version: &gvk.version,
            kind: &gvk.kind,
            verbs,
        })
        .collect();
    Some(schema::openapi::v3(
        schema::builtin(),
        group,
        version,
        &rows,
        "v1.36.3",
    ))
}

/// A group and version of custom resources: their schemas as their definitions spell them.
fn custom(all: &[crate::catalog::Served], group: &str, version: &str) -> String {
    let base = format!("/apis/{group}/{version}");
    let mut out = String::from(
        r#"{"openapi":"3.0.0","info":{"title":"Kubernetes CRD Swagger","version":"v0.1.0"},"paths":{"#,
    );
    let parameter = |name: &str| {
        format!(
            r#"{{"name":"{name}","in":"query","schema":{{"type":"string","uniqueItems":true}}}}"#
        )
    };
    let parameters = ["dryRun", "fieldManager", "fieldValidation", "force"]
        .map(parameter)
        .join(",");
    let mut schemas = String::new();
    let reversed: Vec<&str> = group.split('.').rev().collect();
    for (index, served) in all.iter().enumerate() {
        let row = &served.resource;
        let comma = if index > 0 { "," } else { "" };
        let scope = if row.is_namespaced() {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let one = format!(
            r#"{{"group":"{group}","version":"{version}","kind":"{}"}}"#,
            row.kind
        );
        let name = format!("{}.{version}.{}", reversed.join("."), row.kind);
        let content = format!(
            r##"{{"application/json":{{"schema":{{"$ref":"#/components/schemas/{name}"}}}}}}"##
        );
        let action = |action: &str| {
            format!(
                r#"{{"x-kubernetes-action":"{action}","x-kubernetes-group-version-kind":{one},"parameters":[{parameters}],"responses":{{"200":{{"description":"OK","content":{content}}}}}}}"#
            )
        };
        let _ = write!(
            out,
            r#"{comma}"{base}{scope}/{plural}":{{"get":{list},"post":{post}}},"{base}{scope}/{plural}/{{name}}":{{"get":{get},"put":{put},"patch":{patch}}}"#,
            plural = row.plural,
            list = action("list"),
            post = action("post"),
            get = action("get"),
            put = action("put"),
            patch = action("patch"),
        );
        let definition = row.definition.as_deref();
        let spec = definition.and_then(|definition| schema::Dom::as_ref(definition).get("spec"));
        let own = spec
            .into_iter()
            .flat_map(|spec| spec.items("versions"))
            .find(|of| of.str("name") == version)
            .and_then(|of| of.at(&["schema", "openAPIV3Schema"]));
        let _ = write!(
            schemas,
            r#"{comma}"{name}":{{"x-kubernetes-group-version-kind":[{one}]"#
        );
        for (key, value) in own.into_iter().flat_map(schema::Ref::map) {
            let mut text = String::new();
            api::text::json_string(&mut text, key);
            let _ = write!(
                schemas,
                ",{text}:{}",
                String::from_utf8_lossy(&value.to_json())
            );
        }
        schemas.push('}');
    }
    let _ = write!(out, r#"}},"components":{{"schemas":{{{schemas}}}}}}}"#);
    out.push('\n');
    out
}
