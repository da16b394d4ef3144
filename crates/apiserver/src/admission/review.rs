//! AdmissionReview: the question and the answer. Pure.
//!
//! Source: kubernetes v1.36.3 apiserver/pkg/admission/plugin/webhook/request/admissionreview.go,
//! errors/statuserror.go.

use api::Status;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use registry::User;
use schema::{Dom, Node, Ref};

/// What is asked.
pub(super) struct Question<'a> {
    /// `v1` or `v1beta1`.
    pub(super) review: &'a str,
    pub(super) uid: &'a str,
    /// Kind and resource as the hook named them.
    pub(super) gvk: &'a api::Gvk,
    pub(super) gvr: &'a api::Gvr,
    /// Kind and resource as the client named them.
    pub(super) asked_gvk: &'a api::Gvk,
    pub(super) asked_gvr: &'a api::Gvr,
    pub(super) subresource: &'a str,
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) operation: &'a str,
    pub(super) user: &'a User,
    pub(super) object: Option<&'a [u8]>,
    pub(super) old: Option<&'a [u8]>,
    pub(super) dry_run: bool,
    /// Create-, Update-, Delete- or PatchOptions.
    pub(super) options: Option<&'a Dom>,
}

fn members(dom: &mut Dom, pairs: &[(&str, &str)]) -> Node {
    let map = dom.new_map();
    for (key, value) in pairs {
        dom.set_str(map, key, value);
    }
    map
}

fn texts<'t>(dom: &mut Dom, values: impl IntoIterator<Item = &'t str>) -> Node {
    let list = dom.new_list();
    for value in values {
        let node = dom.new_str(value);
        dom.push(list, node);
    }
    list
}

/// The review to send.
pub(super) fn ask(question: &Question<'_>) -> Vec<u8> {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "kind", "AdmissionReview");
    let version = format!("admission.k8s.io/{}", question.review);
    dom.set_str(root, "apiVersion", &version);
    let request = dom.new_map();
    dom.set(root, "request", request);
    dom.set_str(request, "uid", question.uid);
    for (key, gvk) in [("kind", question.gvk), ("requestKind", question.asked_gvk)] {
        let pairs = [
            ("group", gvk.group.as_ref()),
            ("version", gvk.version.as_ref()),
            ("kind", gvk.kind.as_ref()),
        ];
        let map = members(&mut dom, &pairs);
        dom.set(request, key, map);
    }
    for (key, gvr) in [
        ("resource", question.gvr),
        ("requestResource", question.asked_gvr),
    ] {
        let pairs = [
            ("group", gvr.group.as_ref()),
            ("version", gvr.version.as_ref()),
            ("resource", gvr.resource.as_ref()),
        ];
        let map = members(&mut dom, &pairs);
        dom.set(request, key, map);
    }
    for (key, value) in [
        ("subResource", question.subresource),
        ("requestSubResource", question.subresource),
        ("name", question.name),
        ("namespace", question.namespace),
        ("operation", question.operation),
    ] {
        if !value.is_empty() {
            dom.set_str(request, key, value);
        }
    }
    let user = members(&mut dom, &[("username", &question.user.name)]);
    if !question.user.uid.is_empty() {
        dom.set_str(user, "uid", &question.user.uid);
    }
    if !question.user.groups.is_empty() {
        let groups = texts(&mut dom, question.user.groups.iter().map(String::as_str));
        dom.set(user, "groups", groups);
    }
    if !question.user.extra.is_empty() {
        let extra = dom.new_map();
        for (key, values) in &question.user.extra {
            let values = texts(&mut dom, values.iter().map(String::as_str));
            dom.set(extra, key, values);
        }
        dom.set(user, "extra", extra);
    }
    dom.set(request, "userInfo", user);
    for (key, json) in [("object", question.object), ("oldObject", question.old)] {
        let node = match json.and_then(|json| Dom::parse_json(json).ok()) {
            Some(other) => dom.import(&other, other.root()),
            None => dom.new_null(),
        };
        dom.set(request, key, node);
    }
    dom.set_bool(request, "dryRun", question.dry_run);
    let options = match question.options {
        Some(options) => dom.import(options, options.root()),
        None => dom.new_null(),
    };
    dom.set(request, "options", options);
    dom.to_json(root)
}

/// What a hook decided.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// In the words for the client; none: it may pass.
    pub(super) refused: Option<Status>,
    pub(super) warnings: Vec<String>,
    /// A JSON patch with operations.
    pub(super) patch: Option<Dom>,
}

