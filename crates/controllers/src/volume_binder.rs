//! Claims get volumes that are there: the binder of PersistentVolumes and PersistentVolumeClaims.
//!
//! `plan` decides, `edit` makes the objects, this file fetches and writes. A claim is looked at when
//! it, its volume or any free volume changes. Nothing is provisioned, recycled or deleted here: for
//! classes of outside provisioners the claim is marked for them, and Retain is the one policy that
//! leaves a volume in peace. The binding of claims that wait for their first consumer is the
//! scheduler's.
//! Source: kubernetes v1.36.3 pkg/controller/volume/persistentvolume.

mod edit;
mod facts;
mod plan;

use std::sync::Arc;

use api::Gvr;
use client::{Api, Cache, Error, Key, Object, WorkQueue};
use schema::Dom;

use crate::context::{Context, work};
use crate::facts::Facts;
use crate::volume_binder::facts::{Claim, Class, UNBOUND, Volume};
use crate::volume_binder::plan::{ForClaim, ForVolume, Word, World};
use crate::workload::claims::Owner;
use crate::workload::control::Control;

const TASK: &str = "persistentvolume-binder-controller";
/// Index of pods by the claims that they name.
const BY_CLAIM: &str = "unscheduled-claim";

/// What is looked at.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Look {
    Claim(Key),
    Volume(String),
}

impl std::fmt::Display for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Claim(key) => write!(f, "claim {key}"),
            Self::Volume(name) => write!(f, "volume {name}"),
        }
    }
}

struct Binder {
    context: Context,
    control: Control,
    claims: Facts<Claim>,
    volumes: Facts<Volume>,
    classes: Facts<Class>,
    pods: Cache,
    queue: Arc<WorkQueue<Look>>,
}

pub(crate) fn start(context: Context) {
    let queue: Arc<WorkQueue<Look>> = Arc::new(WorkQueue::new());
    let (claims, volumes) = (facts::claims(&context), facts::volumes(&context));
    let classes = facts::classes(&context);
    let add = queue.clone();
    let of_claims = volumes.clone();
    claims.clone().on_step(move |step| {
        if step.new.is_some() {
            add.add(Look::Claim(step.key.clone()));
        }
        for volume in of_claims.bin(&format!("{}/{}", step.key.namespace, step.key.name)) {
            add.add(Look::Volume(volume.name.clone()));
        }
    });
    let (add, waiting) = (queue.clone(), claims.clone());
    volumes.clone().on_step(move |step| {
        let sides = [&step.old, &step.new];
        if step.new.is_some() {
            add.add(Look::Volume(step.key.name.clone()));
        }
        // Those that name it hear of its end, too.
        for of in sides.into_iter().flatten().filter_map(|v| v.claim.as_ref()) {
            add.add(Look::Claim(of.key()));
        }
        let is_free = step.new.as_ref().is_some_and(|new| {
            new.phase == "Available" || new.claim.as_ref().is_some_and(|of| of.uid.is_empty())
        });
        for claim in waiting.bin(UNBOUND) {
            if is_free || claim.volume == step.key.name {
                add.add(Look::Claim(claim.key()));
            }
        }
    });
    let (add, waiting) = (queue.clone(), claims.clone());
    classes.clone().on_step(move |_| {
        for claim in waiting.bin(UNBOUND) {
            add.add(Look::Claim(claim.key()));
        }
    });
    let pods = context.informers.of("", "v1", "pods");
    let pods = pods.index(BY_CLAIM, unscheduled_claims).cache();
    let all = Arc::new(Binder {
        control: Control::new(&context, "persistentvolume-controller"),
        context: context.clone(),
        claims,
        volumes,
        classes,
        pods,
        queue: queue.clone(),
    });
    work(TASK, &context, &queue, move |look| {
        let all = all.clone();
        async move {
            all.claims.synced().await;
            all.volumes.synced().await;
            all.classes.synced().await;
            match look {
                Look::Claim(key) => all.claim(&key).await,
                Look::Volume(name) => all.volume(&name).await,
            }
        }
    });
}

