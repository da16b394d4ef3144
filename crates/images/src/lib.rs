//! Images: pull, import, content store, unpacked layers, collection of what nobody needs.
//!
//! Knows registries, archives and folders on disk; no Kubernetes object, no overlay mount (the
//! runtime stacks [`Image::layers`]). Everything that comes from outside is verified by digest
//! before it has a name, and a layer can touch nothing but its own folder.
//! Source: OCI image and distribution specifications 1.1; docker image specification v1.2.

mod blobs;
pub mod build;
mod catalog;
mod digest;
mod error;
mod flights;
#[doc(hidden)]
pub mod fuzz;
mod images;
mod import;
mod layers;
mod manifest;
mod pull;
mod reference;
mod registry;
mod tar;
mod unpack;

pub use digest::Digest;
pub use error::ImageError;
pub use images::{CollectPolicy, Config, Hold, Image, Images, Usage};
pub use manifest::ImageConfig;
pub use pull::{Event, Progress};
pub use reference::Reference;
pub use registry::{Auth, Registries};
pub use unpack::Limits;
