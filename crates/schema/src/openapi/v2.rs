//! OpenAPI v2 out of documents of v3.
//!
//! There is one v2 document for everything; each v3 document gives its part of the paths and of
//! the definitions. Schemas lose what v2 cannot say (unions, nullable) and what upstream leaves
//! out (defaults of built-in types); parts of custom schemas of which kubectl would draw wrong
//! conclusions lose their properties.
//! Source: kube-openapi pkg/openapiconv/convert.go (the other way round);
//! apiextensions-apiserver v0.36.3 pkg/controller/openapi/v2/conversion.go.

use std::collections::BTreeMap;

use super::{key, text};
use crate::dom::{Dom, Ref, Value};

/// What one v3 document gives.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// `"/api/v1/pods":{…},"/api/v1/…`: members of `paths`.
    pub paths: String,
    /// Members of `definitions` by name.
    pub definitions: BTreeMap<String, String>,
}

impl Parts {
    /// Adds what another document gives; definitions that are there stay.
    pub fn add(&mut self, other: &Parts) {
        if !self.paths.is_empty() && !other.paths.is_empty() {
            self.paths.push(',');
        }
        self.paths.push_str(&other.paths);
        for (name, schema) in &other.definitions {
            if !self.definitions.contains_key(name) {
                self.definitions.insert(name.clone(), schema.clone());
            }
        }
    }

    /// The whole document.
    #[must_use]
    pub fn document(&self, server: &str) -> Vec<u8> {
        let size: usize = self.definitions.values().map(String::len).sum();
        let mut out = String::with_capacity(self.paths.len() + size + (1 << 16));
        out.push_str("{\"swagger\":\"2.0\",\"info\":{\"title\":\"Kubernetes\",\"version\":");
        text(&mut out, server);
        out.push_str("},\"paths\":{");
        out.push_str(&self.paths);
        out.push_str("},\"definitions\":{");
        for (name, schema) in &self.definitions {
            key(&mut out, name);
            out.push_str(schema);
        }
        out.push_str(
            "},\"securityDefinitions\":{\"BearerToken\":{\"description\":\"Bearer Token \
             authentication\",\"type\":\"apiKey\",\"name\":\"authorization\",\"in\":\"header\"}},\
             \"security\":[{\"BearerToken\":[]}]}",
        );
        out.into_bytes()
    }
}

/// The v2 parts of a v3 document.
#[must_use]
pub fn parts(v3: &Dom) -> Parts {
    let document = v3.as_ref();
    let mut parts = Parts::default();
    for (path, item) in document.entries("paths") {
        if !parts.paths.is_empty() {
            parts.paths.push(',');
        }
        text(&mut parts.paths, path);
        parts.paths.push(':');
        path_item(&mut parts.paths, item);
    }
    for (name, of) in document
        .at(&["components", "schemas"])
        .into_iter()
        .flat_map(Ref::map)
    {
        let mut out = String::new();
        match name.rsplit('.').next() {
            Some("Quantity") if name.starts_with("io.k8s.apimachinery.") => {
                out.push_str("{\"type\":\"string\"}");
            }
            Some("IntOrString") if name.starts_with("io.k8s.apimachinery.") => {
                out.push_str("{\"type\":\"string\",\"format\":\"int-or-string\"}");
            }
            _ => schema(&mut out, of, is_custom(name), true),
        }
        parts.definitions.insert(name.to_owned(), out);
    }
    parts
}

/// Built-in types come from these packages.
fn is_custom(name: &str) -> bool {
    let built_in = [
        "io.k8s.api.",
        "io.k8s.apimachinery.",
        "io.k8s.apiextensions-apiserver.",
        "io.k8s.kube-aggregator.",
    ];
    !built_in.iter().any(|prefix| name.starts_with(prefix))
}

fn path_item(out: &mut String, item: Ref<'_>) {
    out.push('{');
    for (name, value) in item.map() {
        key(out, name);
        if name == "parameters" {
            out.push('[');
            for parameter in value.list() {
                self::parameter(out, parameter);
            }
            out.push(']');
        } else {
            operation(out, value);
        }
    }
    out.push('}');
}

fn separate(out: &mut String) {
    if !out.ends_with('[') {
        out.push(',');
    }
}

fn parameter(out: &mut String, parameter: Ref<'_>) {
    separate(out);
    out.push('{');
    for (name, value) in parameter.map() {
        if name == "schema" {
            for (name, value) in value.map() {
                key(out, name);
                raw(out, value);
            }
        } else {
            key(out, name);
            raw(out, value);
        }
    }
    out.push('}');
}

