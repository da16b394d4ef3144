//! RESOURCES: the 67 resources of the 22 group-versions that upstream serves by default.
//!
//! Source: kubernetes v1.36.3 pkg/registry/*/rest and pkg/registry/*/*/storage; verbs, short names
//! and categories as its discovery tells them.

mod apps;
mod core;
mod extension;
mod network;
mod review;
mod storage;

use std::sync::{Arc, LazyLock};

use crate::resource::Resource;

/// All built-in resources.
pub static RESOURCES: LazyLock<Vec<Arc<Resource>>> = LazyLock::new(|| {
    let families = [
        core::rows(),
        apps::rows(),
        network::rows(),
        storage::rows(),
        extension::rows(),
        review::rows(),
    ];
    families.into_iter().flatten().map(Arc::new).collect()
});
