//! Whether the server behind an APIService can be used: one task for each.
//!
//! The Service and its endpoints are looked at with every change of them; the server itself is
//! asked for its discovery when they changed, every half minute, and with back-off after it failed.
//! What it serves is asked for before it is called available, so that discovery and requests agree.
//! Source: kube-aggregator v0.36.3 pkg/controllers/status/remote/remote_available_controller.go.

use std::sync::{Arc, Weak};
use std::time::Duration;

use api::{Status, meta};
use base::{Backoff, Shutdown};
use futures_util::future::select_ok;
use registry::Lookup;
use schema::{Dom, Ref};
use tokio::time::Instant;

use super::{ApiService, GROUP, discovery, relay};
use crate::follow::Follower;
use crate::options::WriteOptions;
use crate::outbound::Server as Place;
use crate::{Server, bootstrap};

/// Between two questions when nothing changes.
const RESYNC: Duration = Duration::from_secs(30);
/// Between two questions for what is served.
const REDISCOVER: Duration = Duration::from_secs(60);
/// Questions asked at once after the first one failed: a Service may have dead endpoints.
const ATTEMPTS: usize = 4;

/// The condition `Available`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) status: &'static str,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Verdict {
    fn no(reason: &'static str, message: String) -> Verdict {
        Verdict {
            status: "False",
            reason,
            message,
        }
    }
}

/// Where a Service leads: changes of it are changes of the answer.
type Facts = Result<Vec<String>, Verdict>;

/// What the Service and its endpoints say.
pub(super) fn facts(lookup: &dyn Lookup, namespace: &str, name: &str, port: u16) -> Facts {
    let what = format!("service/{name} in {namespace:?}");
    let Some(service) = lookup.get("services/specs", namespace, name) else {
        let message = format!("{what} is not present");
        return Err(Verdict::no("ServiceNotFound", message));
    };
    let spec = service.as_ref().get("spec").unwrap_or_else(|| Ref::null());
    let mut found = vec![
        spec.str("clusterIP").to_owned(),
        spec.str("externalName").to_owned(),
    ];
    if !matches!(spec.str("type"), "" | "ClusterIP") {
        return Ok(found);
    }
    let wanted = i64::from(port);
    let Some(own) = spec
        .items("ports")
        .find(|of| of.int("port") == Some(wanted))
    else {
        let message = format!("{what} is not listening on port {port}");
        return Err(Verdict::no("ServicePortError", message));
    };
    let port_name = own.str("name");
    let slices: Vec<Dom> = lookup
        .list("endpointslices", namespace)
        .into_iter()
        .filter(|slice| meta::of(slice.as_ref()).label("kubernetes.io/service-name") == Some(name))
        .collect();
    if slices.is_empty() {
        let message = format!("cannot find endpointslices for {what}");
        return Err(Verdict::no("EndpointsNotFound", message));
    }
    let mut any = false;
    for slice in &slices {
        let slice = slice.as_ref();
        let mut ports = slice.items("ports");
        let port = ports.find(|of| of.str("name") == port_name && of.int("port").is_some());
        let Some(port) = port.and_then(|of| of.int("port")) else {
            continue;
        };
        for endpoint in slice.items("endpoints") {
            let ready = endpoint.at(&["conditions", "ready"]).and_then(Ref::as_bool);
            if ready == Some(false) {
                continue;
            }
            any = true;
            let addresses = endpoint.items("addresses").filter_map(Ref::as_str);
            found.extend(addresses.map(|address| format!("{address} {port}")));
        }
    }
    if !any {
        let message =
            format!("endpointslices for {what} have no addresses with port name {port_name:?}");
        return Err(Verdict::no("MissingEndpoints", message));
    }
    found.sort_unstable();
    Ok(found)
}

/// Asks the server for the root of its group-version.
async fn probe(server: &Server, service: &ApiService) -> Verdict {
    let path = service.path();
    let ask = || {
        Box::pin(async {
            match relay::ask(server, service, &path, "*/*").await {
                Ok((code, ..)) if (200..300).contains(&code) => Ok(()),
                Ok((code, ..)) => {
                    let url = relay::url(service, &path);
                    Err(format!("bad status from {url}: {code}"))
                }
                Err(error) => Err(error),
            }
        })
    };
    let mut answer = ask().await;
    if answer.is_err() {
        if let Some(backend) = &service.backend {
            server.outbound.forget(backend);
        }
        answer = select_ok((0..ATTEMPTS).map(|_| ask())).await.map(|_| ());
    }
    match answer {
        Ok(()) => Verdict {
            status: "True",
            reason: "Passed",
            message: "all checks passed".to_owned(),
        },
        Err(error) => {
            let url = relay::url(service, &path);
            let message = format!("failing or missing response from {url}: {error}");
            Verdict::no("FailedDiscoveryCheck", message)
        }
    }
}

