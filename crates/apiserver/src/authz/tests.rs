//! Questions against a store in memory.

use std::sync::Arc;

use base::{Clock, ManualClock};
use bytes::Bytes;
use expect_test::{Expect, expect};
use store::{Revision, Store, Txn};

use super::Authz;
use crate::{Authorizer, Decision, RequestInfo, UserInfo, request};

struct World {
    runtime: tokio::runtime::Runtime,
    store: Store,
    authz: Authz,
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH));
        let store = Store::in_memory(clock);
        let world = |key: &str, json: Vec<u8>| {
            let txn = Txn::create(Bytes::from(format!("/registry/{key}")), Bytes::from(json));
            runtime.block_on(store.txn(txn)).unwrap();
        };
        for one in registry::rbac::bootstrap() {
            let place = if one.namespace.is_empty() {
                one.name.clone()
            } else {
                format!("{}/{}", one.namespace, one.name)
            };
            world(
                &format!("{}/{place}", one.resource),
                one.object.as_ref().to_json(),
            );
        }
        let authz = Authz::new(store.clone(), "/registry").unwrap();
        Self {
            runtime,
            store,
            authz,
        }
    }

    fn put(&self, key: &str, json: &str) {
        let txn = Txn::create(
            Bytes::from(format!("/registry/{key}")),
            Bytes::from(json.to_owned()),
        );
        self.runtime.block_on(self.store.txn(txn)).unwrap();
    }

    fn delete(&self, key: &str) {
        let key = Bytes::from(format!("/registry/{key}"));
        let revision = Revision(self.store.get(&key).unwrap().mod_revision.0);
        self.runtime
            .block_on(self.store.txn(Txn::delete(key, revision)))
            .unwrap();
    }

    /// `METHOD PATH` each.
    #[track_caller]
    fn check(&self, user: &UserInfo, questions: &[&str], expect: Expect) {
        let mut out = String::new();
        for question in questions {
            let (method, uri) = question.split_once(' ').unwrap();
            let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
            let info = RequestInfo::parse(method, path, &request::query(query));
            let answer = match self.authz.authorize(user, &info) {
                Decision::Allow { .. } => "yes".to_owned(),
                Decision::Deny { reason } => format!("never {reason}"),
                Decision::NoOpinion { reason } => format!("no {reason}"),
            };
            out.push_str(&format!("{question}: {}\n", answer.trim()));
        }
        expect.assert_eq(&out);
    }
}

fn user(name: &str, groups: &[&str]) -> UserInfo {
    UserInfo {
        name: name.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..UserInfo::default()
    }
}

fn node(name: &str) -> UserInfo {
    user(
        &format!("system:node:{name}"),
        &["system:nodes", "system:authenticated"],
    )
}

const POD: &str = r#"{"metadata":{"name":"web","namespace":"a"},"spec":{"nodeName":"n1","serviceAccountName":"bot",
    "containers":[{"name":"c","env":[{"name":"X","valueFrom":{"secretKeyRef":{"name":"env","key":"k"}}}],
                   "envFrom":[{"configMapRef":{"name":"settings"}}]}],
    "volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"data"}},
               {"name":"p","projected":{"sources":[{"secret":{"name":"tls"}},{"configMap":{"name":"ca"}}]}},
               {"name":"tmp","ephemeral":{}}]}}"#;

