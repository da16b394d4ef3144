//! Input that is refused: code, reason and words, as upstream v1.36.3 answered the same requests
//! (`cargo xtask differential` compares many more).

use super::harness::Harness;

/// Request, code, reason, and what the message contains.
const TABLE: &[(&str, u16, &str, &str)] = &[
    (
        "POST /apis/batch/v1/namespaces/default/cronjobs\n\n{\"metadata\":{\"name\":\"a\"},\"spec\":{\"schedule\":\"0 5 * * *\",\"timeZone\":\"Mars/Base\",\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}}}",
        422,
        "Invalid",
        "CronJob.batch \"a\" is invalid: spec.timeZone: Invalid value: \"Mars/Base\": unknown time zone Mars/Base",
    ),
    (
        "POST /apis/batch/v1/namespaces/default/cronjobs\n\n{\"metadata\":{\"name\":\"a\"},\"spec\":{\"schedule\":\"0 5 * * *\",\"timeZone\":\"europe/berlin\",\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}}}",
        422,
        "Invalid",
        "spec.timeZone: Invalid value: \"europe/berlin\": unknown time zone europe/berlin",
    ),
    (
        "POST /apis/batch/v1/namespaces/default/cronjobs\n\n{\"metadata\":{\"name\":\"a\"},\"spec\":{\"schedule\":\"0 5 * * *\",\"timeZone\":\"\",\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}}}",
        422,
        "Invalid",
        "spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string",
    ),
    (
        "POST /apis/batch/v1/namespaces/default/cronjobs\n\n{\"metadata\":{\"name\":\"a\"},\"spec\":{\"schedule\":\"0 5 * * *\",\"timeZone\":\"../../etc/passwd\",\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}}}",
        422,
        "Invalid",
        "spec.timeZone: Invalid value: \"../../etc/passwd\": unknown time zone ../../etc/passwd",
    ),
    (
        "POST /apis/batch/v1/namespaces/default/cronjobs\n\n{\"metadata\":{\"name\":\"a\"},\"spec\":{\"schedule\":\"0 5 * * *\",\"timeZone\":\"Local\",\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}}}",
        422,
        "Invalid",
        "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
    ),
    (
        "POST /apis/batch/v1/namespaces/default/cronjobs\n\n{\"metadata\":{\"name\":\"a\"},\"spec\":{\"schedule\":\"TZ=UTC 0 5 * * *\",\"timeZone\":null,\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}}}",
        422,
        "Invalid",
        "spec.schedule: Invalid value: \"TZ=UTC 0 5 * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
    ),
    (
        "POST /api/v1/namespaces/default/configmaps\n\n{",
        400,
        "BadRequest",
        "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input ({)",
    ),
    (
        "POST /api/v1/namespaces/default/configmaps\n\n[]",
        400,
        "BadRequest",
        "json: cannot unmarshal array into Go value of type struct",
    ),
    (
        "POST /api/v1/namespaces/default/configmaps\nContent-Type: application/vnd.kubernetes.protobuf\n\nnot protobuf",
        400,
        "BadRequest",
        "expected prefix [107 56 115 0] (6e6f742070726f746f627566)",
    ),
    (
        "POST /api/v1/namespaces/default/configmaps\nContent-Type: text/plain\n\n{}",
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
    ),
    (
        "POST /api/v1/namespaces/default/configmaps\n\n{\"kind\":\"Secret\",\"apiVersion\":\"v1\"}",
        400,
        "BadRequest",
        "Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion",
    ),
    (
        "POST /api/v1/namespaces/default/configmaps\n\n{\"metadata\":{\"name\":\"a\"},\"data\":{\"a\":1}}",
        400,
        "BadRequest",
        "json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
    ),
    (
        "POST /api/v1/namespaces/default/configmaps?fieldValidation=Strict\n\n{\"metadata\":{\"name\":\"a\",\"nom\":\"b\"},\"dta\":1}",
        400,
        "BadRequest",
        "strict decoding error: unknown field \"metadata.nom\", unknown field \"dta\"",
    ),
    (
        "POST /api/v1/namespaces/default/configmaps?dryRun=Some\n\n{\"metadata\":{\"name\":\"a\"}}",
        422,
        "Invalid",
        "dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"",
    ),
    (
        "POST /api/v1/namespaces/default/configmaps\n\n{\"metadata\":{\"name\":\"A\"}}",
        422,
        "Invalid",
        "a lowercase RFC 1123 subdomain must consist of",
    ),
    (
        "POST /api/v1/namespaces/default/configmaps\n\n{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"plain\"]}}",
        422,
        "Invalid",
        "metadata.finalizers[0]: Invalid value: \"plain\": name is neither a standard finalizer name nor is it fully qualified",
    ),
    (
        "PUT /api/v1/namespaces/default/configmaps\n\n{\"metadata\":{\"name\":\"a\"}}",
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    ),
    (
        "GET /api/v1/namespaces/default/configmaps?fieldSelector=data.a%3Db",
        400,
        "BadRequest",
        "\"data.a\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
    ),
    (
        "GET /api/v1/namespaces/default/configmaps?resourceVersion=x",
        400,
        "BadRequest",
        "invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax",
    ),
    (
        "GET /api/v1/namespaces/default/configmaps?continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiIuLi9hIn0",
        400,
        "BadRequest",
        "invalid continue token: continue key is not valid: ../a",
    ),
    (
        "GET /api/v1/namespaces/default/configmaps\nAccept: text/html",
        406,
        "NotAcceptable",
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf",
    ),
    (
        "PATCH /api/v1/namespaces/default/configmaps/kube-root-ca.crt\nContent-Type: application/json\n\n{}",
        415,
        "UnsupportedMediaType",
        "415: Unsupported Media Type",
    ),
    (
        "DELETE /api/v1/namespaces/default/configmaps/a\n\n{\"propagationPolicy\":\"Sideways\"}",
        422,
        "Invalid",
        "propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"",
    ),
    (
        "DELETE /api/v1/namespaces/default/configmaps/a?dryRun=x",
        422,
        "Invalid",
        "dryRun: Unsupported value: [\"x\"]: supported values: \"All\"",
    ),
    (
        "HEAD /api/v1/namespaces/default/configmaps/kube-root-ca.crt",
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    ),
    (
        "GET /api/v1/namespaces/default/configmaps?includeObject=x\nAccept: application/json;as=Table;v=v1;g=meta.k8s.io",
        400,
        "BadRequest",
        "Unable to convert to Table as requested: includeObject: Invalid value: \"x\": must be 'Metadata', 'Object', 'None', or empty",
    ),
    (
        "GET /api/v1/namespaces/default/configmaps?continue=x",
        400,
        "BadRequest",
        "invalid continue token: continue key is not valid: illegal base64 data at input byte 0",
    ),
    (
        "POST /api/v1/namespaces/default/configmaps?fieldManager=%00\n\n{\"metadata\":{\"name\":\"a\"}}",
        422,
        "Invalid",
        "invalid character U+0000 (at position 0)",
    ),
    (
        "PUT /apis/node.k8s.io/v1/runtimeclasses/a\n\n{\"handler\":\"a\"}",
        400,
        "BadRequest",
        "the name of the object (a based on URL) was undeterminable: name must be provided",
    ),
];

