//! Writes under admission policies, match conditions and rules of custom resources.

use expect_test::{Expect, expect};

use super::harness::Harness;

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

fn policy(name: &str, spec: &str) -> String {
    format!(
        r#"POST {GROUP}/validatingadmissionpolicies

{{"metadata":{{"name":"{name}"}},"spec":{{"matchConstraints":{{"resourceRules":[{{"operations":["CREATE","UPDATE"],"apiGroups":[""],"apiVersions":["v1"],"resources":["configmaps"]}}]}},{spec}}}}}"#
    )
}

fn binding(policy: &str, spec: &str) -> String {
    format!(
        r#"POST {GROUP}/validatingadmissionpolicybindings

{{"metadata":{{"name":"{policy}-b"}},"spec":{{"policyName":"{policy}",{spec}}}}}"#
    )
}

fn map(name: &str, data: &str) -> String {
    format!(
        "POST /api/v1/namespaces/default/configmaps\n\n{{\"metadata\":{{\"name\":\"{name}\"}},\"data\":{data}}}"
    )
}

/// The code, warnings, and the message of a refusal or the data of the object.
fn outcome(h: &Harness, request: &str) -> String {
    let (code, headers, body) = h.send(request);
    let mut out = format!("{code}");
    for value in headers.get_all("warning") {
        out.push_str(&format!(" [{}]", value.to_str().unwrap()));
    }
    let dom = schema::Dom::parse_json(body.as_bytes()).unwrap();
    let root = dom.as_ref();
    match root.str("message") {
        "" => {
            let data = root.get("data").map(schema::Ref::to_json);
            out.push(' ');
            out.push_str(&String::from_utf8(data.unwrap_or_default()).unwrap());
        }
        message => out.push_str(&format!(" {}: {message}", root.str("reason"))),
    }
    out
}

#[track_caller]
fn check(h: &Harness, request: &str, expected: &Expect) {
    expected.assert_eq(&outcome(h, request));
}

#[track_caller]
fn made(h: &Harness, request: &str) {
    let (code, _, body) = h.send(request);
    assert_eq!(code, 201, "{body}");
    h.settle();
}