/// Watches over a remote APIService until its task is ended.
pub(super) async fn watch(server: Weak<Server>, shutdown: Shutdown, service: ApiService) {
    let place = service
        .backend
        .as_ref()
        .map(|backend| backend.server.clone());
    let Some(Place::Service {
        namespace,
        name,
        port,
        ..
    }) = place
    else {
        return;
    };
    let Some((mut services, mut slices)) = server.upgrade().map(|server| {
        let store = &server.config.store;
        let from = store.current_revision();
        let follow = |prefix: &str, name: &str| {
            let key = crate::object::key(&server.config.root, prefix, &namespace, name);
            Follower::new(store.clone(), key, from)
        };
        (
            follow("services/specs", &name),
            follow("endpointslices", ""),
        )
    }) else {
        return;
    };
    let mut backoff = Backoff::new(Duration::from_millis(5), RESYNC);
    let mut last: Option<Facts> = None;
    let mut due = Instant::now();
    let mut discovered: Option<Instant> = None;
    loop {
        {
            let Some(server) = server.upgrade() else {
                return;
            };
            let facts = facts(&server.lookup, &namespace, &name, port);
            let changed = last.as_ref() != Some(&facts);
            if changed || Instant::now() >= due {
                let verdict = match &facts {
                    Err(verdict) => verdict.clone(),
                    Ok(_) => probe(&server, &service).await,
                };
                due = Instant::now() + RESYNC;
                if verdict.status == "True" {
                    backoff.reset();
                    let stale = discovered.is_none_or(|at| at.elapsed() >= REDISCOVER);
                    if changed || stale {
                        let fresh = discovery::refresh(&server, &service).await;
                        discovered = fresh.then(Instant::now);
                    }
                } else {
                    discovered = None;
                    discovery::stale(&server, &service);
                    if verdict.reason == "FailedDiscoveryCheck" {
                        due = Instant::now() + backoff.next_delay();
                    }
                }
                if let Err(status) = write(&server, &service.name, &verdict).await {
                    let name = &service.name;
                    tracing::warn!(name, err = %status, "the status of an APIService");
                }
                last = Some(facts);
            }
        }
        let changed = tokio::select! {
            biased;
            changed = services.changed() => changed,
            changed = slices.changed() => changed,
            () = tokio::time::sleep_until(due) => Ok(()),
        };
        if let Err(error) = changed {
            if !shutdown.is_triggered() {
                let (name, err) = (&service.name, base::Chain(&error));
                tracing::error!(name, %err, "an APIService is no longer watched over");
            }
            return;
        }
    }
}

/// Writes the condition, unless it is there.
pub(super) async fn write(
    server: &Arc<Server>,
    name: &str,
    verdict: &Verdict,
) -> Result<(), Status> {
    let Some(mut call) = bootstrap::call(server, GROUP, "v1", "apiservices", "") else {
        return Ok(());
    };
    call.info.name = name.to_owned();
    call.info.subresource = "status".to_owned();
    let says = |object: Ref<'_>| {
        meta::condition(object, "Available").is_some_and(|of| {
            of.str("status") == verdict.status
                && of.str("reason") == verdict.reason
                && of.str("message") == verdict.message
        })
    };
    match server.lookup.get(super::PREFIX, "", name) {
        Some(object) if says(object.as_ref()) => return Ok(()),
        Some(object) => {
            let before = meta::condition(object.as_ref(), "Available");
            let before = before.map_or("Unknown", |of| of.str("status"));
            if before != verdict.status {
                let Verdict {
                    status,
                    reason,
                    message,
                } = verdict;
                tracing::info!(
                    name,
                    before,
                    status,
                    reason,
                    message,
                    "availability of an API"
                );
            }
        }
        None => return Ok(()),
    }
    let now = api::time::format_seconds(server.config.clock.now());
    let options = WriteOptions::default();
    let mut change = |old: &Dom| Ok(with_condition(old, verdict, &now));
    let done = call
        .change(name, "status", &options, None, &mut change)
        .await;
    match done {
        Err(status) if status.code() != 404 => Err(status),
        _ => Ok(()),
    }
}

fn with_condition(old: &Dom, verdict: &Verdict, now: &str) -> Dom {
    let mut dom = old.clone();
    let root = dom.root();
    let metadata = dom.ensure_map(root, "metadata");
    dom.remove(metadata, "resourceVersion");
    let status = dom.ensure_map(root, "status");
    let list = dom.ensure_list(status, "conditions");
    let found = dom
        .items(list)
        .find(|&node| dom.at_node(node).str("type") == "Available");
    let node = found.unwrap_or_else(|| {
        let node = dom.new_map();
        dom.set_str(node, "type", "Available");
        dom.push(list, node);
        node
    });
    if dom.at_node(node).str("status") != verdict.status {
        dom.set_str(node, "status", verdict.status);
        dom.set_str(node, "lastTransitionTime", now);
    }
    dom.set_str(node, "reason", verdict.reason);
    dom.set_str(node, "message", &verdict.message);
    dom
}

#[cfg(test)]
mod tests;
