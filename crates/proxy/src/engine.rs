//! World, plans and kernel together: facts come in, one transaction a family goes out.
//!
//! Blocking; a commit of a change of one endpoint takes tens of microseconds. When the kernel
//! refuses a difference, because someone else changed the table, the table is brought up to the
//! plan as a whole. Knows no API client: `Proxy` feeds it, and so do benches.

use std::collections::BTreeSet;
use std::os::fd::{BorrowedFd, OwnedFd};

use base::Chain;
use netlink::Conntrack;
use netlink::nft::Table;

use crate::kernel::{Kernel, Synced};
use crate::plan::Plan;
use crate::stale::Serving;
use crate::{NodeFacts, ServiceKey, World};

const UDP: u8 = 17;

/// Why the kernel's tables are not what they should be.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A netlink operation.
    #[error("program Services in the kernel")]
    Netlink(#[from] netlink::Error),
}

/// What a commit did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// Services planned again.
    pub services: BTreeSet<ServiceKey>,
    /// Elements removed and added.
    pub elements: usize,
    /// Tables made, adopted or replaced as a whole, with the number of differences found in one
    /// that was there; `None` when there was none to adopt.
    pub synced: Vec<(String, Option<usize>)>,
    /// UDP connections forgotten.
    pub flows: usize,
}

#[derive(Debug)]
struct Family {
    plan: Plan,
    kernel: Kernel,
    synced: bool,
}

/// See the module's header.
#[derive(Debug)]
pub struct Engine {
    world: World,
    families: Vec<Family>,
    namespace: Option<OwnedFd>,
}

impl Engine {
    /// Opens sockets in `namespace`, else in the calling thread's. Nothing is changed before the
    /// first commit.
    pub fn open(
        namespace: Option<BorrowedFd<'_>>,
        node: &NodeFacts,
        ipv6: bool,
    ) -> Result<Self, EngineError> {
        let families = if ipv6 { &[true, false][..] } else { &[true] };
        let open = |ipv4: &bool| {
            Ok(Family {
                plan: Plan::new(*ipv4, node.clone()),
                kernel: Kernel::open(namespace, *ipv4)?,
                synced: false,
            })
        };
        let families: Result<Vec<Family>, netlink::Error> = families.iter().map(open).collect();
        Ok(Self {
            world: World::default(),
            families: families?,
            namespace: namespace.and_then(|namespace| namespace.try_clone_to_owned().ok()),
        })
    }

    /// The facts, to be changed before a commit.
    pub fn world(&mut self) -> &mut World {
        &mut self.world
    }

    /// Read access to the facts.
    #[must_use]
    pub fn facts(&self) -> &World {
        &self.world
    }

    /// The plans, IPv4 first.
    pub fn plans(&self) -> impl Iterator<Item = &Plan> {
        self.families.iter().map(|family| &family.plan)
    }

    /// The node's zone, from the Node object.
    pub fn set_zone(&mut self, zone: &str) {
        let differs = |family: &Family| family.plan.node().zone != zone;
        if self.families.iter().any(differs) {
            for family in &mut self.families {
                family.plan.set_zone(zone);
            }
            self.world.touch_all();
        }
    }

    /// The tables, and the kernel's numbers of the sockets that may change them.
    pub fn watched(&self) -> Result<Vec<(Table, u32)>, EngineError> {
        let watched = self.families.iter().map(|family| {
            let kernel = &family.kernel;
            Ok((kernel.table().clone(), kernel.port()?))
        });
        watched.collect()
    }

    /// The next commit brings the tables up as a whole.
    pub fn distrust(&mut self) {
        for family in &mut self.families {
            family.synced = false;
        }
    }

    /// Plans what changed and commits it. After an error the next commit starts from what the
    /// kernel holds.
    pub fn commit(&mut self) -> Result<Committed, EngineError> {
        let dirty = self.world.take_dirty();
        for key in &dirty {
            let slices = self.world.slices(key);
            for family in &mut self.families {
                family.plan.set(key, self.world.service(key), &slices);
            }
        }
        let mut done = Committed {
            services: dirty,
            ..Committed::default()
        };
        let mut failure = None;
        for family in &mut self.families {
            let changes = family.plan.take();
            let udp = match family.program(&changes, &mut done) {
                Ok(true) => self.world.services().map(|(key, _)| key.clone()).collect(),
                Ok(false) => changes.udp,
                Err(error) => {
                    failure = failure.or(Some(error));
                    continue;
                }
            };
            match forget_stale(self.namespace.as_ref(), &family.plan, &udp) {
                Ok(flows) => done.flows += flows,
                Err(error) => {
                    tracing::warn!(err = %Chain(&error), "stale UDP connections stay");
                }
            }
        }
        match failure {
            Some(error) => Err(error.into()),
            None => Ok(done),
        }
    }
}

impl Family {
    /// Commits; true when the whole table was compared.
    fn program(
        &mut self,
        changes: &crate::Changes,
        done: &mut Committed,
    ) -> Result<bool, netlink::Error> {
        if self.synced {
            match self.kernel.apply(changes) {
                Ok(()) => {
                    done.elements += changes.remove.len() + changes.add.len();
                    return Ok(false);
                }
                Err(error) => {
                    tracing::warn!(err = %Chain(&error), "the kernel's Services are not as left");
                }
            }
        }
        self.synced = false;
        let synced = self.kernel.sync(&self.plan)?;
        self.synced = true;
        let differences = match synced {
            Synced::Created | Synced::Replaced => None,
            Synced::Adopted { differences } => Some(differences),
        };
        done.elements += differences.unwrap_or_else(|| self.plan.elements().count());
        let table = self.kernel.table().to_string();
        done.synced.push((table, differences));
        Ok(true)
    }
}

fn forget_stale(
    namespace: Option<&OwnedFd>,
    plan: &Plan,
    keys: &BTreeSet<ServiceKey>,
) -> Result<usize, netlink::Error> {
    use std::os::fd::AsFd;
    let mut serving = Serving::default();
    for port in keys.iter().flat_map(|key| plan.udp_ports(key)) {
        serving.add(port);
    }
    if serving.is_empty() {
        return Ok(0);
    }
    let mut tracking = match namespace {
        Some(namespace) => Conntrack::open_in(namespace.as_fd())?,
        None => Conntrack::open()?,
    };
    let mut forgotten = 0;
    for flow in tracking.flows(plan.is_ipv4(), UDP)? {
        if serving.is_stale(&flow) {
            tracking.forget(&flow)?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}

#[cfg(test)]
mod tests;