/// Claims of a pod that has no node yet, as `namespace/name`.
fn unscheduled_claims(pod: &Object) -> Vec<String> {
    let Ok(dom) = pod.parse() else {
        return Vec::new();
    };
    let spec = dom.as_ref().get("spec");
    let spec = spec.filter(|spec| spec.str("nodeName").is_empty());
    let volumes = spec.into_iter().flat_map(|spec| spec.items("volumes"));
    let claims = volumes.filter_map(|volume| volume.get("persistentVolumeClaim"));
    claims
        .map(|claim| format!("{}/{}", pod.namespace(), claim.str("claimName")))
        .collect()
}

impl Binder {
    fn claims_api(&self, namespace: &str) -> Api {
        let gvr = Gvr::new("", "v1", "persistentvolumeclaims");
        self.context.client.namespaced(&gvr, namespace)
    }

    fn volumes_api(&self) -> Api {
        let gvr = Gvr::new("", "v1", "persistentvolumes");
        self.context.client.resource(&gvr)
    }

    fn tell(&self, kind: &'static str, object: &Dom, word: Word) {
        let about = Owner::read("v1", kind, object.as_ref());
        self.control
            .event(&about, word.kind, word.reason, word.text);
    }

    async fn claim(&self, key: &Key) -> Result<(), Error> {
        let (Some(claim), Some(object)) = (self.claims.get(key), self.claims.object(key)) else {
            return Ok(());
        };
        let Ok(mut dom) = object.parse() else {
            return Ok(());
        };
        let (volumes, classes) = (self.volumes.all(), self.classes.all());
        let index = format!("{}/{}", key.namespace, key.name);
        let pods = self.pods.by_index(BY_CLAIM, &index);
        let mut waiting_pods: Vec<String> = pods.iter().map(|p| p.name().to_owned()).collect();
        waiting_pods.sort();
        let world = World {
            volumes: &volumes,
            classes: &classes,
            waiting_pods: &waiting_pods,
        };
        match plan::claim(&claim, &world) {
            ForClaim::Wait(word) => {
                if let Some(word) = word {
                    self.tell("PersistentVolumeClaim", &dom, word);
                }
                if edit::claim_status(&mut dom, "Pending", None) {
                    self.write_claim(key, &dom, "status").await?;
                }
                Ok(())
            }
            ForClaim::Lost(word) => {
                let is_new = dom
                    .as_ref()
                    .get("status")
                    .is_none_or(|status| status.str("phase") != "Lost");
                if is_new && edit::claim_status(&mut dom, "Lost", None) {
                    self.write_claim(key, &dom, "status").await?;
                    self.tell("PersistentVolumeClaim", &dom, word);
                }
                Ok(())
            }
            ForClaim::Class(class) => {
                edit::claim_class(&mut dom, &class);
                self.write_claim(key, &dom, "").await.map(drop)
            }
            ForClaim::Provision { provisioner, word } => {
                self.tell("PersistentVolumeClaim", &dom, word);
                if edit::claim_provisioner(&mut dom, &provisioner) {
                    self.write_claim(key, &dom, "").await?;
                }
                Ok(())
            }
            ForClaim::Bind { volume } => self.bind(&claim, &object, dom, &volume).await,
        }
    }

