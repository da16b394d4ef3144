//! Says in ValidatingAdmissionPolicies what is wrong with their expressions.
//!
//! Expressions are checked against the kinds that a policy names without wildcards, built-in and
//! custom ones. A finding is a warning: the policy is enforced all the same.
//! Source: kubernetes v1.36.3 pkg/controller/validatingadmissionpolicystatus; apiserver v0.36.3
//! pkg/admission/plugin/policy/validating/typechecking.go.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::Gvr;
use cel::Type;
use cel::admission::{Wanted, compile, env, schema_type, with_variables};
use client::{Cache, Client, Error, Key, WorkQueue};
use http::Method;
use schema::{Dom, Ref};

use crate::context::{Context, work};
use crate::discovery;

const MANAGER: &str = "validatingadmissionpolicy-status-controller";
/// Kinds of one rule that are checked.
const KINDS: usize = 10;

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<String>> = Arc::new(WorkQueue::new());
    let group = "admissionregistration.k8s.io";
    let add = queue.clone();
    let policies = context
        .informers
        .of(group, "v1", "validatingadmissionpolicies")
        .on_change(move |change| add.add(change.object().name().to_owned()))
        .cache();
    let definitions = context
        .informers
        .of("apiextensions.k8s.io", "v1", "customresourcedefinitions")
        .cache();
    let (client, reader) = (context.client.clone(), context.informers.client().clone());
    work(MANAGER, &context, &queue, move |name| {
        let (client, reader) = (client.clone(), reader.clone());
        let (policies, definitions) = (policies.clone(), definitions.clone());
        async move { sync(&client, &reader, &policies, &definitions, &name).await }
    });
}

async fn sync(
    client: &Client,
    reader: &Client,
    policies: &Cache,
    definitions: &Cache,
    name: &str,
) -> Result<(), Error> {
    policies.synced().await;
    let Some(policy) = policies.get(&Key::new("", name)) else {
        return Ok(());
    };
    let Ok(dom) = policy.parse() else {
        return Ok(());
    };
    let policy = dom.as_ref();
    let generation = api::meta::of(policy).generation();
    let observed = policy
        .get("status")
        .and_then(|s| s.int("observedGeneration"));
    if generation <= observed.unwrap_or(0) {
        return Ok(());
    }
    let mut types = Vec::new();
    for (group, version, kind) in kinds(reader, policy).await? {
        if let Some(ty) = type_of(definitions, &group, &version, &kind).await {
            let shown = if group.is_empty() {
                format!("/{version}, Kind={kind}")
            } else {
                format!("{group}/{version}, Kind={kind}")
            };
            types.push((shown, ty));
        }
    }
    let params = policy
        .at(&["spec", "paramKind"])
        .filter(|kind| !kind.is_null());
    let params = match params {
        None => None,
        Some(kind) => {
            let (group, version) = split(kind.str("apiVersion"));
            let ty = type_of(definitions, group, version, kind.str("kind")).await;
            Some(ty.unwrap_or_default())
        }
    };
    let status = status(
        policy,
        generation,
        &warnings(policy, &types, params.as_ref()),
    );
    let gvr = Gvr::new(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicies",
    );
    let parameters = [
        ("fieldManager", MANAGER.to_owned()),
        ("force", "true".to_owned()),
    ];
    let path = client.resource(&gvr).path(name, "status", &parameters);
    let content = (
        "application/apply-patch+yaml",
        status.to_json(status.root()).into(),
    );
    client.bytes(Method::PATCH, &path, Some(content)).await?;
    Ok(())
}

fn split(version: &str) -> (&str, &str) {
    version.split_once('/').unwrap_or(("", version))
}

/// What the status of the policy is to be.
fn status(policy: Ref<'_>, generation: i64, warnings: &[(String, String)]) -> Dom {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "apiVersion", "admissionregistration.k8s.io/v1");
    dom.set_str(root, "kind", "ValidatingAdmissionPolicy");
    let metadata = dom.ensure_map(root, "metadata");
    dom.set_str(metadata, "name", api::meta::of(policy).name());
    let status = dom.ensure_map(root, "status");
    dom.set_int(status, "observedGeneration", generation);
    let checking = dom.ensure_map(status, "typeChecking");
    if !warnings.is_empty() {
        let list = dom.ensure_list(checking, "expressionWarnings");
        for (field, warning) in warnings {
            let entry = dom.new_map();
            dom.set_str(entry, "fieldRef", field);
            dom.set_str(entry, "warning", warning);
            dom.push(list, entry);
        }
    }
    dom
}

/// Group, version and kind of what the rules name, in order.
async fn kinds(
    client: &Client,
    policy: Ref<'_>,
) -> Result<BTreeSet<(String, String, String)>, Error> {
    let mut kinds = BTreeSet::new();
    let constraints = policy.at(&["spec", "matchConstraints"]);
    for rule in constraints
        .into_iter()
        .flat_map(|of| of.items("resourceRules"))
    {
        let texts = |key| -> Vec<&str> { rule.items(key).filter_map(Ref::as_str).collect() };
        let (groups, versions) = (texts("apiGroups"), texts("apiVersions"));
        if groups
            .iter()
            .chain(&versions)
            .any(|name| name.contains('*'))
        {
            continue;
        }
        let mut resources = texts("resources");
        resources.retain(|name| !name.contains(['*', '/']));
        let mut count = 0;
        for group in &groups {
            for version in &versions {
                let served = discovery::of_version(client, group, version).await?;
                for served in served
                    .iter()
                    .filter(|s| resources.contains(&&*s.gvr.resource))
                {
                    if count < KINDS {
                        count += 1;
                        kinds.insert((
                            (*group).to_owned(),
                            (*version).to_owned(),
                            served.kind.clone(),
                        ));
                    }
                }
            }
        }
    }
    Ok(kinds)
}

