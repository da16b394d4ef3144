//! Columns of roles, policies, classes and extensions of the API.
//!
//! Source: kubernetes v1.36.3 pkg/printers/internalversion/printers.go;
//! apiextensions-apiserver v0.36.3 and kube-aggregator v0.36.3 table convertors.

use schema::Ref;

use super::{Cell, Columns, age, at, int_at, name, or_none, or_unset, scalar};

fn created(o: Ref<'_>) -> Cell {
    at(o, &["metadata", "creationTimestamp"]).into()
}

pub(crate) fn role() -> Columns {
    Columns::new("Name|Created At:d", |_, o, _| vec![name(o), created(o)])
}

pub(crate) fn role_binding() -> Columns {
    Columns::new(
        "Name|Role|Age|Users*|Groups*|ServiceAccounts*",
        |_, o, now| {
            let role = format!(
                "{}/{}",
                at(o, &["roleRef", "kind"]),
                at(o, &["roleRef", "name"])
            );
            let of = |kind: &str| {
                let all = o.items("subjects").filter(|s| s.str("kind") == kind);
                let names: Vec<String> = all
                    .map(|s| match (kind, s.str("namespace")) {
                        ("ServiceAccount", namespace) => format!("{namespace}/{}", s.str("name")),
                        _ => s.str("name").to_owned(),
                    })
                    .collect();
                Cell::Str(names.join(", "))
            };
            vec![
                name(o),
                role.into(),
                age(o, now),
                of("User"),
                of("Group"),
                of("ServiceAccount"),
            ]
        },
    )
}

pub(crate) fn priority_class() -> Columns {
    Columns::new(
        "Name|Value:i|Global-Default:b|Age|PreemptionPolicy",
        |_, o, now| {
            vec![
                name(o),
                o.int("value").unwrap_or(0).into(),
                o.bool("globalDefault").unwrap_or(false).into(),
                age(o, now),
                o.str("preemptionPolicy").into(),
            ]
        },
    )
}

pub(crate) fn runtime_class() -> Columns {
    Columns::new("Name|Handler|Age", |_, o, now| {
        vec![name(o), o.str("handler").into(), age(o, now)]
    })
}

pub(crate) fn certificate() -> Columns {
    Columns::new(
        "Name|Age|SignerName|Requestor|RequestedDuration|Condition",
        |_, o, now| {
            let holds = |kind| api::meta::condition(o, kind).is_some();
            let mut words = Vec::new();
            if holds("Denied") {
                words.push("Denied");
            } else if holds("Approved") {
                words.push("Approved");
            } else {
                words.push("Pending");
            }
            if holds("Failed") {
                words.push("Failed");
            }
            if !at(o, &["status", "certificate"]).is_empty() {
                words.push("Issued");
            }
            let duration = o.at(&["spec", "expirationSeconds"]).and_then(Ref::as_int);
            let duration = duration.map_or_else(|| "<none>".to_owned(), api::duration::human);
            vec![
                name(o),
                age(o, now),
                or_none(at(o, &["spec", "signerName"])).into(),
                at(o, &["spec", "username"]).into(),
                duration.into(),
                words.join(",").into(),
            ]
        },
    )
}

fn count(o: Option<Ref<'_>>, key: &str) -> Cell {
    Cell::Int(o.map_or(0, |o| i64::try_from(o.items(key).count()).unwrap_or(0)))
}

pub(crate) fn webhooks() -> Columns {
    Columns::new("Name|Webhooks:i|Age", |_, o, now| {
        vec![name(o), count(Some(o), "webhooks"), age(o, now)]
    })
}

fn param_kind(o: Ref<'_>) -> Cell {
    let kind = o.at(&["spec", "paramKind"]);
    or_unset(&kind.map_or_else(String::new, |k| {
        format!("{}/{}", k.str("apiVersion"), k.str("kind"))
    }))
    .into()
}

pub(crate) fn validating_policy() -> Columns {
    Columns::new("Name|Validations:i|ParamKind|Age", |_, o, now| {
        vec![
            name(o),
            count(o.get("spec"), "validations"),
            param_kind(o),
            age(o, now),
        ]
    })
}

pub(crate) fn mutating_policy() -> Columns {
    Columns::new("Name|Mutations:i|ParamKind|Age", |_, o, now| {
        vec![
            name(o),
            count(o.get("spec"), "mutations"),
            param_kind(o),
            age(o, now),
        ]
    })
}

pub(crate) fn admission_binding() -> Columns {
    Columns::new("Name|PolicyName|ParamRef|Age", |_, o, now| {
        let param = o.at(&["spec", "paramRef"]).map_or_else(String::new, |p| {
            match (p.str("namespace"), p.str("name")) {
                ("", "") => String::new(),
                ("", name) => format!("*/{name}"),
                (namespace, name) => format!("{namespace}/{name}"),
            }
        });
        vec![
            name(o),
            at(o, &["spec", "policyName"]).into(),
            or_unset(&param).into(),
            age(o, now),
        ]
    })
}

pub(crate) fn flow_schema() -> Columns {
    Columns::new(
        "Name|PriorityLevel|MatchingPrecedence|DistinguisherMethod|Age|MissingPL",
        |_, o, now| {
            let dangling = api::meta::condition(o, "Dangling");
            let dangling = dangling.map_or("?", |c| c.str("status"));
            vec![
                name(o),
                at(o, &["spec", "priorityLevelConfiguration", "name"]).into(),
                int_at(o, &["spec", "matchingPrecedence"]).into(),
                or_none(at(o, &["spec", "distinguisherMethod", "type"])).into(),
                age(o, now),
                dangling.into(),
            ]
        },
    )
}

pub(crate) fn priority_level() -> Columns {
    Columns::new(
        "Name|Type|NominalConcurrencyShares|Queues|HandSize|QueueLengthLimit|Age",
        |_, o, now| {
            let queues = |key| {
                let path = ["spec", "limited", "limitResponse", "queuing", key];
                Cell::Str(or_none(&scalar(o.at(&path))))
            };
            let shares = scalar(o.at(&["spec", "limited", "nominalConcurrencyShares"]));
            vec![
                name(o),
                at(o, &["spec", "type"]).into(),
                or_none(&shares).into(),
                queues("queues"),
                queues("handSize"),
                queues("queueLengthLimit"),
                age(o, now),
            ]
        },
    )
}

pub(crate) fn definition() -> Columns {
    Columns::new("Name|Created At:d", |_, o, _| vec![name(o), created(o)])
}

pub(crate) fn api_service() -> Columns {
    Columns::new("Name|Service|Available|Age", |_, o, now| {
        let service = o.at(&["spec", "service"]).map_or_else(
            || "Local".to_owned(),
            |s| format!("{}/{}", s.str("namespace"), s.str("name")),
        );
        let available = match api::meta::condition(o, "Available") {
            Some(c) if c.str("status") == "True" => "True".to_owned(),
            Some(c) => format!("{} ({})", c.str("status"), c.str("reason")),
            None => "Unknown".to_owned(),
        };
        vec![name(o), service.into(), available.into(), age(o, now)]
    })
}