    /// Makes both name each other: the volume first, so that no other claim gets it. What fails on
    /// the way is finished by the next look.
    async fn bind(
        &self,
        claim: &Claim,
        object: &Object,
        mut claim_dom: Dom,
        volume: &str,
    ) -> Result<(), Error> {
        let Some(mut dom) = self
            .volumes
            .object(&Key::new("", volume))
            .and_then(|object| object.parse().ok())
        else {
            return Ok(());
        };
        if edit::bind_volume(&mut dom, claim, object.resource_version()) {
            dom = self.write_volume(volume, &dom, "").await?;
        }
        if edit::volume_phase(&mut dom, "Bound") {
            dom = self.write_volume(volume, &dom, "status").await?;
        }
        let key = claim.key();
        if edit::bind_claim(&mut claim_dom, volume) {
            claim_dom = self.write_claim(&key, &claim_dom, "").await?;
            tracing::info!(claim = %key, volume, "claim bound");
        }
        if edit::claim_status(&mut claim_dom, "Bound", Some(dom.as_ref())) {
            self.write_claim(&key, &claim_dom, "status").await?;
        }
        Ok(())
    }

    async fn volume(&self, name: &str) -> Result<(), Error> {
        let key = Key::new("", name);
        let (Some(volume), Some(object)) = (self.volumes.get(&key), self.volumes.object(&key))
        else {
            return Ok(());
        };
        let Ok(mut dom) = object.parse() else {
            return Ok(());
        };
        let of = volume.claim.as_ref();
        let mut found = of.and_then(|of| self.claims.get(&of.key()));
        if let Some(of) = volume.claim.as_ref().filter(|of| !of.uid.is_empty())
            && found.as_ref().is_none_or(|found| found.uid != of.uid)
            && !matches!(volume.phase.as_str(), "Released" | "Failed")
        {
            // Whether a claim is gone is not for a cache to say.
            let fresh = self.claims_api(&of.namespace).find(&of.name).await?;
            found = fresh
                .and_then(|fresh| Claim::read(fresh.parse().ok()?.as_ref()))
                .map(Arc::new);
        }
        match plan::volume(&volume, found.as_deref()) {
            ForVolume::Nothing => Ok(()),
            ForVolume::Phase { phase, word } => {
                if edit::volume_phase(&mut dom, phase) {
                    dom = self.write_volume(name, &dom, "status").await?;
                    if let Some(word) = word {
                        self.tell("PersistentVolume", &dom, word);
                    }
                }
                Ok(())
            }
            ForVolume::Unbind => {
                if edit::unbind_volume(&mut dom) {
                    dom = self.write_volume(name, &dom, "").await?;
                }
                if edit::volume_phase(&mut dom, "Available") {
                    self.write_volume(name, &dom, "status").await?;
                }
                Ok(())
            }
            ForVolume::LookAtClaim => {
                if let Some(of) = &volume.claim {
                    self.queue.add(Look::Claim(of.key()));
                }
                Ok(())
            }
            ForVolume::Mismatch {
                volume: own,
                claim: other,
            } => {
                self.tell("PersistentVolume", &dom, own);
                let claim = volume.claim.as_ref().map(|of| of.key());
                let claim = claim.and_then(|key| self.claims.object(&key)?.parse().ok());
                if let Some(claim) = claim {
                    self.tell("PersistentVolumeClaim", &claim, other);
                }
                Ok(())
            }
        }
    }

    async fn write_claim(&self, key: &Key, dom: &Dom, part: &str) -> Result<Dom, Error> {
        write(&self.claims_api(&key.namespace), &key.name, dom, part).await
    }

    async fn write_volume(&self, name: &str, dom: &Dom, part: &str) -> Result<Dom, Error> {
        write(&self.volumes_api(), name, dom, part).await
    }
}

/// Writes an object, or its status; what it is then.
async fn write(api: &Api, name: &str, dom: &Dom, part: &str) -> Result<Dom, Error> {
    let json = dom.to_json(dom.root());
    let written = match part {
        "" => api.update(name, json).await?,
        part => api.update_subresource(name, part, json).await?,
    };
    // A server that answers nonsense is asked again with what is known.
    Ok(written.parse().unwrap_or_else(|_| {
        let mut copy = Dom::new();
        let root = copy.import(dom, dom.root());
        copy.set_root(root);
        copy
    }))
}
