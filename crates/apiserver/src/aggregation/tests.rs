use expect_test::{Expect, expect};

use super::{ApiService, Order, Services};
use crate::catalog::Catalog;

fn service(name: &str, priorities: (i64, i64), remote: bool) -> ApiService {
    let (version, group) = name.split_once('.').unwrap();
    let service = r#","service":{"namespace":"n","name":"s","port":443}"#;
    let json = format!(
        r#"{{"metadata":{{"name":"{name}"}},"spec":{{"group":"{group}","version":"{version}","groupPriorityMinimum":{},"versionPriority":{}{}}}}}"#,
        priorities.0,
        priorities.1,
        if remote { service } else { "" },
    );
    ApiService::of(schema::Dom::parse_json(json.as_bytes()).unwrap().as_ref())
}

#[track_caller]
fn check(services: &[ApiService], order: Order, expect: &Expect) {
    let services = Services::new(services.to_vec());
    let groups = services.groups(&Catalog::new(Vec::new()), order);
    let lines: Vec<String> = groups
        .iter()
        .map(|group| format!("{:?} {}\n", group.name, group.versions.join(" ")))
        .collect();
    expect.assert_eq(&lines.concat());
}

/// Remote groups stand where their priorities put them.
#[test]
fn groups_by_priority() {
    check(
        &[
            service("v1beta1.metrics.k8s.io", (100, 100), true),
            service("v1.first.example.com", (19000, 1), true),
            service("v1.second.example.com", (17800, 1), true),
            service("v2beta1.apps", (17800, 20), true),
            service("v1alpha1.a.example.com", (2000, 1), true),
            service("v1.b.example.com", (2000, 1), true),
            service("v2.b.example.com", (2000, 1), true),
            service("v1.nobody.example.com", (2000, 1), false),
        ],
        Order::Service,
        &expect![[r#"
            "apiregistration.k8s.io" v1
            "first.example.com" v1
            "" v1
            "apps" v2beta1 v1
            "second.example.com" v1
            "events.k8s.io" v1
            "authentication.k8s.io" v1
            "authorization.k8s.io" v1
            "autoscaling" v2 v1
            "batch" v1
            "certificates.k8s.io" v1
            "networking.k8s.io" v1
            "policy" v1
            "rbac.authorization.k8s.io" v1
            "storage.k8s.io" v1
            "admissionregistration.k8s.io" v1
            "apiextensions.k8s.io" v1
            "scheduling.k8s.io" v1
            "coordination.k8s.io" v1
            "node.k8s.io" v1
            "discovery.k8s.io" v1
            "resource.k8s.io" v1
            "flowcontrol.apiserver.k8s.io" v1
            "b.example.com" v2 v1
            "a.example.com" v1alpha1
            "metrics.k8s.io" v1beta1
        "#]],
    );
}

/// Built-in groups stand as upstream's, whoever has not registered them yet.
#[test]
fn equals_by_name() {
    check(
        &[
            service("v1alpha1.a.example.com", (2000, 1), true),
            service("v1.b.example.com", (2000, 1), true),
        ],
        Order::Group,
        &expect![[r#"
            "apiregistration.k8s.io" v1
            "" v1
            "apps" v1
            "events.k8s.io" v1
            "authentication.k8s.io" v1
            "authorization.k8s.io" v1
            "autoscaling" v2 v1
            "batch" v1
            "certificates.k8s.io" v1
            "networking.k8s.io" v1
            "policy" v1
            "rbac.authorization.k8s.io" v1
            "storage.k8s.io" v1
            "admissionregistration.k8s.io" v1
            "apiextensions.k8s.io" v1
            "scheduling.k8s.io" v1
            "coordination.k8s.io" v1
            "node.k8s.io" v1
            "discovery.k8s.io" v1
            "resource.k8s.io" v1
            "flowcontrol.apiserver.k8s.io" v1
            "a.example.com" v1alpha1
            "b.example.com" v1
        "#]],
    );
}

#[test]
fn paths_of_remote_ones() {
    let services = Services::new(vec![
        service("v1.a.example.com", (1, 1), true),
        service("v1.apps", (1, 1), false),
    ]);
    let of = |path: &str| services.of_path(path).map(|one| one.name.as_str());
    let found = Some("v1.a.example.com");
    assert_eq!(of("/apis/a.example.com/v1"), found);
    assert_eq!(of("/apis/a.example.com/v1/things/x"), found);
    assert_eq!(of("/apis/a.example.com/v1/"), found);
    assert_eq!(of("apis/a.example.com/v1"), found);
    for path in [
        "/apis/a.example.com",
        "/apis/a.example.com/",
        "/apis/a.example.com/v2",
        "/apis/apps/v1",
        "/api/v1",
        "/",
    ] {
        assert_eq!(of(path), None, "{path}");
    }
}
