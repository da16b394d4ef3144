//! Volumes by claim: what a bound claim's volume is on this node.
//!
//! Reads the claim and its PersistentVolume; `hostPath` and `local` volumes are folders of the node,
//! other kinds are refused by name. Knows no binding: the controller has done that.
//! Source: kubernetes v1.36.3 pkg/kubelet/volumemanager/populator
//! (getPVCExtractPV, getPVSpec), pkg/volume/local/local.go.

use std::path::PathBuf;

use api::Gvr;
use schema::{Dom, Ref};

use super::{Round, VolumeError};

/// A folder or file of the node that stands behind a claim.
#[derive(Debug)]
pub(super) struct Backing {
    /// Name of the PersistentVolume.
    pub(super) volume: String,
    pub(super) path: PathBuf,
    /// `hostPath.type`; none for `local` volumes, which have to be there.
    pub(super) host_type: Option<String>,
}

/// The name of the claim that a pod's volume uses: its own, or one made for the pod.
pub(super) fn claim_name(pod: Ref<'_>, volume: Ref<'_>) -> String {
    match volume.get("persistentVolumeClaim") {
        Some(claim) => claim.str("claimName").to_owned(),
        None => format!("{}-{}", api::meta::of(pod).name(), volume.str("name")),
    }
}

pub(super) async fn backing(
    round: &Round<'_>,
    pod: Ref<'_>,
    volume: Ref<'_>,
) -> Result<Backing, VolumeError> {
    let namespace = api::meta::of(pod).namespace();
    let claim = claim_name(pod, volume);
    let wrong = |reason: String| VolumeError::Reference {
        name: volume.str("name").to_owned(),
        reason: format!("error processing PVC {namespace}/{claim}: {reason}"),
    };
    let claims = round
        .client
        .namespaced(&Gvr::new("", "v1", "persistentvolumeclaims"), namespace);
    let found = claims.get(&claim).await.map_err(|error| {
        let error = base::Chain(&error).to_string();
        wrong(format!("failed to fetch PVC from API server: {error}"))
    })?;
    let found = found.parse().unwrap_or_default();
    let name = volume_of(&found, pod, volume).map_err(&wrong)?;
    let volumes = Gvr::new("", "v1", "persistentvolumes");
    let persistent = round.client.resource(&volumes).get(&name).await;
    let persistent = persistent.map_err(|error| {
        let error = base::Chain(&error).to_string();
        wrong(format!(
            "failed to fetch PV {name} from API server: {error}"
        ))
    })?;
    let persistent = persistent.parse().unwrap_or_default();
    let uid = api::meta::of(found.as_ref()).uid().to_owned();
    place(persistent.as_ref(), &name, &uid).map_err(wrong)
}

/// The volume that the claim is bound to.
fn volume_of(claim: &Dom, pod: Ref<'_>, volume: Ref<'_>) -> Result<String, String> {
    const PROTECTION: &str = "kubernetes.io/pvc-protection";
    let claim = claim.as_ref();
    let meta = api::meta::of(claim);
    if meta.is_deleting() && !meta.has_finalizer(PROTECTION) {
        return Err("PVC is being deleted".to_owned());
    }
    if claim.get("status").map_or("", |s| s.str("phase")) != "Bound" {
        return Err("PVC is not bound".to_owned());
    }
    let made_for_pod = volume.get("persistentVolumeClaim").is_none();
    if made_for_pod && !meta.is_controlled_by(api::meta::of(pod).uid()) {
        return Err("PVC was not created for the pod (pod is not owner)".to_owned());
    }
    match claim.get("spec").map_or("", |spec| spec.str("volumeName")) {
        "" => Err("PVC has empty pvc.Spec.VolumeName".to_owned()),
        name => Ok(name.to_owned()),
    }
}

/// Where the volume is; `claim_uid`: whose it has to be.
fn place(volume: Ref<'_>, name: &str, claim_uid: &str) -> Result<Backing, String> {
    let spec = volume.get("spec").unwrap_or(Ref::null());
    let Some(claim) = spec.get("claimRef") else {
        return Err(format!(
            "found PV object {name} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
        ));
    };
    let own = claim.str("uid");
    if own != claim_uid {
        return Err(format!(
            "found PV object {name} but its pv.Spec.ClaimRef.UID {own} does not point to claim.UID {claim_uid}"
        ));
    }
    if spec.str("volumeMode") == "Block" {
        return Err(format!(
            "volume {name} has volumeMode Block, but is specified in volumeMounts"
        ));
    }
    let (source, host_type) = match (spec.get("hostPath"), spec.get("local")) {
        (Some(host), _) => (host, Some(host.str("type").to_owned())),
        (None, Some(local)) => (local, None),
        (None, None) => {
            return Err(format!(
                "PV {name} is of a kind that this node does not offer: hostPath and local are"
            ));
        }
    };
    Ok(Backing {
        volume: name.to_owned(),
        path: PathBuf::from(source.str("path")),
        host_type,
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(volume: &str, expect: Expect) {
        let dom = Dom::parse_json(volume.as_bytes()).unwrap();
        let text = match place(dom.as_ref(), "v", "u") {
            Ok(found) => format!("{} {:?}", found.path.display(), found.host_type),
            Err(reason) => reason,
        };
        expect.assert_eq(&text);
    }

    #[test]
    fn places() {
        check(
            r#"{"spec":{"claimRef":{"uid":"u"},"hostPath":{"path":"/data","type":"Directory"}}}"#,
            expect![[r#"/data Some("Directory")"#]],
        );
        check(
            r#"{"spec":{"claimRef":{"uid":"u"},"local":{"path":"/disk"}}}"#,
            expect!["/disk None"],
        );
        check(
            r#"{"spec":{"hostPath":{"path":"/data"}}}"#,
            expect![
                "found PV object v but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
            ],
        );
        check(
            r#"{"spec":{"claimRef":{"uid":"w"},"hostPath":{"path":"/data"}}}"#,
            expect![
                "found PV object v but its pv.Spec.ClaimRef.UID w does not point to claim.UID u"
            ],
        );
        check(
            r#"{"spec":{"claimRef":{"uid":"u"},"nfs":{"path":"/data"}}}"#,
            expect!["PV v is of a kind that this node does not offer: hostPath and local are"],
        );
    }
}
