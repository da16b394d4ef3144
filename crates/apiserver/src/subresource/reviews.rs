//! Reviews: who am I, who is this, may they.
//!
//! Source: kubernetes v1.36.3 pkg/registry/{authentication,authorization}.

use api::{Status, meta};
use registry::rbac::Rule;
use schema::{Dom, Node, Ref};
use transport::{Request, Response};

use super::body_as;
use crate::access::Rules;
use crate::verbs::Call;
use crate::{Decision, RequestInfo, UserInfo, answer};

pub(super) async fn run(call: Call, request: Request) -> Result<Response, Status> {
    let gvk = call.resource().gvk(call.view());
    let mut body = body_as(request, &gvk).await?;
    let root = body.root();
    body.set_str(root, "kind", &gvk.kind);
    body.set_str(root, "apiVersion", &gvk.api_version());
    let map = body.ensure_map(root, "metadata");
    let namespace = call.info.namespace.clone();
    if !namespace.is_empty() {
        body.set_str(map, "namespace", &namespace);
    }
    let status = body.new_map();
    match gvk.kind.as_str() {
        "SelfSubjectReview" => {
            let user = user_info(&mut body, &call.user);
            body.set(status, "userInfo", user);
            let now = api::time::format_seconds(call.server.config.clock.now());
            body.set_str(map, "creationTimestamp", &now);
        }
        "TokenReview" => token(&call, &mut body, status).await,
        "SelfSubjectRulesReview" => {
            let of = body
                .as_ref()
                .get("spec")
                .map_or("", |spec| spec.str("namespace"))
                .to_owned();
            if of.is_empty() {
                return Err(Status::bad_request("no namespace on request"));
            }
            rules(&call, &of, &mut body, status);
        }
        _ => access(&call, &mut body, status)?,
    }
    body.set(root, "status", status);
    Ok(answer::document(201, &body, &call.accepted))
}

/// What the caller may do, as far as it can be listed.
fn rules(call: &Call, namespace: &str, body: &mut Dom, status: Node) {
    let found = if call.user.is_in("system:masters") {
        let all = || vec!["*".to_owned()];
        let everything = Rule {
            verbs: all(),
            groups: all(),
            resources: all(),
            ..Rule::default()
        };
        let paths = Rule {
            verbs: all(),
            urls: all(),
            ..Rule::default()
        };
        Rules {
            rules: vec![everything, paths],
            ..Rules::default()
        }
    } else {
        call.server.rules_for(&call.user, namespace)
    };
    let lists = [body.new_list(), body.new_list()];
    for rule in &found.rules {
        let about_paths = !rule.urls.is_empty();
        let map = body.new_map();
        for (key, values) in [
            ("verbs", &rule.verbs),
            ("apiGroups", &rule.groups),
            ("resources", &rule.resources),
            ("resourceNames", &rule.names),
            ("nonResourceURLs", &rule.urls),
        ] {
            for value in values {
                let list = body.ensure_list(map, key);
                let value = body.new_str(value);
                body.push(list, value);
            }
        }
        body.push(lists[usize::from(about_paths)], map);
    }
    body.set(status, "resourceRules", lists[0]);
    body.set(status, "nonResourceRules", lists[1]);
    body.set_bool(status, "incomplete", found.incomplete);
    if !found.error.is_empty() {
        body.set_str(status, "evaluationError", &found.error);
    }
}

fn user_info(dom: &mut Dom, user: &UserInfo) -> Node {
    let map = dom.new_map();
    dom.set_str(map, "username", &user.name);
    if !user.uid.is_empty() {
        dom.set_str(map, "uid", &user.uid);
    }
    let list = |dom: &mut Dom, values: &[String]| {
        let list = dom.new_list();
        for value in values {
            let node = dom.new_str(value);
            dom.push(list, node);
        }
        list
    };
    if !user.groups.is_empty() {
        let groups = list(dom, &user.groups);
        dom.set(map, "groups", groups);
    }
    if !user.extra.is_empty() {
        let extra = dom.new_map();
        for (key, values) in &user.extra {
            let values = list(dom, values);
            dom.set(extra, key, values);
        }
        dom.set(map, "extra", extra);
    }
    map
}

