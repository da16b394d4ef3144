//! ResourceQuota: what a create adds is charged in the create's own transaction.
//!
//! Counts objects (`count/RESOURCE.GROUP` and the short core names) and, for pods, requests and
//! limits. Usage is recounted by a controller; here it only grows.
//! Source: kubernetes v1.36.3 apiserver/pkg/admission/plugin/resourcequota/controller.go,
//! pkg/quota/v1/evaluator/core.

use std::collections::BTreeMap;

use api::{Quantity, Status};
use schema::{Dom, Ref};

use super::Operation;
use crate::columns::scalar;
use crate::edit::{ensure_map, map};
use crate::hooks::{Context, Extra, Extras};

fn list(amounts: &BTreeMap<String, Quantity>) -> String {
    let parts: Vec<String> = amounts
        .iter()
        .map(|(name, amount)| format!("{name}={amount}"))
        .collect();
    parts.join(",")
}

pub(super) fn charge(
    cx: &Context<'_>,
    operation: Operation,
    new: Ref<'_>,
    _old: Option<Ref<'_>>,
    extras: &mut Extras,
) -> Result<(), Status> {
    if operation != Operation::Create || cx.namespace.is_empty() || !cx.subresource.is_empty() {
        return Ok(());
    }
    if cx.resource.kind == "Event" || !cx.resource.is_stored() {
        return Ok(());
    }
    let quotas = cx.lookup.list("resourcequotas", cx.namespace);
    if quotas.is_empty() {
        return Ok(());
    }
    let delta = api::quota::usage(&cx.resource.group_resource(), new);
    for mut quota in quotas {
        if !api::quota::selects(quota.as_ref(), &cx.resource.kind, new) {
            continue;
        }
        let mut asked = BTreeMap::new();
        let (mut used_all, mut hard_all) = (BTreeMap::new(), BTreeMap::new());
        let mut exceeded = false;
        let mut missing = Vec::new();
        let name = api::meta::of(quota.as_ref()).name().to_owned();
        for (resource, hard) in quota
            .as_ref()
            .get("spec")
            .into_iter()
            .flat_map(|s| s.entries("hard"))
        {
            let Some(more) = delta.get(resource) else {
                let compute = resource.starts_with("requests.")
                    || resource.starts_with("limits.")
                    || matches!(resource, "cpu" | "memory");
                let storage = resource.contains("storage");
                if cx.resource.kind == "Pod" && compute && !storage {
                    missing.push(resource.to_owned());
                }
                continue;
            };
            let Ok(hard) = Quantity::parse(&scalar(Some(hard))) else {
                continue;
            };
            let used = quota.as_ref().at(&["status", "used", resource]);
            let used = Quantity::parse(&scalar(used)).unwrap_or_default();
            let mut total = used.clone();
            total.add(more);
            if total > hard {
                exceeded = true;
                asked.insert(resource.to_owned(), more.clone());
                used_all.insert(resource.to_owned(), used);
                hard_all.insert(resource.to_owned(), hard);
            } else {
                asked
                    .entry(resource.to_owned())
                    .or_insert_with(|| more.clone());
            }
        }
        let own = cx.resource.group_resource();
        let object = api::meta::of(new).name();
        if !missing.is_empty() {
            missing.sort();
            let cause = format!(
                "failed quota: {name}: must specify {}",
                missing_text(&missing, new)
            );
            return Err(Status::forbidden(&own, object, &cause));
        }
        if exceeded {
            asked.retain(|resource, _| hard_all.contains_key(resource));
            let cause = format!(
                "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
                list(&asked),
                list(&used_all),
                list(&hard_all)
            );
            return Err(Status::forbidden(&own, object, &cause));
        }
        if asked.is_empty() || cx.dry_run {
            continue;
        }
        add(&mut quota, &asked);
        extras.writes.push(Extra::Update {
            prefix: "resourcequotas".into(),
            namespace: cx.namespace.to_owned(),
            name,
            object: quota,
        });
    }
    Ok(())
}

fn missing_text(missing: &[String], pod: Ref<'_>) -> String {
    let names: Vec<&str> = pod
        .get("spec")
        .into_iter()
        .flat_map(|spec| spec.items("containers"))
        .map(|container| container.str("name"))
        .collect();
    let parts: Vec<String> = missing
        .iter()
        .map(|resource| format!("{resource} for: {}", names.join(",")))
        .collect();
    parts.join("; ")
}

fn add(quota: &mut Dom, amounts: &BTreeMap<String, Quantity>) {
    let root = quota.root();
    let status = ensure_map(quota, root, "status");
    if map(quota, status, "hard").is_none()
        && let Some(hard) = quota.at(root, &["spec", "hard"])
    {
        let copy = quota.copy(hard);
        quota.set(status, "hard", copy);
    }
    let used = ensure_map(quota, status, "used");
    for (name, amount) in amounts {
        let before = quota
            .get(used, name)
            .map(|node| scalar(Some(quota.at_node(node))));
        let mut total = before
            .and_then(|text| Quantity::parse(&text).ok())
            .unwrap_or_default();
        total.add(amount);
        quota.set_str(used, name, &total.to_string());
    }
}
