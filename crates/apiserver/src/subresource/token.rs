//! `token`: a service account's token, bound to an object if asked for.
//!
//! Source: kubernetes v1.36.3 pkg/registry/core/serviceaccount/storage/token.go,
//! pkg/serviceaccount/claims.go.

use std::fmt::Write;

use api::{FieldError, Gvk, Path, Status, meta};
use registry::Lookup;
use schema::Ref;
use transport::{Request, Response};

use super::body_as;
use crate::answer;
use crate::verbs::Call;

const HOUR: i64 = 3600;

fn quoted(text: &str) -> String {
    let mut out = String::new();
    api::text::json_string(&mut out, text);
    out
}

pub(super) async fn run(call: Call, request: Request) -> Result<Response, Status> {
    let gvk = Gvk::new("authentication.k8s.io", "v1", "TokenRequest");
    let mut body = body_as(request, &gvk).await?;
    let Some(tokens) = call.server.config.tokens.clone() else {
        return Err(Status::service_unavailable(
            "no key for service account tokens is configured",
        ));
    };
    let name = call.info.name.clone();
    let stored = call.read(&name)?;
    let account = crate::object::parse(&stored.value, stored.revision);
    let account = meta::of(account.as_ref());
    let spec = body.as_ref().get("spec");
    let mut audiences: Vec<String> = spec
        .into_iter()
        .flat_map(|spec| spec.items("audiences"))
        .filter_map(Ref::as_str)
        .map(str::to_owned)
        .collect();
    if audiences.is_empty() {
        audiences = tokens.audiences();
    }
    let asked = spec
        .and_then(|spec| spec.int("expirationSeconds"))
        .unwrap_or(HOUR);
    let at = Path::new("spec").child("expirationSeconds");
    if asked < 600 {
        let detail = "may not specify a duration less than 10 minutes";
        let error = FieldError::invalid(&at, asked, detail);
        return Err(Status::invalid(&gvk.group_kind(), &name, &[error]));
    }
    if asked > 1 << 32 {
        let detail = "may not specify a duration larger than 2^32 seconds";
        let error = FieldError::invalid(&at, asked, detail);
        return Err(Status::invalid(&gvk.group_kind(), &name, &[error]));
    }
    let now = call.server.config.clock.now();
    let issued = now.as_second();
    let object = spec.and_then(|spec| spec.get("boundObjectRef"));
    // Pods' tokens for this server live longer than they say, so that slow clients keep working.
    let own = tokens.audiences();
    let extended = asked == 3607
        && object.is_some_and(|object| object.str("kind") == "Pod")
        && audiences.iter().all(|audience| own.contains(audience));
    let seconds = if extended { 365 * 24 * HOUR } else { asked };
    let mut bound = String::new();
    if let Some(object) = object {
        bound = bind(&call, object)?;
    }
    let mut claims = String::from("{\"aud\":[");
    for (index, audience) in audiences.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(claims, "{comma}{}", quoted(audience));
    }
    let _ = write!(
        claims,
        r#"],"exp":{},"iat":{issued},"iss":{},"jti":"{}","kubernetes.io":{{"namespace":{}{bound},"serviceaccount":{{"name":{},"uid":"{}"}}"#,
        issued + seconds,
        quoted(&tokens.issuer()),
        call.server.uid(),
        quoted(&call.info.namespace),
        quoted(&name),
        account.uid()
    );
    if extended {
        let _ = write!(claims, r#","warnafter":{}"#, issued + asked);
    }
    let subject = format!("system:serviceaccount:{}:{name}", call.info.namespace);
    let _ = write!(claims, r#"}},"nbf":{issued},"sub":{}}}"#, quoted(&subject));
    let token = tokens
        .sign(&claims)
        .map_err(|error| Status::internal(&error))?;
    let expires = base::after(now, jiff::SignedDuration::from_secs(asked));
    let root = body.root();
    body.set_str(root, "kind", "TokenRequest");
    body.set_str(root, "apiVersion", "authentication.k8s.io/v1");
    let map = body.ensure_map(root, "metadata");
    body.set_str(map, "name", &name);
    body.set_str(map, "namespace", &call.info.namespace);
    body.set_str(map, "creationTimestamp", &api::time::format_seconds(now));
    let spec = body.ensure_map(root, "spec");
    body.set_int(spec, "expirationSeconds", asked);
    let list = body.new_list();
    for audience in &audiences {
        let node = body.new_str(audience);
        body.push(list, node);
    }
    body.set(spec, "audiences", list);
    let status = body.new_map();
    body.set_str(status, "token", &token);
    body.set_str(
        status,
        "expirationTimestamp",
        &api::time::format_seconds(expires),
    );
    body.set(root, "status", status);
    Ok(answer::document(201, &body, &call.accepted))
}

/// The claim that names the object that the token dies with.
fn bind(call: &Call, object: Ref<'_>) -> Result<String, Status> {
    let (kind, name, uid) = (object.str("kind"), object.str("name"), object.str("uid"));
    let (prefix, namespace, plural, claim) = match kind {
        "Pod" => ("pods", call.info.namespace.as_str(), "pods", "pod"),
        "Secret" => ("secrets", call.info.namespace.as_str(), "secrets", "secret"),
        "Node" => ("minions", "", "nodes", "node"),
        _ => {
            let message = format!(
                "cannot bind token for serviceaccount {:?} to object of kind {kind:?}",
                call.info.name
            );
            return Err(Status::bad_request(&message));
        }
    };
    let Some(found) = call.server.lookup.get(prefix, namespace, name) else {
        return Err(Status::not_found(&api::Gr::new("", plural), name));
    };
    let own = meta::of(found.as_ref());
    if !uid.is_empty() && uid != own.uid() {
        let cause = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::conflict(&api::Gr::new("", plural), name, &cause));
    }
    let mut text = format!(
        r#","{claim}":{{"name":{},"uid":"{}"}}"#,
        quoted(name),
        own.uid()
    );
    if kind == "Pod" {
        let account = found
            .as_ref()
            .at(&["spec", "serviceAccountName"])
            .and_then(Ref::as_str);
        if account != Some(call.info.name.as_str()) {
            let message = format!(
                "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                call.info.name
            );
            return Err(Status::bad_request(&message));
        }
        let node = found
            .as_ref()
            .at(&["spec", "nodeName"])
            .and_then(Ref::as_str)
            .unwrap_or_default();
        if let Some(node) = (!node.is_empty())
            .then(|| call.server.lookup.get("minions", "", node))
            .flatten()
        {
            let own = meta::of(node.as_ref());
            let _ = write!(
                text,
                r#","node":{{"name":{},"uid":"{}"}}"#,
                quoted(own.name()),
                own.uid()
            );
        }
    }
    Ok(text)
}
