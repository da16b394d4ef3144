//! CronJobs: a Job whenever the schedule says so.
//!
//! [`api::cron`] reads schedules, `plan` says what is due, this file fetches and applies.
//! Source: kubernetes v1.36.3 pkg/controller/cronjob/cronjob_controllerv2.go.

mod plan;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use api::Gvr;
use api::cron::{Schedule, time_zone};
use client::{Api, Cache, DeleteOptions, Error, Key, Object, Propagation, WorkQueue};
use jiff::Timestamp;
use schema::{Dom, Ref};

use crate::context::{Context, work};
use crate::cronjob::plan::{Finished, Times, due, surplus};
use crate::informers::{BY_CONTROLLER, controller_uid};
use crate::workload::claims::Owner;
use crate::workload::control::{Control, message, namespace_ends};
use crate::workload::living::Inquiry;
use crate::workload::{Name, Owners};

const TASK: &str = "cronjob-controller";
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

struct CronJobs {
    context: Context,
    control: Control,
    crons: Cache,
    jobs: Cache,
    queue: Arc<WorkQueue<Name>>,
}

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<Name>> = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let crons = context.informers.of("batch", "v1", "cronjobs");
    let crons = crons.on_change(move |change| add.add(Name(change.key().clone())));
    let crons = crons.cache();
    let owners = Owners {
        kind: "CronJob",
        cache: crons.clone(),
        // Nothing is adopted.
        selector: |_| None,
    };
    let add = queue.clone();
    let jobs = context.informers.of("batch", "v1", "jobs");
    let jobs = jobs.index(BY_CONTROLLER, controller_uid);
    let jobs = jobs.on_change(move |change| {
        for owner in owners.told(change).touched {
            add.add(Name(owner));
        }
    });
    let all = Arc::new(CronJobs {
        control: Control::new(&context, TASK),
        context: context.clone(),
        crons,
        jobs: jobs.cache(),
        queue: queue.clone(),
    });
    work(TASK, &context, &queue, move |Name(key)| {
        let all = all.clone();
        async move { all.sync(&key).await }
    });
}

/// A Job of the CronJob.
struct Child {
    name: String,
    uid: String,
    started: Option<Timestamp>,
    completed: Option<Timestamp>,
    /// The condition that ended it.
    end: Option<&'static str>,
}

impl Child {
    fn of(object: &Object) -> Option<Self> {
        let dom = object.parse().ok()?;
        let job = dom.as_ref();
        let time = |field| api::time::field(job.get("status")?, field);
        Some(Self {
            name: object.name().to_owned(),
            uid: object.uid().to_owned(),
            started: time("startTime"),
            completed: time("completionTime"),
            end: ["Complete", "Failed"]
                .into_iter()
                .find(|kind| api::meta::condition_is_true(job, kind)),
        })
    }
}

/// The status while it is worked on.
struct State {
    /// Name, uid and revision of Jobs that run.
    active: Vec<(String, String, String)>,
    last: Option<Timestamp>,
    last_success: Option<Timestamp>,
    changed: bool,
}

impl State {
    fn read(cron: Ref<'_>) -> Self {
        let status = cron.get("status");
        let time = |field| api::time::field(status?, field);
        let active = status.into_iter().flat_map(|status| status.items("active"));
        let text = |job: Ref<'_>, field| job.str(field).to_owned();
        Self {
            active: active
                .map(|job| {
                    (
                        text(job, "name"),
                        text(job, "uid"),
                        text(job, "resourceVersion"),
                    )
                })
                .collect(),
            last: time("lastScheduleTime"),
            last_success: time("lastSuccessfulTime"),
            changed: false,
        }
    }

    fn has(&self, uid: &str) -> bool {
        self.active.iter().any(|(_, known, _)| known == uid)
    }

    fn drop(&mut self, uid: &str) {
        let before = self.active.len();
        self.active.retain(|(_, known, _)| known != uid);
        self.changed |= before != self.active.len();
    }

    fn write(&self, dom: &mut Dom, namespace: &str) {
        let root = dom.root();
        let status = dom.ensure_map(root, "status");
        let list = dom.new_list();
        for (name, uid, revision) in &self.active {
            let job = dom.new_map();
            for (field, text) in [
                ("kind", "Job"),
                ("namespace", namespace),
                ("name", name),
                ("uid", uid),
                ("apiVersion", "batch/v1"),
                ("resourceVersion", revision),
            ] {
                dom.set_str(job, field, text);
            }
            dom.push(list, job);
        }
        match self.active.is_empty() {
            true => {
                dom.remove(status, "active");
            }
            false => dom.set(status, "active", list),
        }
        for (field, time) in [
            ("lastScheduleTime", self.last),
            ("lastSuccessfulTime", self.last_success),
        ] {
            if let Some(time) = time {
                dom.set_str(status, field, &api::time::format_seconds(time));
            }
        }
    }
}

