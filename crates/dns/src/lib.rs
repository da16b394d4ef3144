//! Names of the cluster: a DNS server on every node.
//!
//! Core (pure): `message` reads and writes packets, `zone` holds what Services and EndpointSlices
//! say, `answer` turns a question into a packet, `corefile` reads the configuration people know,
//! `cache` keeps what others answered. Shell: `server` owns the sockets, `forward` asks other
//! resolvers, `run` keeps zone and configuration equal to the API, `publish` keeps the endpoints
//! of the Service `kube-dns` equal to the nodes.
//!
//! Where it runs: the agent of each node listens on the node's address. The Service `kube-dns` has
//! no selector; its slice lists all ready nodes, each with a hint for its own node, so that pods
//! ask their own node and another one when theirs is silent.
//! Source: kubernetes dns specification 1.1; coredns v1.14 plugin/{kubernetes,forward,cache};
//! kubernetes v1.36.3 cmd/kubeadm/app/phases/addons/dns/manifests.go.

mod answer;
mod cache;
mod corefile;
mod forward;
#[doc(hidden)]
pub mod fuzz;
mod lookup;
mod manifests;
mod message;
mod publish;
mod resolv_conf;
mod run;
mod server;
mod zone;

pub use corefile::{Corefile, CorefileError, Finding};
pub use forward::{Sockets, SystemSockets};
pub use lookup::{Looked, LookupError, lookup};
pub use manifests::{Manifest, PUBLISHER_USER, SERVER_USER, default_corefile, manifests};
pub use publish::publish;
pub use run::{Config, run};
pub use server::{Server, Verdict};
pub use zone::Zone;
