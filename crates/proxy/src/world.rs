//! What the API says of Services and EndpointSlices, and whose endpoints a change touches.
//!
//! Pure: objects come in, names of Services that must be planned again come out. A slice belongs
//! to the Service that its label names, whether that exists or not.

use std::collections::{BTreeSet, HashMap};

use client::Key;

use crate::ServiceKey;
use crate::service::Service;
use crate::slice::Slice;

/// See the module's header.
#[derive(Debug, Default)]
pub struct World {
    services: HashMap<ServiceKey, Service>,
    slices: HashMap<Key, (ServiceKey, Slice)>,
    of_service: HashMap<ServiceKey, BTreeSet<Key>>,
    dirty: BTreeSet<ServiceKey>,
}

impl World {
    /// Takes over a Service's facts; `None` when it is gone or none of ours.
    pub fn set_service(&mut self, key: &ServiceKey, service: Option<Service>) {
        let changed = match service {
            None => self.services.remove(key).is_some(),
            Some(service) => {
                let old = self.services.insert(key.clone(), service);
                old.as_ref() != self.services.get(key)
            }
        };
        if changed {
            self.dirty.insert(key.clone());
        }
    }

    /// Takes over a slice's facts, with the name of its Service; `None` when it is gone.
    pub fn set_slice(&mut self, key: &Key, slice: Option<(String, Slice)>) {
        let new = slice.map(|(name, slice)| (Key::new(key.namespace.as_str(), name), slice));
        let old = match new {
            None => self.slices.remove(key),
            Some(new) => self.slices.insert(key.clone(), new),
        };
        let new = self.slices.get(key);
        if old.as_ref() == new {
            return;
        }
        if let Some((service, _)) = old {
            if let Some(keys) = self.of_service.get_mut(&service) {
                keys.remove(key);
                if keys.is_empty() {
                    self.of_service.remove(&service);
                }
            }
            self.dirty.insert(service);
        }
        if let Some((service, _)) = new {
            let keys = self.of_service.entry(service.clone()).or_default();
            keys.insert(key.clone());
            self.dirty.insert(service.clone());
        }
    }

    /// Marks every Service, e.g. after a change of the node's zone.
    pub fn touch_all(&mut self) {
        self.dirty.extend(self.services.keys().cloned());
    }

    /// The Services to plan again since the last call.
    pub fn take_dirty(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.dirty)
    }

    /// A Service's facts.
    #[must_use]
    pub fn service(&self, key: &ServiceKey) -> Option<&Service> {
        self.services.get(key)
    }

    /// All Services.
    pub(crate) fn services(&self) -> impl Iterator<Item = (&ServiceKey, &Service)> {
        self.services.iter()
    }

    /// The slices of a Service.
    #[must_use]
    pub fn slices(&self, key: &ServiceKey) -> Vec<&Slice> {
        let keys = self.of_service.get(key).into_iter().flatten();
        keys.filter_map(|key| self.slices.get(key))
            .map(|(_, slice)| slice)
            .collect()
    }
}
