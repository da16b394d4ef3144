//! Rules by table, the bootstrap policy against upstream's, escalation.

use std::path::Path;

use expect_test::{Expect, expect};
use schema::{Dom, yaml};

use super::{Action, Index, Rule, Verdict, bootstrap, bootstrap_rules, confirm_no_escalation};
use crate::User;

const UPSTREAM: &str = "/root/go/pkg/mod/k8s.io/kubernetes@v1.36.3/plugin/pkg/auth/authorizer/\
                        rbac/bootstrappolicy/testdata";

fn user(name: &str, groups: &[&str]) -> User {
    User {
        name: name.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..User::default()
    }
}

fn bootstrapped() -> Index {
    let mut index = Index::default();
    for one in bootstrap() {
        index.set(
            one.resource,
            &one.namespace,
            &one.name,
            Some(one.object.as_ref()),
        );
    }
    index
}

/// `verb resource[.group][/sub] [name]` or `verb /path`, in `namespace`.
fn action<'a>(text: &'a str, namespace: &'a str) -> Action<'a> {
    let mut words = text.split(' ');
    let mut action = Action {
        verb: words.next().unwrap(),
        namespace,
        ..Action::default()
    };
    let thing = words.next().unwrap();
    if thing.starts_with('/') {
        action.path = thing;
        return action;
    }
    let (thing, subresource) = thing.split_once('/').unwrap_or((thing, ""));
    let (resource, group) = thing.split_once('.').unwrap_or((thing, ""));
    (action.resource, action.group, action.subresource) = (resource, group, subresource);
    action.name = words.next().unwrap_or_default();
    action
}

#[track_caller]
fn check(index: &Index, user: &User, namespace: &str, questions: &[&str], expect: Expect) {
    let answers = questions.iter().map(|question| {
        match index.authorize(user, &action(question, namespace)) {
            Verdict::Allowed(reason) => format!("{question}: {reason}\n"),
            Verdict::Unknown(reason) => format!("{question}: no {reason}\n"),
        }
    });
    expect.assert_eq(&answers.collect::<String>());
}

#[test]
fn the_bootstrap_policy_is_upstreams() {
    if !Path::new(UPSTREAM).exists() {
        println!("skipped: upstream's module is not in the cache");
        return;
    }
    let mut expected = Vec::new();
    for file in [
        "cluster-roles",
        "cluster-role-bindings",
        "controller-roles",
        "controller-role-bindings",
        "namespace-roles",
        "namespace-role-bindings",
    ] {
        let text = std::fs::read(format!("{UPSTREAM}/{file}.yaml")).unwrap();
        let list = yaml::parse(&text, &schema::Limits::default()).unwrap();
        let items: Vec<Vec<u8>> = list
            .dom
            .as_ref()
            .items("items")
            .map(|item| item.to_json())
            .collect();
        expected.extend(
            items
                .into_iter()
                .map(|json| Dom::parse_json(&json).unwrap()),
        );
    }
    let own = bootstrap();
    assert_eq!(own.len(), expected.len());
    for (own, expected) in own.iter().zip(&expected) {
        assert!(
            own.object.as_ref().equal(expected.as_ref()),
            "{}\n{}",
            String::from_utf8_lossy(&own.object.as_ref().to_json()),
            String::from_utf8_lossy(&expected.as_ref().to_json())
        );
    }
}

