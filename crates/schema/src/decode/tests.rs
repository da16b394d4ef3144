//! What strict validation finds, what wrong types say, canonical leaves; no panics.

use expect_test::{Expect, expect};
use proptest::prelude::{any, proptest};

use super::decode_json;
use crate::{Limits, builtin};

#[track_caller]
fn check(kind: &str, source: &str, expect: Expect) {
    let table = builtin();
    let ty = table.named(kind).unwrap();
    let text = match decode_json(table, ty, source.as_bytes(), &Limits::DEFAULT) {
        Ok(decoded) => {
            let mut text = String::from_utf8(decoded.dom.to_json(decoded.dom.root())).unwrap();
            for finding in decoded.findings {
                text.push_str(&format!("; {finding}"));
            }
            text
        }
        Err(error) => error.to_string(),
    };
    expect.assert_eq(&text);
}

#[test]
fn findings() {
    check(
        "core.v1.Pod",
        r#"{"spec":{"containers":[{"name":"a","imag":{"x":[1]},"name":"b"}],"nodename":"n"},"foo":1,"metadata":{"labels":{"a":"1","a":"2"}}}"#,
        expect![[
            r#"{"spec":{"containers":[{"name":"b"}]},"metadata":{"labels":{"a":"2"}}}; unknown field "spec.containers[0].imag"; duplicate field "spec.containers[0].name"; unknown field "spec.nodename"; unknown field "foo"; duplicate field "metadata.labels.a""#
        ]],
    );
}