/// Longer warnings are cut; upstream's bound for one answer.
const WARNINGS_MOST: usize = 4096;

/// Reads an answer; the error is what is wrong with it, in upstream's words.
pub(super) fn answer(
    hook: &str,
    review: &str,
    uid: &str,
    mutating: bool,
    body: &[u8],
) -> Result<Answer, String> {
    let invalid = |cause: &str| format!("received invalid webhook response: {cause}");
    let dom = Dom::parse_json(body).map_err(|error| format!("failed to call webhook: {error}"))?;
    let root = dom.as_ref();
    let Some(response) = root.get("response").filter(|of| !of.is_null()) else {
        return Err(invalid("webhook response was absent"));
    };
    if review == "v1" {
        if response.str("uid") != uid {
            return Err(invalid(&format!(
                "expected response.uid={uid:?}, got {:?}",
                response.str("uid")
            )));
        }
        let (kind, version) = (root.str("kind"), root.str("apiVersion"));
        if kind != "AdmissionReview" || version != "admission.k8s.io/v1" {
            return Err(invalid(&format!(
                "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got {version}, Kind={kind}"
            )));
        }
    }
    let encoded = response.str("patch");
    let kind = response.get("patchType").and_then(Ref::as_str);
    if !mutating {
        if !encoded.is_empty() && review == "v1" {
            return Err(invalid("validating webhook may not return response.patch"));
        }
        if kind.is_some() && review == "v1" {
            return Err(invalid(
                "validating webhook may not return response.patchType",
            ));
        }
    } else if review == "v1" {
        match kind {
            None if !encoded.is_empty() => {
                return Err(invalid(
                    "webhook returned response.patch but not response.patchType",
                ));
            }
            Some(_) if encoded.is_empty() => {
                return Err(invalid(
                    "webhook returned response.patchType but not response.patch",
                ));
            }
            Some("") => {
                return Err(invalid(
                    "webhook returned invalid response.patchType of \"\"",
                ));
            }
            _ => {}
        }
    }
    let mut answer = Answer {
        warnings: warnings(response),
        ..Answer::default()
    };
    if response.bool("allowed") != Some(true) {
        answer.refused = Some(refusal(hook, response.get("status")));
        return Ok(answer);
    }
    if mutating && !encoded.is_empty() {
        if let Some(other) = kind.filter(|kind| *kind != "JSONPatch") {
            return Err(format!("unsupported patch type {other:?}"));
        }
        let undecodable =
            |cause: &str| format!("received undecodable patch in webhook response: {cause}");
        let bytes = STANDARD
            .decode(encoded)
            .map_err(|error| undecodable(&error.to_string()))?;
        let patch = Dom::parse_json(&bytes).map_err(|error| undecodable(&error.to_string()))?;
        if !matches!(patch.value(patch.root()), schema::Value::List) {
            return Err(undecodable(
                "json: cannot unmarshal into Go value of type jsonpatch.Patch",
            ));
        }
        answer.patch = Some(patch).filter(|patch| !patch.is_empty(patch.root()));
    }
    Ok(answer)
}

fn warnings(response: Ref<'_>) -> Vec<String> {
    let mut left = WARNINGS_MOST;
    let mut warnings = Vec::new();
    for warning in response.items("warnings").filter_map(Ref::as_str) {
        let cut: String = warning.chars().take(left).collect();
        left -= cut.chars().count();
        if !cut.is_empty() {
            warnings.push(cut);
        }
    }
    warnings
}

/// A refusal with upstream's prefix.
fn refusal(hook: &str, result: Option<Ref<'_>>) -> Status {
    let denied = format!("admission webhook {hook:?} denied the request");
    let mut status = result
        .and_then(Status::from_document)
        .unwrap_or_else(|| Status::other(400, "", ""));
    let code = result.and_then(|of| of.int("code")).unwrap_or(0);
    let code = u16::try_from(code).unwrap_or(0).max(400);
    let text = match result {
        Some(of) if !of.str("message").is_empty() => format!("{denied}: {}", of.str("message")),
        Some(of) if !of.str("reason").is_empty() => format!("{denied}: {}", of.str("reason")),
        _ => format!("{denied} without explanation"),
    };
    status.code = code;
    status.message = text;
    if let Some(of) = result {
        status.reason = of.str("reason").to_owned();
    }
    status
}
