//! The kubelet's server on port 10250: logs, exec, attach, port-forward, pods, statistics, health.
//!
//! Every caller shows a certificate of the cluster's CA or a token that a TokenReview knows, and
//! the API server says by a SubjectAccessReview whether it may. Source: kubernetes v1.36 pkg/kubelet/server/{server,auth}.go.

mod access;
mod remote;
mod stats;

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::sync::mpsc;
use transport::{Body, BoxFuture, Request, Response, Service};

use crate::logs::{self, LogOptions};
use crate::pod::{ContainerState, Observed};
use crate::run::Kubelet;
use crate::server::access::Access;

/// The service to serve with the node's certificate.
#[derive(Clone)]
pub struct Server {
    kubelet: Kubelet,
    access: Arc<Access>,
    stats: Arc<stats::Stats>,
}

impl Kubelet {
    /// The kubelet's HTTP service.
    pub fn server(&self) -> Server {
        let access = Access::new(
            self.shared().client.clone(),
            &self.shared().config.node_name,
        );
        Server {
            kubelet: self.clone(),
            access: Arc::new(access),
            stats: Arc::default(),
        }
    }
}

impl Service for Server {
    fn call(&self, request: Request) -> BoxFuture<'static, Response> {
        let server = self.clone();
        Box::pin(async move { server.answer(request).await })
    }
}

impl Server {
    async fn answer(&self, request: Request) -> Response {
        let path = request.uri().path().trim_matches('/').to_owned();
        let parts: Vec<&str> = path.split('/').collect();
        if let Err((code, why)) = self.access.check(&request, subresources(&parts)).await {
            return text(code, &why);
        }
        match (request.method(), parts.as_slice()) {
            (&Method::GET, ["healthz"] | ["healthz", "ping" | "log" | "syncloop"]) => {
                text(StatusCode::OK, "ok")
            }
            (&Method::GET, ["stats", "summary"]) => {
                match self.stats.summary(self.kubelet.shared()).await {
                    Ok(json) => typed("application/json", json.into()),
                    Err(error) => {
                        let message = base::Chain(&error).to_string();
                        text(StatusCode::INTERNAL_SERVER_ERROR, &message)
                    }
                }
            }
            (&Method::GET, ["metrics", "resource"]) => {
                let metrics = stats::resource_metrics(self.kubelet.shared()).await;
                typed(METRICS, metrics.into())
            }
            (&Method::GET, ["metrics"]) => typed(METRICS, self.own_metrics().await.into()),
            (&Method::GET, ["metrics", "probes" | "cadvisor"]) => typed(METRICS, Bytes::new()),
            (&Method::GET, ["configz"]) => typed("application/json", self.settings()),
            (&Method::GET, ["pods"]) => self.pods(),
            (&Method::GET, ["containerLogs", namespace, pod, container]) => {
                self.container_logs(
                    request.uri().query().unwrap_or(""),
                    namespace,
                    pod,
                    container,
                )
                .await
            }
            (&Method::GET | &Method::POST, ["exec", namespace, pod, container])
            | (&Method::GET | &Method::POST, ["exec", namespace, pod, _, container]) => {
                match self.running(namespace, pod, container).await {
                    Ok(id) => remote::exec(self.kubelet.shared(), request, id),
                    Err(answer) => *answer,
                }
            }
            (&Method::GET | &Method::POST, ["attach", namespace, pod, container])
            | (&Method::GET | &Method::POST, ["attach", namespace, pod, _, container]) => {
                match self.running(namespace, pod, container).await {
                    Ok(id) => remote::attach(self.kubelet.shared(), request, id),
                    Err(answer) => *answer,
                }
            }
            (&Method::GET | &Method::POST, ["portForward", namespace, pod])
            | (&Method::GET | &Method::POST, ["portForward", namespace, pod, _]) => {
                match self.sandbox(namespace, pod).await {
                    Ok(id) => remote::port_forward(self.kubelet.shared(), request, id),
                    Err(answer) => *answer,
                }
            }
            _ => text(StatusCode::NOT_FOUND, "404 page not found"),
        }
    }