impl CronJobs {
    fn api(&self, resource: &str, namespace: &str) -> Api {
        let gvr = Gvr::new("batch", "v1", resource);
        self.context.client.namespaced(&gvr, namespace)
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        self.crons.synced().await;
        self.jobs.synced().await;
        let Some(object) = self.crons.get(key) else {
            return Ok(());
        };
        let Ok(mut dom) = object.parse() else {
            return Ok(());
        };
        let owner = Owner::read("batch/v1", "CronJob", dom.as_ref());
        let mut state = State::read(dom.as_ref());
        let children = self.jobs.by_index(BY_CONTROLLER, &owner.uid);
        let children: Vec<Child> = children.iter().filter_map(|job| Child::of(job)).collect();
        self.tidy(&owner, dom.as_ref(), &children, &mut state).await;
        let result = self
            .look(key, &owner, dom.as_ref(), &children, &mut state)
            .await;
        if state.changed {
            state.write(&mut dom, &owner.namespace);
            let json = dom.to_json(dom.root());
            let api = self.api("cronjobs", &owner.namespace);
            match api.update_subresource(&owner.name, "status", json).await {
                Err(error) if error.is_not_found() => {}
                other => other.map(|_| ())?,
            }
        }
        result
    }

    /// Deletes finished Jobs beyond the limits.
    async fn tidy(&self, owner: &Owner, cron: Ref<'_>, children: &[Child], state: &mut State) {
        for (end, field) in [
            ("Complete", "successfulJobsHistoryLimit"),
            ("Failed", "failedJobsHistoryLimit"),
        ] {
            let Some(limit) = cron.get("spec").and_then(|spec| spec.int(field)) else {
                continue;
            };
            let ended = children.iter().filter(|child| child.end == Some(end));
            let ended = ended.map(|child| Finished {
                started: child.started,
                name: child.name.clone(),
                uid: child.uid.clone(),
            });
            let limit = usize::try_from(limit).unwrap_or(0);
            for job in surplus(ended.collect(), limit) {
                self.delete(owner, &job.name, &job.uid, state).await;
            }
        }
    }

    async fn delete(&self, owner: &Owner, name: &str, uid: &str, state: &mut State) -> bool {
        let options = DeleteOptions {
            propagation: Some(Propagation::Background),
            ..DeleteOptions::default()
        };
        match self
            .api("jobs", &owner.namespace)
            .delete(name, &options)
            .await
        {
            Err(error) if !error.is_not_found() => {
                let text = format!("Deleted job: {}", message(&error));
                self.control.warning(owner, "FailedDelete", text);
                false
            }
            result => {
                state.drop(uid);
                if result.is_ok() {
                    let text = format!("Deleted job {name}");
                    self.control.normal(owner, "SuccessfulDelete", text);
                }
                true
            }
        }
    }

    async fn look(
        &self,
        key: &Key,
        owner: &Owner,
        cron: Ref<'_>,
        children: &[Child],
        state: &mut State,
    ) -> Result<(), Error> {
        self.follow(owner, children, state).await?;
        let spec = cron.get("spec");
        let suspended = spec.and_then(|spec| spec.bool("suspend")).unwrap_or(false);
        let text = |field| spec.map_or("", |spec| spec.str(field));
        let zone = text("timeZone");
        if owner.deleting {
            return Ok(());
        }
        let Some(known_zone) = time_zone(zone) else {
            let text = format!("invalid timeZone: \"{zone}\": unknown time zone {zone}");
            self.control.warning(owner, "UnknownTimeZone", text);
            return Ok(());
        };
        if suspended {
            return Ok(());
        }
        let schedule = match Schedule::parse(text("schedule"), known_zone) {
            Ok(schedule) => schedule,
            Err(error) => {
                let text = format!("unparseable schedule: \"{}\" : {error}", text("schedule"));
                self.control.warning(owner, "UnparseableSchedule", text);
                return Ok(());
            }
        };
        let now = self.context.clock.now();
        let times = Times {
            created: api::meta::of(cron).created().unwrap_or(now),
            last: state.last,
            deadline_seconds: spec.and_then(|spec| spec.int("startingDeadlineSeconds")),
            now,
        };
        let due = due(&schedule, &times);
        if let Some(again) = due.again {
            self.queue.add_after(Name(key.clone()), again);
        }
        let Some(time) = due.time else {
            return Ok(());
        };
        if due.many {
            let text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            self.control
                .warning(owner, "TooManyMissedTimes", text.to_owned());
        }
        let name = format!("{}-{}", owner.name, time.as_second().div_euclid(60));
        let served = state.active.iter().any(|(active, ..)| *active == name);
        if served || state.last == Some(time) {
            return Ok(());
        }
        match text("concurrencyPolicy") {
            "Forbid" if !state.active.is_empty() => {
                let text = "Not starting job because prior execution is running and concurrency policy is Forbid";
                self.control
                    .normal(owner, "JobAlreadyActive", text.to_owned());
                return Ok(());
            }
            "Replace" => {
                for (name, uid, _) in state.active.clone() {
                    if !self.delete(owner, &name, &uid, state).await {
                        return Ok(());
                    }
                }
            }
            _ => {}
        }
        self.run(owner, cron, &name, time, zone, state).await
    }

