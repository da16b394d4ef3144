//! Keeps the status of PodDisruptionBudgets: how many pods are healthy, how many must be, how many
//! may be evicted. The eviction subresource takes from what is allowed; here it is counted anew.
//!
//! Also takes back condition DisruptionTarget of pods that were to be deleted and were not.
//! Source: kubernetes v1.36.3 pkg/controller/disruption/disruption.go.

mod budget;
mod plan;
mod scale;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use api::Gvr;
use base::Chain;
use client::{Error, EventType, Key, Patch, Reference, WorkQueue};

use crate::context::{Context, work};
use crate::disruption::budget::{Budget, Status, document};
use crate::disruption::plan::{needs_scale, plan};
use crate::disruption::scale::Scales;
use crate::endpoint::{self, Pod};
use crate::facts::{Facts, Reader};

/// A pod that was to be deleted so long ago was not.
const STALE: Duration = Duration::from_secs(120);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Work {
    Budget(Key),
    Pod(Key),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Budget(key) => write!(f, "budget {key}"),
            Self::Pod(key) => write!(f, "pod {key}"),
        }
    }
}

struct Shell {
    context: Context,
    queue: Arc<WorkQueue<Work>>,
    budgets: Facts<Budget>,
    pods: Facts<Pod>,
    scales: Scales,
}

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<Work>> = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let reader = Reader::by_namespace(Budget::read);
    let gvr = ["policy", "v1", "poddisruptionbudgets"];
    let budgets = Facts::of(&context, gvr, reader)
        .on_step(move |step| add.add(Work::Budget(step.key.clone())));
    let (add, known) = (queue.clone(), budgets.clone());
    let pods = endpoint::pods(&context).on_step(move |step| {
        for budget in known.bin(&step.key.namespace) {
            let pods = [&step.old, &step.new];
            if pods.into_iter().flatten().any(|pod| budget.selects(pod)) {
                add.add(Work::Budget(budget.key.clone()));
            }
        }
        if step.new.as_ref().is_some_and(|pod| pod.disrupted.is_some()) {
            add.add(Work::Pod(step.key.clone()));
        }
    });
    let all = Arc::new(Shell {
        scales: Scales::new(&context),
        context: context.clone(),
        queue: queue.clone(),
        budgets,
        pods,
    });
    work("disruption-controller", &context, &queue, move |item| {
        let all = all.clone();
        async move {
            match item {
                Work::Budget(key) => all.sync(&key).await,
                Work::Pod(key) => all.take_back(&key).await,
            }
        }
    });
}

impl Shell {
    async fn sync(&self, key: &Key) -> Result<(), Error> {
        self.budgets.synced().await;
        self.pods.synced().await;
        let Some(budget) = self.budgets.get(key) else {
            return Ok(());
        };
        let mut pods = self.pods.bin(&key.namespace);
        pods.retain(|pod| budget.selects(pod));
        if pods.is_empty() {
            self.tell(
                &budget,
                EventType::Normal,
                "NoPods",
                "No matching pods found".to_owned(),
            );
        }
        let scale = match needs_scale(&budget) {
            true => match self.scales.sum(&pods).await? {
                Ok(scale) => scale,
                Err(why) => {
                    let text = format!("Failed to calculate the number of expected pods: {why}");
                    let reason = "CalculateExpectedPodCountFailed";
                    self.tell(&budget, EventType::Warning, reason, text);
                    return self.write(&budget, &budget.status.failed(why)).await;
                }
            },
            false => scale::Sum::default(),
        };
        if scale.unmanaged > 0 {
            let text = format!(
                "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.",
                budget.selector_text
            );
            self.tell(&budget, EventType::Warning, "UnmanagedPods", text);
        }
        let now = self.context.clock.now();
        let plan = plan(&budget, &pods, scale.pods, now);
        for pod in &plan.overdue {
            let about = Reference::pod(&Key::new(key.namespace.as_str(), &pod.name), &pod.uid);
            let text = format!("Pod was expected by PDB {key} to be deleted but it wasn't");
            self.context
                .recorder
                .record(&about, EventType::Warning, "NotDeleted", text);
        }
        self.write(&budget, &plan.status).await?;
        if let Some(after) = plan.recheck {
            self.queue.add_after(Work::Budget(key.clone()), after);
        }
        Ok(())
    }

    async fn write(&self, budget: &Budget, status: &Status) -> Result<(), Error> {
        if budget.status == *status {
            return Ok(());
        }
        let Some(object) = self.budgets.object(&budget.key) else {
            return Ok(());
        };
        let now = api::time::format_seconds(self.context.clock.now());
        let Some(json) = document(&object, status, &now) else {
            return Ok(());
        };
        let gvr = Gvr::new("policy", "v1", "poddisruptionbudgets");
        let api = self.context.client.namespaced(&gvr, &budget.key.namespace);
        match api
            .update_subresource(&budget.key.name, "status", json)
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => {
                tracing::debug!(name = %budget.key, err = %Chain(&error), "budget not written");
                Err(error)
            }
        }
    }

    /// Whoever wanted to delete the pod did not.
    async fn take_back(&self, key: &Key) -> Result<(), Error> {
        let Some(pod) = self.pods.get(key) else {
            return Ok(());
        };
        let Some(since) = pod.disrupted.filter(|_| !pod.terminating && !pod.ended) else {
            return Ok(());
        };
        let age = self.context.clock.now().duration_since(since);
        let age = Duration::try_from(age).unwrap_or_default();
        if let Some(left) = STALE.checked_sub(age).filter(|left| !left.is_zero()) {
            self.queue.add_after(Work::Pod(key.clone()), left);
            return Ok(());
        }
        let now = api::time::format_seconds(self.context.clock.now());
        let patch = format!(
            r#"{{"metadata":{{"uid":"{}"}},"status":{{"conditions":[{{"type":"DisruptionTarget","status":"False","lastTransitionTime":"{now}","reason":null,"message":null}}]}}}}"#,
            pod.uid
        );
        let pods = Gvr::new("", "v1", "pods");
        let api = self.context.client.namespaced(&pods, &key.namespace);
        match api
            .patch(&key.name, "status", Patch::Strategic(patch.into()))
            .await
        {
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(()),
            other => other.map(|_| ()),
        }
    }

    fn tell(&self, budget: &Budget, kind: EventType, reason: &str, message: String) {
        let budgets = "PodDisruptionBudget";
        let about = Reference::new("policy/v1", budgets, &budget.key, &budget.uid);
        self.context.recorder.record(&about, kind, reason, message);
    }
}
