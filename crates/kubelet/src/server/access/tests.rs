use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use client::Client;
use expect_test::{Expect, expect};
use transport::{Body, InProcess, Request, Response, service_fn};

use super::Access;

/// An API server that knows the token `known` and lets its owner do everything but `get proxy`;
/// how often it was asked.
fn access() -> (Access, Arc<AtomicUsize>) {
    let questions = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&questions);
    let service = service_fn(move |request: Request| {
        asked.fetch_add(1, Ordering::Relaxed);
        async move {
            let reviews_token = request.uri().path().ends_with("tokenreviews");
            let body = request.into_body().collect(64 << 10).await.unwrap();
            let body = String::from_utf8_lossy(&body).into_owned();
            let answer = match reviews_token {
                true if body.contains(r#""token":"known""#) => {
                    r#"{"status":{"authenticated":true,"user":{"username":"u","groups":["g"]}}}"#
                }
                true => r#"{"status":{}}"#,
                false if body.contains("proxy") => r#"{"status":{"allowed":false}}"#,
                false => r#"{"status":{"allowed":true}}"#,
            };
            Response::new(Body::from(answer))
        }
    });
    let transport = InProcess::new(service, http::Extensions::new());
    let access = Access::new(Client::new(Arc::new(transport), "test"), "node-0");
    (access, questions)
}

/// Callers one after the other, by what they put into `Authorization`.
#[track_caller]
fn check(callers: &[(&str, &'static [&'static str])], expect: &Expect) {
    let (access, questions) = access();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let mut out = String::new();
    for (authorization, subresources) in callers {
        let mut request = http::Request::post("/run/a/b/c");
        if !authorization.is_empty() {
            request = request.header("authorization", *authorization);
        }
        let request = request.body(Body::empty()).unwrap();
        let verdict = match runtime.block_on(access.check(&request, subresources)) {
            Ok(()) => "allowed".to_owned(),
            Err((code, why)) => format!("{} {}", code.as_u16(), why.trim()),
        };
        let questions = questions.swap(0, Ordering::Relaxed);
        out.push_str(&format!("{verdict}; questions: {questions}\n"));
    }
    expect.assert_eq(&out);
}

#[test]
fn verdicts_are_asked_for_once() {
    check(
        &[
            ("Bearer known", &["log", "proxy"]),
            ("Bearer known", &["proxy"]),
            ("Bearer known", &["proxy", "log"]),
            ("Bearer other", &["log"]),
            ("bearer other", &["log"]),
        ],
        &expect![[r#"
            allowed; questions: 2
            403 Forbidden (user=u, verb=create, resource=nodes, subresource(s)=[proxy]); questions: 1
            allowed; questions: 0
            401 Unauthorized; questions: 1
            401 Unauthorized; questions: 0
        "#]],
    );
}

/// Who shows nothing, or more than a token, is refused without a question.
#[test]
fn callers_without_a_token_are_asked_about_by_nobody() {
    let long = format!("Bearer {}", "a".repeat(super::TOKEN_BYTES + 1));
    check(
        &[
            ("", &["log"]),
            ("Bearer ", &["log"]),
            ("Basic YTpi", &["log"]),
            (&long, &["log"]),
        ],
        &expect![[r#"
            401 Unauthorized; questions: 0
            401 Unauthorized; questions: 0
            401 Unauthorized; questions: 0
            401 Unauthorized; questions: 0
        "#]],
    );
}
