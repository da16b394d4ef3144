//! StatefulSets: pods with numbers, made and replaced in order, each with claims of its own.
//!
//! `plan` decides, `members` says what belongs to a number, this file fetches and applies.
//! Source: kubernetes v1.36.3 pkg/controller/statefulset.

mod members;
mod plan;

use std::sync::Arc;

use api::{Gvr, LabelSelector};
use client::{Api, Cache, DeleteOptions, Error, Key, WorkQueue};
use schema::{Dom, Ref};

use crate::context::{Context, work};
use crate::informers::{BY_CONTROLLER, controller_uid};
use crate::statefulset::members::{Keeper, claim_name, claim_templates, fits, keep, keeper};
use crate::statefulset::plan::{Action, Member, Set, Status, ordinal, plan};
use crate::workload::claiming::{Claiming, Match};
use crate::workload::claims::Owner;
use crate::workload::control::{Control, message, namespace_ends};
use crate::workload::living::{Inquiry, Living};
use crate::workload::pods::Pod;
use crate::workload::revisions::{HASH, HISTORY_HASH, History, Revisions, Synced};
use crate::workload::{Name, Owners, label_selector};

const TASK: &str = "statefulset-controller";

struct Sets {
    context: Context,
    control: Control,
    sets: Cache,
    pods: Cache,
    claims: Cache,
    revisions: Cache,
    queue: Arc<WorkQueue<Name>>,
}

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<Name>> = Arc::new(WorkQueue::new());
    let add = queue.clone();
    let sets = context.informers.of("apps", "v1", "statefulsets");
    let sets = sets.on_change(move |change| add.add(Name(change.key().clone())));
    let sets = sets.cache();
    let owners = Owners {
        kind: "StatefulSet",
        cache: sets.clone(),
        selector: label_selector,
    };
    let (add, of_pod) = (queue.clone(), owners.clone());
    let pods = context.informers.of("", "v1", "pods");
    let pods = pods.index(BY_CONTROLLER, controller_uid);
    let pods = pods.on_change(move |change| {
        for owner in of_pod.told(change).touched {
            add.add(Name(owner));
        }
    });
    let add = queue.clone();
    let revisions = context.informers.of("apps", "v1", "controllerrevisions");
    let revisions = revisions.index(BY_CONTROLLER, controller_uid);
    let revisions = revisions.on_change(move |change| {
        for owner in owners.told(change).touched {
            add.add(Name(owner));
        }
    });
    let claims = context.informers.of("", "v1", "persistentvolumeclaims");
    let all = Arc::new(Sets {
        control: Control::new(&context, TASK),
        context: context.clone(),
        sets,
        pods: pods.cache(),
        claims: claims.cache(),
        revisions: revisions.cache(),
        queue: queue.clone(),
    });
    work(TASK, &context, &queue, move |Name(key)| {
        let all = all.clone();
        async move { all.sync(&key).await }
    });
}

fn read(set: Ref<'_>, history: &History) -> Set {
    let spec = set.get("spec");
    let int = |field| spec.and_then(|spec| spec.int(field));
    let text = |field| spec.map_or("", |spec| spec.str(field));
    let strategy = spec.and_then(|spec| spec.get("updateStrategy"));
    let rolling = strategy
        .and_then(|s| s.get("rollingUpdate"))
        .filter(|r| !r.is_null());
    let status = set.get("status");
    let known = status.map_or("", |status| status.str("currentRevision"));
    let update = &history.all[history.current].name;
    let current = history.all.iter().find(|revision| revision.name == known);
    let ordinals = spec.and_then(|spec| spec.get("ordinals"));
    let meta = api::meta::of(set);
    Set {
        generation: meta.generation(),
        deleting: meta.is_deleting(),
        replicas: int("replicas").unwrap_or(1),
        start: ordinals.and_then(|o| o.int("start")).unwrap_or(0),
        parallel: text("podManagementPolicy") == "Parallel",
        on_delete: strategy.is_some_and(|s| s.str("type") == "OnDelete"),
        partition: rolling.map(|r| r.int("partition").unwrap_or(0)),
        min_ready_seconds: int("minReadySeconds").unwrap_or(0),
        current: current.map_or_else(|| update.clone(), |revision| revision.name.clone()),
        update: update.clone(),
        current_replicas: status.and_then(|s| s.int("currentReplicas")).unwrap_or(0),
    }
}