#[test]
fn refusals_are_upstreams() {
    let h = Harness::new();
    for (request, code, reason, words) in TABLE {
        let (found, _, body) = h.send(request);
        let status = schema::Dom::parse_json(body.as_bytes()).unwrap();
        let status = status.as_ref();
        assert_eq!(found, *code, "{request}\n{body}");
        assert_eq!(status.str("reason"), *reason, "{request}\n{body}");
        assert!(status.str("message").contains(words), "{request}\n{body}");
    }
}

#[test]
fn bodies_are_bounded() {
    let h = Harness::new();
    let big = format!(
        "POST /api/v1/namespaces/default/configmaps\n\n{{\"metadata\":{{\"name\":\"a\"}},\"data\":{{\"a\":\"{}\"}}}}",
        "x".repeat(3_200_000)
    );
    let (code, _, body) = h.send(&big);
    assert_eq!(code, 413);
    assert!(
        body.contains("Request entity too large: limit is 3145728"),
        "{body}"
    );
    let deep = format!(
        "POST /api/v1/namespaces/default/configmaps\n\n{}1{}",
        "{\"a\":".repeat(100_000),
        "}".repeat(100_000)
    );
    let (code, _, body) = h.send(&deep);
    assert_eq!(code, 400);
    assert!(body.contains("exceeded max depth"), "{body}");
    // Nine times nine times … of a value: a few hundred bytes that name 10^11 values.
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
    for turn in 1..12 {
        let aliases = vec![format!("*a{}", turn - 1); 9].join(",");
        bomb.push_str(&format!("a{turn}: &a{turn} [{aliases}]\n"));
    }
    let create = "POST /api/v1/namespaces/default/configmaps\nContent-Type: application/yaml";
    let apply = "PATCH /api/v1/namespaces/default/configmaps/a?fieldManager=m\n\
                 Content-Type: application/apply-patch+yaml";
    for head in [create, apply] {
        let (code, _, body) = h.send(&format!("{head}\n\n{bomb}"));
        assert_eq!(code, 400, "{head}: {body}");
        assert!(body.contains("excessive aliasing"), "{head}: {body}");
    }
}
