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
        let sum = |a: i64, b: i64| a.saturating_add(b);
        match name {
            "cpu" => self.millicores = sum(self.millicores, quantity.millis()),
            "memory" => self.memory_bytes = sum(self.memory_bytes, quantity.value()),
            "ephemeral-storage" => {
                self.ephemeral_storage_bytes = sum(self.ephemeral_storage_bytes, quantity.value());
            }
            "pods" => {}
            _ => {
                let slot = self.scalars.entry(name.to_owned()).or_default();
                *slot = sum(*slot, quantity.value());
            }
        }
    }

    /// One scalar, zero when absent.
    pub fn scalar(&self, name: &str) -> i64 {
        self.scalars.get(name).copied().unwrap_or(0)
    }

    /// Whether some amount of `self` is below that of `before`, among those that `wanted` has.
    pub fn freed(&self, before: &Self, wanted: &Self) -> bool {
        (wanted.millicores > 0 && before.millicores > self.millicores)
            || (wanted.memory_bytes > 0 && before.memory_bytes > self.memory_bytes)
            || (wanted.ephemeral_storage_bytes > 0
                && before.ephemeral_storage_bytes > self.ephemeral_storage_bytes)
            || wanted
                .scalars
                .iter()
                .any(|(name, amount)| *amount > 0 && before.scalar(name) > self.scalar(name))
    }
}

/// Adds `sign` times each of `more` to `sum`.
pub(crate) fn add_scalars(
    sum: &mut BTreeMap<String, i64>,
    more: &BTreeMap<String, i64>,
    sign: i64,
) {
    for (name, amount) in more {
        match sum.get_mut(name) {
            Some(slot) => {
                *slot = slot.saturating_add(sign.saturating_mul(*amount));
                if *slot == 0 {
                    sum.remove(name);
                }
            }
            None if *amount != 0 => {
                sum.insert(name.clone(), sign.saturating_mul(*amount));
            }
            None => {}
        }
    }
}