/// A set while it is looked at.
struct Work<'a> {
    owner: &'a Owner,
    inquiry: &'a Inquiry<'a>,
    dom: &'a Dom,
    set: &'a Set,
    history: &'a History,
    members: &'a [Member],
}

impl Sets {
    fn api(&self, group: &str, resource: &str, namespace: &str) -> Api {
        let gvr = Gvr::new(group, "v1", resource);
        self.context.client.namespaced(&gvr, namespace)
    }

    async fn sync(&self, key: &Key) -> Result<(), Error> {
        for cache in [&self.sets, &self.pods, &self.claims, &self.revisions] {
            cache.synced().await;
        }
        let Some(object) = self.sets.get(key) else {
            return Ok(());
        };
        let Ok(dom) = object.parse() else {
            return Ok(());
        };
        let owner = Owner::read("apps/v1", "StatefulSet", dom.as_ref());
        let Some(selector) = label_selector(dom.as_ref()) else {
            return Ok(());
        };
        let collisions = dom
            .as_ref()
            .get("status")
            .and_then(|s| s.int("collisionCount"));
        let inquiry = Inquiry::new(self.api("apps", "statefulsets", &owner.namespace), &owner);
        let revisions = Revisions {
            client: &self.context.client,
            cache: &self.revisions,
            label: HISTORY_HASH,
        };
        let history = revisions
            .sync(&inquiry, &selector, dom.as_ref(), collisions.or(Some(0)))
            .await?;
        let history = match history {
            Synced::Whole(history) => history,
            Synced::Collision => {
                let next = Some(collisions.unwrap_or(0) + 1);
                return self.write(&owner, dom, None, next).await;
            }
            Synced::OwnerGone => return Ok(()),
        };
        let set = read(dom.as_ref(), &history);
        let members = self.claim(&inquiry, &selector, &dom).await?;
        let now = self.context.clock.now();
        let waits = |ordinal| self.has_stale_claims(&owner, dom.as_ref(), ordinal);
        let plan = plan(&set, &members, waits, now);
        let work = Work {
            owner: &owner,
            inquiry: &inquiry,
            dom: &dom,
            set: &set,
            history: &history,
            members: &members,
        };
        let mut failure = None;
        for action in &plan.actions {
            if let Err(error) = self.act(&work, action).await {
                failure = Some(error);
                break;
            }
        }
        if failure.is_none() && !owner.deleting {
            failure = self.keep_claims(&work).await.err();
        }
        let live: Vec<String> = members
            .iter()
            .filter_map(|member| member.base.label(HASH).map(str::to_owned))
            .collect();
        let limit = dom
            .as_ref()
            .get("spec")
            .and_then(|s| s.int("revisionHistoryLimit"));
        let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or(usize::MAX);
        let is_live = |revision: &crate::workload::revisions::Revision| {
            revision.name == set.current || live.contains(&revision.name)
        };
        revisions.clean_up(&owner, &history, is_live, limit).await?;
        let waits = members.iter().filter_map(|member| {
            let wait = member.base.available_in(set.min_ready_seconds, now)?;
            (!wait.is_zero()).then_some(wait)
        });
        if let Some(wait) = waits.min() {
            self.queue.add_after(Name(key.clone()), wait);
        }
        self.write(&owner, dom, Some(&plan.status), collisions.or(Some(0)))
            .await?;
        failure
            .filter(|error| !namespace_ends(error))
            .map_or(Ok(()), Err)
    }

    /// The set's pods, by number.
    async fn claim(
        &self,
        inquiry: &Inquiry<'_>,
        selector: &LabelSelector,
        set: &Dom,
    ) -> Result<Vec<Member>, Error> {
        let owner = inquiry.owner();
        let pods = self.control.pods(&owner.namespace);
        let claimed = Claiming::new(inquiry, pods).claim(&self.pods, |dom| {
            let pod = Pod::read(dom.as_ref());
            let number = ordinal(&owner.name, &pod.name).filter(|_| pod.matches(selector));
            let Some(ordinal) = number else {
                return Match::No;
            };
            Match::Yes(Member {
                fits: fits(dom.as_ref(), set.as_ref(), &owner.name, ordinal),
                ordinal,
                base: pod,
            })
        });
        let claimed = claimed.await?.into_iter();
        let mut mine: Vec<Member> = claimed.map(|claimed| claimed.what).collect();
        mine.sort_by_key(|member| member.ordinal);
        Ok(mine)
    }

