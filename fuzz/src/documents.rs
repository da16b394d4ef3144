//! Documents: JSON, its typed decoding, protobuf, YAML.
//!
//! Laws: what was read is written so that it reads the same; the two encodings of an object are
//! one document; what serde_json takes, we take.

use schema::protobuf::{from_wire, next_frame, to_wire};
use schema::{Dom, Limits, Node, Table, TypeId, Value};

use crate::{Heap, Target};

/// What is here.
pub const TARGETS: &[Target] = &[
    Target::new("json", json, 4096, Heap::DOCUMENT),
    Target::new("typed", typed, 4096, Heap::DOCUMENT),
    Target::new("protobuf", protobuf, 4096, Heap::DOCUMENT),
    Target::new("watch-frames", watch_frames, 4096, Heap::DOCUMENT),
    Target::new("yaml", yaml, 2048, Heap::DOCUMENT),
];

/// Those of a request's body.
pub(crate) const LIMITS: Limits = Limits {
    bytes: 3 << 20,
    depth: 200,
    nodes: 1 << 20,
};

pub(crate) fn json(data: &[u8]) {
    let _ = schema::scan::members(data);
    let _ = schema::scan::elements(data);
    let _ = schema::scan::at(data, &["metadata", "name"]);
    let Ok(parsed) = Dom::parse_json_within(data, &LIMITS) else {
        assert!(
            serde_json::from_slice::<serde_json::Value>(data).is_err(),
            "serde_json takes what we refuse"
        );
        return;
    };
    let first = parsed.dom;
    let written = first.to_json(first.root());
    let dom = Dom::parse_json(&written).expect("what was written reads");
    assert!(
        same((&first, first.root()), (&dom, dom.root())),
        "another document: {}",
        crate::text(&written)
    );
    // From here on numbers are of the kind that their text has.
    let written = dom.to_json(dom.root());
    let again = Dom::parse_json(&written).expect("what was written reads");
    assert!(
        dom.equal(dom.root(), &again, again.root()),
        "another document: {}",
        crate::text(&written)
    );
    assert_eq!(written, again.to_json(again.root()), "another text");
    let mut sorted = Vec::new();
    dom.write_sorted(dom.root(), &mut sorted);
    let sorted = Dom::parse_json(&sorted).expect("sorted reads");
    assert!(dom.equal(dom.root(), &sorted, sorted.root()), "sorted");
}

/// Whether two documents are the same, but for whole numbers that were read as floats: `2.5e3` is
/// written `2500`, `-0.0` is written `-0` (upstream too), which read as integers.
pub(crate) fn same((a, x): (&Dom, Node), (b, y): (&Dom, Node)) -> bool {
    match (a.value(x), b.value(y)) {
        (Value::Float(float), Value::Int(_)) => {
            let mut text = b.to_json(y);
            // An integer has no sign at zero.
            if float == 0.0 && float.is_sign_negative() {
                text.insert(0, b'-');
            }
            a.to_json(x) == text
        }
        (Value::List, Value::List) => {
            let mut pairs = a.items(x).zip(b.items(y));
            a.len(x) == b.len(y) && pairs.all(|(x, y)| same((a, x), (b, y)))
        }
        (Value::Map, Value::Map) => {
            let mut entries = a.entries(x);
            a.len(x) == b.len(y)
                && entries.all(|(key, x)| b.get(y, key).is_some_and(|y| same((a, x), (b, y))))
        }
        (x, y) => x == y,
    }
}

/// The type that a document says it is; a Pod otherwise.
pub(crate) fn type_of(table: &Table, dom: &Dom) -> TypeId {
    let object = dom.as_ref();
    let named = table_kind(table, object.str("apiVersion"), object.str("kind"));
    named
        .or_else(|| table.kind("", "v1", "Pod"))
        .expect("the table has Pods")
}

fn table_kind(table: &Table, api_version: &str, kind: &str) -> Option<TypeId> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    table.kind(group, version, kind)
}

fn shown(bytes: &[u8]) -> String {
    crate::text(bytes).into_owned()
}

pub(crate) fn typed(data: &[u8]) {
    let table = schema::builtin();
    let Ok(plain) = Dom::parse_json_within(data, &LIMITS) else {
        return;
    };
    let ty = type_of(table, &plain.dom);
    let Ok(decoded) = schema::decode_json(table, ty, data, &LIMITS) else {
        return;
    };
    let dom = decoded.dom;
    let mut defaulted = dom.clone();
    let root = defaulted.root();
    schema::apply_defaults(table, ty, &mut defaulted, root);
    let once = same_json(table, ty, &dom);
    same_json(table, ty, &defaulted);
    // Both encodings of an object are one document.
    if let Ok(wire) = to_wire(table, &dom, dom.root()) {
        let (again, read) = from_wire(table, &wire, &LIMITS).expect("our protobuf reads");
        assert!(ty == again, "another type");
        let twice = schema::encode_json(table, ty, &read, read.root());
        assert_eq!(shown(&once), shown(&twice), "JSON by way of protobuf");
    }
}