    /// Compares what was running with what runs.
    async fn follow(
        &self,
        owner: &Owner,
        children: &[Child],
        state: &mut State,
    ) -> Result<(), Error> {
        for child in children {
            let known = state.has(&child.uid);
            match child.end {
                None if !known => {
                    // The cache may lag behind the status written last.
                    let api = self.api("cronjobs", &owner.namespace);
                    let fresh = api.find(&owner.name).await?;
                    let fresh = fresh.and_then(|fresh| fresh.parse().ok());
                    let listed = fresh.is_some_and(|dom| State::read(dom.as_ref()).has(&child.uid));
                    if !listed {
                        let text = format!(
                            "Saw a job that the controller did not create or forgot: {}",
                            child.name
                        );
                        self.control.warning(owner, "UnexpectedJob", text);
                    }
                }
                None => {}
                Some(end) => {
                    if known {
                        state.drop(&child.uid);
                        let name = &child.name;
                        let text = format!("Saw completed job: {name}, condition: {end}");
                        self.control.normal(owner, "SawCompletedJob", text);
                    }
                    if end == "Complete" && child.completed > state.last_success {
                        state.last_success = child.completed;
                        state.changed = true;
                    }
                }
            }
        }
        for (name, uid, _) in state.active.clone() {
            if children.iter().any(|child| child.uid == uid) {
                continue;
            }
            // A Job's name says which time it is for, so that after one that others deleted, or a clock
            // that was set back, another may have it.
            let named = self.api("jobs", &owner.namespace).find(&name).await?;
            if named.is_none_or(|job| job.uid() != uid) {
                let text = format!("Active job went missing: {name}");
                self.control.normal(owner, "MissingJob", text);
                state.drop(&uid);
            }
        }
        Ok(())
    }

    async fn run(
        &self,
        owner: &Owner,
        cron: Ref<'_>,
        name: &str,
        time: Timestamp,
        zone: &str,
        state: &mut State,
    ) -> Result<(), Error> {
        let cron_jobs = self.api("cronjobs", &owner.namespace);
        let Some(living) = Inquiry::new(cron_jobs, owner).living().await? else {
            return Ok(());
        };
        let body = job(cron, owner, name, time, zone);
        let api = self.api("jobs", &owner.namespace);
        let made = match living.make(&api, &body).await {
            Ok(made) => {
                let text = format!("Created job {}", made.name());
                self.control.normal(owner, "SuccessfulCreate", text);
                made
            }
            Err(error) if error.is_already_exists() => {
                let Some(there) = api.find(name).await? else {
                    return Err(error);
                };
                let ours = there
                    .parse()
                    .is_ok_and(|dom| api::meta::of(dom.as_ref()).is_controlled_by(&owner.uid));
                if !ours || state.has(there.uid()) {
                    return Ok(());
                }
                there
            }
            Err(error) if namespace_ends(&error) => return Ok(()),
            Err(error) => {
                let text = format!("Error creating job: {}", message(&error));
                self.control.warning(owner, "FailedCreate", text);
                return Err(error);
            }
        };
        state.active.push((
            made.name().to_owned(),
            made.uid().to_owned(),
            made.resource_version().to_owned(),
        ));
        state.last = Some(time);
        state.changed = true;
        Ok(())
    }
}

fn job(cron: Ref<'_>, owner: &Owner, name: &str, time: Timestamp, zone: &str) -> Dom {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "apiVersion", "batch/v1");
    dom.set_str(root, "kind", "Job");
    let metadata = dom.ensure_map(root, "metadata");
    dom.set_str(metadata, "name", name);
    let template = cron.at(&["spec", "jobTemplate"]);
    for field in ["labels", "annotations"] {
        let from = template.and_then(|t| t.get("metadata")?.get(field));
        if let Some(from) = from.filter(|from| !from.is_null()) {
            let copy = dom.import(from.dom(), from.node());
            dom.set(metadata, field, copy);
        }
    }
    let annotations = dom.ensure_map(metadata, "annotations");
    let zoned = match time_zone(zone).map(|zone| time.to_zoned(zone)) {
        Some(local) if local.offset().seconds() != 0 => {
            local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
        }
        _ => api::time::format_seconds(time),
    };
    dom.set_str(annotations, SCHEDULED, &zoned);
    owner.write(&mut dom, metadata);
    if let Some(spec) = template.and_then(|t| t.get("spec")) {
        let copy = dom.import(spec.dom(), spec.node());
        dom.set(root, "spec", copy);
    }
    dom
}
