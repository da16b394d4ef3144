//! Amounts of resources as integers: CPU in millicores, everything else in units.

use std::collections::BTreeMap;

use api::Quantity;
use schema::Ref;

/// What a pod asks for or a node has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// CPU.
    pub millicores: i64,
    /// Memory.
    pub memory_bytes: i64,
    /// Local ephemeral storage.
    pub ephemeral_storage_bytes: i64,
    /// Extended resources and huge pages by name.
    pub scalars: BTreeMap<String, i64>,
}

impl Resources {
    /// Reads a ResourceList. Amounts that do not parse count as zero: the API server has
    /// validated them.
    pub fn from_list(list: Ref<'_>) -> Self {
        let mut resources = Self::default();
        for (name, value) in list.map() {
            if let Some(quantity) = value.as_str().and_then(|text| Quantity::parse(text).ok()) {
                resources.add_quantity(name, &quantity);
            }
        }
        resources
    }

    /// Adds one named amount.
    pub fn add_quantity(&mut self, name: &str, quantity: &Quantity) {
        match name {
            "cpu" => self.millicores += quantity.millis(),
            "memory" => self.memory_bytes += quantity.value(),
            "ephemeral-storage" => self.ephemeral_storage_bytes += quantity.value(),
            "pods" => {}
            _ => *self.scalars.entry(name.to_owned()).or_default() += quantity.value(),
        }
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, 1);
    }

    /// Takes all of `other` away.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, -1);
    }

    fn combine(&mut self, other: &Self, sign: i64) {
        self.millicores += sign * other.millicores;
        self.memory_bytes += sign * other.memory_bytes;
        self.ephemeral_storage_bytes += sign * other.ephemeral_storage_bytes;
        for (name, amount) in &other.scalars {
            let slot = self.scalars.entry(name.clone()).or_default();
            *slot += sign * amount;
            if *slot == 0 {
                self.scalars.remove(name);
            }
        }
    }
}
