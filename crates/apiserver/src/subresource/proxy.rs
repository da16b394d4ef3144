//! Requests that are passed on to a kubelet: logs, exec, attach, port-forward, proxy.
//!
//! Owns the way from a pod or node to the kubelet's URL; streams are copied byte by byte.
//! Source: kubernetes v1.36.3 pkg/registry/core/{pod,node}/{strategy,rest}.

mod html;
mod relay;

use api::Status;
use http::Uri;
use registry::Lookup;
use schema::{Dom, Ref};
use transport::{Request, Response};

use crate::object;
use crate::verbs::Call;

/// The longest failure's text that is read from a kubelet.
const TEXT_BYTES: usize = 64 << 10;

pub(super) async fn run(call: Call, mut request: Request) -> Result<Response, Status> {
    connect(&call).await?;
    if call.info.subresource == "proxy" {
        return relay::run(call, request).await;
    }
    let Some(kubelets) = call.server.config.kubelets.clone() else {
        return Err(Status::service_unavailable(
            "no way to kubelets is configured",
        ));
    };
    let is_log = call.info.subresource == "log";
    *request.uri_mut() = pod_url(&call, &call.info.subresource, &request)?;
    let extensions = request.extensions_mut();
    extensions.remove::<crate::UserInfo>();
    request.headers_mut().remove(http::header::AUTHORIZATION);
    if is_log && transport::streams::is_websocket(request.headers()) {
        // The kubelet knows plain logs only: the upgrade is between the client and us.
        let mut plain = Request::new(transport::Body::empty());
        *plain.uri_mut() = request.uri().clone();
        let answer = kubelets
            .call(plain)
            .await
            .map_err(|error| no_answer(&error))?;
        let answer = checked(&call, answer).await?;
        return Ok(transport::streams::serve_body(request, answer.into_body()));
    }
    let answer = transport::streams::proxy_upgrade(request, kubelets.as_ref()).await;
    let response = answer.map_err(|error| no_answer(&error))?;
    if is_log {
        return checked(&call, response).await;
    }
    Ok(response)
}

fn no_answer(error: &transport::TransportError) -> Status {
    let text = base::Chain(error).to_string();
    tracing::warn!(err = %text, "kubelet");
    Status::internal(&format!("error dialing backend: {text}"))
}

/// A log, or what a kubelet's refusal is to the client.
/// Source: kubernetes v1.36.3 apiserver/pkg/registry/generic/rest/response_checker.go.
async fn checked(call: &Call, response: Response) -> Result<Response, Status> {
    let code = response.status();
    if code.is_success() || code.is_informational() {
        return Ok(response);
    }
    let body = response.into_body().collect(TEXT_BYTES).await;
    let text = String::from_utf8_lossy(&body.unwrap_or_default()).into_owned();
    Err(match code.as_u16() {
        400 => Status::bad_request(&text),
        500 => Status::internal(&text),
        404 => {
            let message = format!(
                "the server could not find the requested resource ( pods/log {})",
                call.info.name
            );
            Status::other(404, "NotFound", &message)
        }
        code => Status::other(code, "Unknown", &text),
    })
}

/// Asks admission hooks about a connection, which the options of its kind describe.
async fn connect(call: &Call) -> Result<(), Status> {
    let sub = call.info.subresource.clone();
    let kind = match (call.resource().kind.as_ref(), sub.as_str()) {
        ("Pod", "exec") => "PodExecOptions",
        ("Pod", "attach") => "PodAttachOptions",
        ("Pod", "portforward") => "PodPortForwardOptions",
        ("Pod", "proxy") => "PodProxyOptions",
        ("Service", "proxy") => "ServiceProxyOptions",
        ("Node", "proxy") => "NodeProxyOptions",
        _ => return Ok(()),
    };
    let mut options = Dom::new();
    let root = options.new_map();
    options.set_root(root);
    let first = |key: &str| call.query.get(key).and_then(|values| values.first());
    if let Some(container) = first("container") {
        options.set_str(root, "container", container);
    }
    for key in ["stdin", "stdout", "stderr", "tty"] {
        if first(key).is_some_and(|value| matches!(value.as_str(), "1" | "true")) {
            options.set_bool(root, key, true);
        }
    }
    if let Some(command) = call.query.get("command") {
        let list = options.new_list();
        for word in command {
            let node = options.new_str(word);
            options.push(list, node);
        }
        options.set(root, "command", list);
    }
    if sub == "proxy" {
        let rest = call.info.parts.get(3..).unwrap_or_default().join("/");
        options.set_str(root, "path", &format!("/{rest}"));
    }
    let gvk = api::Gvk::new("", "v1", kind);
    call.admit_connect(&sub, &gvk, &mut options).await
}

fn parse(url: &str) -> Result<Uri, Status> {
    url.parse()
        .map_err(|_| Status::internal("the kubelet's URL cannot be built"))
}

