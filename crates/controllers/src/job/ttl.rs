//! Deletes finished Jobs after the time that they ask for.
//!
//! Source: kubernetes v1.36.3 pkg/controller/ttlafterfinished/ttlafterfinished_controller.go.

use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use client::{Cache, DeleteOptions, Error, Key, Object, Propagation, WorkQueue};
use jiff::Timestamp;

use crate::context::{Context, work};
use crate::workload::Name;

const TASK: &str = "ttl-after-finished-controller";

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<Name>> = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let jobs = context.informers.of("batch", "v1", "jobs");
    let jobs = jobs.on_change(move |change| {
        if change.new.is_some() {
            add.add(Name(change.key().clone()));
        }
    });
    let jobs = jobs.cache();
    let (own, again) = (context.clone(), queue.clone());
    work(TASK, &context, &queue, move |Name(key)| {
        let (context, jobs, again) = (own.clone(), jobs.clone(), again.clone());
        async move { sync(&context, &jobs, &again, key).await }
    });
}

async fn sync(
    context: &Context,
    jobs: &Cache,
    queue: &WorkQueue<Name>,
    key: Key,
) -> Result<(), Error> {
    let left = |job: &Object| left(job, context.clock.now());
    let Some(wait) = jobs.get(&key).and_then(|job| left(&job)) else {
        return Ok(());
    };
    if !wait.is_zero() {
        queue.add_after(Name(key), wait);
        return Ok(());
    }
    // The cache may be behind: ask before deleting.
    let gvr = Gvr::new("batch", "v1", "jobs");
    let api = context.client.namespaced(&gvr, &key.namespace);
    let Some(fresh) = api.find(&key.name).await? else {
        return Ok(());
    };
    if left(&fresh) != Some(Duration::ZERO) {
        return Ok(());
    }
    let options = DeleteOptions {
        uid: Some(fresh.uid().to_owned()),
        propagation: Some(Propagation::Foreground),
        ..DeleteOptions::default()
    };
    match api.delete(&key.name, &options).await {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

/// How long a finished Job may stay; none when nothing limits it.
fn left(job: &Object, now: Timestamp) -> Option<Duration> {
    let dom = job.parse().ok()?;
    let job = dom.as_ref();
    if api::meta::of(job).is_deleting() {
        return None;
    }
    let seconds = job.get("spec")?.int("ttlSecondsAfterFinished")?;
    let end = ["Complete", "Failed"]
        .into_iter()
        .filter_map(|kind| api::meta::condition(job, kind))
        .find(|c| c.str("status") == "True")?;
    let ended = api::time::parse(end.str("lastTransitionTime")).ok()?;
    let passed = now.as_millisecond() - ended.as_millisecond();
    let left = seconds.saturating_mul(1000).saturating_sub(passed);
    Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
}
