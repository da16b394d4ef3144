//! What makes a pod the one of its number: name, labels, host name, claims.
//!
//! Source: kubernetes v1.36.3 pkg/controller/statefulset/stateful_set_utils.go.

use schema::{Dom, Node, Ref};

use crate::workload::claims::Owner;
use crate::workload::revisions::HASH;
use crate::workload::template;

pub(super) const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
pub(super) const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// The claim of a template for a number.
pub(super) fn claim_name(template: Ref<'_>, set: &str, ordinal: i64) -> String {
    format!("{}-{set}-{ordinal}", api::meta::of(template).name())
}

pub(super) fn claim_templates(set: Ref<'_>) -> impl Iterator<Item = Ref<'_>> {
    let spec = set.get("spec");
    spec.into_iter()
        .flat_map(|spec| spec.items("volumeClaimTemplates"))
}

/// The pod of a number, of `from`, the template of a revision.
pub(super) fn pod(set: Ref<'_>, from: Ref<'_>, owner: &Owner, ordinal: i64, revision: &str) -> Dom {
    let mut dom = template::pod(from, owner);
    let root = dom.root();
    let name = format!("{}-{ordinal}", owner.name);
    let metadata = dom.ensure_map(root, "metadata");
    dom.set_str(metadata, "name", &name);
    let spec = dom.ensure_map(root, "spec");
    dom.set_str(spec, "hostname", &name);
    let service = set.get("spec").map_or("", |spec| spec.str("serviceName"));
    if !service.is_empty() {
        dom.set_str(spec, "subdomain", service);
    }
    mend(&mut dom, set, &owner.name, ordinal);
    let labels = dom.ensure_map(metadata, "labels");
    dom.set_str(labels, HASH, revision);
    dom
}

/// Gives a pod the labels and volumes of its number.
pub(super) fn mend(pod: &mut Dom, set: Ref<'_>, set_name: &str, ordinal: i64) {
    let root = pod.root();
    let metadata = pod.ensure_map(root, "metadata");
    let labels = pod.ensure_map(metadata, "labels");
    pod.set_str(labels, POD_NAME, &format!("{set_name}-{ordinal}"));
    pod.set_str(labels, POD_INDEX, &ordinal.to_string());
    let templates: Vec<Ref<'_>> = claim_templates(set).collect();
    if templates.is_empty() {
        return;
    }
    let spec = pod.ensure_map(root, "spec");
    let known = pod.ensure_list(spec, "volumes");
    let is_claim = |pod: &Dom, volume: Node| {
        let name = pod.at_node(volume).str("name");
        templates.iter().any(|t| api::meta::of(*t).name() == name)
    };
    let others: Vec<Node> = pod.items(known).filter(|v| !is_claim(pod, *v)).collect();
    let others: Vec<Node> = others.into_iter().map(|volume| pod.copy(volume)).collect();
    let list = pod.new_list();
    for template in &templates {
        let volume = pod.new_map();
        pod.set_str(volume, "name", api::meta::of(*template).name());
        let source = pod.ensure_map(volume, "persistentVolumeClaim");
        pod.set_str(
            source,
            "claimName",
            &claim_name(*template, set_name, ordinal),
        );
        pod.push(list, volume);
    }
    for volume in others {
        pod.push(list, volume);
    }
    pod.set(spec, "volumes", list);
}

/// Whether labels and volumes are those of the number.
pub(super) fn fits(pod: Ref<'_>, set: Ref<'_>, set_name: &str, ordinal: i64) -> bool {
    let name = format!("{set_name}-{ordinal}");
    let volume = |wanted: &str| {
        let mut volumes = pod.get("spec")?.items("volumes");
        volumes.find(|volume| volume.str("name") == wanted)
    };
    api::meta::of(pod).label(POD_NAME) == Some(&name)
        && claim_templates(set).all(|template| {
            let volume = volume(api::meta::of(template).name());
            let claim = volume.and_then(|volume| volume.get("persistentVolumeClaim"));
            claim.is_some_and(|c| c.str("claimName") == claim_name(template, set_name, ordinal))
        })
}

/// The claim of a template for a number.
pub(super) fn claim(set: Ref<'_>, template: Ref<'_>, set_name: &str, ordinal: i64) -> Dom {
    let mut dom = Dom::new();
    let root = dom.import(template.dom(), template.node());
    dom.set_root(root);
    dom.set_str(root, "apiVersion", "v1");
    dom.set_str(root, "kind", "PersistentVolumeClaim");
    dom.remove(root, "status");
    let metadata = dom.ensure_map(root, "metadata");
    dom.set_str(metadata, "name", &claim_name(template, set_name, ordinal));
    dom.remove(metadata, "namespace");
    let labels = dom.ensure_map(metadata, "labels");
    let wanted = set.at(&["spec", "selector", "matchLabels"]);
    for (key, value) in wanted.into_iter().flat_map(Ref::map) {
        dom.set_str(labels, key, value.as_str().unwrap_or(""));
    }
    dom
}

/// Who owns the claims of a number, by the retention policy: the set, the pod, or nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keeper {
    Nobody,
    Set,
    Pod,
}

/// `condemned`: the set is too small for that number.
pub(super) fn keeper(set: Ref<'_>, condemned: bool) -> Keeper {
    let policy = set.at(&["spec", "persistentVolumeClaimRetentionPolicy"]);
    let deletes = |field| policy.is_some_and(|policy| policy.str(field) == "Delete");
    match (deletes("whenScaled"), deletes("whenDeleted")) {
        (true, _) if condemned => Keeper::Pod,
        (_, true) => Keeper::Set,
        _ => Keeper::Nobody,
    }
}

/// Sets the owners of a claim; false when they are as they should be, or others manage it.
pub(super) fn keep(claim: &mut Dom, keeper: Keeper, set: &Owner, pod: &Owner) -> bool {
    let owners: Vec<(String, String, String, bool)> = api::meta::of(claim.as_ref())
        .owners()
        .map(|o| {
            (
                o.kind.to_owned(),
                o.name.to_owned(),
                o.uid.to_owned(),
                o.controller,
            )
        })
        .collect();
    let of = |owner: &Owner| {
        let mut all = owners.iter();
        all.find(|(kind, name, ..)| kind == owner.kind && *name == owner.name)
    };
    let stale = |owner: &Owner| of(owner).is_some_and(|(_, _, uid, _)| *uid != owner.uid);
    let foreign = owners
        .iter()
        .any(|(_, _, uid, controller)| *controller && *uid != set.uid && *uid != pod.uid);
    if stale(set) || stale(pod) || foreign && keeper != Keeper::Nobody {
        return false;
    }
    let wanted = match keeper {
        Keeper::Nobody => None,
        Keeper::Set => Some(set),
        Keeper::Pod => Some(pod),
    };
    let right = |owner: &Owner| {
        let has = of(owner).is_some_and(|(.., controller)| *controller);
        has == wanted.is_some_and(|wanted| wanted.uid == owner.uid) && (has || of(owner).is_none())
    };
    if right(set) && right(pod) {
        return false;
    }
    let root = claim.root();
    let metadata = claim.ensure_map(root, "metadata");
    let list = claim.ensure_list(metadata, "ownerReferences");
    for at in (0..claim.len(list)).rev() {
        let uid = claim
            .item(list, at)
            .map(|item| claim.at_node(item).str("uid").to_owned());
        if uid.is_some_and(|uid| uid == set.uid || uid == pod.uid) {
            claim.remove_item(list, at);
        }
    }
    if let Some(wanted) = wanted {
        wanted.write(claim, metadata);
    }
    true
}
