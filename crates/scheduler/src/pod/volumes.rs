//! What of a pod's volumes matters for choosing a node: claims, and disks that one node at a
//! time may write.
//!
//! Source: kubernetes v1.36.3 pkg/scheduler/framework/plugins/volumerestrictions.

use schema::Ref;

/// A claim that the pod mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimName {
    /// In the pod's namespace.
    pub name: String,
    /// Made for this pod from a template.
    pub ephemeral: bool,
}

/// A disk named in the pod itself. Two pods with the same one cannot share a node, unless both
/// only read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What makes it the same disk.
    pub identity: String,
    /// Only reads.
    pub read_only: bool,
}

impl Disk {
    pub(crate) fn conflicts(&self, other: &Self) -> bool {
        self.identity == other.identity && !(self.read_only && other.read_only)
    }
}

pub(crate) fn claims<'a>(pod: &'a str, spec: Ref<'a>) -> impl Iterator<Item = ClaimName> {
    spec.items("volumes").filter_map(move |volume| {
        if let Some(claim) = volume.get("persistentVolumeClaim") {
            return Some(ClaimName {
                name: claim.str("claimName").to_owned(),
                ephemeral: false,
            });
        }
        volume.get("ephemeral").map(|_| ClaimName {
            name: format!("{pod}-{}", volume.str("name")),
            ephemeral: true,
        })
    })
}

pub(crate) fn disks(spec: Ref<'_>) -> Vec<Disk> {
    let mut disks = Vec::new();
    for volume in spec.items("volumes") {
        let mut add = |identity: String, read_only: bool| {
            disks.push(Disk {
                identity,
                read_only,
            });
        };
        let read_only = |source: Ref<'_>| source.bool("readOnly").unwrap_or(false);
        if let Some(disk) = volume.get("gcePersistentDisk") {
            add(format!("gce {}", disk.str("pdName")), read_only(disk));
        }
        if let Some(disk) = volume.get("awsElasticBlockStore") {
            add(format!("aws {}", disk.str("volumeID")), false);
        }
        if let Some(disk) = volume.get("iscsi") {
            add(format!("iscsi {}", disk.str("iqn")), read_only(disk));
        }
        if let Some(disk) = volume.get("rbd") {
            for monitor in disk.items("monitors").filter_map(|m| m.as_str()) {
                let (pool, image) = (disk.str("pool"), disk.str("image"));
                add(format!("rbd {monitor} {pool} {image}"), read_only(disk));
            }
        }
    }
    disks
}