    /// How many pods and containers there are.
    async fn own_metrics(&self) -> String {
        let shared = self.kubelet.shared();
        let pods = nodeapi::cri::ListPodSandboxRequest::default();
        let ready = i32::from(nodeapi::cri::PodSandboxState::SandboxReady);
        let pods = shared.runtime.list_pod_sandbox(pods).await;
        let pods = pods.map_or(0, |all| {
            all.items.iter().filter(|pod| pod.state == ready).count()
        });
        let containers = nodeapi::cri::ListContainersRequest::default();
        let containers = shared.runtime.list_containers(containers).await;
        let (mut running, mut exited) = (0, 0);
        for container in containers.into_iter().flat_map(|all| all.containers) {
            if container.state == i32::from(nodeapi::cri::ContainerState::ContainerRunning) {
                running += 1;
            } else {
                exited += 1;
            }
        }
        format!(
            "# HELP kubelet_node_name [ALPHA] The node's name. The count is always 1.\n\
             # TYPE kubelet_node_name gauge\nkubelet_node_name{{node={:?}}} 1\n\
             # HELP kubelet_running_containers [BETA] Number of containers currently running\n\
             # TYPE kubelet_running_containers gauge\n\
             kubelet_running_containers{{container_state=\"exited\"}} {exited}\n\
             kubelet_running_containers{{container_state=\"running\"}} {running}\n\
             # HELP kubelet_running_pods [BETA] Number of pods that have a running pod sandbox\n\
             # TYPE kubelet_running_pods gauge\nkubelet_running_pods {pods}\n",
            shared.config.node_name
        )
    }

    /// The settings that hold, in the shape of a KubeletConfiguration.
    fn settings(&self) -> Bytes {
        let config = &self.kubelet.shared().config;
        let mut dom = schema::Dom::new();
        let root = dom.new_map();
        dom.set_root(root);
        let part = dom.ensure_map(root, "kubeletconfig");
        let port = i64::from(config.port);
        for (key, value) in [
            ("kind", "KubeletConfiguration"),
            ("apiVersion", "kubelet.config.k8s.io/v1beta1"),
            ("syncFrequency", "1m0s"),
            ("containerLogMaxSize", "10Mi"),
            ("containerLogMonitorInterval", "10s"),
            ("nodeStatusUpdateFrequency", "10s"),
            ("nodeStatusReportFrequency", "5m0s"),
            ("clusterDomain", config.cluster_domain.as_str()),
            ("cgroupRoot", config.cgroup_root.as_str()),
            ("cgroupDriver", "cgroupfs"),
        ] {
            dom.set_str(part, key, value);
        }
        for (key, value) in [
            ("port", port),
            ("maxPods", i64::from(config.max_pods)),
            ("containerLogMaxFiles", 5),
            ("nodeLeaseDurationSeconds", 40),
        ] {
            dom.set_int(part, key, value);
        }
        dom.set_bool(part, "seccompDefault", true);
        dom.set_bool(part, "failSwapOn", false);
        let list = dom.ensure_list(part, "clusterDNS");
        for address in &config.cluster_dns {
            let address = dom.new_str(address);
            dom.push(list, address);
        }
        dom.to_json(root).into()
    }

    /// The runtime's id of a live sandbox.
    async fn sandbox(&self, namespace: &str, pod: &str) -> Result<String, Box<Response>> {
        let (_, observed) = self.observe(namespace, pod).await?;
        match observed.sandbox {
            Some(sandbox) if sandbox.ready => Ok(sandbox.id),
            _ => {
                let message = format!("sandbox of pod {pod:?} is not running");
                Err(Box::new(text(StatusCode::INTERNAL_SERVER_ERROR, &message)))
            }
        }
    }

    /// The node's pods as a PodList.
    fn pods(&self) -> Response {
        let mut parts = vec![Bytes::from_static(
            br#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":["#,
        )];
        for (index, pod) in self.kubelet.shared().pods.list().iter().enumerate() {
            if index > 0 {
                parts.push(Bytes::from_static(b","));
            }
            parts.push(pod.bytes().clone());
        }
        parts.push(Bytes::from_static(b"]}"));
        let mut response = Response::new(Body::slices(parts));
        set_type(&mut response, "application/json");
        response
    }

