//! What selectors may ask of a stored object, as the store's [`Marks`]: its labels, and the node
//! that a pod is on.
//!
//! A list of few out of many passes over the others without reading them. Whoever is left is read
//! by `verbs::selection`, so marks may promise too much, never too little. Example: of 5,000 pods
//! fifty have `app=web`; a hundred or two hold its two bits, and their labels are read.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use schema::scan;
use store::Marks;

/// The one field by which lists of many are usually cut into small ones.
pub(crate) const NODE: &str = "spec.nodeName";

/// Marks of a stored object: the [`store::Marker`] of every store that an API server uses.
pub fn marks(stored: &[u8]) -> Marks {
    let mut marks = Marks::NONE;
    let labels = scan::at(stored, &["metadata", "labels"]);
    let members = labels.and_then(|labels| Some((labels, scan::members(labels)?)));
    let (labels, members) = members.unwrap_or_default();
    for (key, value) in members {
        // What needs escapes is no label, and selects nothing.
        if let Some(value) = scan::plain_string(&labels[value]) {
            marks |= of_label(&labels[key], value);
        }
    }
    // Most objects have none, and to look for it is quicker than to walk a spec.
    static NAME: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"nodeName\""));
    if NAME.find(stored).is_some()
        && let Some(node) = scan::at(stored, &["spec", "nodeName"])
        && let Some(node) = scan::plain_string(node)
    {
        marks |= of_node(node);
    }
    marks
}

/// Of an object with the label.
pub(crate) fn of_label(key: &[u8], value: &str) -> Marks {
    Marks::of(&[b"label", key, value.as_bytes()])
}

/// Of an object whose [`NODE`] it is.
pub(crate) fn of_node(name: &str) -> Marks {
    Marks::of(&[b"node", name.as_bytes()])
}

#[cfg(test)]
mod tests {
    use store::Marks;

    use super::{marks, of_label, of_node};

    #[test]
    fn labels_and_nodes() {
        let pod = br#"{"metadata":{"name":"a","labels":{"app":"web","e":"","n":null,"q":"\""}},"spec":{"containers":[{"name":"nodeName"}],"nodeName":"n1"}}"#;
        let expected = of_label(b"app", "web") | of_label(b"e", "") | of_node("n1");
        assert_eq!(marks(pod), expected);
        let slice = br#"{"metadata":{"labels":{}},"endpoints":[{"nodeName":"n1"}]}"#;
        assert_eq!(marks(slice), Marks::NONE);
        for damaged in [
            &b""[..],
            b"{}",
            b"[]",
            b"{\"metadata\":{\"labels\":{\"a\":\"b\"",
            b"\"nodeName\"",
        ] {
            assert_eq!(marks(damaged), Marks::NONE);
        }
    }
}
