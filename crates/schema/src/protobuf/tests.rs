//! Upstream's golden files both ways, small messages by hand, hostile bytes.

use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use proptest::prelude::{any, prop, proptest};

use super::wire::put_bytes;
use super::{
    ListHead, clock, decode, encode, from_wire, list_message, next_frame, to_wire, unwrap,
    watch_frame, wrap,
};
use crate::dom::{Dom, Limits, Node};
use crate::encode::encode_json;
use crate::table::{Leaf, Shape, ShapeId, TypeId, builtin};

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Upstream's golden files in the Go module cache, if it is there.
fn golden() -> Option<Vec<PathBuf>> {
    let home = std::env::var_os("GOMODCACHE")
        .map(PathBuf::from)
        .or_else(|| {
            let home = std::env::var_os("HOME")?;
            Some(Path::new(&home).join("go/pkg/mod"))
        })?;
    let dir = home.join("k8s.io/api@v0.36.3/testdata/HEAD");
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .ok()?
        .filter_map(|f| Some(f.ok()?.path()))
        .collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "pb"));
    files.sort();
    Some(files)
}

#[test]
fn golden_files() {
    let Some(files) = golden() else {
        println!("skipped: k8s.io/api@v0.36.3 is not in the Go module cache");
        return;
    };
    let table = builtin();
    let (mut same, mut wrong, mut unknown) = (0, Vec::new(), Vec::new());
    for path in files {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let message = std::fs::read(&path).unwrap();
        let json = std::fs::read(path.with_extension("json")).unwrap();
        let json = Dom::parse_json(&json).unwrap();
        match to_wire(table, &json, json.root()) {
            Err(super::ProtobufError::Kind { .. }) => {
                unknown.push(name);
                continue;
            }
            Err(error) => wrong.push(format!("{name}: to protobuf: {error}")),
            Ok(made) if made != message => {
                let at = made.iter().zip(&message).position(|(a, b)| a != b);
                let at = at.unwrap_or(made.len().min(message.len()));
                let show = |b: &[u8]| hex(&b[at.saturating_sub(12)..b.len().min(at + 12)]);
                let text = format!("{name}: at {at}: {} want {}", show(&made), show(&message));
                wrong.push(text);
            }
            Ok(_) => {}
        }
        match from_wire(table, &message, &Limits::DEFAULT) {
            Err(error) => wrong.push(format!("{name}: from protobuf: {error}")),
            Ok((_, dom)) if !dom.equal(dom.root(), &json, json.root()) => {
                wrong.push(format!(
                    "{name}: {:?}\nwant {:?}",
                    dom.as_ref(),
                    json.as_ref()
                ));
            }
            Ok(_) => same += 1,
        }
    }
    println!("{same} kinds equal; not in the table: {unknown:?}");
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        same,
        wrong.join("\n")
    );
    assert!(same > 50);
}

#[track_caller]
fn check(kind: &str, json: &str, want: Expect) {
    let table = builtin();
    let dom = Dom::parse_json(json.as_bytes()).unwrap();
    let ty = table.named(kind).unwrap();
    let bytes = encode(table, ty, &dom, dom.root());
    want.assert_eq(
        &bytes
            .as_ref()
            .map_or_else(ToString::to_string, |bytes| hex(bytes)),
    );
    if let Ok(bytes) = bytes {
        let back = decode(table, ty, &bytes, &Limits::DEFAULT).unwrap();
        assert!(
            back.equal(back.root(), &dom, dom.root()),
            "{:?}",
            back.as_ref()
        );
    }
}