/// The type of a kind; none: nobody knows its schema.
async fn type_of(definitions: &Cache, group: &str, version: &str, kind: &str) -> Option<Type> {
    if let Some(id) = schema::builtin().kind(group, version, kind) {
        return Some(Type::built_in(id));
    }
    definitions.synced().await;
    for definition in definitions.list() {
        let Ok(dom) = definition.parse() else {
            continue;
        };
        let Some(spec) = dom.as_ref().get("spec") else {
            continue;
        };
        let own = spec
            .get("names")
            .is_some_and(|names| names.str("kind") == kind);
        if spec.str("group") != group || !own {
            continue;
        }
        let found = spec
            .items("versions")
            .find(|of| of.str("name") == version)?;
        let schema = found.at(&["schema", "openAPIV3Schema"])?;
        return Some(schema_type(schema, true));
    }
    None
}

/// Findings by field. Pure.
fn warnings(
    policy: Ref<'_>,
    types: &[(String, Type)],
    params: Option<&Type>,
) -> Vec<(String, String)> {
    let mut all = Vec::new();
    let Some(spec) = policy.get("spec") else {
        return all;
    };
    for (index, validation) in spec.items("validations").enumerate() {
        for key in ["expression", "messageExpression"] {
            let source = validation.str(key);
            if source.is_empty() {
                continue;
            }
            let found: Vec<String> = types
                .iter()
                .filter_map(|(shown, ty)| {
                    let issue = check(spec, source, ty, params)?;
                    Some(format!("{shown}: {issue}\n"))
                })
                .collect();
            if !found.is_empty() {
                let field = format!("spec.validations[{index}].{key}");
                all.push((field, found.join("\n")));
            }
        }
    }
    all
}

fn check(spec: Ref<'_>, source: &str, object: &Type, params: Option<&Type>) -> Option<String> {
    let mut base = env(params.is_some(), true)
        .with("object", object.clone())
        .with("oldObject", object.clone());
    if let Some(params) = params {
        base = base.with("params", params.clone());
    }
    let mut variables = Vec::new();
    for variable in spec.items("variables") {
        let known = with_variables(&base, &variables);
        let program = compile(variable.str("expression"), &known, Wanted::Any);
        let ty = program.map_or(Type::Dyn, |program| program.ty().clone());
        variables.push((variable.str("name").to_owned(), ty));
    }
    let known = with_variables(&base, &variables);
    compile(source, &known, Wanted::Any).err()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(spec: &str, expected: Expect) {
        let dom = Dom::parse_json(format!("{{\"spec\":{spec}}}").as_bytes()).unwrap();
        let custom = br#"{"type":"object","properties":{"spec":{"type":"object","properties":{
            "replicas":{"type":"integer"},"image":{"type":"string"}}}}}"#;
        let custom = Dom::parse_json(custom).unwrap();
        let id = schema::builtin().kind("apps", "v1", "Deployment").unwrap();
        let types = [
            ("apps/v1, Kind=Deployment".to_owned(), Type::built_in(id)),
            (
                "stable.example.com/v1, Kind=CronTab".to_owned(),
                schema_type(custom.as_ref(), true),
            ),
        ];
        let lines: Vec<String> = warnings(dom.as_ref(), &types, None)
            .into_iter()
            .map(|(field, warning)| format!("{field}\n{warning}"))
            .collect();
        expected.assert_eq(&lines.join(""));
    }

    #[test]
    fn expressions_against_kinds() {
        check(
            r#"{"validations":[{"expression":"object.spec.replicas > 1"}]}"#,
            expect![""],
        );
        check(
            r#"{"validations":[{"expression":"object.spec.replicas > '1'",
            "messageExpression":"'wants replicas > 1, got ' + object.spec.replicas"}]}"#,
            expect![
                "spec.validations[0].expression\napps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'\n | object.spec.replicas > '1'\n | .....................^\n\nstable.example.com/v1, Kind=CronTab: compilation failed: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'\n | object.spec.replicas > '1'\n | .....................^\nspec.validations[0].messageExpression\napps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:28: found no matching overload for '_+_' applied to '(string, int)'\n | 'wants replicas > 1, got ' + object.spec.replicas\n | ...........................^\n\nstable.example.com/v1, Kind=CronTab: compilation failed: ERROR: <input>:1:28: found no matching overload for '_+_' applied to '(string, int)'\n | 'wants replicas > 1, got ' + object.spec.replicas\n | ...........................^\n"
            ],
        );
        check(
            r#"{"variables":[{"name":"r","expression":"object.spec.replicas"}],
            "validations":[{"expression":"variables.r == 'x' || object.spec.unknown > 1"}]}"#,
            expect![
                "spec.validations[0].expression\napps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:13: found no matching overload for '_==_' applied to '(int, string)'\n | variables.r == 'x' || object.spec.unknown > 1\n | ............^\nERROR: <input>:1:34: undefined field 'unknown'\n | variables.r == 'x' || object.spec.unknown > 1\n | .................................^\n\nstable.example.com/v1, Kind=CronTab: compilation failed: ERROR: <input>:1:13: found no matching overload for '_==_' applied to '(int, string)'\n | variables.r == 'x' || object.spec.unknown > 1\n | ............^\nERROR: <input>:1:34: undefined field 'unknown'\n | variables.r == 'x' || object.spec.unknown > 1\n | .................................^\n"
            ],
        );
    }
}
