//! Clients and watchers, and what they write down.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result};
use api::Gvr;
use base::Rng;
use client::{Api, Client, DeleteOptions, Error, ListOptions, Object, WatchEvent};
use tokio::time::{sleep, timeout};

use crate::history::{Answer, Asked, Call, Item, Kind, Seen, Shared, Span};

/// Keys that all fight for.
const KEYS: u64 = 5;
/// What the last write is called.
const LAST: &str = "last";
/// A quiet stream is left and taken up again.
const PATIENCE: Duration = Duration::from_secs(5);

/// The ConfigMaps of a fresh namespace.
pub(crate) async fn namespace(client: &Client, name: &str) -> Result<Api> {
    let namespaces = client.resource(&Gvr::new("", "v1", "namespaces"));
    let created = namespaces
        .create(format!(r#"{{"metadata":{{"name":"{name}"}}}}"#))
        .await;
    match created {
        Err(error) if !error.is_already_exists() => {
            return Err(error).context("create the namespace");
        }
        _ => {}
    }
    Ok(client.namespaced(&Gvr::new("", "v1", "configmaps"), name))
}

/// Deletes the namespace; nobody minds if that fails.
pub(crate) async fn forget(client: &Client, name: &str) {
    let namespaces = client.resource(&Gvr::new("", "v1", "namespaces"));
    drop(namespaces.delete(name, &DeleteOptions::default()).await);
}

/// One client's calls.
pub(crate) async fn work(number: u64, api: Api, shared: Arc<Shared>, mut rng: Rng) -> Vec<Call> {
    let mut calls = Vec::new();
    // What it read last of each key.
    let mut memory: Vec<Option<u64>> = vec![None; usize::try_from(KEYS).unwrap_or_default()];
    let less = |left: u64| left.checked_sub(1);
    while shared
        .left
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        .is_ok()
    {
        let which = rng.below(KEYS);
        let key = format!("key-{which}");
        let remembered = &mut memory[usize::try_from(which).unwrap_or_default()];
        let value = format!("{number}.{}", calls.len());
        let asked = match (rng.below(20), *remembered) {
            (0..5, _) => Asked::Get,
            (5..7, _) => Asked::List,
            (7..16, Some(at)) => Asked::Update { value, at },
            (16..20, Some(at)) => Asked::Delete { at },
            (_, None) => Asked::Create { value },
            _ => Asked::Get,
        };
        let call = call(&api, &shared, key, asked).await;
        *remembered = match &call.answer {
            Answer::Object { at, .. } => Some(*at),
            Answer::Listed { .. } => *remembered,
            // Others may have made it: read before the next try, mostly.
            Answer::Refused if rng.below(2) == 0 => *remembered,
            _ if call.asked == Asked::Get || call.answer == Answer::Deleted => None,
            _ => {
                let read = self::call(&api, &shared, call.key.clone(), Asked::Get).await;
                let found = match &read.answer {
                    Answer::Object { at, .. } => Some(*at),
                    _ => None,
                };
                calls.push(read);
                found
            }
        };
        if matches!(call.answer, Answer::Unknown(_)) {
            sleep(Duration::from_millis(10)).await;
        }
        calls.push(call);
    }
    calls
}

/// The write that ends a history.
pub(crate) async fn last(api: &Api, shared: &Shared) -> Result<Call> {
    let value = "last".to_owned();
    let call = call(api, shared, LAST.to_owned(), Asked::Create { value }).await;
    anyhow::ensure!(
        matches!(call.answer, Answer::Object { .. }),
        "the last write: {:?}",
        call.answer
    );
    Ok(call)
}

async fn call(api: &Api, shared: &Shared, key: String, asked: Asked) -> Call {
    let body = |value: &str, at: Option<u64>| {
        let version = at.map(|at| format!(r#","resourceVersion":"{at}""#));
        let version = version.unwrap_or_default();
        format!(
            r#"{{"metadata":{{"name":"{key}","labels":{{"faults":"yes"}}{version}}},"data":{{"v":"{value}"}}}}"#
        )
    };
    let begun = shared.tick();
    let answer = match &asked {
        Asked::Create { value } => object(api.create(body(value, None)).await),
        Asked::Update { value, at } => object(api.update(&key, body(value, Some(*at))).await),
        Asked::Get => object(api.get(&key).await),
        Asked::Delete { at } => {
            let options = DeleteOptions {
                resource_version: Some(at.to_string()),
                ..DeleteOptions::default()
            };
            match api.delete(&key, &options).await {
                Ok(()) => Answer::Deleted,
                Err(error) => refusal(&error),
            }
        }
        Asked::List => match api.list(&selected("")).await {
            Ok(list) => Answer::Listed {
                at: number(&list.resource_version),
                items: list.items.iter().map(item).collect(),
            },
            Err(error) => refusal(&error),
        },
    };
    let ended = shared.tick();
    Call {
        key,
        asked,
        begun,
        ended,
        answer,
    }
}

fn object(answer: Result<Object, Error>) -> Answer {
    match answer {
        Ok(object) => {
            let Item { at, value, .. } = item(&object);
            Answer::Object { at, value }
        }
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &Error) -> Answer {
    if error.is_not_found() {
        Answer::Absent
    } else if error.is_conflict() || error.is_already_exists() {
        Answer::Refused
    } else {
        Answer::Unknown(base::Chain(error).to_string())
    }
}

fn item(object: &Object) -> Item {
    let dom = object.parse();
    let data = dom.as_ref().ok().and_then(|dom| {
        let data = dom.as_ref().get("data")?;
        Some(data.str("v").to_owned())
    });
    Item {
        key: object.name().to_owned(),
        at: number(object.resource_version()),
        value: data.unwrap_or_default(),
    }
}

fn number(version: &str) -> u64 {
    version.parse().unwrap_or_default()
}

fn selected(version: &str) -> ListOptions {
    ListOptions {
        labels: "faults=yes".to_owned(),
        resource_version: version.to_owned(),
        ..ListOptions::default()
    }
}

/// One watcher, until it saw the last write. The first never sleeps; the others do, and wake
/// with what they knew.
pub(crate) async fn follow(
    number: usize,
    api: Api,
    shared: Arc<Shared>,
    mut rng: Rng,
) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut fresh = true;
    while !shared.ending.load(Ordering::SeqCst) {
        if fresh {
            let Ok(list) = api.list(&selected("")).await else {
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            let from = self::number(&list.resource_version);
            let seen = Vec::new();
            spans.push(Span {
                watcher: number,
                from,
                upto: from,
                seen,
            });
            if number == 0 {
                shared.known.store(from, Ordering::SeqCst);
            }
            // The last write may be in the list.
            if list.items.iter().any(|object| object.name() == LAST) {
                return spans;
            }
        }
        let Some(span) = spans.last_mut() else { break };
        // Events after which it goes to sleep.
        let awake = if number == 0 {
            u64::MAX
        } else {
            rng.below(120)
        };
        match tell(&api, span, &shared, awake).await {
            Told::Last => return spans,
            Told::Ended => {
                fresh = false;
                shared.resumed.fetch_add(1, Ordering::SeqCst);
                let rest = if number == 0 { 5 } else { rng.below(200) };
                sleep(Duration::from_millis(rest)).await;
            }
            Told::Expired => {
                fresh = true;
                shared.expired.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    spans
}

enum Told {
    Last,
    /// The stream ended or was left.
    Ended,
    /// 410: what it knew is too old.
    Expired,
}

/// Reads one stream into `span`.
async fn tell(api: &Api, span: &mut Span, shared: &Shared, mut awake: u64) -> Told {
    let mut watch = match api.watch(&selected(&span.upto.to_string())).await {
        Ok(watch) => watch,
        Err(error) if error.is_expired() => return Told::Expired,
        Err(_) => return Told::Ended,
    };
    while awake > 0 {
        awake -= 1;
        let Ok(next) = timeout(PATIENCE, watch.next()).await else {
            return Told::Ended;
        };
        let (kind, object) = match next {
            Some(Ok(WatchEvent::Added(object))) => (Kind::Added, object),
            Some(Ok(WatchEvent::Modified(object))) => (Kind::Modified, object),
            Some(Ok(WatchEvent::Deleted(object))) => (Kind::Deleted, object),
            Some(Ok(WatchEvent::Bookmark { resource_version })) => {
                let at = number(&resource_version);
                span.upto = span.upto.max(at);
                span.seen.push(Seen {
                    kind: Kind::Bookmark,
                    at,
                    key: String::new(),
                    value: String::new(),
                });
                continue;
            }
            Some(Err(error)) if error.is_expired() => return Told::Expired,
            Some(Err(_)) | None => return Told::Ended,
        };
        let Item { key, at, value } = item(&object);
        span.upto = span.upto.max(at);
        let is_last = key == LAST;
        span.seen.push(Seen {
            kind,
            at,
            key,
            value,
        });
        if span.watcher == 0 {
            shared.known.store(at, Ordering::SeqCst);
        }
        if is_last {
            return Told::Last;
        }
    }
    Told::Ended
}