    async fn observe(
        &self,
        namespace: &str,
        pod: &str,
    ) -> Result<(String, Observed), Box<Response>> {
        let key = client::Key::new(namespace, pod);
        let Some(object) = self.kubelet.shared().pods.get(&key) else {
            let message = format!("pod {pod:?} does not exist");
            return Err(Box::new(text(StatusCode::NOT_FOUND, &message)));
        };
        let runtime = self.kubelet.shared().runtime.as_ref();
        match crate::observe::observe(runtime, object.uid()).await {
            Ok(observed) => Ok((object.uid().to_owned(), observed)),
            Err(error) => {
                let message = base::Chain(&error).to_string();
                Err(Box::new(text(StatusCode::INTERNAL_SERVER_ERROR, &message)))
            }
        }
    }

    /// The runtime's id of a running container.
    async fn running(
        &self,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Result<String, Box<Response>> {
        let (_, observed) = self.observe(namespace, pod).await?;
        match observed.newest(container) {
            Some(found) if found.state == ContainerState::Running => Ok(found.id.clone()),
            Some(_) => {
                let message = format!("container {container:?} in pod {pod:?} is not running");
                Err(Box::new(text(StatusCode::INTERNAL_SERVER_ERROR, &message)))
            }
            None => {
                let message = format!("container not found ({container:?})");
                Err(Box::new(text(StatusCode::NOT_FOUND, &message)))
            }
        }
    }

    async fn container_logs(
        &self,
        query: &str,
        namespace: &str,
        pod: &str,
        container: &str,
    ) -> Response {
        let query = parameters(query);
        let options = match log_options(&query) {
            Ok(options) => options,
            Err(message) => return text(StatusCode::BAD_REQUEST, &message),
        };
        let (uid, observed) = match self.observe(namespace, pod).await {
            Ok(found) => found,
            Err(answer) => return *answer,
        };
        let previous = query.get("previous").is_some_and(|value| value == "true");
        let told = self.told(namespace, pod, container);
        let newest = observed.newest(container);
        // While a container waits to start again, what ended last is what was before.
        let waits = newest.is_some_and(|newest| told.last == newest.id);
        let chosen = match (previous, waits) {
            (true, false) => observed.previous(container),
            (true, true) | (false, _) => newest,
        };
        let Some(chosen) = chosen.cloned() else {
            return text(
                StatusCode::BAD_REQUEST,
                &told.refusal(pod, container, previous),
            );
        };
        let config = &self.kubelet.shared().config;
        let file = config
            .pod_logs(namespace, pod, &uid)
            .join(container)
            .join(format!("{}.log", chosen.attempt));
        let (sender, mut receiver) = mpsc::channel(8);
        let (output, body) = Body::channel(8);
        let alive = self.liveness(&chosen.id, chosen.state == ContainerState::Running);
        let shutdown = &self.kubelet.shared().shutdown;
        base::tasks::spawn("container-log", shutdown, async move {
            logs::stream(file, options, alive, sender).await;
        });
        base::tasks::spawn("container-log-copy", shutdown, async move {
            while let Some(part) = receiver.recv().await {
                match part {
                    Ok(bytes) => {
                        if !output.send(bytes).await {
                            return;
                        }
                    }
                    Err(error) => {
                        output.abort(format!("read the log: {error}")).await;
                        return;
                    }
                }
            }
        });
        let mut response = Response::new(body);
        set_type(&mut response, "text/plain");
        response
    }

    /// What the API shows of a container's state.
    fn told(&self, namespace: &str, pod: &str, container: &str) -> Told {
        let key = client::Key::new(namespace, pod);
        let object = self.kubelet.shared().pods.get(&key);
        let dom = object.and_then(|object| object.parse().ok());
        let dom = dom.unwrap_or_default();
        let status = dom.as_ref().get("status");
        let one = [
            "containerStatuses",
            "initContainerStatuses",
            "ephemeralContainerStatuses",
        ]
        .into_iter()
        .flat_map(|list| status.into_iter().flat_map(move |s| s.items(list)))
        .find(|one| one.str("name") == container);
        let waiting = one.and_then(|one| one.at(&["state", "waiting"]));
        let last = one.and_then(|one| one.at(&["lastState", "terminated"]));
        let last = last.map_or("", |last| last.str("containerID"));
        Told {
            reason: waiting
                .map_or("", |waiting| waiting.str("reason"))
                .to_owned(),
            last: match waiting {
                Some(_) => last.rsplit('/').next().unwrap_or_default().to_owned(),
                None => String::new(),
            },
        }
    }

    /// Whether a container still runs, as its worker has last seen it.
    fn liveness(&self, id: &str, running: bool) -> impl Fn() -> bool + Send + Sync + 'static {
        let state = Arc::new(std::sync::atomic::AtomicBool::new(running));
        if running {
            let (shared, id, flag) = (self.kubelet.shared().clone(), id.to_owned(), state.clone());
            let shutdown = shared.shutdown.clone();
            base::tasks::spawn("container-log-end", &shutdown, async move {
                remote::wait_until_ended(&shared, &id).await;
                flag.store(false, std::sync::atomic::Ordering::SeqCst);
            });
        }
        move || state.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// A container's state in the API.
struct Told {
    /// Why it waits.
    reason: String,
    /// The runtime's id of what ended last, of one that waits.
    last: String,
}

impl Told {
    /// Why there is no log.
    /// Source: kubernetes v1.36 pkg/kubelet/kubelet_pods.go, validateContainerLogStatus.
    fn refusal(&self, pod: &str, container: &str, previous: bool) -> String {
        if previous {
            return format!("previous terminated container {container:?} in pod {pod:?} not found");
        }
        let why = match self.reason.as_str() {
            "" => return format!("container {container:?} in pod {pod:?} is not available"),
            "ErrImagePull" => "image can't be pulled",
            "ImagePullBackOff" => "trying and failing to pull image",
            reason => reason,
        };
        format!("container {container:?} in pod {pod:?} is waiting to start: {why}")
    }
}

fn log_options(query: &HashMap<String, String>) -> Result<LogOptions, String> {
    let number = |name: &str| -> Result<Option<u64>, String> {
        match query.get(name) {
            None => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|_| format!("{name}: {text:?} is no number")),
        }
    };
    let flag = |name: &str| {
        query
            .get(name)
            .is_some_and(|value| value == "true" || value == "1")
    };
    let since = match (number("sinceSeconds")?, query.get("sinceTime")) {
        (Some(seconds), _) => {
            use base::Clock as _;
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            base::SystemClock
                .now()
                .checked_sub(jiff::SignedDuration::from_secs(seconds))
                .ok()
        }
        (None, Some(time)) => Some(
            time.parse()
                .map_err(|_| format!("sinceTime: {time:?} is no RFC 3339 time"))?,
        ),
        (None, None) => None,
    };
    Ok(LogOptions {
        follow: flag("follow"),
        tail_lines: number("tailLines")?.map(|lines| usize::try_from(lines).unwrap_or(usize::MAX)),
        since,
        timestamps: flag("timestamps"),
        limit_bytes: number("limitBytes")?,
        stream: match query.get("stream").map(String::as_str) {
            Some("Stdout") => Some("stdout"),
            Some("Stderr") => Some("stderr"),
            _ => None,
        },
    })
}

/// The last value of each query parameter, percent-decoded.
fn parameters(query: &str) -> HashMap<String, String> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// Undoes percent-encoding; damaged escapes stay as they are.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match (
            first,
            code.and_then(|code| u8::from_str_radix(code, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            (b'+', _) => {
                bytes.push(b' ');
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The text format of metrics.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What of the node a request is about, for authorization: any of them will do.
/// Source: kubernetes v1.36 pkg/kubelet/server/auth.go, GetRequestAttributes.
fn subresources(parts: &[&str]) -> &'static [&'static str] {
    match parts.first().copied().unwrap_or_default() {
        "stats" => &["stats"],
        "metrics" => &["metrics"],
        "logs" => &["log"],
        "checkpoint" => &["checkpoint"],
        "statusz" => &["statusz"],
        "pods" | "runningpods" => &["pods", "proxy"],
        "healthz" => &["healthz", "proxy"],
        "configz" => &["configz", "proxy"],
        "flagz" => &["configz"],
        _ => &["proxy"],
    }
}

fn typed(kind: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    set_type(&mut response, kind);
    response
}

fn set_type(response: &mut Response, kind: &'static str) {
    let kind = http::HeaderValue::from_static(kind);
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, kind);
}

fn text(code: StatusCode, message: &str) -> Response {
    let mut response = Response::new(Body::from(message.to_owned()));
    *response.status_mut() = code;
    response
}
