//! The JSON of every constructor, compared with what upstream's server prints.

use super::Status;
use crate::field::{FieldError, Path};
use crate::kind::{Gk, Gr};
use expect_test::{Expect, expect};

#[track_caller]
fn check(status: &Status, want: Expect) {
    let json = status.to_json();
    want.assert_eq(std::str::from_utf8(&json).unwrap());
    let document = schema::Dom::parse_json(&json).unwrap();
    assert_eq!(
        Status::from_document(document.as_ref()).as_ref(),
        Some(status)
    );
}

#[test]
fn about_objects() {
    let pods = Gr::new("", "pods");
    check(
        &Status::not_found(&pods, "a"),
        expect![[
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"pods \"a\" not found","reason":"NotFound","details":{"name":"a","kind":"pods"},"code":404}"#
        ]],
    );
    check(
        &Status::already_exists(&Gr::new("apps", "deployments"), "d"),
        expect![[
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"deployments.apps \"d\" already exists","reason":"AlreadyExists","details":{"name":"d","group":"apps","kind":"deployments"},"code":409}"#
        ]],
    );
    check(
        &Status::deleted(&pods, "a", "u-1"),
        expect![[
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","details":{"name":"a","kind":"pods","uid":"u-1"}}"#
        ]],
    );
    check(
        &Status::modified(&pods, "a"),
        expect![[
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Operation cannot be fulfilled on pods \"a\": the object has been modified; please apply your changes to the latest version and try again","reason":"Conflict","details":{"name":"a","kind":"pods"},"code":409}"#
        ]],
    );
    check(
        &Status::forbidden(&Gr::default(), "", "User \"x\" cannot get path \"/\""),
        expect![[
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"forbidden: User \"x\" cannot get path \"/\"","reason":"Forbidden","details":{},"code":403}"#
        ]],
    );
    check(
        &Status::method_not_supported(&pods, "deletecollection"),
        expect![[
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"deletecollection is not supported on resources of kind \"pods\"","reason":"MethodNotAllowed","details":{"kind":"pods"},"code":405}"#
        ]],
    );
}

#[test]
fn findings_become_causes() {
    let spec = Path::new("spec");
    let errors = [
        FieldError::required(&spec.child("containers"), ""),
        FieldError::invalid(&spec.child("x").index(1).key("k"), 5_i64, "must be <4"),
        FieldError::not_supported(&spec.child("p"), "Z", &["A", "B"]),
    ];
    check(
        &Status::invalid(&Gk::new("", "Pod"), "a", &errors),
        expect![[
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Pod \"a\" is invalid: [spec.containers: Required value, spec.x[1][k]: Invalid value: 5: must be \u003c4, spec.p: Unsupported value: \"Z\": supported values: \"A\", \"B\"]","reason":"Invalid","details":{"name":"a","kind":"Pod","causes":[{"reason":"FieldValueRequired","message":"Required value","field":"spec.containers"},{"reason":"FieldValueInvalid","message":"Invalid value: 5: must be \u003c4","field":"spec.x[1][k]"},{"reason":"FieldValueNotSupported","message":"Unsupported value: \"Z\": supported values: \"A\", \"B\"","field":"spec.p"}]},"code":422}"#
        ]],
    );
}

#[test]
fn about_the_server() {
    check(
        &Status::internal("boom"),
        expect![[
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Internal error occurred: boom","reason":"InternalError","details":{"causes":[{"message":"boom"}]},"code":500}"#
        ]],
    );
    check(
        &Status::revision_too_large(9, 4, 1),
        expect![[
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Timeout: Too large resource version: 9, current: 4","reason":"Timeout","details":{"causes":[{"reason":"ResourceVersionTooLarge","message":"Too large resource version"}],"retryAfterSeconds":1},"code":504}"#
        ]],
    );
    check(
        &Status::path_not_found(),
        expect![[
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"the server could not find the requested resource","reason":"NotFound","details":{},"code":404}"#
        ]],
    );
    check(
        &Status::unauthorized("Unauthorized"),
        expect![[
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#
        ]],
    );
    check(
        &Status::too_many_requests("x", 1),
        expect![[
            r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"x","reason":"TooManyRequests","details":{"retryAfterSeconds":1},"code":429}"#
        ]],
    );
}
