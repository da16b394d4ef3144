//! Deletes finished Jobs when their time to live is over.
//!
//! Source: kubernetes v1.36.3 pkg/controller/ttlafterfinished/ttlafterfinished_controller.go.

use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use client::{Cache, DeleteOptions, Error, Key, Propagation, WorkQueue};
use jiff::Timestamp;
use schema::Ref;

use crate::context::{Context, work};

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<Key>> = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let jobs = context
        .informers
        .of("batch", "v1", "jobs")
        .on_change(move |change| {
            if change.new.is_some() {
                add.add(change.key().clone());
            }
        })
        .cache();
    let (own, later) = (context.clone(), queue.clone());
    work(
        "ttl-after-finished-controller",
        &context,
        &queue,
        move |key| {
            let (context, jobs, later) = (own.clone(), jobs.clone(), later.clone());
            async move {
                if let Some(left) = sync(&context, &jobs, &key).await? {
                    later.add_after(key, left);
                }
                Ok(())
            }
        },
    );
}

/// How long the job still lives.
async fn sync(context: &Context, jobs: &Cache, key: &Key) -> Result<Option<Duration>, Error> {
    let now = context.clock.now();
    let due = |job: Option<&client::Object>| {
        let dom = job?.parse().ok()?;
        time_left(dom.as_ref(), now)
    };
    match due(jobs.get(key).as_deref()) {
        None => return Ok(None),
        Some(left) if !left.is_zero() => return Ok(Some(left)),
        Some(_) => {}
    }
    let gvr = Gvr::new("batch", "v1", "jobs");
    let api = context.client.namespaced(&gvr, &key.namespace);
    // The cache may lag: its time to live may have been prolonged.
    let fresh = api.find(&key.name).await?;
    match (due(fresh.as_ref()), fresh) {
        (Some(Duration::ZERO), Some(job)) => {
            let options = DeleteOptions {
                uid: Some(job.uid().to_owned()),
                resource_version: Some(job.resource_version().to_owned()),
                propagation: Some(Propagation::Foreground),
                ..DeleteOptions::default()
            };
            match api.delete(&key.name, &options).await {
                Ok(()) => Ok(None),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(error),
            }
        }
        (left, _) => Ok(left),
    }
}

/// None: it lives on until somebody deletes it. Pure.
fn time_left(job: Ref<'_>, now: Timestamp) -> Option<Duration> {
    let seconds = job.get("spec")?.int("ttlSecondsAfterFinished")?;
    if api::meta::of(job).is_deleting() {
        return None;
    }
    let finished = job.get("status")?.items("conditions").find(|condition| {
        matches!(condition.str("type"), "Complete" | "Failed") && condition.str("status") == "True"
    })?;
    let at = api::time::field(finished, "lastTransitionTime")?;
    let age = Duration::try_from(now.duration_since(at)).unwrap_or_default();
    let life = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    Some(life.saturating_sub(age))
}

#[cfg(test)]
mod tests {
    use schema::Dom;

    use super::*;

    #[track_caller]
    fn check(spec: &str, condition: &str, expected: Option<u64>) {
        let json = format!(
            r#"{{"spec":{{{spec}}},"status":{{"conditions":[{{"type":"{condition}","status":"True","lastTransitionTime":"2026-01-01T00:00:00Z"}}]}}}}"#
        );
        let dom = Dom::parse_json(json.as_bytes()).unwrap();
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(
            time_left(dom.as_ref(), now),
            expected.map(Duration::from_secs)
        );
    }

    #[test]
    fn lives() {
        check(r#""ttlSecondsAfterFinished":100"#, "Complete", Some(40));
        check(r#""ttlSecondsAfterFinished":0"#, "Failed", Some(0));
        check(r#""ttlSecondsAfterFinished":100"#, "Suspended", None);
        check("", "Complete", None);
    }
}
