//! One family's table in the kernel: brought up to a plan, then changed by differences.
//!
//! `sync` reads the table, rewrites its rules and commits the difference of its elements in one
//! transaction, so that a restart drops no connection and no client's endpoint; a table that
//! cannot be adopted is replaced, in one transaction as well. `apply` commits a plan's changes.
//! `layout` knows sets, chains and rules.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use netlink::nft::{Batch, Element, Set, Table};
use netlink::{Error, Nft};

use crate::plan::{Changes, Class, Plan};
use layout::Layout;

mod layout;

/// Attempts to commit against a ruleset that others keep changing.
const SYNC_ATTEMPTS: usize = 5;

/// How a table was brought up to its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Synced {
    /// It was absent.
    Created,
    /// It was there; so many elements differed.
    Adopted { differences: usize },
    /// It was there and could not be adopted.
    Replaced,
}

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Kernel {
    nft: Nft,
    layout: Layout,
}

/// A key of a set as the kernel stores it.
type RawKey = (Vec<u8>, Option<Vec<u8>>);

impl Kernel {
    /// Opens a socket in `namespace`, else in the calling thread's.
    pub(crate) fn open(namespace: Option<BorrowedFd<'_>>, ipv4: bool) -> Result<Self, Error> {
        let nft = match namespace {
            Some(namespace) => Nft::open_in(namespace)?,
            None => Nft::open()?,
        };
        let layout = Layout::new(ipv4);
        Ok(Self { nft, layout })
    }

    pub(crate) fn table(&self) -> &Table {
        self.layout.table()
    }

    /// The kernel's number of the socket.
    pub(crate) fn port(&self) -> Result<u32, Error> {
        self.nft.port()
    }

    /// Commits what changed.
    pub(crate) fn apply(&mut self, changes: &Changes) -> Result<(), Error> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        self.layout.add_classes(&mut batch, &changes.classes);
        let mut groups: BTreeMap<&'static str, Vec<Element>> = BTreeMap::new();
        for key in &changes.remove {
            let (set, element) = self.layout.key(key);
            groups.entry(set).or_default().push(element);
        }
        for (set, elements) in std::mem::take(&mut groups) {
            batch.delete_elements(self.layout.set(set), &elements);
        }
        for (key, value) in &changes.add {
            let (set, element) = self.layout.element(key, value);
            groups.entry(set).or_default().push(element);
        }
        for (set, elements) in groups {
            batch.insert_elements(self.layout.set(set), &elements);
        }
        self.nft.commit(batch)
    }

    /// Makes the table what the plan says.
    pub(crate) fn sync(&mut self, plan: &Plan) -> Result<Synced, Error> {
        for _ in 0..SYNC_ATTEMPTS {
            let generation = self.nft.generation()?;
            let there = self.nft.tables()?.contains(self.layout.table());
            if there && !self.is_ours()? {
                break;
            }
            let mut batch = Batch::new();
            self.layout.add_frame(&mut batch, plan.node());
            let differences = self.add_differences(&mut batch, plan)?;
            match self.nft.commit_at(batch, generation) {
                Ok(()) if there => return Ok(Synced::Adopted { differences }),
                Ok(()) => return Ok(Synced::Created),
                // Someone committed in between: read again.
                Err(error) if error.is_stale() => {}
                Err(error) => {
                    tracing::debug!(err = %base::Chain(&error), "the table is replaced");
                    break;
                }
            }
        }
        let mut batch = Batch::new();
        batch.destroy_table(self.layout.table());
        self.layout.add_frame(&mut batch, plan.node());
        let classes: Vec<Class> = plan.classes().collect();
        self.layout.add_classes(&mut batch, &classes);
        let mut groups: BTreeMap<&'static str, Vec<Element>> = BTreeMap::new();
        for (key, value) in plan.elements() {
            let (set, element) = self.layout.element(&key, &value);
            groups.entry(set).or_default().push(element);
        }
        for (set, elements) in groups {
            batch.insert_elements(self.layout.set(set), &elements);
        }
        self.nft.commit(batch)?;
        Ok(Synced::Replaced)
    }

    /// Whether the table has the marker of this layout.
    fn is_ours(&mut self) -> Result<bool, Error> {
        let chains = self.nft.chains(self.layout.table())?;
        Ok(chains.iter().any(|chain| chain == layout::MARKER))
    }

    /// Classes and elements; gives how many elements differ from what the table holds.
    fn add_differences(&mut self, batch: &mut Batch, plan: &Plan) -> Result<usize, Error> {
        let classes: Vec<Class> = plan.classes().collect();
        let mut known = Vec::new();
        for set in self.layout.picks() {
            let stored = self.nft.elements(self.layout.table(), &set.name)?;
            known.extend(stored.into_iter().filter_map(|stored| stored.chain));
        }
        self.layout.add_known_classes(batch, &classes, &known);
        let mut wanted: BTreeMap<&'static str, BTreeMap<RawKey, Element>> = BTreeMap::new();
        for (key, value) in plan.elements() {
            let (set, element) = self.layout.element(&key, &value);
            let raw = (element.key.clone(), element.key_end.clone());
            wanted.entry(set).or_default().insert(raw, element);
        }
        let mut differences = 0;
        let mut empty = BTreeMap::new();
        let sets: Vec<Set> = self.layout.element_sets().cloned().collect();
        for set in &sets {
            let wanted = wanted.get_mut(set.name.as_str()).unwrap_or(&mut empty);
            let mut gone = Vec::new();
            for stored in self.nft.elements(self.layout.table(), &set.name)? {
                let raw = (stored.key, stored.key_end);
                let same = wanted.get(&raw).is_some_and(|element| match &element.data {
                    Some(netlink::nft::Data::Value(value)) => stored.value.as_ref() == Some(value),
                    _ => true,
                });
                if same {
                    wanted.remove(&raw);
                    continue;
                }
                gone.push(match raw {
                    (key, Some(end)) => Element::range(key, end),
                    (key, None) => Element::new(key),
                });
            }
            differences += gone.len() + wanted.len();
            batch.delete_elements(set, &gone);
            let new: Vec<Element> = std::mem::take(wanted).into_values().collect();
            batch.insert_elements(set, &new);
        }
        Ok(differences)
    }
}

#[cfg(test)]
mod tests;