#[test]
fn small_messages() {
    check(
        "core.v1.EnvVar",
        r#"{"name":"a"}"#,
        expect!["0a 01 61 12 00"],
    );
    check(
        "core.v1.ContainerPort",
        r#"{"containerPort":80,"hostIP":"é"}"#,
        expect!["0a 00 10 00 18 50 22 00 2a 02 c3 a9"],
    );
    check(
        "core.v1.HTTPGetAction",
        r#"{"port":"http"}"#,
        expect!["0a 00 12 0a 08 01 10 00 1a 04 68 74 74 70 1a 00 22 00"],
    );
    check(
        "core.v1.HTTPGetAction",
        r#"{"port":-1}"#,
        expect!["0a 00 12 0f 08 00 10 ff ff ff ff ff ff ff ff ff 01 1a 00 1a 00 22 00"],
    );
    check(
        "core.v1.Volume",
        r#"{"name":"v","emptyDir":{"sizeLimit":"1Gi"}}"#,
        expect!["0a 01 76 12 0b 12 09 0a 00 12 05 0a 03 31 47 69"],
    );
    check(
        "core.v1.ServicePort",
        r#"{"port":80,"targetPort":""}"#,
        expect!["0a 00 12 00 18 50 22 06 08 01 10 00 1a 00 28 00"],
    );
    check(
        "meta.v1.ManagedFieldsEntry",
        r#"{"fieldsV1":{"a":1e-999}}"#,
        expect!["0a 00 12 00 1a 00 32 00 3a 0e 0a 0c 7b 22 61 22 3a 31 65 2d 39 39 39 7d 42 00"],
    );
    check(
        "core.v1.EnvVar",
        r#"{"name":3}"#,
        expect!["field name: expected a string"],
    );
    check("core.v1.PodOS", r#"{"name":""}"#, expect!["0a 00"]);
}

#[test]
fn status_and_lists() {
    let table = builtin();
    let json = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"no","reason":"NotFound","details":{"name":"a","kind":"pods"},"code":404}"#;
    let dom = Dom::parse_json(json.as_bytes()).unwrap();
    let bytes = to_wire(table, &dom, dom.root()).unwrap();
    expect!["6b 38 73 00 0a 0c 0a 02 76 31 12 06 53 74 61 74 75 73 12 33 0a 06 0a 00 12 00 1a 00 12 07 46 61 69 6c 75 72 65 1a 02 6e 6f 22 08 4e 6f 74 46 6f 75 6e 64 2a 0f 0a 01 61 12 00 1a 04 70 6f 64 73 28 00 32 00 30 94 03 1a 00 22 00"].assert_eq(&hex(&bytes));
    let (_, back) = from_wire(table, &bytes, &Limits::DEFAULT).unwrap();
    assert!(back.equal(back.root(), &dom, dom.root()));

    let item = unwrap(&bytes).unwrap().raw;
    let head = ListHead {
        resource_version: "7",
        continue_token: "",
        remaining: Some(3),
    };
    expect!["0a 09 0a 00 12 01 37 1a 00 20 03 12 02 0a 06"]
        .assert_eq(&hex(&list_message(&head, [&item[..2]])));

    let frame = watch_frame("ADDED", &bytes);
    let read = next_frame(&frame, 1 << 20).unwrap().unwrap();
    assert_eq!(
        (read.event.as_str(), read.object, read.length),
        ("ADDED", &bytes[..], frame.len())
    );
    assert_eq!(next_frame(&frame[..9], 1 << 20).unwrap(), None);
    assert!(next_frame(&frame, 3).is_err());
}

#[test]
fn times() {
    for (text, seconds) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T23:59:59Z", 951_868_799),
        ("0001-01-01T00:00:00Z", clock::ZERO),
        ("9999-12-31T23:59:59Z", 253_402_300_799),
    ] {
        assert_eq!(clock::parse(text), Some((seconds, 0)));
        assert_eq!(clock::format(seconds, None).as_deref(), Some(text));
    }
    assert_eq!(
        clock::parse("1970-01-01T02:00:00.5+02:00"),
        Some((0, 500_000_000))
    );
    assert_eq!(clock::parse("1970-01-01T02:00:00"), None);
    assert_eq!(clock::format(i64::MAX, None), None);
}

#[test]
fn kinds_without_messages() {
    let table = builtin();
    for (json, want) in [
        (
            r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1"}"#,
            "kind \"Table\" has no protobuf form",
        ),
        (
            r#"{"kind":"X","apiVersion":"a/v1"}"#,
            "no kind \"X\" is registered for version \"a/v1\"",
        ),
    ] {
        let dom = Dom::parse_json(json.as_bytes()).unwrap();
        assert_eq!(
            to_wire(table, &dom, dom.root()).unwrap_err().to_string(),
            want
        );
    }
}

