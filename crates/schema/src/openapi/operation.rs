//! One path's operations as JSON.
//!
//! Parameters that all operations of a path have stand at the path, sorted by name, as clients
//! know it. Source: kube-openapi pkg/builder3/openapi.go buildOpenAPISpec, pkg/common.

use super::{key, schemas::gvk, text};

/// One method of a path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) tag: String,
    /// Empty for what is no resource.
    pub(super) action: String,
    /// Group, version, kind.
    pub(super) of: Option<[String; 3]>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    codes: &'static [&'static str],
    types: Vec<&'static str>,
    schema: Option<String>,
}

#[derive(Clone, PartialEq)]
pub(super) struct Parameter {
    pub(super) name: String,
    /// `path` or `query`.
    pub(super) place: &'static str,
    pub(super) kind: &'static str,
}

pub(super) struct Body {
    types: Vec<&'static str>,
    schema: Option<String>,
    required: bool,
}

impl Body {
    pub(super) fn of(types: &[&'static str], schema: Option<String>, required: bool) -> Body {
        Body {
            types: types.to_vec(),
            schema,
            required,
        }
    }
}

impl Operation {
    pub(super) fn new(method: &'static str, action: &str) -> Operation {
        Operation {
            method,
            id: String::new(),
            tag: String::new(),
            action: action.to_owned(),
            of: None,
            parameters: Vec::new(),
            body: None,
            codes: &[],
            types: Vec::new(),
            schema: None,
        }
    }

    pub(super) fn query(&mut self, names: &[(&str, &'static str)]) {
        let new = names.iter().map(|(name, kind)| Parameter {
            name: (*name).to_owned(),
            place: "query",
            kind,
        });
        for parameter in new {
            if !self.parameters.contains(&parameter) {
                self.parameters.push(parameter);
            }
        }
    }

    /// What it answers; text without a schema.
    pub(super) fn answer(
        &mut self,
        codes: &'static [&'static str],
        types: &[&'static str],
        schema: Option<String>,
    ) {
        self.codes = codes;
        self.types = types.to_vec();
        self.schema = schema;
    }
}

pub(super) fn write(out: &mut String, path: &str, operations: &[Operation]) {
    let is_common = |parameter: &&Parameter| {
        let has = |operation: &Operation| operation.parameters.contains(parameter);
        operations.iter().all(has)
    };
    let first = operations.first();
    let first = first.map(|first| first.parameters.as_slice());
    let common: Vec<&Parameter> = first.unwrap_or_default().iter().filter(is_common).collect();
    key(out, path);
    out.push('{');
    for operation in operations {
        one(out, operation, &common);
    }
    parameters(out, common);
    out.push('}');
}

fn one(out: &mut String, operation: &Operation, common: &[&Parameter]) {
    key(out, operation.method);
    out.push('{');
    key(out, "tags");
    out.push('[');
    text(out, &operation.tag);
    out.push(']');
    key(out, "operationId");
    text(out, &operation.id);
    let own = operation.parameters.iter();
    parameters(out, own.filter(|one| !common.contains(one)).collect());
    if let Some(body) = &operation.body {
        key(out, "requestBody");
        out.push('{');
        content(out, &body.types, body.schema.as_deref());
        if body.required {
            out.push_str(",\"required\":true");
        }
        out.push('}');
    }
    key(out, "responses");
    out.push('{');
    for code in operation.codes {
        key(out, code);
        let words = match *code {
            "201" => "Created",
            "202" => "Accepted",
            _ => "OK",
        };
        out.push_str("{\"description\":");
        text(out, words);
        content(out, &operation.types, operation.schema.as_deref());
        out.push('}');
    }
    key(out, "401");
    out.push_str("{\"description\":\"Unauthorized\"}}");
    if !operation.action.is_empty() {
        key(out, "x-kubernetes-action");
        text(out, &operation.action);
    }
    if let Some([group, version, kind]) = &operation.of {
        key(out, "x-kubernetes-group-version-kind");
        gvk(out, group, version, kind);
    }
    out.push('}');
}

fn parameters(out: &mut String, mut list: Vec<&Parameter>) {
    if list.is_empty() {
        return;
    }
    list.sort_by(|a, b| (&a.name, a.place).cmp(&(&b.name, b.place)));
    key(out, "parameters");
    out.push('[');
    for Parameter { name, place, kind } in list {
        if !out.ends_with('[') {
            out.push(',');
        }
        out.push_str("{\"name\":");
        text(out, name);
        out.push_str(&format!(",\"in\":\"{place}\""));
        if *place == "path" {
            out.push_str(",\"required\":true");
        }
        out.push_str(&format!(
            ",\"schema\":{{\"type\":\"{kind}\",\"uniqueItems\":true}}}}"
        ));
    }
    out.push(']');
}

fn content(out: &mut String, types: &[&str], schema: Option<&str>) {
    key(out, "content");
    out.push('{');
    for media in types {
        key(out, media);
        match schema {
            Some(schema) => {
                out.push_str("{\"schema\":{\"$ref\":");
                text(out, &format!("#/components/schemas/{schema}"));
                out.push_str("}}");
            }
            None => out.push_str("{\"schema\":{\"type\":\"string\"}}"),
        }
    }
    out.push('}');
}