async fn token(call: &Call, body: &mut Dom, status: Node) {
    let spec = body.as_ref().get("spec");
    let token = spec.map_or("", |spec| spec.str("token")).to_owned();
    let audiences: Vec<String> = spec
        .into_iter()
        .flat_map(|spec| spec.items("audiences"))
        .filter_map(Ref::as_str)
        .map(str::to_owned)
        .collect();
    match call.server.authenticate_token(&token).await {
        Ok(Some(user)) => {
            body.set_bool(status, "authenticated", true);
            let user = user_info(body, &user);
            body.set(status, "user", user);
            if !audiences.is_empty() {
                let list = body.new_list();
                for audience in &audiences {
                    let node = body.new_str(audience);
                    body.push(list, node);
                }
                body.set(status, "audiences", list);
            }
        }
        Ok(None) => {}
        Err(error) => body.set_str(status, "error", &error),
    }
}

fn access(call: &Call, body: &mut Dom, status: Node) -> Result<(), Status> {
    let object = body.as_ref();
    let Some(spec) = object.get("spec") else {
        return Err(Status::bad_request("spec is required"));
    };
    let own = call.resource().kind.starts_with("Self");
    let user = if own {
        call.user.clone()
    } else {
        UserInfo {
            name: spec.str("user").to_owned(),
            uid: spec.str("uid").to_owned(),
            groups: spec
                .items("groups")
                .filter_map(Ref::as_str)
                .map(str::to_owned)
                .collect(),
            extra: spec
                .entries("extra")
                .map(|(key, values)| {
                    let values = values
                        .list()
                        .filter_map(Ref::as_str)
                        .map(str::to_owned)
                        .collect();
                    (key.to_owned(), values)
                })
                .collect(),
        }
    };
    let info = match (
        spec.get("resourceAttributes"),
        spec.get("nonResourceAttributes"),
    ) {
        (Some(of), None) => RequestInfo {
            is_resource: true,
            verb: of.str("verb").to_owned(),
            group: of.str("group").to_owned(),
            version: of.str("version").to_owned(),
            resource: of.str("resource").to_owned(),
            subresource: of.str("subresource").to_owned(),
            namespace: of.str("namespace").to_owned(),
            name: of.str("name").to_owned(),
            ..RequestInfo::default()
        },
        (None, Some(of)) => RequestInfo {
            verb: of.str("verb").to_owned(),
            path: of.str("path").to_owned(),
            ..RequestInfo::default()
        },
        _ => {
            let at = api::Path::new("spec").child("resourceAttributes");
            let detail =
                "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            let error = api::FieldError::invalid(&at, api::BadValue::Raw("null".into()), detail);
            let name = meta::of(object).name();
            return Err(Status::invalid(
                &call.resource().group_kind(),
                name,
                &[error],
            ));
        }
    };
    let (allowed, denied, reason) = match call.server.authorize(&user, &info) {
        Decision::Allow { reason } => (true, false, reason),
        Decision::Deny { reason } => (false, true, reason),
        Decision::NoOpinion { reason } => (false, false, reason),
    };
    body.set_bool(status, "allowed", allowed);
    if denied {
        body.set_bool(status, "denied", true);
    }
    if !reason.is_empty() {
        body.set_str(status, "reason", &reason);
    }
    Ok(())
}

/// Component statuses are deprecated; upstream still tells those of the store.
pub(super) fn components(call: &Call) -> Result<Response, Status> {
    let one = |name: &str| {
        format!(
            r#"{{"metadata":{{"name":"{name}"}},"conditions":[{{"type":"Healthy","status":"True","message":"ok"}}]}}"#
        )
    };
    let text = match call.info.name.as_str() {
        "" => format!(
            r#"{{"kind":"ComponentStatusList","apiVersion":"v1","metadata":{{}},"items":[{}]}}"#,
            one("etcd-0")
        ),
        "etcd-0" => {
            let rest = one("etcd-0");
            format!(
                r#"{{"kind":"ComponentStatus","apiVersion":"v1",{}"#,
                &rest[1..]
            )
        }
        name => return Err(Status::not_found(&call.gr(), name)),
    };
    let dom = Dom::parse_json(text.as_bytes()).map_err(|e| Status::internal(&e.to_string()))?;
    Ok(answer::document(200, &dom, &call.accepted))
}