/// Makes values of every type of the table, other ones for every seed.
struct Maker {
    dom: Dom,
    state: u64,
}

impl Maker {
    fn draw(&mut self, below: u64) -> u64 {
        self.state = self
            .state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }

    fn object(&mut self, ty: TypeId, depth: usize) -> Node {
        let table = builtin();
        let map = self.dom.new_map();
        for field in table.fields(ty) {
            if depth > 4 {
                break;
            }
            let chance = 2 + 2 * depth as u64;
            if table.inlined(field) == Some("TypeMeta")
                || field.proto().is_empty()
                || self.draw(chance) > 0
            {
                continue;
            }
            if let Some(value) = self.value(field.shape(), depth) {
                self.dom.set(map, table.json_name(field), value);
            }
        }
        map
    }

    fn value(&mut self, shape: ShapeId, depth: usize) -> Option<Node> {
        let table = builtin();
        Some(match table.shape(shape) {
            Shape::Struct(ty) => self.object(ty, depth + 1),
            Shape::List { item, .. } => {
                let list = self.dom.new_list();
                for _ in 0..=self.draw(2) {
                    let value = self.value(item, depth)?;
                    self.dom.push(list, value);
                }
                list
            }
            Shape::Map { value } => {
                let map = self.dom.new_map();
                for key in ["z", "a", "é"].iter().take(1 + self.draw(3) as usize) {
                    let value = self.value(value, depth)?;
                    self.dom.set(map, key, value);
                }
                map
            }
            Shape::Leaf(leaf) => self.leaf(leaf, depth)?,
        })
    }

    fn leaf(&mut self, leaf: Leaf, depth: usize) -> Option<Node> {
        let pick = self.draw(3);
        Some(match leaf {
            Leaf::Str => self.dom.new_str(["", "a", "é<"][pick as usize]),
            Leaf::Bool => self.dom.new_bool(pick > 0),
            Leaf::Int32 => self
                .dom
                .new_int([0, -1, i64::from(i32::MAX)][pick as usize]),
            Leaf::Int64 => self.dom.new_int([0, i64::MIN, 300][pick as usize]),
            Leaf::Uint32 | Leaf::Uint64 => self.dom.new_int([0, 1, 128][pick as usize]),
            Leaf::Double | Leaf::Float => self.dom.new_float([0.5, -1.5, 1e30][pick as usize]),
            Leaf::Bytes => self
                .dom
                .new_str(["AA==", "aGVsbG8=", "YQ=="][pick as usize]),
            Leaf::Time => self.dom.new_str(
                [
                    "1969-12-31T23:59:59Z",
                    "2026-02-28T12:00:00Z",
                    "9999-12-31T23:59:59Z",
                ][pick as usize],
            ),
            Leaf::MicroTime => self.dom.new_str("2026-02-28T12:00:00.000001Z"),
            Leaf::Quantity => self.dom.new_str(["0", "100m", "1Gi"][pick as usize]),
            Leaf::IntOrString if pick == 0 => self.dom.new_str("25%"),
            Leaf::IntOrString => self.dom.new_int([0, -3][pick as usize - 1]),
            Leaf::Raw | Leaf::Json => {
                let map = self.dom.new_map();
                self.dom.set_str(map, "x", "y");
                map
            }
            Leaf::Fields => {
                let map = self.dom.new_map();
                let empty = self.dom.new_map();
                self.dom.set(map, "f:x", empty);
                map
            }
            Leaf::SchemaOrBool if pick == 0 => self.dom.new_bool(true),
            Leaf::SchemaOrStrings if pick == 0 => {
                let list = self.dom.new_list();
                let item = self.dom.new_str("p");
                self.dom.push(list, item);
                list
            }
            Leaf::SchemaOrBool | Leaf::SchemaOrArray | Leaf::SchemaOrStrings => {
                self.object(builtin().schema_props()?, depth + 1)
            }
            Leaf::Duration | Leaf::Any => return None,
        })
    }
}