fn operation(out: &mut String, operation: Ref<'_>) {
    let body = operation.get("requestBody");
    let types = |content: Option<Ref<'_>>| -> Vec<String> {
        let content = content.into_iter().flat_map(|of| of.entries("content"));
        content.map(|(media, _)| media.to_owned()).collect()
    };
    let ok = operation.at(&["responses", "200"]);
    let produces = types(ok);
    let consumes = match body {
        Some(_) => types(body),
        // What is no resource takes what it gives, keys take nothing.
        None if operation.get("x-kubernetes-action").is_none() => {
            match operation.str("operationId") {
                id if id.starts_with("getServiceAccountIssuer") => Vec::new(),
                _ => produces.clone(),
            }
        }
        None => vec!["*/*".to_owned()],
    };
    out.push('{');
    for (name, media) in [("consumes", consumes), ("produces", produces)] {
        if media.is_empty() {
            continue;
        }
        key(out, name);
        out.push('[');
        for media in media {
            separate(out);
            text(out, &media);
        }
        out.push(']');
    }
    key(out, "schemes");
    out.push_str("[\"https\"]");
    if body.is_some() || operation.items("parameters").next().is_some() {
        key(out, "parameters");
        out.push('[');
        if let Some(body) = body {
            let required = body.bool("required") == Some(true);
            out.push_str("{\"name\":\"body\",\"in\":\"body\"");
            if required {
                out.push_str(",\"required\":true");
            }
            out.push_str(",\"schema\":");
            content(out, body);
            out.push('}');
        }
        for parameter in operation.items("parameters") {
            self::parameter(out, parameter);
        }
        out.push(']');
    }
    key(out, "responses");
    out.push('{');
    for (code, response) in operation.entries("responses") {
        key(out, code);
        out.push_str("{\"description\":");
        text(out, response.str("description"));
        if response.get("content").is_some() {
            out.push_str(",\"schema\":");
            content(out, response);
        }
        out.push('}');
    }
    out.push('}');
    for (name, value) in operation.map() {
        if matches!(name, "requestBody" | "parameters" | "responses") {
            continue;
        }
        key(out, name);
        raw(out, value);
    }
    out.push('}');
}

/// The schema of the first media type.
fn content(out: &mut String, of: Ref<'_>) {
    match of
        .entries("content")
        .next()
        .and_then(|(_, of)| of.get("schema"))
    {
        Some(found) => schema(out, found, false, false),
        None => out.push_str("{}"),
    }
}

fn raw(out: &mut String, value: Ref<'_>) {
    out.push_str(&String::from_utf8_lossy(&value.to_json()));
}

fn reference(out: &mut String, of: &str) {
    key(out, "$ref");
    text(out, &of.replace("#/components/schemas/", "#/definitions/"));
}

fn schema(out: &mut String, of: Ref<'_>, custom: bool, top: bool) {
    let nullable = custom && of.bool("nullable") == Some(true);
    let keeps = custom && of.bool("x-kubernetes-preserve-unknown-fields") == Some(true);
    if top && keeps {
        out.push_str("{\"type\":\"object\"");
        if let Some(kinds) = of.get("x-kubernetes-group-version-kind") {
            key(out, "x-kubernetes-group-version-kind");
            raw(out, kinds);
        }
        out.push('}');
        return;
    }
    let bare = nullable || keeps;
    let no_items = bare || of.get("items").is_none();
    let kind = of.str("type");
    let untyped = nullable || kind == "array" && no_items || keeps && kind == "object";
    out.push('{');
    for (name, value) in of.map() {
        match name {
            "$ref" => reference(out, value.as_str().unwrap_or_default()),
            "allOf" if value.len() == 1 && value.list().any(|one| one.get("$ref").is_some()) => {
                for one in value.list() {
                    reference(out, one.str("$ref"));
                }
            }
            "allOf" | "oneOf" | "anyOf" | "not" | "nullable" => {}
            "default" if !custom => {}
            "type" if untyped => {}
            "properties" | "items" if bare => {}
            "properties" => {
                key(out, name);
                out.push('{');
                for (name, property) in value.map() {
                    key(out, name);
                    schema(out, property, custom, false);
                }
                out.push('}');
            }
            "items" => {
                key(out, name);
                schema(out, value, custom, false);
            }
            "additionalProperties" if matches!(value.value(), Value::Map) => {
                key(out, name);
                schema(out, value, custom, false);
            }
            "required" if custom => {
                let nullable = |name: &str| {
                    let property = of.at(&["properties", name]);
                    property.and_then(|p| p.bool("nullable")) == Some(true)
                };
                let kept: Vec<&str> = value
                    .list()
                    .filter_map(Ref::as_str)
                    .filter(|name| !nullable(name))
                    .collect();
                if !kept.is_empty() {
                    key(out, name);
                    out.push('[');
                    for name in kept {
                        separate(out);
                        text(out, name);
                    }
                    out.push(']');
                }
            }
            _ => {
                key(out, name);
                raw(out, value);
            }
        }
    }
    out.push('}');
}
