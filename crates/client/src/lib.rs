//! Transport-neutral API client: requests, reflector, work queue, events.
//!
//! Everything that is not the API server itself (controllers, scheduler, kubelet, tools) speaks
//! through this crate, in the same process or over TLS alike. Objects stay the bytes that the
//! server sent; a reader parses the few it looks at.

mod cache;
mod error;
mod event;
mod object;
mod queue;
mod reflector;
mod request;
mod watch;

pub use cache::{Cache, Change, IndexFn};
pub use error::{Error, Retry};
pub use event::{EventType, Recorder, Reference};
pub use object::{Key, Object, Sharing};
pub use queue::WorkQueue;
pub use reflector::{Handler, Reflector};
pub use request::{Api, Client, DeleteOptions, ListOptions, Patch, Propagation};
pub use watch::{Watch, WatchEvent};
