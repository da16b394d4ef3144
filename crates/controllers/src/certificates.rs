//! CertificateSigningRequests for the cluster's own signers: approved for nodes, signed when
//! approved, deleted when old.
//!
//! What a signer accepts is the pure [`rules`]. Without the CA's key nothing is signed here.
//! Source: kubernetes v1.36.3 pkg/controller/certificates/{approver,signer,cleaner}.

mod request;
mod rules;

use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use base::Chain;
use client::{Error, Key, Object, WorkQueue};
use futures_util::future::BoxFuture;
use http::Method;
use pki::{Csr, Usage};
use schema::{Dom, Ref};

use crate::certificates::request::Request;
use crate::certificates::rules::{KUBELET_CLIENT, LEGACY, accept, lifetime, time_left};
use crate::context::{Context, work};
use crate::facts::{Facts, Reader};

fn gvr() -> Gvr {
    Gvr::new("certificates.k8s.io", "v1", "certificatesigningrequests")
}

type Queue = Arc<WorkQueue<String>>;

fn watch(context: &Context) -> (Facts<Request>, Queue) {
    let queue: Queue = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let gvr = ["certificates.k8s.io", "v1", "certificatesigningrequests"];
    let requests = Facts::of(context, gvr, Reader::by_namespace(Request::read));
    let requests = requests.on_step(move |step| {
        if step.new.is_some() {
            add.add(step.key.name.clone());
        }
    });
    (requests, queue)
}

/// What is done about one request.
type Step = for<'a> fn(&'a Context, &'a Request, &'a Object) -> BoxFuture<'a, Result<(), Error>>;

/// Takes `step` for every request that came or changed and is still there.
fn start(task: &'static str, context: Context, step: Step) {
    let (requests, queue) = watch(&context);
    let own = context.clone();
    work(task, &context, &queue, move |name| {
        let (context, requests) = (own.clone(), requests.clone());
        async move {
            requests.synced().await;
            let key = Key::new("", name);
            match (requests.get(&key), requests.object(&key)) {
                (Some(request), Some(object)) => step(&context, &request, &object).await,
                _ => Ok(()),
            }
        }
    });
}

/// Approves what kubelets ask for themselves, if their rights say so.
pub(crate) fn start_approving(context: Context) {
    let task = "certificatesigningrequest-approving-controller";
    start(task, context, |context, request, object| {
        Box::pin(approve(context, request, object))
    });
}

/// Signs what is approved.
pub(crate) fn start_signing(context: Context) {
    if context.signer.is_none() {
        return;
    }
    let task = "certificatesigningrequest-signing-controller";
    start(task, context, |context, request, object| {
        Box::pin(sign(context, request, object))
    });
}

/// Deletes what nobody needs any more.
pub(crate) fn start_cleaning(context: Context) {
    let (requests, queue) = watch(&context);
    let (own, later) = (context.clone(), queue.clone());
    work(
        "certificatesigningrequest-cleaner-controller",
        &context,
        &queue,
        move |name| {
            let (context, requests, later) = (own.clone(), requests.clone(), later.clone());
            async move {
                requests.synced().await;
                let Some(request) = requests.get(&Key::new("", name.as_str())) else {
                    return Ok(());
                };
                match time_left(&request, context.clock.now()) {
                    None => {}
                    Some(Duration::ZERO) => {
                        let options = client::DeleteOptions {
                            uid: Some(request.uid.clone()),
                            ..client::DeleteOptions::default()
                        };
                        match context
                            .client
                            .resource(&gvr())
                            .delete(&name, &options)
                            .await
                        {
                            Err(error) if error.is_not_found() || error.is_conflict() => {}
                            other => other?,
                        }
                    }
                    Some(left) => later.add_after(name, left),
                }
                Ok(())
            }
        },
    );
}

async fn approve(context: &Context, request: &Request, object: &Object) -> Result<(), Error> {
    if request.has_certificate || request.approved.is_some() || request.denied.is_some() {
        return Ok(());
    }
    let Ok(csr) = Csr::parse(&request.pem) else {
        return Ok(());
    };
    if request.signer != KUBELET_CLIENT || accept(&request.signer, &csr, &request.usages).is_err() {
        return Ok(());
    }
    let own = csr.subject().cn == request.user;
    let questions = [
        (
            own,
            "selfnodeclient",
            "Auto approving self kubelet client certificate after SubjectAccessReview.",
        ),
        (
            true,
            "nodeclient",
            "Auto approving kubelet client certificate after SubjectAccessReview.",
        ),
    ];
    for (fits, subresource, message) in questions {
        if fits && may(context, object, subresource).await? {
            return write(context, object, "approval", |dom, now| {
                add_condition(dom, now, "Approved", "AutoApproved", message);
            })
            .await;
        }
    }
    tracing::debug!(
        name = request.name,
        "a kubelet's request is not approved: its user has no right to"
    );
    Ok(())
}