#[test]
fn a_bound_policy_denies() {
    let h = Harness::new();
    made(
        &h,
        &policy(
            "size",
            r#""variables":[{"name":"count","expression":"has(object.data) ? size(object.data) : 0"}],
            "matchConditions":[{"name":"named","expression":"!object.metadata.name.startsWith('free')"}],
            "validations":[{"expression":"variables.count < 2","messageExpression":"'has ' + string(variables.count) + ' entries in ' + namespaceObject.metadata.name"},
              {"expression":"request.userInfo.username == 'admin' && authorizer.group('').resource('configmaps').check('create').allowed()","message":"who?","reason":"Forbidden"}]"#,
        ),
    );
    check(
        &h,
        &map("unbound", r#"{"a":"1","b":"2"}"#),
        &expect!["201 {\"a\":\"1\",\"b\":\"2\"}"],
    );
    made(&h, &binding("size", r#""validationActions":["Deny"]"#));
    check(
        &h,
        &map("one", r#"{"a":"1"}"#),
        &expect!["201 {\"a\":\"1\"}"],
    );
    check(
        &h,
        &map("two", r#"{"a":"1","b":"2"}"#),
        &expect![
            "422 Invalid: configmaps \"two\" is forbidden: ValidatingAdmissionPolicy 'size' with binding 'size-b' denied request: has 2 entries in default"
        ],
    );
    check(
        &h,
        &map("free", r#"{"a":"1","b":"2"}"#),
        &expect!["201 {\"a\":\"1\",\"b\":\"2\"}"],
    );
    check(
        &h,
        "PATCH /api/v1/namespaces/default/configmaps/one\nContent-Type: application/merge-patch+json\n\n{\"data\":{\"c\":\"3\"}}",
        &expect![
            "422 Invalid: configmaps \"one\" is forbidden: ValidatingAdmissionPolicy 'size' with binding 'size-b' denied request: has 2 entries in default"
        ],
    );
}

#[test]
fn warnings_and_failures() {
    let h = Harness::new();
    made(
        &h,
        &policy(
            "warns",
            r#""validations":[{"expression":"object.data.a == 'x'"}]"#,
        ),
    );
    made(
        &h,
        &binding("warns", r#""validationActions":["Warn","Audit"]"#),
    );
    check(
        &h,
        &map("one", r#"{"a":"1"}"#),
        &expect![
            "201 [299 - \"Validation failed for ValidatingAdmissionPolicy 'warns' with binding 'warns-b': failed expression: object.data.a == 'x'\"] {\"a\":\"1\"}"
        ],
    );
    made(
        &h,
        &policy(
            "ignores",
            r#""failurePolicy":"Ignore","validations":[{"expression":"object.data.missing == 'x'"}]"#,
        ),
    );
    made(&h, &binding("ignores", r#""validationActions":["Deny"]"#));
    check(
        &h,
        &map("two", r#"{"a":"x"}"#),
        &expect!["201 {\"a\":\"x\"}"],
    );
    made(
        &h,
        &policy(
            "fails",
            r#""validations":[{"expression":"object.data.missing == 'x'"}]"#,
        ),
    );
    made(&h, &binding("fails", r#""validationActions":["Deny"]"#));
    check(
        &h,
        &map("three", r#"{"a":"x"}"#),
        &expect![
            "422 Invalid: configmaps \"three\" is forbidden: ValidatingAdmissionPolicy 'fails' with binding 'fails-b' denied request: expression 'object.data.missing == 'x'' resulted in error: no such key: missing"
        ],
    );
}

#[test]
fn parameters() {
    let h = Harness::new();
    made(
        &h,
        &policy(
            "limit",
            r#""paramKind":{"apiVersion":"v1","kind":"Secret"},"validations":[{"expression":"size(object.data) <= int(params.metadata.labels.most)"}]"#,
        ),
    );
    made(
        &h,
        &binding(
            "limit",
            r#""validationActions":["Deny"],"paramRef":{"name":"most","parameterNotFoundAction":"Deny"}"#,
        ),
    );
    check(
        &h,
        &map("none", r#"{"a":"1"}"#),
        &expect![
            "422 Invalid: configmaps \"none\" is forbidden: ValidatingAdmissionPolicy 'limit' with binding 'limit-b' denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
        ],
    );
    made(
        &h,
        "POST /api/v1/namespaces/default/secrets\n\n{\"metadata\":{\"name\":\"most\",\"labels\":{\"most\":\"1\"}}}",
    );
    check(
        &h,
        &map("one", r#"{"a":"1"}"#),
        &expect!["201 {\"a\":\"1\"}"],
    );
    check(
        &h,
        &map("two", r#"{"a":"1","b":"2"}"#),
        &expect![
            "422 Invalid: configmaps \"two\" is forbidden: ValidatingAdmissionPolicy 'limit' with binding 'limit-b' denied request: failed expression: size(object.data) <= int(params.metadata.labels.most)"
        ],
    );
}

#[test]
fn expressions_that_do_not_compile_are_refused() {
    let h = Harness::new();
    check(
        &h,
        &policy(
            "bad",
            r#""matchConditions":[{"name":"x","expression":"object.a"}],"variables":[{"name":"v","expression":"1 +"}],
            "validations":[{"expression":"unknown","messageExpression":"1","reason":"No"}]"#,
        ),
        &expect![
            "422 Invalid: ValidatingAdmissionPolicy.admissionregistration.k8s.io \"bad\" is invalid: [spec.matchConditions[0].expression: Invalid value: \"object.a\": must evaluate to bool but got dyn, spec.variables[0].expression: Invalid value: \"1 +\": compilation failed: ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | 1 +\n | ...^, spec.validations[0].expression: Invalid value: \"unknown\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'unknown' (in container '')\n | unknown\n | ^, spec.validations[0].messageExpression: Invalid value: \"1\": must evaluate to string but got int, spec.validations[0].reason: Unsupported value: \"No\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"]"
        ],
    );
    check(
        &h,
        &binding("x", r#""validationActions":["Deny","Warn"],"paramRef":{}"#),
        &expect![
            "422 Invalid: ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io \"x-b\" is invalid: [spec.paramRef: Required value: one of name or selector must be specified, spec.paramRef.parameterNotFoundAction: Required value, spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)]"
        ],
    );
    check(
        &h,
        &format!(
            r#"POST {GROUP}/validatingwebhookconfigurations

{{"metadata":{{"name":"x"}},"webhooks":[{{"name":"a.b.c","clientConfig":{{"url":"https://localhost"}},"sideEffects":"None","admissionReviewVersions":["v1"],"matchConditions":[{{"name":"invalid","expression":"..."}}]}}]}}"#
        ),
        &expect![
            "422 Invalid: ValidatingWebhookConfiguration.admissionregistration.k8s.io \"x\" is invalid: webhooks[0].matchConditions[0].expression: Invalid value: \"...\": compilation failed: ERROR: <input>:1:2: Syntax error: mismatched input '.' expecting IDENTIFIER\n | ...\n | .^"
        ],
    );
}

fn mutating(name: &str, mutation: &str) -> [String; 2] {
    let policy = policy(name, mutation).replace("/validating", "/mutating");
    let binding = binding(name, r#""matchResources":{}"#).replace("/validating", "/mutating");
    [policy, binding]
}

#[test]
fn policies_change_objects() {
    let h = Harness::new();
    let apply = mutating(
        "apply",
        r#""reinvocationPolicy":"Never","mutations":[{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"Object{data: {'by': object.metadata.name}}"}}]"#,
    );
    let patch = mutating(
        "patch",
        r#""reinvocationPolicy":"Never","mutations":[{"patchType":"JSONPatch","jsonPatch":{"expression":"has(object.data.a) ? [JSONPatch{op: 'replace', path: '/data/' + jsonpatch.escapeKey('a'), value: 'was ' + object.data.a}] : []"}}]"#,
    );
    for request in apply.iter().chain(&patch) {
        made(&h, request);
    }
    check(
        &h,
        &map("one", r#"{"a":"1"}"#),
        &expect!["201 {\"a\":\"was 1\",\"by\":\"one\"}"],
    );
    check(
        &h,
        &map("two", r#"{"b":"2"}"#),
        &expect!["201 {\"b\":\"2\",\"by\":\"two\"}"],
    );
}

#[test]
fn rules_of_custom_resources() {
    let h = Harness::new();
    let definition = |rule: &str| {
        format!(
            r#"POST /apis/apiextensions.k8s.io/v1/customresourcedefinitions

{{"metadata":{{"name":"things.example.com"}},"spec":{{"group":"example.com","scope":"Namespaced","names":{{"plural":"things","kind":"Thing","singular":"thing","listKind":"ThingList"}},
"versions":[{{"name":"v1","served":true,"storage":true,"schema":{{"openAPIV3Schema":{{"type":"object","properties":{{"spec":{{"type":"object","x-kubernetes-validations":[{rule}],
"properties":{{"a":{{"type":"integer"}},"b":{{"type":"string"}}}}}}}}}}}}}}]}}}}"#
        )
    };
    check(
        &h,
        &definition(r#"{"rule":"self.c > 1","messageExpression":"self.a"}"#),
        &expect![
            "422 Invalid: CustomResourceDefinition.apiextensions.k8s.io \"things.example.com\" is invalid: spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: {\"Rule\":\"self.c \\u003e 1\",\"Message\":\"\",\"MessageExpression\":\"self.a\",\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}: compilation failed: ERROR: <input>:1:5: undefined field 'c'\n | self.c > 1\n | ....^"
        ],
    );
    made(
        &h,
        &definition(
            r#"{"rule":"self.a > 1","message":"too small"},{"rule":"self.b == oldSelf.b","message":"b stays"}"#,
        ),
    );
    let thing = |name: &str, a: i64| {
        format!(
            "POST /apis/example.com/v1/namespaces/default/things\n\n{{\"apiVersion\":\"example.com/v1\",\"kind\":\"Thing\",\"metadata\":{{\"name\":\"{name}\"}},\"spec\":{{\"a\":{a},\"b\":\"x\"}}}}"
        )
    };
    check(
        &h,
        &thing("small", 1),
        &expect![
            "422 Invalid: Thing.example.com \"small\" is invalid: spec: Invalid value: too small"
        ],
    );
    check(&h, &thing("large", 2), &expect!["201 "]);
    check(
        &h,
        "PATCH /apis/example.com/v1/namespaces/default/things/large\nContent-Type: application/merge-patch+json\n\n{\"spec\":{\"b\":\"y\"}}",
        &expect![
            "422 Invalid: Thing.example.com \"large\" is invalid: spec: Invalid value: b stays"
        ],
    );
}
