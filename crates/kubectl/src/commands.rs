//! The commands: `get` and `raw`.

use anyhow::{Context as _, Result, anyhow, bail};
use http::{Method, Request, header};
use schema::Dom;
use transport::{Body, Transport};

use crate::{Connection, print_table};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const ANSWER_LIMIT_BYTES: usize = 256 << 20;

/// What to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Print a table of a resource.
    Get {
        /// Plural, singular, kind or short name.
        resource: String,
        /// One object only.
        name: Option<String>,
        /// Empty: the context's.
        namespace: Option<String>,
        /// All namespaces.
        all_namespaces: bool,
        /// All columns.
        wide: bool,
    },
    /// Print the answer to a GET of this path.
    Raw {
        /// Path and query.
        path: String,
    },
}

/// Runs a command; gives what to print.
pub async fn run(connection: &Connection, command: Command) -> Result<String> {
    match command {
        Command::Raw { path } => {
            let bytes = connection.client.bytes(Method::GET, &path, None).await?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        Command::Get {
            resource,
            name,
            namespace,
            all_namespaces,
            wide,
        } => {
            let (prefix, plural, namespaced) = find(connection, &resource).await?;
            let namespace = namespace.as_deref().unwrap_or(&connection.namespace);
            let mut path = prefix;
            if namespaced && !all_namespaces {
                path.push_str(&format!("/namespaces/{namespace}"));
            }
            path.push_str(&format!("/{plural}"));
            if let Some(name) = &name {
                path.push_str(&format!("/{name}"));
            }
            let table = get_table(connection, &path).await?;
            let table = table.as_ref();
            if table.items("rows").next().is_none() {
                return Ok(if namespaced && !all_namespaces {
                    format!("No resources found in {namespace} namespace.\n")
                } else {
                    "No resources found\n".to_owned()
                });
            }
            Ok(print_table(table, namespaced && all_namespaces, wide))
        }
    }
}

async fn get_table(connection: &Connection, path: &str) -> Result<Dom> {
    let request = Request::builder()
        .method(Method::GET)
        .uri(path)
        .header(header::ACCEPT, TABLE)
        .body(Body::empty())
        .with_context(|| format!("request {path}"))?;
    let response = connection.http.call(request).await?;
    let failed = response.status().as_u16() >= 400;
    let bytes = response.into_body().collect(ANSWER_LIMIT_BYTES).await?;
    let dom = Dom::parse_json(&bytes).map_err(|error| anyhow!("answer to {path}: {error}"))?;
    if failed {
        let root = dom.as_ref();
        bail!(
            "Error from server ({}): {}",
            root.str("reason"),
            root.str("message")
        );
    }
    Ok(dom)
}

/// (path of the group version, plural, namespaced) of a resource by any of its names.
async fn find(connection: &Connection, wanted: &str) -> Result<(String, String, bool)> {
    let (wanted, group_wanted) = match wanted.split_once('.') {
        Some((name, group)) => (name, Some(group)),
        None => (wanted, None),
    };
    let wanted = wanted.to_lowercase();
    let groups = fetch(connection, "/apis").await?;
    let mut places = vec![("/api/v1".to_owned(), String::new())];
    for group in groups.as_ref().items("groups") {
        if let Some(preferred) = group.get("preferredVersion") {
            let path = format!("/apis/{}", preferred.str("groupVersion"));
            places.push((path, group.str("name").to_owned()));
        }
    }
    for (path, group) in places {
        if group_wanted.is_some_and(|wanted| wanted != group) {
            continue;
        }
        let list = fetch(connection, &path).await?;
        for resource in list.as_ref().items("resources") {
            let name = resource.str("name");
            let short = resource
                .items("shortNames")
                .any(|s| s.as_str() == Some(wanted.as_str()));
            let named = name == wanted
                || resource.str("singularName") == wanted
                || resource.str("kind").to_lowercase() == wanted;
            if !name.contains('/') && (named || short) {
                let namespaced = resource.bool("namespaced").unwrap_or(false);
                return Ok((path, name.to_owned(), namespaced));
            }
        }
    }
    bail!("error: the server doesn't have a resource type {wanted:?}")
}

async fn fetch(connection: &Connection, path: &str) -> Result<Dom> {
    let bytes = connection.client.bytes(Method::GET, path, None).await?;
    Dom::parse_json(&bytes).map_err(|error| anyhow!("answer to {path}: {error}"))
}
