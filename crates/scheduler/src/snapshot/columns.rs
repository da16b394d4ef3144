//! Label values of all nodes by key, as small numbers in node order.
//!
//! A constraint looks at one label of many nodes; comparing two numbers in consecutive memory
//! costs a nanosecond where a search in each node's labels costs fifty. A column is made when a
//! decision first asks for its key, kept true by node changes, and dropped when others are used
//! more. Example: nodes a(zone=x) b(zone=y) c() → ids x=0 y=1, values [0, 1, ABSENT].

use std::collections::HashMap;
use std::sync::Arc;

/// Columns kept at most; one decision may hold more for its own length.
const LIMIT: usize = 256;

/// No label with that key.
pub(crate) const ABSENT: u32 = u32::MAX;

/// See the module's header.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    ids: HashMap<String, u32>,
    values: Vec<u32>,
    used: u64,
}

impl Column {
    /// The value of a node, [`ABSENT`] without one.
    pub(crate) fn at(&self, slot: usize) -> u32 {
        self.values.get(slot).copied().unwrap_or(ABSENT)
    }

    /// The number of a value that some node has or had.
    pub(crate) fn id(&self, value: &str) -> Option<u32> {
        self.ids.get(value).copied()
    }

    /// Above every number.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// All values with their numbers.
    pub(crate) fn values(&self) -> impl Iterator<Item = (&str, u32)> {
        self.ids.iter().map(|(value, id)| (value.as_str(), *id))
    }

    fn set(&mut self, slot: usize, value: Option<&str>) {
        if self.values.len() <= slot {
            self.values.resize(slot + 1, ABSENT);
        }
        self.values[slot] = match value {
            None => ABSENT,
            Some(value) => match self.ids.get(value) {
                Some(id) => *id,
                None => {
                    let id = u32::try_from(self.ids.len()).unwrap_or(ABSENT);
                    self.ids.insert(value.to_owned(), id);
                    id
                }
            },
        };
    }

    /// Nodes come and go under new names: a column with mostly dead values is made anew.
    fn is_stale(&self) -> bool {
        self.ids.len() > 2 * self.values.len() + 64
    }
}

/// All columns in use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Columns {
    by_key: HashMap<String, Arc<Column>>,
    clock: u64,
}

impl Columns {
    /// The column of a key, made from `nodes` (slot and label value) when it is not there.
    pub(crate) fn get<'a>(
        &mut self,
        key: &str,
        nodes: impl Iterator<Item = (usize, Option<&'a str>)>,
    ) -> Arc<Column> {
        self.clock += 1;
        if let Some(column) = self.by_key.get_mut(key) {
            if let Some(column) = Arc::get_mut(column) {
                column.used = self.clock;
            }
            return column.clone();
        }
        let mut column = Column {
            used: self.clock,
            ..Column::default()
        };
        for (slot, value) in nodes {
            column.set(slot, value);
        }
        if self.by_key.len() >= LIMIT {
            let oldest = self.by_key.iter().min_by_key(|(_, column)| column.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.by_key.remove(&oldest);
            }
        }
        let column = Arc::new(column);
        self.by_key.insert(key.to_owned(), column.clone());
        column
    }

    /// A node appeared, changed its labels, or went (`label` gives nothing).
    pub(crate) fn set_node<'a>(&mut self, slot: usize, label: impl Fn(&str) -> Option<&'a str>) {
        self.by_key.retain(|key, column| {
            let column = Arc::make_mut(column);
            column.set(slot, label(key));
            !column.is_stale()
        });
    }
}
