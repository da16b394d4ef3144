//! `transom image ls`, `pull`, `rm`: the images of a local cluster's nodes, over each node's CRI
//! socket. `import` goes by the inbox.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use bootstrap::local::{Cluster, NodeInfo, Options, cluster};
use nodeapi::ImageService;
use nodeapi::cri::{
    ImageSpec, ImageStatusRequest, ListImagesRequest, PullImageRequest, RemoveImageRequest,
};

use crate::cli::Named;
use crate::local::runtime;
use crate::report::{progress, result};

/// The CRI socket in a node's folder for such things, `/run/transom` as the node sees it.
pub(crate) const SOCKET: &str = "cri.sock";
/// Digits of an image id that are shown.
const SHORT: usize = 12;

/// Nodes of a cluster that run: all of them or one.
fn nodes<'a>(cluster: &'a Cluster, only: Option<&str>) -> Result<Vec<&'a NodeInfo>> {
    let chosen = match only {
        Some(only) => vec![cluster.node(only)?],
        None => cluster.nodes.iter().collect(),
    };
    if let Some(dead) = chosen.iter().find(|node| node.pid.is_none()) {
        bail!(
            "node {0} of cluster {1:?} does not run; `transom start -C {1}` brings it back",
            dead.name,
            cluster.name
        );
    }
    Ok(chosen)
}

fn socket(node: &NodeInfo) -> PathBuf {
    node.run.join("transom").join(SOCKET)
}

async fn service(node: &NodeInfo) -> Result<impl ImageService> {
    runtime::connect(&socket(node))
        .await
        .with_context(|| format!("reach the images of node {}", node.name))
}

fn spec(image: &str) -> Option<ImageSpec> {
    Some(ImageSpec {
        image: image.to_owned(),
        ..ImageSpec::default()
    })
}

/// One image on any node: name, short id, size.
type Row = (String, String, u64);

pub(crate) fn list(named: &Named) -> Result<()> {
    let cluster = cluster(&named.name, &Options::default())?;
    let mut rows: BTreeMap<Row, Vec<&str>> = BTreeMap::new();
    runtime()?.block_on(async {
        for node in nodes(&cluster, None)? {
            let answer = service(node)
                .await?
                .list_images(ListImagesRequest::default())
                .await
                .with_context(|| format!("list the images of node {}", node.name))?;
            for image in answer.images {
                let hex = image.id.trim_start_matches("sha256:");
                let id = hex.get(..SHORT).unwrap_or(hex).to_owned();
                let names = match image.repo_tags.is_empty() {
                    true => image.repo_digests,
                    false => image.repo_tags,
                };
                for name in names {
                    rows.entry((name, id.clone(), image.size))
                        .or_default()
                        .push(&node.name);
                }
            }
        }
        anyhow::Ok(())
    })?;
    let head = ["IMAGE", "ID", "SIZE", "NODES"].map(str::to_owned).to_vec();
    let mut lines = vec![head];
    for ((name, id, size), on) in rows {
        let nodes = match on.len() == cluster.nodes.len() {
            true => "all".to_owned(),
            false => on.join(","),
        };
        lines.push(vec![name, id, mebibytes(size), nodes]);
    }
    result(&kubectl::align(&lines));
    Ok(())
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

pub(crate) fn pull(named: &Named, node: Option<&str>, image: &str) -> Result<()> {
    let cluster = cluster(&named.name, &Options::default())?;
    runtime()?.block_on(async {
        for node in nodes(&cluster, node)? {
            progress(&format!("{}: pulling {image}", node.name));
            let request = PullImageRequest {
                image: spec(image),
                ..PullImageRequest::default()
            };
            let answer = service(node)
                .await?
                .pull_image(request)
                .await
                .with_context(|| format!("pull {image} to node {}", node.name))?;
            result(&format!("{}: {}", node.name, answer.image_ref));
        }
        Ok(())
    })
}

pub(crate) fn remove(named: &Named, node: Option<&str>, image: &str) -> Result<()> {
    let cluster = cluster(&named.name, &Options::default())?;
    runtime()?.block_on(async {
        let mut found = false;
        for node in nodes(&cluster, node)? {
            let images = service(node).await?;
            let request = ImageStatusRequest {
                image: spec(image),
                ..ImageStatusRequest::default()
            };
            let there = images.image_status(request).await?;
            if there.image.is_none() {
                continue;
            }
            found = true;
            let request = RemoveImageRequest { image: spec(image) };
            images
                .remove_image(request)
                .await
                .with_context(|| format!("remove {image} from node {}", node.name))?;
            result(&format!("{}: {image} removed", node.name));
        }
        if !found {
            bail!(
                "no node of cluster {:?} has image {image}; `transom image ls -C {}` lists them",
                cluster.name,
                cluster.name
            );
        }
        Ok(())
    })
}