    async fn act(&self, work: &Work<'_>, action: &Action) -> Result<(), Error> {
        let (owner, set) = (work.owner, work.dom.as_ref());
        let pods = self.control.pods(&owner.namespace);
        match action {
            Action::Create { ordinal, new } => {
                let Some(living) = work.inquiry.living().await? else {
                    return Ok(());
                };
                let name = format!("{}-{ordinal}", owner.name);
                let made = self.create(work, &living, *ordinal, *new).await;
                match &made {
                    // The cache lags; the pod's event comes.
                    Err(error) if error.is_already_exists() => return Ok(()),
                    made => self.tell(owner, "Create", &name, made.as_ref().err()),
                }
                made
            }
            Action::Delete(at) => {
                let member = &work.members[*at].base;
                // This very pod: its successor has the same name.
                let options = DeleteOptions {
                    uid: Some(member.uid.clone()),
                    ..DeleteOptions::default()
                };
                match pods.delete(&member.name, &options).await {
                    Err(error) if error.is_not_found() || error.code() == 409 => Ok(()),
                    result => {
                        self.tell(owner, "Delete", &member.name, result.as_ref().err());
                        result
                    }
                }
            }
            Action::Claims(at) => self.make_claims(work, work.members[*at].ordinal).await,
            Action::Mend(at) => {
                let member = &work.members[*at];
                self.make_claims(work, member.ordinal).await?;
                let key = Key::new(owner.namespace.as_str(), member.base.name.as_str());
                let Some(mut dom) = self.pods.get(&key).and_then(|pod| pod.parse().ok()) else {
                    return Ok(());
                };
                members::mend(&mut dom, set, &owner.name, member.ordinal);
                let json = dom.to_json(dom.root());
                let result = pods.update(&member.base.name, json).await.map(|_| ());
                self.tell(owner, "Update", &member.base.name, result.as_ref().err());
                result
            }
        }
    }

    async fn create(
        &self,
        work: &Work<'_>,
        living: &Living<'_>,
        ordinal: i64,
        new: bool,
    ) -> Result<(), Error> {
        self.make_claims(work, ordinal).await?;
        let name = if new {
            &work.set.update
        } else {
            &work.set.current
        };
        let mut revisions = work.history.all.iter();
        let revision = revisions.find(|revision| revision.name == *name);
        let Some(template) = revision.and_then(|revision| revision.template()) else {
            return Ok(());
        };
        let pod = members::pod(
            work.dom.as_ref(),
            template.as_ref(),
            work.owner,
            ordinal,
            name,
        );
        let pods = self.control.pods(&work.owner.namespace);
        living.make(&pods, &pod).await.map(|_| ())
    }

    fn tell(&self, owner: &Owner, verb: &str, pod: &str, error: Option<&Error>) {
        let set = &owner.name;
        match error {
            None => {
                let text = format!("{verb} Pod {pod} in StatefulSet {set} successful");
                self.control
                    .normal(owner, &format!("Successful{verb}"), text);
            }
            Some(error) if namespace_ends(error) => {}
            Some(error) => {
                let error = message(error);
                let text = format!("{verb} Pod {pod} in StatefulSet {set} failed error: {error}");
                self.control.warning(owner, &format!("Failed{verb}"), text);
            }
        }
    }