#[test]
fn wrong_types() {
    check(
        "core.v1.Pod",
        r#"{"metadata":{"labels":"x"}}"#,
        expect![
            "json: cannot unmarshal string into Go struct field ObjectMeta.metadata.labels of type map[string]string"
        ],
    );
    check(
        "core.v1.Pod",
        r#"{"metadata":{"labels":{"a":1}}}"#,
        expect![
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"
        ],
    );
    check(
        "core.v1.Pod",
        r#"{"spec":{"containers":["x"]}}"#,
        expect![
            "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type v1.Container"
        ],
    );
    check(
        "core.v1.Pod",
        r#"{"spec":{"containers":[{"ports":[{"containerPort":"80"}]}]}}"#,
        expect![
            "json: cannot unmarshal string into Go struct field ContainerPort.spec.containers.ports.containerPort of type int32"
        ],
    );
    check(
        "core.v1.Pod",
        r#"{"spec":{"priority":3000000000}}"#,
        expect![
            "json: cannot unmarshal number 3000000000 into Go struct field PodSpec.spec.priority of type int32"
        ],
    );
    check(
        "core.v1.Pod",
        r#"{"spec":{"priority":1.5}}"#,
        expect![
            "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type int32"
        ],
    );
    check(
        "core.v1.Pod",
        r#"{"spec":{"restartPolicy":true}}"#,
        expect![
            "json: cannot unmarshal bool into Go struct field PodSpec.spec.restartPolicy of type v1.RestartPolicy"
        ],
    );
    check(
        "core.v1.Pod",
        r#"{"spec":{"volumes":[{"hostPath":[]}]}}"#,
        expect![
            "json: cannot unmarshal array into Go struct field Volume.spec.volumes.VolumeSource.hostPath of type v1.HostPathVolumeSource"
        ],
    );
    check(
        "core.v1.Pod",
        "[]",
        expect!["json: cannot unmarshal array into Go value of type v1.Pod"],
    );
    check(
        "core.v1.Secret",
        r#"{"data":{"a":"%"}}"#,
        expect!["illegal base64 data at input byte 0"],
    );
    check(
        "core.v1.Pod",
        r#"{"metadata":{"creationTimestamp":"x"}}"#,
        expect![[r#"parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006""#]],
    );
    check(
        "core.v1.Pod",
        r#"{"metadata":{"creationTimestamp":5}}"#,
        expect![
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string"
        ],
    );
    check(
        "core.v1.ResourceQuota",
        r#"{"spec":{"hard":{"cpu":"1x"}}}"#,
        expect![
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
        ],
    );
    check(
        "core.v1.ResourceQuota",
        r#"{"spec":{"hard":{"cpu":"1Mm"}}}"#,
        expect!["unable to parse quantity's suffix"],
    );
    check(
        "core.v1.ServicePort",
        r#"{"targetPort":[]}"#,
        expect![
            "json: cannot unmarshal array into Go struct field ServicePort.targetPort of type int32"
        ],
    );
    for (source, expect) in [
        (
            r#"{"metadata":{"creationTimestamp":"2026-01-02T03:04:05"}}"#,
            r#"parsing time "2026-01-02T03:04:05" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "Z07:00""#,
        ),
        (
            r#"{"metadata":{"creationTimestamp":"2026-13-02T03:04:05Z"}}"#,
            r#"parsing time "2026-13-02T03:04:05Z": month out of range"#,
        ),
        (
            r#"{"metadata":{"creationTimestamp":"2026-02-30T03:04:05Z"}}"#,
            r#"parsing time "2026-02-30T03:04:05Z": day out of range"#,
        ),
        (
            r#"{"metadata":{"creationTimestamp":"2026-02-20 03:04:05Z"}}"#,
            r#"parsing time "2026-02-20 03:04:05Z" as "2006-01-02T15:04:05Z07:00": cannot parse " 03:04:05Z" as "T""#,
        ),
        (
            r#"{"metadata":{"creationTimestamp":"2026-02-20T03:04:05Zx"}}"#,
            r#"parsing time "2026-02-20T03:04:05Zx": extra text: "x""#,
        ),
        (
            r#"{"metadata":{"creationTimestamp":""}}"#,
            r#"parsing time "" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "2006""#,
        ),
        (
            r#"{"metadata":{"finalizers":[1]}}"#,
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.finalizers of type string",
        ),
        (
            r#"{"metadata":{"ownerReferences":{}}}"#,
            "json: cannot unmarshal object into Go struct field ObjectMeta.metadata.ownerReferences of type []v1.OwnerReference",
        ),
        (
            r#"{"metadata":5}"#,
            "json: cannot unmarshal number into Go struct field Pod.metadata of type v1.ObjectMeta",
        ),
        (
            r#"{"spec":{"containers":[{"livenessProbe":{"httpGet":{"port":1.5}}}]}}"#,
            "json: cannot unmarshal number 1.5 into Go struct field HTTPGetAction.spec.containers.livenessProbe.ProbeHandler.httpGet.port of type int32",
        ),
        (
            r#"{"kind":1}"#,
            "json: cannot unmarshal number into Go struct field Pod.TypeMeta.kind of type string",
        ),
        (
            r#"{"spec":{"overhead":[]}}"#,
            "json: cannot unmarshal array into Go struct field PodSpec.spec.overhead of type v1.ResourceList",
        ),
        (
            r#"{"spec":{"tolerations":[{"key":3}]}}"#,
            "json: cannot unmarshal number into Go struct field Toleration.spec.tolerations.key of type string",
        ),
    ] {
        let table = builtin();
        let pod = table.named("core.v1.Pod").unwrap();
        let error = decode_json(table, pod, source.as_bytes(), &Limits::DEFAULT).unwrap_err();
        assert_eq!(error.to_string(), expect);
    }
    // Syntax comes first.
    check(
        "core.v1.Pod",
        r#"{"metadata":{"labels":"x"}},"#,
        expect!["invalid character ',' after top-level value"],
    );
    check(
        "core.v1.Pod",
        r#"{"metadata":{"creationTimestamp":"x"}"#,
        expect!["unexpected end of JSON input"],
    );
}

#[test]
fn nulls() {
    check(
        "core.v1.Pod",
        r#"{"metadata":{"labels":null,"annotations":{"a":null},"name":null},"spec":{"containers":[null],"hostNetwork":null},"status":null}"#,
        expect![[r#"{"metadata":{"annotations":{"a":""}},"spec":{"containers":[{}]}}"#]],
    );
}

#[test]
fn leaves() {
    check(
        "core.v1.Pod",
        r#"{"metadata":{"creationTimestamp":"2026-03-01T01:30:00.5+02:00","deletionTimestamp":"2024-02-29T23:59:59Z"}}"#,
        expect![[
            r#"{"metadata":{"creationTimestamp":"2026-02-28T23:30:00Z","deletionTimestamp":"2024-02-29T23:59:59Z"}}"#
        ]],
    );
    check(
        "coordination.v1.LeaseSpec",
        r#"{"renewTime":"2026-03-01T01:30:00.123456+01:00"}"#,
        expect![[r#"{"renewTime":"2026-03-01T00:30:00.123456Z"}"#]],
    );
    check(
        "core.v1.ServicePort",
        r#"{"targetPort":"http","port":1}"#,
        expect![[r#"{"targetPort":"http","port":1}"#]],
    );
    check(
        "meta.v1.ManagedFieldsEntry",
        r#"{"fieldsV1":{"f:a":{},"k:{\"x\":1}":{".":{}}}}"#,
        expect![[r#"{"fieldsV1":{"f:a":{},"k:{\"x\":1}":{".":{}}}}"#]],
    );
}

#[track_caller]
fn quantity(text: &str, expect: &str) {
    let ours = match super::quantity::canonical(text) {
        Ok(canonical) => canonical.unwrap_or_else(|| text.to_owned()),
        Err(error) => error.to_owned(),
    };
    assert_eq!(ours, expect, "{text}");
}

#[test]
fn quantities() {
    for (text, expect) in [
        ("0", "0"),
        ("0Mi", "0"),
        ("-0", "0"),
        ("100m", "100m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.5", "500m"),
        ("1.5", "1500m"),
        ("1.5Gi", "1536Mi"),
        ("1024Mi", "1Gi"),
        ("100Mi", "100Mi"),
        ("8Mi", "8Mi"),
        ("1000Ki", "1000Ki"),
        ("1000", "1k"),
        ("1048576", "1048576"),
        ("12e6", "12e6"),
        ("1E", "1E"),
        ("1e3", "1e3"),
        ("0.1n", "1n"),
        ("-1.5", "-1500m"),
        ("1023", "1023"),
        ("512", "512"),
        ("0.5Ki", "512"),
        ("1e1", "10"),
        ("1e", "unable to parse quantity's suffix"),
        ("+5", "+5"),
        ("5.", "5."),
        (".5", "500m"),
        ("1.Mi", "1.Mi"),
        ("12345678901234567890", "12345678901234567890"),
        ("0.00000000001", "1n"),
        ("1e-3", "1e-3"),
        ("100e-5", "1e-3"),
        ("3e5", "300e3"),
        ("1025Ki", "1025Ki"),
        ("10240Ki", "10Mi"),
        ("9223372036854775807Ki", "9223372036854775807"),
        ("-1Mi", "-1Mi"),
        ("-2048Ki", "-2Mi"),
        ("00", "0"),
        ("0.0", "0"),
        ("1.0", "1"),
        ("010", "010"),
        ("1.20", "1200m"),
        ("1.25Ki", "1280"),
        ("0.1Ki", "102400m"),
        ("0.001Ki", "1024m"),
        // Upstream writes "1" and "100".
        ("1000E", "1e21"),
        ("100000000000000000000000", "100e21"),
        ("1.5e-2147483648", "1e-9"),
        ("100e2147483647", "100e2147483647"),
    ] {
        quantity(text, expect);
    }
}

proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let table = builtin();
        let _ = decode_json(table, table.named("core.v1.Pod").unwrap(), &bytes, &Limits::DEFAULT);
    }

    #[test]
    fn leaves_never_panic(text in "[-+0-9.eEinumkKMGTPi:TZ]{0,24}") {
        let _ = super::quantity::canonical(&text);
        let _ = super::time::canonical(&text, false);
        let _ = super::time::canonical(&text, true);
    }

    #[test]
    fn json_of_other_types_never_panics(text in r#"(\{"(metadata|spec|status|items)":)?[\[\]{}:,"a0-9.eE\\ntrufals -]{0,24}"#) {
        let table = builtin();
        let _ = decode_json(table, table.named("core.v1.PodList").unwrap(), text.as_bytes(), &Limits::DEFAULT);
    }
}