fn kubelet(call: &Call, node: &str) -> Result<String, Status> {
    let Some(found) = call.server.lookup.get("minions", "", node) else {
        return Err(Status::not_found(&api::Gr::new("", "nodes"), node));
    };
    let status = found.as_ref().get("status");
    let addresses: Vec<Ref<'_>> = status
        .into_iter()
        .flat_map(|s| s.items("addresses"))
        .collect();
    let order = [
        "Hostname",
        "InternalDNS",
        "InternalIP",
        "ExternalDNS",
        "ExternalIP",
    ];
    let mut wanted: Vec<&str> = order.to_vec();
    // Addresses first: names of nodes resolve nowhere in a local cluster.
    wanted.sort_by_key(|kind| *kind != "InternalIP");
    let host = wanted
        .iter()
        .find_map(|kind| addresses.iter().find(|a| a.str("type") == *kind))
        .map(|address| address.str("address").to_owned());
    let Some(host) = host else {
        return Err(Status::internal(&format!(
            "no preferred addresses found; known addresses: [] of node {node}"
        )));
    };
    let port = status
        .and_then(|s| s.at(&["daemonEndpoints", "kubeletEndpoint", "Port"]))
        .and_then(Ref::as_int)
        .filter(|port| *port > 0)
        .unwrap_or(10250);
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host
    };
    Ok(format!("https://{host}:{port}"))
}

fn container(call: &Call, spec: Ref<'_>, name: &str) -> Result<String, Status> {
    let asked = call
        .query
        .get("container")
        .and_then(|v| v.first())
        .map(String::as_str);
    let all: Vec<&str> = api::pod::containers(spec).map(|c| c.name()).collect();
    match asked.filter(|asked| !asked.is_empty()) {
        Some(asked) if all.contains(&asked) => Ok(asked.to_owned()),
        Some(asked) => {
            let message = format!("container {asked} is not valid for pod {name}");
            Err(Status::bad_request(&message))
        }
        None => {
            let main: Vec<&str> = spec.items("containers").map(|c| c.str("name")).collect();
            match main.as_slice() {
                [one] => Ok((*one).to_owned()),
                _ => {
                    let inits: Vec<&str> = spec
                        .items("initContainers")
                        .map(|c| c.str("name"))
                        .collect();
                    let mut message = format!(
                        "a container name must be specified for pod {name}, choose one of: [{}]",
                        main.join(" ")
                    );
                    if !inits.is_empty() {
                        message.push_str(&format!(
                            " or one of the init containers: [{}]",
                            inits.join(" ")
                        ));
                    }
                    Err(Status::bad_request(&message))
                }
            }
        }
    }
}

fn pod_url(call: &Call, sub: &str, request: &Request) -> Result<Uri, Status> {
    let name = &call.info.name;
    let stored = call.read(name)?;
    let pod = object::parse(&stored.value, stored.revision);
    let pod = pod.as_ref();
    let Some(spec) = pod.get("spec") else {
        return Err(Status::internal("pod without spec"));
    };
    let node = spec.str("nodeName");
    let namespace = &call.info.namespace;
    let query = request.uri().query().unwrap_or_default();
    if sub == "portforward" {
        if node.is_empty() {
            return Err(Status::bad_request(&format!(
                "pod {name} does not have a host assigned"
            )));
        }
        let url = format!(
            "{}/portForward/{namespace}/{name}?{query}",
            kubelet(call, node)?
        );
        return parse(&url);
    }
    let container = container(call, spec, name)?;
    if node.is_empty() {
        if sub == "log" {
            // As upstream: nothing has been said yet.
            return Err(Status::bad_request(&format!(
                "container {container:?} in pod {name:?} is waiting to start: ContainerCreating"
            )));
        }
        return Err(Status::bad_request(&format!(
            "pod {name} does not have a host assigned"
        )));
    }
    let base = kubelet(call, node)?;
    let url = if sub == "log" {
        let rest: Vec<&str> = query
            .split('&')
            .filter(|p| !p.starts_with("container=") && !p.is_empty())
            .collect();
        format!(
            "{base}/containerLogs/{namespace}/{name}/{container}?{}",
            rest.join("&")
        )
    } else {
        // The kubelet speaks of input, output, error; the API of stdin, stdout, stderr.
        let mut parts = Vec::new();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let yes = matches!(value, "1" | "true");
            match key {
                "stdin" if yes => parts.push("input=1".to_owned()),
                "stdout" if yes => parts.push("output=1".to_owned()),
                "stderr" if yes => parts.push("error=1".to_owned()),
                "tty" if yes => parts.push("tty=1".to_owned()),
                "command" => parts.push(format!("command={value}")),
                _ => {}
            }
        }
        format!(
            "{base}/{sub}/{namespace}/{name}/{container}?{}",
            parts.join("&")
        )
    };
    parse(&url)
}
