//! What every cluster starts with, written when it is not there.
//!
//! Source: kubernetes v1.36.3 pkg/controlplane/{instance,controller}, pkg/registry/*/rest,
//! apiserver/pkg/apis/flowcontrol/bootstrap/default.go.

mod flow;

use std::sync::Arc;

use api::Status;
use futures_util::future::try_join_all;
use schema::Dom;

use crate::negotiate::Accepted;
use crate::options::WriteOptions;
use crate::verbs::Call;
use crate::{InitialObject, RequestInfo, Server, UserInfo};

/// A cluster that could not be started.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// An object could not be written.
    #[error("write {object}: {status}")]
    Write {
        /// Its path.
        object: String,
        /// Why.
        status: Status,
    },
    /// An object of ours is malformed.
    #[error("{object} is malformed")]
    Malformed {
        /// Its path.
        object: String,
    },
}

/// One object to be there.
pub(crate) struct Wanted {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) namespace: String,
    pub(crate) json: String,
}

fn wanted(group: &'static str, plural: &'static str, namespace: &str, json: String) -> Wanted {
    Wanted {
        group,
        version: "v1",
        plural,
        namespace: namespace.to_owned(),
        json,
    }
}

/// Writes everything that is missing.
pub(crate) async fn run(server: &Arc<Server>) -> Result<(), BootstrapError> {
    let mut all = Vec::new();
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        all.push(wanted(
            "",
            "namespaces",
            "",
            format!(r#"{{"metadata":{{"name":"{name}"}}}}"#),
        ));
    }
    for (name, value, words) in [
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
    ] {
        all.push(wanted(
            "scheduling.k8s.io",
            "priorityclasses",
            "",
            format!(
                r#"{{"metadata":{{"name":"{name}"}},"value":{value},"description":"{words}"}}"#
            ),
        ));
    }
    all.extend(flow::objects());
    for one in registry::rbac::bootstrap() {
        let json = String::from_utf8_lossy(&one.object.as_ref().to_json()).into_owned();
        let group = "rbac.authorization.k8s.io";
        all.push(wanted(group, one.resource, &one.namespace, json));
    }
    let mut ca = String::new();
    api::text::json_string(&mut ca, &server.config.client_ca_pem);
    let mut front = String::new();
    let proxy = server.config.front_proxy.iter();
    for (key, value) in proxy.flat_map(crate::FrontProxy::data) {
        front.push_str(",\"");
        front.push_str(key);
        front.push_str("\":");
        api::text::json_string(&mut front, &value);
    }
    all.push(wanted(
        "",
        "configmaps",
        "kube-system",
        format!(r#"{{"metadata":{{"name":"extension-apiserver-authentication"}},"data":{{"client-ca-file":{ca}{front}}}}}"#),
    ));
    let ranges: Vec<String> = server
        .config
        .service_ranges
        .iter()
        .map(|r| format!("\"{r}\""))
        .collect();
    if !ranges.is_empty() {
        all.push(wanted(
            "networking.k8s.io",
            "servicecidrs",
            "",
            format!(
                r#"{{"metadata":{{"name":"kubernetes"}},"spec":{{"cidrs":[{}]}}}}"#,
                ranges.join(",")
            ),
        ));
    }
    // Namespaces come before what is in them, the Service after its range; within a stage the
    // writes share flushes.
    let (namespaces, rest) = all.into_iter().partition(|one| one.plural == "namespaces");
    for stage in [namespaces, rest, kubernetes_service(server)] {
        try_join_all(stage.into_iter().map(|one| ensure(server, one))).await?;
    }
    let given = server.config.initial.iter();
    try_join_all(given.map(|one| ensure_initial(server, one))).await?;
    Ok(())
}

/// The Service under which pods find the API, and its endpoint.
fn kubernetes_service(server: &Server) -> Vec<Wanted> {
    let Some(first) = server
        .config
        .service_ranges
        .first()
        .and_then(|range| range.hosts().next())
    else {
        return Vec::new();
    };
    let port = server
        .config
        .advertise
        .map_or(6443, |address| address.port());
    let labels = r#""labels":{"component":"apiserver","provider":"kubernetes"}"#;
    let mut all = vec![wanted(
        "",
        "services",
        "default",
        format!(
            r#"{{"metadata":{{"name":"kubernetes",{labels}}},"spec":{{"type":"ClusterIP","clusterIP":"{first}","sessionAffinity":"None","ports":[{{"name":"https","port":443,"protocol":"TCP","targetPort":{port}}}]}}}}"#
        ),
    )];
    if let Some(address) = server.config.advertise {
        let ip = address.ip();
        let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
        all.push(wanted(
            "",
            "endpoints",
            "default",
            format!(
                r#"{{"metadata":{{"name":"kubernetes","labels":{{"endpointslice.kubernetes.io/skip-mirror":"true"}}}},"subsets":[{{"addresses":[{{"ip":"{ip}"}}],"ports":[{{"name":"https","port":{port},"protocol":"TCP"}}]}}]}}"#
            ),
        ));
        all.push(wanted(
            "discovery.k8s.io",
            "endpointslices",
            "default",
            format!(
                r#"{{"metadata":{{"name":"kubernetes","labels":{{"kubernetes.io/service-name":"kubernetes"}}}},"addressType":"{family}","endpoints":[{{"addresses":["{ip}"],"conditions":{{"ready":true}}}}],"ports":[{{"name":"https","port":{port},"protocol":"TCP"}}]}}"#
            ),
        ));
    }
    all
}

/// A call of the server to itself.
pub(crate) fn call(
    server: &Arc<Server>,
    group: &str,
    version: &str,
    plural: &str,
    namespace: &str,
) -> Option<Call> {
    let served = server.catalog.load().find(group, version, plural)?;
    Some(Call {
        server: Arc::clone(server),
        info: RequestInfo {
            is_resource: true,
            verb: "create".to_owned(),
            group: group.to_owned(),
            version: version.to_owned(),
            resource: plural.to_owned(),
            namespace: namespace.to_owned(),
            ..RequestInfo::default()
        },
        query: crate::request::Query::new(),
        user: UserInfo {
            name: "system:apiserver".to_owned(),
            groups: vec![
                "system:masters".to_owned(),
                "system:authenticated".to_owned(),
            ],
            ..UserInfo::default()
        },
        accepted: Accepted::JSON,
        served,
        warnings: Arc::default(),
    })
}

/// Creates an object of another part; one that exists belongs to its users.
async fn ensure_initial(server: &Arc<Server>, one: &InitialObject) -> Result<(), BootstrapError> {
    let wanted = wanted(one.group, one.resource, &one.namespace, one.json.clone());
    let name = Dom::parse_json(wanted.json.as_bytes())
        .map(|dom| api::meta::of(dom.as_ref()).name().to_owned())
        .unwrap_or_default();
    let call = call(server, one.group, "v1", one.resource, &one.namespace);
    if call.is_some_and(|call| call.read(&name).is_ok()) {
        return Ok(());
    }
    ensure(server, wanted).await
}

/// Creates an object that is missing; endpoints of ours are brought up to date.
pub(crate) async fn ensure(server: &Arc<Server>, wanted: Wanted) -> Result<(), BootstrapError> {
    let object = format!("{}/{} {}", wanted.group, wanted.plural, wanted.json);
    let malformed = || BootstrapError::Malformed {
        object: object.clone(),
    };
    let call = call(
        server,
        wanted.group,
        wanted.version,
        wanted.plural,
        &wanted.namespace,
    )
    .ok_or_else(malformed)?;
    let mut dom = Dom::parse_json(wanted.json.as_bytes()).map_err(|_| malformed())?;
    let name = api::meta::of(dom.as_ref()).name().to_owned();
    call.to_stored_view(&mut dom);
    let options = WriteOptions::default();
    let written = if call.read(&name).is_ok() {
        if !matches!(wanted.plural, "endpoints" | "endpointslices" | "configmaps") {
            return Ok(());
        }
        let mine = dom;
        let members = ["subsets", "endpoints", "ports", "addressType", "data"];
        call.change(&name, "", &options, None, &mut |old| {
            let mut new = old.clone();
            let root = new.root();
            for key in members {
                if let Some(value) = mine.get(mine.root(), key) {
                    let copy = new.import(&mine, value);
                    new.set(root, key, copy);
                }
            }
            Ok(new)
        })
        .await
        .map(|_| ())
    } else {
        call.create_object(dom, &options).await.map(|_| ())
    };
    match written {
        Ok(()) => Ok(()),
        Err(status) if status.code() == 409 => Ok(()),
        Err(status) => Err(BootstrapError::Write { object, status }),
    }
}
