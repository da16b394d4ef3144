//! The first minutes: a cluster, an image that this binary is, a pod, its answer.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use api::Gvr;
use client::{Cache, Key, ListOptions, Reflector};
use http::{Method, Request};
use transport::client::{Endpoint, HttpClient};
use transport::{Body, Transport};

use crate::cli::{Named, Up};
use crate::report::{progress, result};
use crate::{inbox, local};

const IMAGE: &str = "localhost/transom-hello:latest";
const POD: &str = "hello";
const PORT: u16 = 8080;
const WITHIN: Duration = Duration::from_secs(60);

pub(crate) fn run(named: &Named) -> Result<()> {
    let up = Up::with_nodes(named, 1);
    let cluster = local::bring_up(&up)?;
    progress("making the demo's image");
    let program = std::env::current_exe().context("find this program")?;
    let folder = tempfile::tempdir().context("make a folder for the image")?;
    let archive = folder.path().join("hello.tar");
    write_image(&program, &archive)?;
    progress("giving the image to the nodes");
    inbox::import(&named.name, &archive)?;
    let connection = kubectl::connect(&cluster.admin_kubeconfig, None)?;
    let address = local::runtime()?.block_on(async {
        progress("starting the pod");
        let pods = connection
            .client
            .namespaced(&Gvr::new("", "v1", "pods"), "default");
        match pods.create(pod()).await {
            Ok(_) => {}
            Err(error) if error.is_already_exists() => {}
            Err(error) => return Err(anyhow!(error).context("create the demo's pod")),
        }
        let shutdown = base::Shutdown::new();
        let changed = std::sync::Arc::new(tokio::sync::Notify::new());
        let wake = changed.clone();
        let options = ListOptions {
            fields: format!("metadata.name={POD}"),
            ..ListOptions::default()
        };
        let cache = Reflector::new(pods, options, Cache::new(Vec::new()))
            .on_change(move |_| wake.notify_one())
            .start(&shutdown);
        let ready = async {
            loop {
                if let Some(pod) = cache.get(&Key::new("default", POD))
                    && let Ok(dom) = pod.parse()
                    && api::meta::condition_is_true(dom.as_ref(), "Ready")
                {
                    let status = dom.as_ref().get("status");
                    return status.map_or("", |status| status.str("podIP")).to_owned();
                }
                changed.notified().await;
            }
        };
        let address = tokio::time::timeout(WITHIN, ready).await;
        shutdown.trigger();
        address.map_err(|_| {
            anyhow!(
                "pod {POD} is not Ready after {WITHIN:?}: `transom kubectl get events` says why"
            )
        })
    })?;
    for resource in ["nodes", "pods"] {
        let command = kubectl::Command::Get {
            resource: resource.to_owned(),
            name: None,
            namespace: None,
            all_namespaces: true,
            wide: resource == "pods",
        };
        let text = local::runtime()?.block_on(kubectl::run(&connection, command))?;
        result(&format!("\n{text}"));
    }
    let answer = local::runtime()?.block_on(ask(&address))?;
    result(&format!("\nhttp://{address}:{PORT}/ answers: {answer}"));
    result(&format!(
        "The cluster is yours: kubectl --context {} get pods; remove it with `transom down -C {}`.",
        cluster.context, named.name
    ));
    Ok(())
}

/// Requests the pod from this host, by the route that the cluster has made.
async fn ask(address: &str) -> Result<String> {
    let client = HttpClient::new(Endpoint::http(address, PORT))?;
    let request = Request::builder()
        .method(Method::GET)
        .uri("/")
        .body(Body::empty())?;
    let response = client.call(request).await.context("ask the pod")?;
    if !response.status().is_success() {
        bail!("the pod answers {}", response.status());
    }
    let body = response
        .into_body()
        .collect(1 << 16)
        .await
        .context("read the pod's answer")?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn pod() -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{POD}","namespace":"default","labels":{{"app":"hello"}}}},
"spec":{{"containers":[{{"name":"hello","image":"{IMAGE}","imagePullPolicy":"IfNotPresent",
"ports":[{{"containerPort":{PORT}}}],
"readinessProbe":{{"httpGet":{{"path":"/","port":{PORT}}},"periodSeconds":1}},
"securityContext":{{"runAsUser":65535,"runAsNonRoot":true,"allowPrivilegeEscalation":false,"readOnlyRootFilesystem":true,"capabilities":{{"drop":["ALL"]}}}}}}]}}}}"#
    )
}

/// An OCI archive with this program as its only file.
fn write_image(program: &Path, archive: &Path) -> Result<()> {
    let image = images::build::single_binary(program, &["/transom", "hello"], IMAGE)
        .context("make the demo's image")?;
    std::fs::write(archive, image).with_context(|| format!("write {}", archive.display()))
}
