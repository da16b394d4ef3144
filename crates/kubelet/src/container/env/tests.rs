use bytes::Bytes;
use expect_test::{Expect, expect};

use super::*;

#[track_caller]
fn check(container: &str, references: &References, services: &[ServiceInfo], expected: Expect) {
    let pod = Dom::parse_json(
        br#"{"metadata":{"name":"web","namespace":"default","uid":"u","labels":{"app":"x"}},
             "spec":{"nodeName":"n1"}}"#,
    )
    .unwrap();
    let container = Dom::parse_json(container.as_bytes()).unwrap();
    let facts = NodeFacts {
        host_addresses: vec!["172.30.0.2".into()],
        pod_addresses: vec!["10.0.0.7".into()],
        allocatable_millicores: 2000,
        allocatable_memory_bytes: 1 << 30,
    };
    let result = environment(
        pod.as_ref(),
        container.as_ref(),
        references,
        services,
        &facts,
    );
    let text = match result {
        Ok(vars) => vars
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect(),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&text);
}

fn references() -> References {
    let mut references = References::default();
    let object =
        |json: &'static str| Arc::new(Object::new(Bytes::from_static(json.as_bytes())).unwrap());
    references.insert(
        Need::ConfigMap("c".into()),
        object(r#"{"metadata":{"name":"c"},"data":{"K":"v"}}"#),
    );
    references.insert(
        Need::Secret("s".into()),
        object(r#"{"metadata":{"name":"s"},"data":{"P":"c2VjcmV0"}}"#),
    );
    references
}

#[test]
fn sources_in_order_with_references() {
    check(
        r#"{"name":"a","envFrom":[{"prefix":"C_","configMapRef":{"name":"c"}},{"secretRef":{"name":"s"}}],
            "resources":{"limits":{"cpu":"1500m"}},
            "env":[{"name":"A","value":"$(C_K)-$(P)-$(NONE)"},
                   {"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},
                   {"name":"APP","valueFrom":{"fieldRef":{"fieldPath":"metadata.labels['app']"}}},
                   {"name":"CPU","valueFrom":{"resourceFieldRef":{"resource":"limits.cpu"}}},
                   {"name":"MEM","valueFrom":{"resourceFieldRef":{"resource":"limits.memory","divisor":"1Mi"}}},
                   {"name":"OPT","valueFrom":{"secretKeyRef":{"name":"none","key":"x","optional":true}}},
                   {"name":"A","value":"last $(A)"}]}"#,
        &references(),
        &[],
        expect![[r#"
            C_K=v
            P=secret
            A=last v-secret-$(NONE)
            IP=10.0.0.7
            APP=x
            CPU=2
            MEM=1024
        "#]],
    );
}

#[test]
fn services_are_told() {
    let service = ServiceInfo {
        name: "my-db".into(),
        address: "10.96.0.9".into(),
        ports: vec![("sql".into(), "TCP".into(), 5432)],
    };
    check(
        r#"{"name":"a"}"#,
        &References::default(),
        &[service],
        expect![[r#"
            MY_DB_SERVICE_HOST=10.96.0.9
            MY_DB_SERVICE_PORT=5432
            MY_DB_SERVICE_PORT_SQL=5432
            MY_DB_PORT=tcp://10.96.0.9:5432
            MY_DB_PORT_5432_TCP=tcp://10.96.0.9:5432
            MY_DB_PORT_5432_TCP_PROTO=tcp
            MY_DB_PORT_5432_TCP_PORT=5432
            MY_DB_PORT_5432_TCP_ADDR=10.96.0.9
        "#]],
    );
}

#[test]
fn what_is_missing_is_named() {
    let none = References::default();
    check(
        r#"{"name":"a","envFrom":[{"configMapRef":{"name":"gone"}}]}"#,
        &none,
        &[],
        expect![[r#"configmap "gone" not found"#]],
    );
    check(
        r#"{"name":"a","env":[{"name":"A","valueFrom":{"secretKeyRef":{"name":"s","key":"x"}}}]}"#,
        &references(),
        &[],
        expect!["couldn't find key x in Secret default/s"],
    );
}
