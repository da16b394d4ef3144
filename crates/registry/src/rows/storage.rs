//! Rows of storage classes, drivers and attachments.

use crate::columns;
use crate::defaults;
use crate::resource::Resource;
use crate::strategy::Strategy;
use crate::validation::storage;

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
                generation: true,
                ..Strategy::DEFAULT
            }),
        Resource::cluster(group, "v1", "csinodes", "CSINode").columns(columns::csi_node()),
        Resource::namespaced(group, "v1", "csistoragecapacities", "CSIStorageCapacity")
            .columns(columns::capacity()),
        Resource::cluster(group, "v1", "volumeattachments", "VolumeAttachment")
            .status()
            .columns(columns::volume_attachment())
            .strategy(Strategy {
                validate: storage::attachment,
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
