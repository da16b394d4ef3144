//! Which resources the API serves now, custom ones included.

use api::Gvr;
use client::{Client, Error};
use http::Method;
use schema::Dom;

/// One served resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) gvr: Gvr,
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
    verbs: Vec<String>,
}

impl Served {
    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|offered| offered == verb)
    }
}

/// All resources in their group's preferred version, subresources left out; and the groups that
/// could not be asked.
pub(crate) async fn served(client: &Client) -> Result<(Vec<Served>, Vec<String>), Error> {
    let mut found = Vec::new();
    let mut failed = Vec::new();
    let groups = fetch(client, "/apis").await?;
    let mut versions = vec![(String::new(), "v1".to_owned(), "/api/v1".to_owned())];
    for group in groups.as_ref().items("groups") {
        let Some(preferred) = group.get("preferredVersion") else {
            continue;
        };
        let path = format!("/apis/{}", preferred.str("groupVersion"));
        versions.push((
            group.str("name").to_owned(),
            preferred.str("version").to_owned(),
            path,
        ));
    }
    for (group, version, path) in versions {
        let list = match fetch(client, &path).await {
            Ok(list) => list,
            Err(error) => {
                tracing::debug!(path, err = %base::Chain(&error), "group not discovered");
                failed.push(path);
                continue;
            }
        };
        found.extend(listed(&list, &group, &version));
    }
    Ok((found, failed))
}

/// The resources of one version of a group; none, if there is no such version.
pub(crate) async fn of_version(
    client: &Client,
    group: &str,
    version: &str,
) -> Result<Vec<Served>, Error> {
    let path = if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    };
    match fetch(client, &path).await {
        Ok(list) => Ok(listed(&list, group, version)),
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn listed(list: &Dom, group: &str, version: &str) -> Vec<Served> {
    let resources = list.as_ref().items("resources");
    let own = resources.filter(|resource| !resource.str("name").contains('/'));
    own.map(|resource| Served {
        gvr: Gvr::new(group, version, resource.str("name")),
        kind: resource.str("kind").to_owned(),
        namespaced: resource.bool("namespaced").unwrap_or(false),
        verbs: resource
            .items("verbs")
            .filter_map(|verb| verb.as_str().map(str::to_owned))
            .collect(),
    })
    .collect()
}

async fn fetch(client: &Client, path: &str) -> Result<Dom, Error> {
    let bytes = client.bytes(Method::GET, path, None).await?;
    Dom::parse_json(&bytes).map_err(|_| Error::Unexpected {
        verb: "GET".to_owned(),
        path: path.to_owned(),
        expected: "JSON",
    })
}
