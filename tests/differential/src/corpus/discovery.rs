//! What a server says of itself, and what it had to begin with.

use super::kinds::Kind;
use crate::case::Case;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

pub(super) fn cases(kinds: &[Kind]) -> Vec<Case> {
    let get = |path: &str| Case::new("discovery", "", "GET", path);
    let mut cases = Vec::new();
    for path in ["/api", "/apis"] {
        cases.push(get(path));
        cases.push(get(path).accept("application/yaml"));
        cases.push(get(path).accept("application/vnd.kubernetes.protobuf"));
        cases.push(get(path).accept("text/html"));
        cases.push(get(path).accept(AGGREGATED));
        cases.push(get(path).accept(&AGGREGATED.replace("v=v2", "v=v2beta1")));
        cases.push(get(path).accept(&AGGREGATED.replace("v=v2", "v=v7")));
        cases.push(get(path).accept(&format!("{AGGREGATED},application/json")));
    }
    for path in [
        "/",
        "/version",
        "/version/",
        "/healthz",
        "/livez",
        "/readyz",
        "/livez/ping",
        "/readyz/none",
        "/readyz?exclude=ping",
        "/api/v2",
        "/apis/none",
        "/apis/none/v1",
        "/apis/apps/v7",
        "/apis/apps/v1/none",
        "/api/v1/none",
        "/none",
        "/api/v1/",
        "/apis/apps/",
        "/openapi",
        "/openapi/v3/none",
        "/openapi/v3/apis/none/v1",
        "/.well-known/openid-configuration",
        "/logs",
        "/api/v1/namespaces/none",
        "/api/v1/namespaces/none/none",
        "/api/v1/namespaces/default/pods/none/log",
        "/api/v1/watch/namespaces?timeoutSeconds=1",
    ] {
        cases.push(get(path));
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        for path in ["/api", "/version", "/apis/apps/v1", "/openapi/v2"] {
            cases.push(Case::new("discovery", "", method, path));
        }
    }
    let mut paths: Vec<String> = kinds.iter().map(prefix).collect();
    paths.extend(
        [
            "/apis/authentication.k8s.io/v1",
            "/apis/authorization.k8s.io/v1",
        ]
        .map(str::to_owned),
    );
    paths.sort();
    paths.dedup();
    for path in paths {
        cases.push(get(&path));
        if let Some((group, _)) = path.rsplit_once('/')
            && group != "/api"
        {
            cases.push(get(group));
        }
    }
    cases.extend(bootstrap(kinds));
    cases
}

/// What is there before anybody made it.
fn bootstrap(kinds: &[Kind]) -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in kinds {
        let plural = kind.collection.rsplit('/').next().unwrap_or_default();
        let path = format!("{}/{plural}", prefix(kind));
        cases.push(Case::new("bootstrap", &kind.kind, "GET", path));
    }
    cases
}

/// `/apis/apps/v1`
fn prefix(kind: &Kind) -> String {
    match kind.api_version.contains('/') {
        true => format!("/apis/{}", kind.api_version),
        false => format!("/api/{}", kind.api_version),
    }
}
