//! Which stored objects a list or watch selects, read from their bytes.
//!
//! Of an object's bytes only what the selectors name is read. Before that, whole objects go by
//! what must be somewhere in them: an object with the label `app=web` holds `"web"`. Example:
//! `app=web,tier!=db` looks for `"web"` in all bytes (as fast as memory is read), then reads the
//! labels of the few that have it. What the store's marks tell it passes over itself.
//! Source: kubernetes v1.36.3 apiserver/pkg/storage/selection_predicate.go (what is selected).

use std::ops::BitOr;

use api::labels::{Operator, Requirement};
use api::{fields, labels};
use memchr::memmem::Finder;
use registry::Resource;
use schema::scan;
use store::Marks;

use super::Call;
use crate::marks;
use crate::object;
use crate::options::ListOptions;

/// The selectors of one request.
pub(super) struct Selection {
    labels: labels::Selector,
    fields: fields::Selector,
    /// Each of these is in the bytes of every object that is selected.
    literals: Vec<Finder<'static>>,
    /// Every object that is selected has these.
    marks: Marks,
}

impl Selection {
    pub(super) fn new(resource: &Resource, options: &ListOptions) -> Self {
        let of_labels = options.labels.requirements().iter().filter_map(of_label);
        let terms = options.fields.terms().iter();
        let held: Vec<_> = terms
            .filter(|term| term.equal && resource.holds(&term.field, &term.value))
            .collect();
        let literals = of_labels.chain(held.iter().map(|term| quoted(&term.value)));
        let exact = options.labels.requirements().iter().filter_map(exactly);
        let nodes = held.iter().filter(|term| term.field == marks::NODE);
        let marks = exact
            .map(|(key, value)| marks::of_label(key.as_bytes(), value))
            .chain(nodes.map(|term| marks::of_node(&term.value)));
        Self {
            literals: literals.map(|text| finder(&text)).collect(),
            marks: marks.fold(Marks::NONE, BitOr::bitor),
            labels: options.labels.clone(),
            fields: options.fields.clone(),
        }
    }

    /// Whether every object is wanted.
    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_empty() && !self.labels.is_nothing() && self.fields.is_empty()
    }

    /// What every stored object has that is selected; whoever turns it into another version reads
    /// labels that the store does not know.
    pub(super) fn marks(&self, call: &Call) -> Marks {
        if call.converts() {
            return Marks::NONE;
        }
        self.marks
    }

    /// Whether a stored object is selected.
    pub(super) fn has(&self, call: &Call, stored: &[u8]) -> bool {
        let literals = &mut self.literals.iter();
        if !literals.all(|literal| literal.find(stored).is_some()) {
            return false;
        }
        if !self.labels.is_empty() && !labels_match(&self.labels, stored) {
            return false;
        }
        let mut document = None;
        self.fields.terms().iter().all(|term| {
            let scanned = call.resource().scan(stored, &term.field);
            let value = scanned.unwrap_or_else(|| {
                let dom = document.get_or_insert_with(|| object::parse(stored, 0));
                let value = call.resource().field(dom.as_ref(), &term.field);
                value.unwrap_or_default()
            });
            (value == term.value) == term.equal
        })
    }
}

/// The one value that the requirement wants.
fn exactly(requirement: &Requirement) -> Option<(&str, &str)> {
    match (requirement.operator(), requirement.values()) {
        (Operator::Equals | Operator::DoubleEquals | Operator::In, [value]) => {
            Some((requirement.key(), value))
        }
        _ => None,
    }
}

/// What the bytes of every object hold that satisfies the requirement.
fn of_label(requirement: &Requirement) -> Option<String> {
    if let Some((_, value)) = exactly(requirement) {
        return Some(quoted(value));
    }
    match requirement.operator() {
        Operator::In | Operator::Exists | Operator::GreaterThan | Operator::LessThan => {
            Some(quoted(requirement.key()))
        }
        _ => None,
    }
}

/// Keys and values of labels need no escapes in JSON.
fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

fn finder(text: &str) -> Finder<'static> {
    Finder::new(text.as_bytes()).into_owned()
}

fn labels_match(selector: &labels::Selector, stored: &[u8]) -> bool {
    let labels = scan::at(stored, &["metadata", "labels"]);
    selector.matches(|key| labels.and_then(|all| scan::plain_string(scan::member(all, key)?)))
}

#[cfg(test)]
mod tests {
    use api::labels::Selector;
    use expect_test::{Expect, expect};

    use super::{labels_match, of_label};

    #[track_caller]
    fn check(selector: &str, expect: Expect) {
        let selector = Selector::parse(selector).unwrap();
        let literals: Vec<String> = selector
            .requirements()
            .iter()
            .filter_map(of_label)
            .collect();
        expect.assert_eq(&literals.join(" "));
    }

    /// What an object may lack is not looked for.
    #[test]
    fn literals() {
        check("a=x,b in (y)", expect![[r#""x" "y""#]]);
        check("a in (x,y),b,c>3", expect![[r#""a" "b" "c""#]]);
        check("a!=x,b notin (y),!c", expect![[""]]);
        check("a=", expect![[r#""""#]]);
    }

    #[test]
    fn labels_of_bytes() {
        let stored = br#"{"metadata":{"name":"x","labels":{"a":"x","e":""},"annotations":{"b":"y"}},"spec":{"labels":{"b":"y"}}}"#;
        let matches = |text: &str| labels_match(&Selector::parse(text).unwrap(), stored);
        assert!(matches("a=x") && matches("e=") && matches("!b") && matches("a in (x,z),e"));
        assert!(!matches("b=y") && !matches("a!=x") && !matches("a=x,b"));
        assert!(labels_match(
            &Selector::parse("!a").unwrap(),
            br#"{"metadata":{"name":"x"}}"#
        ));
    }
}