/// JSON → protobuf → JSON is the identity on canonical JSON, for every type of the table.
#[test]
fn every_type_round_trips() {
    let table = builtin();
    let mut count = 0;
    for ty in table.types() {
        if table
            .fields(ty)
            .iter()
            .all(|field| field.proto().is_empty())
        {
            continue;
        }
        for seed in 0..6 {
            let mut maker = Maker {
                dom: Dom::new(),
                state: seed * 7919 + count,
            };
            let root = maker.object(ty, 0);
            let dom = maker.dom;
            let bytes = encode(table, ty, &dom, root).unwrap();
            let back = decode(table, ty, &bytes, &Limits::DEFAULT).unwrap();
            let text =
                |dom: &Dom, node| String::from_utf8(encode_json(table, ty, dom, node)).unwrap();
            assert_eq!(
                text(&back, back.root()),
                text(&dom, root),
                "{}",
                table.type_name(ty)
            );
            assert_eq!(encode(table, ty, &back, back.root()).unwrap(), bytes);
            count += 1;
        }
    }
    assert!(count > 3000, "{count}");
}

/// Schemas in schemas, and objects in the events that are objects of events.
#[test]
fn nesting_is_bounded() {
    let table = builtin();
    let limits = Limits {
        depth: 200,
        ..Limits::DEFAULT
    };
    let schemas = |depth: usize| {
        let (open, close) = (r#"{"not":"#.repeat(depth), "}".repeat(depth));
        let json = format!(
            r#"{{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","spec":{{"versions":[{{"name":"v1","schema":{{"openAPIV3Schema":{open}{{}}{close}}}}}]}}}}"#
        );
        let dom = Dom::parse_json(json.as_bytes()).unwrap();
        to_wire(table, &dom, dom.root()).unwrap()
    };
    let events = |depth: usize| {
        let mut bytes = wrap("v1", "Status", &[]);
        for _ in 0..depth {
            let (mut object, mut event) = (Vec::new(), Vec::new());
            put_bytes(&mut object, 1, &bytes);
            put_bytes(&mut event, 2, &object);
            bytes = wrap("v1", "WatchEvent", &event);
        }
        bytes
    };
    for (shallow, deep) in [(schemas(100), schemas(250)), (events(50), events(250))] {
        from_wire(table, &shallow, &limits).unwrap();
        let error = from_wire(table, &deep, &limits).unwrap_err();
        assert!(
            matches!(error, super::ProtobufError::Limit("depth")),
            "{error}"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_safe(bytes in prop::collection::vec(any::<u8>(), 0..80), kind in 0..4_usize) {
        let kinds = ["Pod", "Secret", "Status", "WatchEvent"];
        let _ = from_wire(builtin(), &wrap("v1", kinds[kind], &bytes), &Limits::DEFAULT);
        let _ = from_wire(builtin(), &bytes, &Limits::DEFAULT);
        let _ = next_frame(&bytes, 100);
    }

    /// Damaged messages either fail or make a document that can be written again.
    #[test]
    fn damaged_messages_are_safe(at in 0..400_usize, bit in 0..8_u8, cut in 0..400_usize) {
        let json = br#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","labels":{"x":"y"},"creationTimestamp":"2026-01-01T00:00:00Z"},
            "spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}],"resources":{"limits":{"cpu":"1"}},
            "livenessProbe":{"httpGet":{"port":"x"}}}],"volumes":[{"name":"v","secret":{"secretName":"s"}}]}}"#;
        let dom = Dom::parse_json(json).unwrap();
        let mut bytes = to_wire(builtin(), &dom, dom.root()).unwrap();
        let (at, cut) = (at % bytes.len(), cut % bytes.len());
        bytes[at] ^= 1 << bit;
        for bytes in [&bytes[..], &bytes[..cut]] {
            if let Ok((_, dom)) = from_wire(builtin(), bytes, &Limits::DEFAULT) {
                let _ = to_wire(builtin(), &dom, dom.root());
            }
        }
    }
}