    async fn make_claims(&self, work: &Work<'_>, ordinal: i64) -> Result<(), Error> {
        let (owner, set) = (work.owner, work.dom.as_ref());
        let api = self.api("", "persistentvolumeclaims", &owner.namespace);
        for template in claim_templates(set) {
            let name = claim_name(template, &owner.name, ordinal);
            let key = Key::new(owner.namespace.as_str(), name.as_str());
            if self.claims.get(&key).is_some() {
                continue;
            }
            let claim = members::claim(set, template, &owner.name, ordinal);
            let made = api.create(claim.to_json(claim.root())).await;
            let pod = format!("{}-{ordinal}", owner.name);
            match made {
                Ok(_) => {
                    let text = format!(
                        "Create Claim {name} Pod {pod} in StatefulSet {} success",
                        owner.name
                    );
                    self.control.normal(owner, "SuccessfulCreate", text);
                }
                Err(error) if error.is_already_exists() => {}
                Err(error) => {
                    let text = format!(
                        "Create Claim {name} for Pod {pod} in StatefulSet {} failed error: {}",
                        owner.name,
                        message(&error)
                    );
                    self.control.warning(owner, "FailedCreate", text);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// A claim that goes with a pod of that name that is gone.
    fn has_stale_claims(&self, owner: &Owner, set: Ref<'_>, ordinal: i64) -> bool {
        if keeper(set, true) != Keeper::Pod {
            return false;
        }
        let pod = format!("{}-{ordinal}", owner.name);
        claim_templates(set).any(|template| {
            let name = claim_name(template, &owner.name, ordinal);
            let claim = self.claims.get(&Key::new(owner.namespace.as_str(), name));
            claim
                .and_then(|claim| claim.parse().ok())
                .is_some_and(|dom| {
                    let mut owners = api::meta::of(dom.as_ref()).owners();
                    owners.any(|owner| owner.kind == "Pod" && owner.name == pod)
                })
        })
    }

    /// Claims are owned as the retention policy says.
    async fn keep_claims(&self, work: &Work<'_>) -> Result<(), Error> {
        let (owner, set) = (work.owner, work.dom.as_ref());
        let api = self.api("", "persistentvolumeclaims", &owner.namespace);
        let slots = work.set.start..work.set.start + work.set.replicas;
        for member in work.members {
            let keeper = keeper(set, !slots.contains(&member.ordinal));
            let pod = Owner {
                api_version: "v1",
                kind: "Pod",
                name: member.base.name.clone(),
                uid: member.base.uid.clone(),
                ..Owner::default()
            };
            for template in claim_templates(set) {
                let name = claim_name(template, &owner.name, member.ordinal);
                let claim = self
                    .claims
                    .get(&Key::new(owner.namespace.as_str(), name.as_str()));
                let Some(mut dom) = claim.and_then(|claim| claim.parse().ok()) else {
                    continue;
                };
                if keep(&mut dom, keeper, owner, &pod) {
                    let json = dom.to_json(dom.root());
                    match api.update(&name, json).await {
                        Err(error) if error.is_not_found() => {}
                        other => other.map(|_| ())?,
                    }
                }
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        owner: &Owner,
        mut dom: Dom,
        status: Option<&Status>,
        collisions: Option<i64>,
    ) -> Result<(), Error> {
        let known = dom.as_ref().get("status");
        let int = |field| known.and_then(|known| known.int(field));
        let mut numbers = vec![("collisionCount", collisions.unwrap_or(0))];
        let mut texts = Vec::new();
        if let Some(status) = status {
            numbers.extend([
                ("observedGeneration", status.observed_generation),
                ("replicas", status.replicas),
                ("readyReplicas", status.ready),
                ("availableReplicas", status.available),
                ("currentReplicas", status.current),
                ("updatedReplicas", status.updated),
            ]);
            texts.extend([
                ("currentRevision", &status.current_revision),
                ("updateRevision", &status.update_revision),
            ]);
        }
        let same = numbers
            .iter()
            .all(|(field, count)| int(field).unwrap_or(0) == *count)
            && texts
                .iter()
                .all(|(field, text)| known.map_or("", |known| known.str(field)) == text.as_str());
        if same {
            return Ok(());
        }
        let root = dom.root();
        let map = dom.ensure_map(root, "status");
        for (field, count) in numbers {
            dom.set_int(map, field, count);
        }
        for (field, text) in texts {
            dom.set_str(map, field, text);
        }
        let api = self.api("apps", "statefulsets", &owner.namespace);
        let json = dom.to_json(root);
        match api.update_subresource(&owner.name, "status", json).await {
            Err(error) if error.is_not_found() => Ok(()),
            other => other.map(|_| ()),
        }
    }
}