/// Encodes, decodes and encodes again: the same bytes, nothing unknown.
fn same_json(table: &Table, ty: TypeId, dom: &Dom) -> Vec<u8> {
    let once = schema::encode_json(table, ty, dom, dom.root());
    let again = match schema::decode_json(table, ty, &once, &Limits::DEFAULT) {
        Ok(again) => again,
        Err(error) => panic!("our JSON does not read: {error}: {}", shown(&once)),
    };
    assert!(
        again.findings.is_empty(),
        "our JSON has {:?}",
        again.findings
    );
    let twice = schema::encode_json(table, ty, &again.dom, again.dom.root());
    assert_eq!(shown(&once), shown(&twice), "JSON by way of JSON");
    once
}

pub(crate) fn protobuf(data: &[u8]) {
    let table = schema::builtin();
    let Ok((ty, dom)) = from_wire(table, data, &LIMITS) else {
        return;
    };
    let Ok(once) = to_wire(table, &dom, dom.root()) else {
        return;
    };
    let (_, again) = from_wire(table, &once, &LIMITS).expect("our protobuf reads");
    let twice = to_wire(table, &again, again.root()).expect("what was read is written");
    assert!(once == twice, "protobuf by way of protobuf");
    let json = schema::encode_json(table, ty, &dom, dom.root());
    // Text that JSON's readers refuse (a time, a quantity) is refused there only.
    if let Ok(decoded) = schema::decode_json(table, ty, &json, &LIMITS) {
        let json = decoded.dom;
        if json.as_ref().str("kind").is_empty() {
            // In JSON an event of a watch names no kind, so no envelope can.
            // Source: kubernetes v1.36 apimachinery pkg/apis/meta/v1/watch.go (WatchEvent has no
            // TypeMeta, its GetObjectKind is schema.EmptyObjectKind) and
            // pkg/runtime/serializer/protobuf/protobuf.go (Decode: no envelope without a kind).
            assert_eq!(table.type_name(ty), "WatchEvent", "a kind is lost");
            return;
        }
        let by_json = to_wire(table, &json, json.root()).expect("what JSON holds is written");
        let (_, read) = from_wire(table, &by_json, &LIMITS).expect("our protobuf reads");
        assert_eq!(
            shown(&schema::encode_json(table, ty, &json, json.root())),
            shown(&schema::encode_json(table, ty, &read, read.root())),
            "protobuf by way of JSON"
        );
    }
}

pub(crate) fn watch_frames(data: &[u8]) {
    let table = schema::builtin();
    let mut rest = data;
    while let Ok(Some(frame)) = next_frame(rest, LIMITS.bytes) {
        assert!(frame.length >= 4 && frame.length <= rest.len(), "length");
        if !frame.object.is_empty() && from_wire(table, frame.object, &LIMITS).is_ok() {
            let written = schema::protobuf::watch_frame(&frame.event, frame.object);
            let again = next_frame(&written, usize::MAX >> 1).expect("our frame reads");
            let again = again.expect("our frame is whole");
            assert_eq!((again.event, again.object), (frame.event, frame.object));
        }
        rest = &rest[frame.length..];
    }
}

pub(crate) fn yaml(data: &[u8]) {
    let Ok(parsed) = schema::yaml::parse(data, &LIMITS) else {
        return;
    };
    let dom = parsed.dom;
    let written = schema::yaml::to_yaml(&dom, dom.root());
    let again = match schema::yaml::parse(written.as_bytes(), &Limits::DEFAULT) {
        Ok(again) => again.dom,
        Err(error) => panic!("our YAML does not read: {error}: {written}"),
    };
    assert!(
        same((&dom, dom.root()), (&again, again.root())),
        "another document: {}\n{written}",
        shown(&dom.to_json(dom.root()))
    );
    let json = dom.to_json(dom.root());
    let by_json = Dom::parse_json(&json).expect("a YAML document is a JSON document");
    let alike = same((&dom, dom.root()), (&by_json, by_json.root()));
    assert!(alike, "as JSON");
    let count = schema::yaml::documents(&crate::text(data)).count();
    assert!(count <= data.len(), "documents");
}
