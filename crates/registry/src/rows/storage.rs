//! Rows of storage classes, drivers and attachments.

use crate::columns;
use crate::defaults;
use crate::resource::Resource;
use crate::strategy::Strategy;
use crate::validation::storage;

/// An update names the revision that it replaces.
const NAMED_REVISION: Strategy = Strategy {
    unconditional_update: false,
    ..Strategy::DEFAULT
};

pub(super) fn rows() -> Vec<Resource> {
    let group = "storage.k8s.io";
    vec![
        Resource::cluster(group, "v1", "storageclasses", "StorageClass")
            .short(&["sc"])
            .columns(columns::class())
            .strategy(Strategy {
                default: defaults::storage_class,
                validate: storage::class,
                validate_update: storage::class_update,
                ..Strategy::DEFAULT
            }),
        Resource::cluster(group, "v1", "csidrivers", "CSIDriver")
            .columns(columns::csi_driver())
            .strategy(Strategy {
                default: defaults::csi_driver,
                unconditional_update: false,
                ..Strategy::DEFAULT
            }),
        Resource::cluster(group, "v1", "csinodes", "CSINode")
            .columns(columns::csi_node())
            .strategy(NAMED_REVISION),
        Resource::namespaced(group, "v1", "csistoragecapacities", "CSIStorageCapacity")
            .columns(columns::capacity())
            .strategy(NAMED_REVISION),
        Resource::cluster(group, "v1", "volumeattachments", "VolumeAttachment")
            .status()
            .columns(columns::volume_attachment())
            .strategy(Strategy {
                validate: storage::attachment,
                unconditional_update: false,
                ..Strategy::DEFAULT
            }),
        Resource::cluster(
            group,
            "v1",
            "volumeattributesclasses",
            "VolumeAttributesClass",
        )
        .short(&["vac"])
        .columns(columns::attributes_class()),
    ]
}
