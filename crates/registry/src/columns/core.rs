//! Columns of the small kinds of the core group, and of kinds like them.
//!
//! Source: kubernetes v1.36.3 pkg/printers/internalversion/printers.go.

use api::meta;
use schema::Ref;

use super::{
    Cell, Columns, age, at, containers, int_at, label_set, name, or_none, scalar, since_field,
};

pub(crate) fn namespace() -> Columns {
    Columns::new("Name|Status|Age", |_, o, now| {
        vec![name(o), at(o, &["status", "phase"]).into(), age(o, now)]
    })
}

fn length(object: Ref<'_>, key: &str) -> i64 {
    let len = object.get(key).map_or(0, |map| map.map().count());
    i64::try_from(len).unwrap_or(i64::MAX)
}

pub(crate) fn config_map() -> Columns {
    Columns::new("Name|Data|Age", |_, o, now| {
        vec![
            name(o),
            (length(o, "data") + length(o, "binaryData")).into(),
            age(o, now),
        ]
    })
}

pub(crate) fn secret() -> Columns {
    Columns::new("Name|Type|Data|Age", |_, o, now| {
        vec![
            name(o),
            o.str("type").into(),
            length(o, "data").into(),
            age(o, now),
        ]
    })
}

pub(crate) fn lease() -> Columns {
    Columns::new("Name|Holder|Age", |_, o, now| {
        vec![
            name(o),
            at(o, &["spec", "holderIdentity"]).into(),
            age(o, now),
        ]
    })
}

pub(crate) fn pod_template() -> Columns {
    Columns::new("Name|Containers|Images|Pod Labels", |_, o, _| {
        let [names, images] = containers(o.at(&["template", "spec"]));
        vec![
            name(o),
            names,
            images,
            label_set(o.at(&["template", "metadata", "labels"])).into(),
        ]
    })
}

pub(crate) fn controller_revision() -> Columns {
    Columns::new("Name|Controller|Revision|Age", |_, o, now| {
        let controller = meta::of(o)
            .controller()
            .map_or("<none>".to_owned(), |owner| {
                let group = owner
                    .api_version
                    .split_once('/')
                    .map_or("", |(group, _)| group);
                let kind = owner.kind.to_lowercase();
                match group {
                    "" => format!("{kind}/{}", owner.name),
                    _ => format!("{kind}.{group}/{}", owner.name),
                }
            });
        vec![
            name(o),
            controller.into(),
            o.int("revision").unwrap_or(0).into(),
            age(o, now),
        ]
    })
}

pub(crate) fn resource_quota() -> Columns {
    Columns::new("Name|Request|Limit|Age", |_, o, now| {
        let (mut requests, mut limits) = (Vec::new(), Vec::new());
        let hard = o.at(&["status", "hard"]).into_iter().flat_map(Ref::map);
        let mut hard: Vec<_> = hard.collect();
        hard.sort_by_key(|(key, _)| *key);
        for (key, value) in hard {
            let used = scalar(o.at(&["status", "used", key]));
            let used = if used.is_empty() {
                "0".to_owned()
            } else {
                used
            };
            let text = format!("{key}: {used}/{}", scalar(Some(value)));
            if key.starts_with("limits.") {
                limits.push(text)
            } else {
                requests.push(text)
            }
        }
        vec![
            name(o),
            requests.join(", ").into(),
            limits.join(", ").into(),
            age(o, now),
        ]
    })
}

fn event_object(o: Ref<'_>) -> String {
    let kind = at(o, &["involvedObject", "kind"]).to_lowercase();
    let name = at(o, &["involvedObject", "name"]);
    if name.is_empty() {
        kind
    } else {
        format!("{kind}/{name}")
    }
}

fn event_source(o: Ref<'_>) -> String {
    let (component, host) = (at(o, &["source", "component"]), at(o, &["source", "host"]));
    if component.is_empty() && host.is_empty() {
        let (controller, instance) = (o.str("reportingComponent"), o.str("reportingInstance"));
        return [controller, instance]
            .iter()
            .filter(|s| !s.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join(", ");
    }
    if host.is_empty() {
        component.to_owned()
    } else {
        format!("{component}, {host}")
    }
}

pub(crate) fn event() -> Columns {
    Columns::new(
        "Last Seen|Type|Reason|Object|Subobject*|Source*|Message|First Seen*|Count*|Name*",
        |_, o, now| {
            let time = since_field(o, "eventTime", now);
            let first = since_field(o, "firstTimestamp", now).or_else(|| time.clone());
            let series = o.get("series");
            let last = series.and_then(|s| since_field(s, "lastObservedTime", now));
            let last = last
                .or_else(|| since_field(o, "lastTimestamp", now))
                .or_else(|| first.clone());
            let count = series.map_or_else(
                || o.int("count").unwrap_or(1).max(1),
                |_| int_at(o, &["series", "count"]),
            );
            let unknown = || "<unknown>".to_owned();
            vec![
                last.unwrap_or_else(unknown).into(),
                o.str("type").into(),
                o.str("reason").into(),
                event_object(o).into(),
                at(o, &["involvedObject", "fieldPath"]).into(),
                event_source(o).into(),
                o.str("message").trim().into(),
                first.unwrap_or_else(unknown).into(),
                count.into(),
                Cell::Str(or_none(meta::of(o).name())),
            ]
        },
    )
}