/// May whoever made the request create `certificatesigningrequests/<subresource>`?
async fn may(context: &Context, object: &Object, subresource: &str) -> Result<bool, Error> {
    let Ok(request) = object.parse() else {
        return Ok(false);
    };
    let asked = request.as_ref().get("spec").unwrap_or_else(|| Ref::null());
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "apiVersion", "authorization.k8s.io/v1");
    dom.set_str(root, "kind", "SubjectAccessReview");
    let spec = dom.ensure_map(root, "spec");
    dom.set_str(spec, "user", asked.str("username"));
    dom.set_str(spec, "uid", asked.str("uid"));
    for key in ["groups", "extra"] {
        if let Some(value) = asked.get(key) {
            let copy = dom.import(value.dom(), value.node());
            dom.set(spec, key, copy);
        }
    }
    let wanted = dom.ensure_map(spec, "resourceAttributes");
    for (key, value) in [
        ("group", "certificates.k8s.io"),
        ("version", "*"),
        ("resource", "certificatesigningrequests"),
        ("subresource", subresource),
        ("verb", "create"),
    ] {
        dom.set_str(wanted, key, value);
    }
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let json = dom.to_json(root);
    let content = ("application/json", json.into());
    let answer = context
        .client
        .bytes(Method::POST, path, Some(content))
        .await?;
    Ok(Dom::parse_json(&answer).is_ok_and(|dom| {
        let status = dom.as_ref().get("status");
        status
            .and_then(|status| status.bool("allowed"))
            .unwrap_or(false)
    }))
}

async fn sign(context: &Context, request: &Request, object: &Object) -> Result<(), Error> {
    let ours = request.signer == LEGACY || rules::is_known(&request.signer);
    let open = request.approved.is_some() && request.denied.is_none() && request.failed.is_none();
    let Some(ca) = context
        .signer
        .as_ref()
        .filter(|_| ours && open && !request.has_certificate)
    else {
        return Ok(());
    };
    let signed = Csr::parse(&request.pem)
        .map_err(|error| error.to_string())
        .and_then(|csr| accept(&request.signer, &csr, &request.usages).map(|()| csr));
    let csr = match signed {
        Ok(csr) => csr,
        Err(why) => {
            return write(context, object, "status", |dom, now| {
                add_condition(dom, now, "Failed", "SignerValidationFailure", &why);
            })
            .await;
        }
    };
    let usages: Vec<Usage> = request
        .usages
        .iter()
        .filter_map(|usage| match usage.as_str() {
            "client auth" => Some(Usage::Client),
            "server auth" => Some(Usage::Server),
            _ => None,
        })
        .collect();
    let now = context.clock.now();
    let certificate = match ca.sign(&csr, &usages, lifetime(request.expiration_seconds), now) {
        Ok(certificate) => certificate,
        Err(error) => {
            tracing::warn!(name = request.name, err = %Chain(&error), "a certificate is not signed");
            return Ok(());
        }
    };
    tracing::info!(name = request.name, "a certificate is signed");
    write(context, object, "status", |dom, _| {
        let root = dom.root();
        let status = dom.ensure_map(root, "status");
        dom.set_str(
            status,
            "certificate",
            &request::encode(certificate.as_bytes()),
        );
    })
    .await
}

/// Writes a changed copy of the object to a subresource.
async fn write(
    context: &Context,
    object: &Object,
    subresource: &str,
    change: impl FnOnce(&mut Dom, &str),
) -> Result<(), Error> {
    let Ok(mut dom) = object.parse() else {
        return Ok(());
    };
    change(&mut dom, &api::time::format_seconds(context.clock.now()));
    let api = context.client.resource(&gvr());
    let json = dom.to_json(dom.root());
    match api
        .update_subresource(object.name(), subresource, json)
        .await
    {
        // The newer revision brings the key again.
        Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
        other => other.map(|_| ()),
    }
}

fn add_condition(dom: &mut Dom, now: &str, kind: &str, reason: &str, message: &str) {
    let root = dom.root();
    let status = dom.ensure_map(root, "status");
    let list = dom.ensure_list(status, "conditions");
    let condition = dom.new_map();
    for (key, value) in [
        ("type", kind),
        ("status", "True"),
        ("reason", reason),
        ("message", message),
        ("lastUpdateTime", now),
        ("lastTransitionTime", now),
    ] {
        dom.set_str(condition, key, value);
    }
    dom.push(list, condition);
}
