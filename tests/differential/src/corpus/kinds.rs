//! Kinds: the row, the type and the minimal object of each.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use registry::{RESOURCES, Verb};
use schema::TypeId;
use serde_json::Value;

pub(crate) struct Kind {
    pub(crate) kind: String,
    pub(crate) api_version: String,
    pub(crate) ty: TypeId,
    pub(crate) object: Value,
    pub(crate) name: String,
    /// `/apis/apps/v1/namespaces/NS/deployments`
    pub(crate) collection: String,
    /// The same with the object's name.
    pub(crate) path: String,
    pub(crate) selectable: Vec<String>,
    pub(crate) subresources: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) collection_deletes: bool,
}

impl Kind {
    /// The minimal object under another name.
    pub(crate) fn named(&self, name: &str) -> Value {
        let mut object = self.object.clone();
        object["metadata"]["name"] = name.into();
        object
    }

    /// Servers go on working on these after the answer.
    pub(crate) fn settle(&self) -> u64 {
        match self.kind.as_str() {
            "CustomResourceDefinition" | "APIService" => 1500,
            "ServiceCIDR" => 300,
            _ => 0,
        }
    }

    pub(crate) fn has(&self, subresource: &str) -> bool {
        self.subresources.iter().any(|name| name == subresource)
    }
}

pub(super) fn load(file: &Path, run: &str) -> Result<Vec<Kind>> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let text = text.replace("%RUN%", run);
    schema::yaml::documents(&text)
        .map(|document| read(document, run))
        .collect()
}

fn read(document: &str, run: &str) -> Result<Kind> {
    let parsed = schema::yaml::parse(document.as_bytes(), &schema::Limits::default())
        .map_err(|error| anyhow!("{error} in\n{document}"))?;
    let object: Value = serde_json::from_slice(&parsed.dom.to_json(parsed.dom.root()))?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let row = RESOURCES
        .iter()
        .find(|row| row.kind == *kind && row.view(group, version).is_some());
    let row = row.with_context(|| format!("no resource of {api_version} {kind}"))?;
    let ty = schema::builtin().kind(group, version, &kind);
    let prefix = match group {
        "" => format!("/api/{version}"),
        _ => format!("/apis/{group}/{version}"),
    };
    let collection = match row.is_namespaced() {
        true => format!("{prefix}/namespaces/{run}/{}", row.plural),
        false => format!("{prefix}/{}", row.plural),
    };
    let name = text(&object["metadata"]["name"]);
    Ok(Kind {
        path: format!("{collection}/{name}"),
        selectable: row
            .selectable
            .iter()
            .map(|field| field.name.to_string())
            .collect(),
        subresources: row
            .subresources
            .iter()
            .map(|sub| sub.name.to_string())
            .collect(),
        namespaced: row.is_namespaced(),
        collection_deletes: row.verbs.has(Verb::DeleteCollection),
        ty: ty.with_context(|| format!("no type of {api_version} {kind}"))?,
        api_version: api_version.clone(),
        kind,
        object,
        name,
        collection,
    })
}
