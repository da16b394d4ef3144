//! Health, version and metrics: what is asked before and besides the API.
//!
//! Source: kubernetes v1.36.3 apiserver/pkg/server/healthz.

use transport::Response;

use crate::answer;
use crate::request::Query;
use crate::server::Server;

const CHECKS: [&str; 4] = ["ping", "log", "etcd", "poststarthook/bootstrap"];

/// `/livez`, `/readyz`, `/healthz` and their checks; none: another path.
pub(crate) fn health(server: &Server, path: &str, query: &Query) -> Option<Response> {
    let (endpoint, check) = ["/livez", "/readyz", "/healthz"].iter().find_map(|base| {
        path.strip_prefix(base)
            .map(|rest| (*base, rest.trim_start_matches('/')))
    })?;
    if !check.is_empty() {
        let known = CHECKS.contains(&check);
        return Some(match (known, holds(server, check)) {
            (true, true) => answer::text(200, "ok"),
            (true, false) => answer::text(500, format!("internal server error: {check} failed\n")),
            _ => answer::text(404, "404 page not found\n"),
        });
    }
    let excluded = query.get("exclude").map(Vec::as_slice).unwrap_or_default();
    let mut out = String::new();
    let mut failed = Vec::new();
    for check in CHECKS {
        if excluded.iter().any(|name| name == check) {
            out.push_str(&format!("[+]{check} excluded: ok\n"));
        } else if endpoint == "/livez" && check != "ping" && check != "log" || holds(server, check)
        {
            out.push_str(&format!("[+]{check} ok\n"));
        } else {
            out.push_str(&format!("[-]{check} failed: reason withheld\n"));
            failed.push(check);
        }
    }
    let name = endpoint.trim_start_matches('/');
    if !failed.is_empty() {
        out.push_str(&format!("{name} check failed\n"));
        return Some(answer::text(500, out));
    }
    if query.contains_key("verbose") {
        out.push_str(&format!("{name} check passed\n"));
        return Some(answer::text(200, out));
    }
    Some(answer::text(200, "ok"))
}

fn holds(server: &Server, check: &str) -> bool {
    match check {
        "poststarthook/bootstrap" => server.is_bootstrapped(),
        _ => true,
    }
}

/// `/version`
pub(crate) fn version() -> String {
    let platform = format!(
        "linux/{}",
        if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "amd64"
        }
    );
    format!(
        concat!(
            "{{\n  \"major\": \"1\",\n  \"minor\": \"36\",\n  \"emulationMajor\": \"1\",\n",
            "  \"emulationMinor\": \"36\",\n  \"minCompatibilityMajor\": \"1\",\n",
            "  \"minCompatibilityMinor\": \"35\",\n  \"gitVersion\": \"v1.36.3+transom.0\",\n",
            "  \"gitCommit\": \"\",\n  \"gitTreeState\": \"clean\",\n  \"buildDate\": \"\",\n",
            "  \"goVersion\": \"none\",\n  \"compiler\": \"rustc\",\n  \"platform\": \"{}\"\n}}"
        ),
        platform
    )
}
