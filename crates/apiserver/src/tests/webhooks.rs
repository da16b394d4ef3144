//! Writes that webhooks change, refuse and fail to answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use expect_test::expect;
use transport::{Body, Response};

use super::harness::Harness;

/// A hook that adds a label, refuses what is called `bad`, and warns.
fn hook(h: &Harness, calls: Arc<AtomicUsize>) -> String {
    let service = transport::service_fn(move |request: transport::Request| {
        let calls = Arc::clone(&calls);
        async move {
            calls.fetch_add(1, Ordering::Relaxed);
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect(1 << 20).await.unwrap();
            let review = schema::Dom::parse_json(&body).unwrap();
            let asked = review.as_ref().get("request").unwrap();
            let uid = asked.str("uid");
            let answer = match path.as_str() {
                "/add" if asked.str("operation") == "CREATE" => {
                    let patch = r#"[{"op":"add","path":"/data/added","value":"yes"}]"#;
                    let patch = STANDARD.encode(patch);
                    format!(r#""allowed":true,"patchType":"JSONPatch","patch":"{patch}""#)
                }
                _ if asked.str("name") == "bad" => {
                    r#""allowed":false,"status":{"message":"bad is bad","code":403,"reason":"Forbidden"}"#.to_owned()
                }
                _ => r#""allowed":true,"warnings":["mind the gap"]"#.to_owned(),
            };
            let text = format!(
                r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{{"uid":"{uid}",{answer}}}}}"#
            );
            Response::new(Body::from(text))
        }
    });
    h.serve(service)
}

fn configuration(kind: &str, name: &str, url: &str, more: &str) -> String {
    let plural = if kind.starts_with('M') {
        "mutating"
    } else {
        "validating"
    };
    format!(
        r#"POST /apis/admissionregistration.k8s.io/v1/{plural}webhookconfigurations

{{"kind":"{kind}WebhookConfiguration","apiVersion":"admissionregistration.k8s.io/v1","metadata":{{"name":"{name}"}},"webhooks":[{{"name":"{name}.example.com","clientConfig":{{"url":"{url}"}},"rules":[{{"operations":["CREATE","DELETE"],"apiGroups":[""],"apiVersions":["v1"],"resources":["configmaps"]}}],"sideEffects":"None","admissionReviewVersions":["v1"]{more}}}]}}"#
    )
}

fn create(name: &str) -> String {
    format!(
        "POST /api/v1/namespaces/default/configmaps\n\n{{\"metadata\":{{\"name\":\"{name}\"}},\"data\":{{\"k\":\"v\"}}}}"
    )
}

#[test]
fn hooks_change_refuse_and_warn() {
    let h = Harness::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let url = hook(&h, Arc::clone(&calls));
    h.send(&configuration("Mutating", "add", &format!("{url}/add"), ""));
    h.send(&configuration(
        "Validating",
        "deny",
        &format!("{url}/deny"),
        "",
    ));
    h.settle();
    let (code, headers, body) = h.send(&create("good"));
    assert_eq!(code, 201, "{body}");
    assert!(body.contains(r#""data":{"added":"yes","k":"v"}"#), "{body}");
    assert_eq!(headers["warning"], "299 - \"mind the gap\"");
    h.check(&create("bad"), &expect![[r#"
        403
        {"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"admission webhook \"deny.example.com\" denied the request: bad is bad","reason":"Forbidden","code":403}
    "#]]);
    let before = calls.load(Ordering::Relaxed);
    let (code, ..) = h.send("DELETE /api/v1/namespaces/default/configmaps/good");
    assert_eq!(code, 200);
    assert!(calls.load(Ordering::Relaxed) > before);
}

#[test]
fn silence_is_refusal_unless_ignored() {
    let h = Harness::new();
    h.send(&configuration(
        "Validating",
        "gone",
        "http://127.0.0.1:1/x",
        r#","timeoutSeconds":1"#,
    ));
    h.settle();
    let (code, _, body) = h.send(&create("a"));
    assert_eq!(code, 500);
    let words = r#"Internal error occurred: failed calling webhook \"gone.example.com\": failed to call webhook: Post \"http://127.0.0.1:1/x?timeout=1s\""#;
    assert!(body.contains(words), "{body}");
    h.send("DELETE /apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/gone");
    h.send(&configuration(
        "Validating",
        "lax",
        "http://127.0.0.1:1/x",
        r#","failurePolicy":"Ignore""#,
    ));
    h.settle();
    let (code, ..) = h.send(&create("a"));
    assert_eq!(code, 201);
}
