//! Writes the rules of aggregated ClusterRoles (`admin`, `edit`, `view` and users' own) into them.
//!
//! The authorizer joins the rules itself and at once; what is written is for whoever reads the
//! role. Source: kubernetes v1.36.3 pkg/controller/clusterroleaggregation.

use std::sync::Arc;

use api::Gvr;
use client::{Cache, Client, Error, Key, Object, WorkQueue};
use http::Method;
use schema::{Dom, Ref};

use crate::context::{Context, work};

const MANAGER: &str = "clusterrole-aggregation-controller";

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<String>> = Arc::new(WorkQueue::new());
    let informer = context
        .informers
        .of("rbac.authorization.k8s.io", "v1", "clusterroles");
    let (add, known) = (queue.clone(), informer.clone().cache());
    let roles = informer
        .index(AGGREGATED, aggregated)
        .on_change(move |_| {
            // Any role may be selected by any aggregated one; these are few.
            for role in known.by_index(AGGREGATED, "") {
                add.add(role.name().to_owned());
            }
        })
        .cache();
    let client = context.client.clone();
    work(MANAGER, &context, &queue, move |name| {
        let (client, roles) = (client.clone(), roles.clone());
        async move { sync(&client, &roles, &name).await }
    });
}

const AGGREGATED: &str = "aggregated";

fn aggregated(role: &Object) -> Vec<String> {
    let aggregates = role
        .parse()
        .is_ok_and(|dom| dom.as_ref().get("aggregationRule").is_some());
    aggregates.then(String::new).into_iter().collect()
}

async fn sync(client: &Client, roles: &Cache, name: &str) -> Result<(), Error> {
    roles.synced().await;
    let Some(role) = roles.get(&Key::new("", name)) else {
        return Ok(());
    };
    let Ok(dom) = role.parse() else { return Ok(()) };
    let all: Vec<Dom> = roles
        .list()
        .iter()
        .filter_map(|role| role.parse().ok())
        .collect();
    let all: Vec<Ref<'_>> = all.iter().map(Dom::as_ref).collect();
    let Some(wanted) = plan(dom.as_ref(), &all) else {
        return Ok(());
    };
    let gvr = Gvr::new("rbac.authorization.k8s.io", "v1", "clusterroles");
    let parameters = [
        ("fieldManager", MANAGER.to_owned()),
        ("force", "true".to_owned()),
    ];
    let path = client.resource(&gvr).path(name, "", &parameters);
    let json = wanted.to_json(wanted.root());
    let content = ("application/apply-patch+yaml", json.into());
    client.bytes(Method::PATCH, &path, Some(content)).await?;
    Ok(())
}

/// What to apply so that an aggregated role has the rules of those that it selects; none when it
/// has them. `all` are ordered by name. Pure.
fn plan(role: Ref<'_>, all: &[Ref<'_>]) -> Option<Dom> {
    let own = api::meta::of(role).name();
    let mut rules: Vec<Ref<'_>> = Vec::new();
    for selector in role.get("aggregationRule")?.items("clusterRoleSelectors") {
        let selector = api::meta::label_selector(Some(selector)).ok()?;
        for other in all {
            let meta = api::meta::of(*other);
            if meta.name() == own || !meta.matches(&selector) {
                continue;
            }
            for rule in other.items("rules") {
                if !rules.iter().any(|known| known.equal(rule)) {
                    rules.push(rule);
                }
            }
        }
    }
    let same = role.items("rules").count() == rules.len()
        && role.items("rules").zip(&rules).all(|(a, b)| a.equal(*b));
    if same {
        return None;
    }
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "apiVersion", "rbac.authorization.k8s.io/v1");
    dom.set_str(root, "kind", "ClusterRole");
    let metadata = dom.ensure_map(root, "metadata");
    dom.set_str(metadata, "name", own);
    let list = dom.ensure_list(root, "rules");
    for rule in rules {
        let entry = dom.import(rule.dom(), rule.node());
        dom.push(list, entry);
    }
    Some(dom)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(role: &str, others: &[&str], expected: Expect) {
        let parse = |text: &str| Dom::parse_json(text.as_bytes()).unwrap();
        let role = parse(role);
        let others: Vec<Dom> = others.iter().map(|text| parse(text)).collect();
        let mut all: Vec<Ref<'_>> = others.iter().map(Dom::as_ref).collect();
        all.push(role.as_ref());
        let text = plan(role.as_ref(), &all).map(|dom| {
            let rules = dom.get(dom.root(), "rules").unwrap();
            String::from_utf8(dom.to_json(rules)).unwrap()
        });
        expected.assert_eq(&text.unwrap_or_else(|| "nothing".into()));
    }

    #[test]
    fn rules_are_joined_once() {
        let a = r#"{"metadata":{"name":"a","labels":{"to":"x"}},"rules":[{"verbs":["get"]},{"verbs":["list"]}]}"#;
        let b = r#"{"metadata":{"name":"b","labels":{"to":"x"}},"rules":[{"verbs":["get"]}]}"#;
        let c = r#"{"metadata":{"name":"c"},"rules":[{"verbs":["delete"]}]}"#;
        let role = |rules: &str| {
            format!(
                r#"{{"metadata":{{"name":"x","labels":{{"to":"x"}}}},"aggregationRule":{{"clusterRoleSelectors":[{{"matchLabels":{{"to":"x"}}}}]}},"rules":{rules}}}"#
            )
        };
        check(
            &role("[]"),
            &[a, b, c],
            expect![[r#"[{"verbs":["get"]},{"verbs":["list"]}]"#]],
        );
        check(
            &role(r#"[{"verbs":["get"]},{"verbs":["list"]}]"#),
            &[a, b, c],
            expect!["nothing"],
        );
        check(&role(r#"[{"verbs":["get"]}]"#), &[c], expect!["[]"]);
    }
}
