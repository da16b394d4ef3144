//! Labels of an object, sorted, so that equal sets compare and hash equal.

use schema::Ref;

/// See the module's header.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Labels(Vec<(String, String)>);

impl Labels {
    /// Reads a map of strings.
    pub fn read(owner: Ref<'_>, field: &str) -> Self {
        owner
            .entries(field)
            .map(|(key, value)| {
                (
                    key.to_owned(),
                    value.as_str().unwrap_or_default().to_owned(),
                )
            })
            .collect()
    }

    /// The value of a label.
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self
            .0
            .binary_search_by(|(own, _)| own.as_str().cmp(key))
            .ok()?;
        Some(&self.0[at].1)
    }

    /// All labels, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Sets one label.
    pub fn set(&mut self, key: &str, value: &str) {
        match self.0.binary_search_by(|(own, _)| own.as_str().cmp(key)) {
            Ok(at) => value.clone_into(&mut self.0[at].1),
            Err(at) => self.0.insert(at, (key.to_owned(), value.to_owned())),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(String, String)> for Labels {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.sort();
        pairs.dedup_by(|later, earlier| later.0 == earlier.0);
        Self(pairs)
    }
}