#[test]
fn nodes_reach_what_their_pods_name() {
    let world = World::new();
    let questions = &[
        "GET /api/v1/namespaces/a/secrets/tls",
        "GET /api/v1/namespaces/a/secrets/env",
        "GET /api/v1/namespaces/a/secrets/disk",
        "GET /api/v1/namespaces/b/secrets/tls",
        "GET /api/v1/namespaces/a/secrets",
        "PUT /api/v1/namespaces/a/secrets/tls",
        "GET /api/v1/namespaces/a/configmaps/settings",
        "GET /api/v1/namespaces/a/configmaps?watch=1&fieldSelector=metadata.name%3Dca",
        "GET /api/v1/namespaces/a/persistentvolumeclaims/data",
        "GET /api/v1/namespaces/a/persistentvolumeclaims/web-tmp",
        "GET /api/v1/persistentvolumes/pv1",
        "POST /api/v1/namespaces/a/serviceaccounts/bot/token",
        "POST /api/v1/namespaces/a/serviceaccounts/default/token",
        "GET /api/v1/namespaces/a/pods/web",
        "GET /api/v1/pods?fieldSelector=spec.nodeName%3Dn1",
        "GET /api/v1/pods",
    ];
    world.put("pods/a/web", POD);
    world.put(
        "persistentvolumes/pv1",
        r#"{"metadata":{"name":"pv1"},"spec":{"claimRef":{"namespace":"a","name":"data"},
            "csi":{"nodePublishSecretRef":{"namespace":"a","name":"disk"}}}}"#,
    );
    world.check(&node("n1"), questions, expect![[r#"
        GET /api/v1/namespaces/a/secrets/tls: yes
        GET /api/v1/namespaces/a/secrets/env: yes
        GET /api/v1/namespaces/a/secrets/disk: yes
        GET /api/v1/namespaces/b/secrets/tls: no no relationship found between node 'n1' and this object
        GET /api/v1/namespaces/a/secrets: no No Object name found
        PUT /api/v1/namespaces/a/secrets/tls: no can only read resources of this type
        GET /api/v1/namespaces/a/configmaps/settings: yes
        GET /api/v1/namespaces/a/configmaps?watch=1&fieldSelector=metadata.name%3Dca: yes
        GET /api/v1/namespaces/a/persistentvolumeclaims/data: yes
        GET /api/v1/namespaces/a/persistentvolumeclaims/web-tmp: yes
        GET /api/v1/persistentvolumes/pv1: yes
        POST /api/v1/namespaces/a/serviceaccounts/bot/token: yes
        POST /api/v1/namespaces/a/serviceaccounts/default/token: no no relationship found between node 'n1' and this object
        GET /api/v1/namespaces/a/pods/web: yes
        GET /api/v1/pods?fieldSelector=spec.nodeName%3Dn1: yes
        GET /api/v1/pods: no can only list/watch pods with spec.nodeName field selector
    "#]]);
    world.check(&node("n2"), &questions[..3], expect![[r#"
        GET /api/v1/namespaces/a/secrets/tls: no no relationship found between node 'n2' and this object
        GET /api/v1/namespaces/a/secrets/env: no no relationship found between node 'n2' and this object
        GET /api/v1/namespaces/a/secrets/disk: no no relationship found between node 'n2' and this object
    "#]]);
    world.delete("pods/a/web");
    world.check(&node("n1"), &questions[..3], expect![[r#"
        GET /api/v1/namespaces/a/secrets/tls: no no relationship found between node 'n1' and this object
        GET /api/v1/namespaces/a/secrets/env: no no relationship found between node 'n1' and this object
        GET /api/v1/namespaces/a/secrets/disk: no no relationship found between node 'n1' and this object
    "#]]);
}

#[test]
fn nodes_keep_to_themselves() {
    let world = World::new();
    world.check(
        &node("n1"),
        &[
            "GET /api/v1/nodes/n1",
            "GET /api/v1/nodes/n2",
            "GET /api/v1/nodes",
            "POST /api/v1/nodes",
            "DELETE /api/v1/nodes/n1",
            "PATCH /api/v1/nodes/n1/status",
            "PUT /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1",
            "PUT /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n2",
            "PUT /apis/coordination.k8s.io/v1/namespaces/default/leases/n1",
            "POST /api/v1/namespaces/a/events",
            "GET /api/v1/services?watch=true",
            "PATCH /api/v1/namespaces/a/pods/web/status",
            "POST /api/v1/namespaces/a/pods/web/exec",
            "POST /apis/authentication.k8s.io/v1/tokenreviews",
            "GET /apis",
            "GET /metrics",
        ],
        expect![[r#"
            GET /api/v1/nodes/n1: yes
            GET /api/v1/nodes/n2: no node 'n1' cannot read 'n2', only its own Node object
            GET /api/v1/nodes: no node 'n1' cannot read all nodes, only its own Node object
            POST /api/v1/nodes: yes
            DELETE /api/v1/nodes/n1: no
            PATCH /api/v1/nodes/n1/status: yes
            PUT /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1: yes
            PUT /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n2: no can only access node lease with the same name as the requesting node
            PUT /apis/coordination.k8s.io/v1/namespaces/default/leases/n1: no can only access leases in the "kube-node-lease" system namespace
            POST /api/v1/namespaces/a/events: yes
            GET /api/v1/services?watch=true: yes
            PATCH /api/v1/namespaces/a/pods/web/status: yes
            POST /api/v1/namespaces/a/pods/web/exec: no
            POST /apis/authentication.k8s.io/v1/tokenreviews: yes
            GET /apis: yes
            GET /metrics: no
        "#]],
    );
    let stray = user("system:node:n1", &["system:authenticated"]);
    world.check(
        &stray,
        &["GET /api/v1/nodes/n1"],
        expect![[r#"
        GET /api/v1/nodes/n1: no
    "#]],
    );
}

#[test]
fn a_binding_counts_at_once() {
    let world = World::new();
    let jane = user("jane", &["system:authenticated"]);
    let questions = &[
        "GET /api/v1/namespaces/a/pods/x/log",
        "DELETE /api/v1/namespaces/a/pods/x",
    ];
    world.check(
        &jane,
        questions,
        expect![[r#"
        GET /api/v1/namespaces/a/pods/x/log: no
        DELETE /api/v1/namespaces/a/pods/x: no
    "#]],
    );
    world.put(
        "rolebindings/a/edit",
        r#"{"metadata":{"name":"edit","namespace":"a"},"roleRef":{"kind":"ClusterRole","name":"edit"},
            "subjects":[{"kind":"User","name":"jane"}]}"#,
    );
    world.check(
        &jane,
        questions,
        expect![[r#"
        GET /api/v1/namespaces/a/pods/x/log: yes
        DELETE /api/v1/namespaces/a/pods/x: yes
    "#]],
    );
    world.delete("rolebindings/a/edit");
    world.check(
        &jane,
        questions,
        expect![[r#"
        GET /api/v1/namespaces/a/pods/x/log: no
        DELETE /api/v1/namespaces/a/pods/x: no
    "#]],
    );
}

#[test]
fn anonymous_sees_health_and_version() {
    let world = World::new();
    let anonymous = crate::access::anonymous();
    world.check(
        &anonymous,
        &[
            "GET /livez",
            "GET /readyz",
            "GET /healthz",
            "GET /version",
            "GET /api",
            "GET /metrics",
            "GET /api/v1/nodes",
        ],
        expect![[r#"
            GET /livez: yes
            GET /readyz: yes
            GET /healthz: yes
            GET /version: yes
            GET /api: no
            GET /metrics: no
            GET /api/v1/nodes: no
        "#]],
    );
    let masters = user("root", &["system:masters"]);
    world.check(
        &masters,
        &["DELETE /api/v1/nodes/n1", "POST /anything"],
        expect![[r#"
            DELETE /api/v1/nodes/n1: yes
            POST /anything: yes
        "#]],
    );
}
