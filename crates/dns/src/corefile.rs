//! The Corefile of ConfigMap `kube-system/coredns`: what people know to write there.
//!
//! Owns the meaning of server blocks and of the directives that this server has. What it does not
//! have is never passed over in silence: each becomes a [`Finding`] with its line. Text that has
//! no structure is an error, and the configuration before it stays.
//! Example: `.:53 { kubernetes cluster.local; forward . /etc/resolv.conf }` and
//! `acme.local:53 { forward . 10.0.0.53 }` → two blocks; a name takes the most specific one.
//! Pure. Source: coredns v1.14 man/corefile.5.md, plugin/{kubernetes,forward,cache}/README.md.

mod lex;
mod read;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::answer::longest;
use crate::message::Name;

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corefile {
    pub(crate) blocks: Vec<Block>,
    /// What is written and not done, in the order of the text.
    pub findings: Vec<Finding>,
}

/// A line that has no effect, or another than written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// From 1.
    pub line: usize,
    /// What of it.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// A text that is no Corefile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read the Corefile: line {line}: {reason}")]
pub struct CorefileError {
    /// From 1.
    pub line: usize,
    /// Why.
    pub reason: String,
}

/// One server block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// Its zones, in wire form.
    pub(crate) zones: Vec<Box<[u8]>>,
    /// The cluster's own names.
    pub(crate) kubernetes: Option<Kubernetes>,
    /// Who is asked for the rest; the first that fits the name.
    pub(crate) forwards: Vec<Forward>,
    /// How long their answers are kept.
    pub(crate) cache: Option<CacheRule>,
    /// Look for forwarding in a circle.
    pub(crate) detect_loop: bool,
    /// Log queries.
    pub(crate) log: bool,
}

/// The directive `kubernetes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kubernetes {
    /// Domains, in wire form; the first is the one that reverse names lead to.
    pub(crate) zones: Vec<Box<[u8]>>,
    /// Reverse zones.
    pub(crate) reverse: Vec<Box<[u8]>>,
    /// What is not found in these is asked elsewhere.
    pub(crate) fall_through: Vec<Box<[u8]>>,
    /// Names of pods.
    pub(crate) pods: Pods,
    /// Of every record.
    pub(crate) ttl: u32,
    /// Services without endpoints do not exist.
    pub(crate) ignore_empty: bool,
    /// Labels of the namespaces that exist; all when empty.
    pub(crate) namespaces: Vec<Box<[u8]>>,
}

impl Kubernetes {
    /// Whether a name that does not exist here is asked elsewhere.
    pub(crate) fn falls_through(&self, name: &Name) -> bool {
        longest(&self.fall_through, name).is_some()
    }
}

/// What `1-2-3-4.namespace.pod` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pods {
    /// Nothing.
    Disabled,
    /// That address, whether such a pod exists or not.
    Insecure,
}

/// The directive `forward`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    /// Names below it, in wire form.
    pub(crate) from: Box<[u8]>,
    /// Names that are not asked.
    pub(crate) except: Vec<Box<[u8]>>,
    /// Who is asked.
    pub(crate) to: Vec<Upstream>,
    /// In which order.
    pub(crate) policy: Policy,
    /// Questions under way at a time.
    pub(crate) max_concurrent: usize,
    /// Failures in a row after which a server is left out for a moment; 0 never.
    pub(crate) max_fails: u32,
    /// TCP from the start.
    pub(crate) force_tcp: bool,
}

/// One of `forward`'s targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// A server.
    Address(SocketAddr),
    /// All `nameserver`s of a file.
    File(PathBuf),
}

/// Which server is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Any.
    Random,
    /// One after the other.
    RoundRobin,
    /// In the order of the text.
    Sequential,
}

/// The directive `cache`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CacheRule {
    /// Most seconds that an answer is kept.
    pub(crate) success: u32,
    /// Most seconds that the lack of one is kept.
    pub(crate) denial: u32,
    /// Answers that are kept; 0 none.
    pub(crate) success_capacity: usize,
    /// Denials that are kept.
    pub(crate) denial_capacity: usize,
    /// Zones whose answers are not kept.
    pub(crate) no_success: Vec<Box<[u8]>>,
    /// Zones whose denials are not kept.
    pub(crate) no_denial: Vec<Box<[u8]>>,
}

impl Corefile {
    /// Reads a text.
    pub fn parse(text: &str) -> Result<Self, CorefileError> {
        read::read(text)
    }

    /// The index of the block of a name: that with the most specific zone, the first of equals.
    pub(crate) fn block(&self, name: &Name) -> Option<usize> {
        let fitting = self.blocks.iter().enumerate().filter_map(|(index, block)| {
            let zone = longest(&block.zones, name)?;
            Some((zone.len(), index))
        });
        fitting
            .reduce(|best, next| if next.0 > best.0 { next } else { best })
            .map(|(_, index)| index)
    }
}

#[cfg(test)]
mod tests;
