//! Waiting for objects of a real cluster: the list once, then each change of it, without asking again
//! and again.
//!
//! Example: `until(&pods, "go", |pods| pods.is_empty().then_some(()))`. A server that was killed tells
//! nobody that it listens again; while it is away it is asked every `AWAY`.

use std::collections::BTreeMap;
use std::time::Duration;

use client::{Api, ListOptions, Object, WatchEvent};
use schema::Dom;

const LIMIT: Duration = Duration::from_secs(120);
const AWAY: Duration = Duration::from_millis(100);

/// Objects by name.
pub(crate) type Objects = BTreeMap<String, Object>;

/// What `found` finds in the objects of `api` as soon as it does; fails with what is there instead
/// after two minutes.
pub(crate) async fn until<T>(api: &Api, what: &str, found: impl Fn(&Objects) -> Option<T>) -> T {
    let mut objects = Objects::new();
    if let Ok(value) = tokio::time::timeout(LIMIT, follow(api, &mut objects, &found)).await {
        return value;
    }
    let text = |object: &Object| String::from_utf8_lossy(object.bytes()).into_owned();
    let there: Vec<String> = objects.values().map(text).collect();
    panic!("they do not {what} within {LIMIT:?}: {there:#?}");
}

/// The same of one object.
pub(crate) async fn object_until<T>(
    api: &Api,
    name: &str,
    what: &str,
    found: impl Fn(&Dom) -> Option<T>,
) -> T {
    let one = |objects: &Objects| found(&objects.get(name)?.parse().unwrap());
    until(api, &format!("show that {name} {what}"), one).await
}

async fn follow<T>(api: &Api, objects: &mut Objects, found: impl Fn(&Objects) -> Option<T>) -> T {
    loop {
        let Ok(list) = api.list(&ListOptions::default()).await else {
            tokio::time::sleep(AWAY).await;
            continue;
        };
        let items = list.items.into_iter();
        *objects = items
            .map(|object| (object.name().to_owned(), object))
            .collect();
        if let Some(value) = found(objects) {
            return value;
        }
        let options = ListOptions {
            resource_version: list.resource_version,
            ..ListOptions::default()
        };
        let Ok(mut watch) = api.watch(&options).await else {
            tokio::time::sleep(AWAY).await;
            continue;
        };
        while let Some(Ok(event)) = watch.next().await {
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    objects.insert(object.name().to_owned(), object);
                }
                WatchEvent::Deleted(object) => {
                    objects.remove(object.name());
                }
                WatchEvent::Bookmark { .. } => continue,
            }
            if let Some(value) = found(objects) {
                return value;
            }
        }
    }
}