#[test]
fn bootstrap_roles_decide() {
    let index = bootstrapped();
    check(
        &index,
        &user("root", &["system:masters", "system:authenticated"]),
        "",
        &["delete nodes a", "get /metrics"],
        expect![[r#"
            delete nodes a: RBAC: allowed by ClusterRoleBinding "cluster-admin" of ClusterRole "cluster-admin" to Group "system:masters"
            get /metrics: RBAC: allowed by ClusterRoleBinding "cluster-admin" of ClusterRole "cluster-admin" to Group "system:masters"
        "#]],
    );
    check(
        &index,
        &user("jane", &["system:authenticated"]),
        "a",
        &[
            "get pods",
            "get /api/v1",
            "get /healthz",
            "create selfsubjectaccessreviews.authorization.k8s.io",
        ],
        expect![[r#"
            get pods: no 
            get /api/v1: RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group "system:authenticated"
            get /healthz: RBAC: allowed by ClusterRoleBinding "system:discovery" of ClusterRole "system:discovery" to Group "system:authenticated"
            create selfsubjectaccessreviews.authorization.k8s.io: RBAC: allowed by ClusterRoleBinding "system:basic-user" of ClusterRole "system:basic-user" to Group "system:authenticated"
        "#]],
    );
    check(
        &index,
        &user("system:anonymous", &["system:unauthenticated"]),
        "",
        &["get /version", "get /livez", "get /api", "list pods"],
        expect![[r#"
            get /version: RBAC: allowed by ClusterRoleBinding "system:public-info-viewer" of ClusterRole "system:public-info-viewer" to Group "system:unauthenticated"
            get /livez: RBAC: allowed by ClusterRoleBinding "system:public-info-viewer" of ClusterRole "system:public-info-viewer" to Group "system:unauthenticated"
            get /api: no 
            list pods: no 
        "#]],
    );
    check(
        &index,
        &user("system:kube-scheduler", &["system:authenticated"]),
        "kube-system",
        &[
            "create pods/binding",
            "update leases.coordination.k8s.io kube-scheduler",
            "delete nodes",
            "patch pods/status",
        ],
        expect![[r#"
            create pods/binding: RBAC: allowed by ClusterRoleBinding "system:kube-scheduler" of ClusterRole "system:kube-scheduler" to User "system:kube-scheduler"
            update leases.coordination.k8s.io kube-scheduler: RBAC: allowed by ClusterRoleBinding "system:kube-scheduler" of ClusterRole "system:kube-scheduler" to User "system:kube-scheduler"
            delete nodes: no 
            patch pods/status: RBAC: allowed by ClusterRoleBinding "system:kube-scheduler" of ClusterRole "system:kube-scheduler" to User "system:kube-scheduler"
        "#]],
    );
    assert!(!bootstrap_rules("system:node").is_empty());
}

fn object(json: &str) -> Dom {
    Dom::parse_json(json.as_bytes()).unwrap()
}

/// `view` has no rules of its own; a service account is bound to it in one namespace.
#[test]
fn bindings_in_a_namespace() {
    let mut index = bootstrapped();
    let binding = object(
        r#"{"metadata":{"name":"look","namespace":"a"},"roleRef":{"kind":"ClusterRole","name":"view"},
            "subjects":[{"kind":"ServiceAccount","name":"bot"},{"kind":"User","name":"jane"}]}"#,
    );
    index.set("rolebindings", "a", "look", Some(binding.as_ref()));
    let broken = object(
        r#"{"metadata":{"name":"broken","namespace":"a"},"roleRef":{"kind":"Role","name":"gone"},
            "subjects":[{"kind":"User","name":"jane"}]}"#,
    );
    index.set("rolebindings", "a", "broken", Some(broken.as_ref()));
    let bot = user("system:serviceaccount:a:bot", &[]);
    let questions = &["list pods", "get pods/log", "list secrets"];
    check(
        &index,
        &bot,
        "a",
        questions,
        expect![[r#"
            list pods: RBAC: allowed by RoleBinding "look/a" of ClusterRole "view" to ServiceAccount "bot/a"
            get pods/log: RBAC: allowed by RoleBinding "look/a" of ClusterRole "view" to ServiceAccount "bot/a"
            list secrets: no 
        "#]],
    );
    check(
        &index,
        &user("jane", &[]),
        "a",
        &["list secrets"],
        expect![[r#"
            list secrets: no RBAC: role.rbac.authorization.k8s.io "gone" not found
        "#]],
    );
    check(
        &index,
        &bot,
        "b",
        &["list pods"],
        expect![[r#"
        list pods: no 
    "#]],
    );
    index.set("rolebindings", "a", "look", None);
    check(
        &index,
        &bot,
        "a",
        &["list pods"],
        expect![[r#"
        list pods: no 
    "#]],
    );
}

/// admin is aggregated from edit, which is itself aggregated.
#[test]
fn aggregation_is_transitive() {
    let index = bootstrapped();
    let rules = index.role_rules("", "ClusterRole", "admin").unwrap();
    let allows = |text| rules.iter().any(|rule| rule.allows(&action(text, "a")));
    assert!(allows("create deployments.apps"));
    assert!(allows("create roles.rbac.authorization.k8s.io"));
    assert!(allows("get pods"));
    assert!(!allows("create nodes"));
}

#[test]
fn rules_match_like_upstreams() {
    let rule = |json: &str| Rule::read(object(json).as_ref());
    let scale = rule(
        r#"{"verbs":["*"],"apiGroups":["*"],"resources":["*/scale","pods","services/proxy"]}"#,
    );
    for (text, expected) in [
        ("get deployments.apps/scale", true),
        ("get deployments.apps", false),
        ("get pods", true),
        ("get pods/log", false),
        ("get services/proxy", true),
        ("get /scale", false),
    ] {
        assert_eq!(scale.allows(&action(text, "")), expected, "{text}");
    }
    let named =
        rule(r#"{"verbs":["get"],"apiGroups":[""],"resources":["pods"],"resourceNames":["a"]}"#);
    assert!(named.allows(&action("get pods a", "")));
    assert!(!named.allows(&action("get pods b", "")));
    assert!(!named.allows(&action("get pods", "")));
    let urls = rule(r#"{"verbs":["get"],"nonResourceURLs":["/healthz","/logs/*"]}"#);
    assert!(urls.allows(&action("get /logs/a/b", "")));
    assert!(!urls.allows(&action("get /healthz/ping", "")));
    assert!(!urls.allows(&action("post /healthz", "")));
}

#[test]
fn nobody_grants_more_than_they_have() {
    let mut index = bootstrapped();
    let binding = object(
        r#"{"metadata":{"name":"b","namespace":"a"},"roleRef":{"kind":"ClusterRole","name":"view"},
            "subjects":[{"kind":"User","name":"jane"}]}"#,
    );
    index.set("rolebindings", "a", "b", Some(binding.as_ref()));
    let jane = user("jane", &["dev", "system:authenticated"]);
    let wanted = |json: &str| Rule::read_all(object(json).as_ref());
    let fine =
        wanted(r#"{"rules":[{"verbs":["get","list"],"apiGroups":[""],"resources":["pods"]}]}"#);
    assert_eq!(confirm_no_escalation(&index, &jane, "a", &fine), Ok(()));
    let more = wanted(
        r#"{"rules":[{"verbs":["get","delete","create"],"apiGroups":["","apps"],"resources":["pods"]},
                     {"verbs":["get"],"nonResourceURLs":["/metrics"]}]}"#,
    );
    expect![[r#"
        user "jane" (groups=["dev" "system:authenticated"]) is attempting to grant RBAC permissions not currently held:
        {APIGroups:[""], Resources:["pods"], Verbs:["delete" "create"]}
        {APIGroups:["apps"], Resources:["pods"], Verbs:["get" "delete" "create"]}
        {NonResourceURLs:["/metrics"], Verbs:["get"]}"#]]
    .assert_eq(&confirm_no_escalation(&index, &jane, "a", &more).unwrap_err());
    assert!(confirm_no_escalation(&index, &jane, "b", &fine).is_err());
    let root = user("root", &["system:masters"]);
    assert_eq!(confirm_no_escalation(&index, &root, "", &more), Ok(()));
}
