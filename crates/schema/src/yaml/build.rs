//! Events into a document: a stack of open lists and maps, anchors as copies.
//!
//! An alias becomes a copy of what its anchor holds; how many values it makes is known before
//! it is made. Source: go.yaml.in/yaml/v2 v2.4.3 decode.go.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use super::YamlError;
use super::scalar::{Scalar, resolve};
use crate::dom::{Dom, Limits, Node, Parsed, Value};

/// An open list or map.
struct Frame {
    node: Node,
    anchor: usize,
    /// How many values existed when it began.
    start: usize,
    map: Option<MapState>,
}

#[derive(Default)]
struct MapState {
    /// The key whose value comes next.
    key: Option<Key>,
    /// Keys so far, once there are many.
    seen: HashMap<String, Node>,
}

enum Key {
    Name(String, usize),
    Merge,
}

/// What an anchor holds.
#[derive(Copy, Clone)]
struct Anchor {
    node: Node,
    values: usize,
}

struct Builder<'l> {
    dom: Dom,
    limits: &'l Limits,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Anchor>,
    values: usize,
    aliased: usize,
    duplicates: Vec<String>,
    root: Option<Node>,
}

pub(super) fn build(text: &str, limits: &Limits) -> Result<Parsed, YamlError> {
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder {
        dom: Dom::new(),
        limits,
        stack: Vec::new(),
        anchors: HashMap::new(),
        values: 0,
        aliased: 0,
        duplicates: Vec::new(),
        root: None,
    };
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| syntax(text, &error))?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            break;
        }
        builder.event(event, span.start.line())?;
    }
    if let Some(root) = builder.root {
        builder.dom.set_root(root);
    }
    Ok(Parsed {
        dom: builder.dom,
        duplicates: builder.duplicates,
    })
}

/// The scanner's complaint in upstream's words, as far as the two agree.
fn syntax(text: &str, error: &ScanError) -> YamlError {
    let mut line = error.marker().line();
    let mut message = error.info();
    if let Some((context, rest)) = message.split_once(", ")
        && context.starts_with("while ")
    {
        // Upstream counts lines of its parser from 0, those of its scanner from 1.
        line -= usize::from(context.starts_with("while parsing") && line > 0);
        message = rest;
    }
    let message = if message == "found unknown anchor" {
        let from = text.chars().skip(error.marker().index());
        let name: String = from
            .skip_while(|c| *c == '*')
            .take_while(|c| c.is_alphanumeric())
            .collect();
        format!("unknown anchor '{name}' referenced")
    } else if message.starts_with("expected") {
        format!("did not find {message}")
    } else {
        message.to_owned()
    };
    YamlError::Syntax { line, message }
}

/// The part of a tag that matters: the name of a core type, or anything else.
fn core_tag<'t>(tag: Option<&'t Cow<'_, Tag>>) -> Option<&'t str> {
    let tag = tag?;
    let suffix = tag.suffix.as_str();
    if tag.is_yaml_core_schema() || tag.handle == "!!" {
        return Some(suffix);
    }
    // `!` alone says that a scalar is a string; so does any tag that is not known.
    Some(suffix.strip_prefix("tag:yaml.org,2002:").unwrap_or("str"))
}

/// As Go prints a float key: 32 bits of it, shortest.
#[expect(
    clippy::cast_possible_truncation,
    reason = "upstream rounds keys to 32 bits"
)]
fn float_key(value: f64) -> String {
    match value {
        v if v.is_nan() => ".nan".to_owned(),
        f64::INFINITY => ".inf".to_owned(),
        f64::NEG_INFINITY => "-.inf".to_owned(),
        v => super::emit::go_float(&format!("{:e}", v as f32)),
    }
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, line: usize) -> Result<(), YamlError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = self.scalar(&text, style, core_tag(tag.as_ref()), line)?;
                if self.wants_key() {
                    self.key(&scalar, &text, anchor, line)
                } else {
                    let node = self.leaf(&scalar, &text)?;
                    self.value(node, anchor, line)
                }
            }
            Event::SequenceStart(anchor, _) => self.open(anchor, false),
            Event::MappingStart(anchor, _) => self.open(anchor, true),
            Event::SequenceEnd | Event::MappingEnd => self.close(line),
            Event::Alias(anchor) => self.alias(anchor, line),
            _ => Ok(()),
        }
    }

    fn wants_key(&self) -> bool {
        let map = self.stack.last().and_then(|frame| frame.map.as_ref());
        map.is_some_and(|map| map.key.is_none())
    }

    fn count(&mut self, more: usize) -> Result<(), YamlError> {
        self.values = self.values.saturating_add(more);
        if self.values > self.limits.nodes {
            return Err(YamlError::Nodes(self.limits.nodes));
        }
        Ok(())
    }

    /// The meaning of a scalar and, for `!!binary`, the decoded text (in place of the text).
    fn scalar<'t>(
        &mut self,
        text: &'t str,
        style: ScalarStyle,
        tag: Option<&str>,
        line: usize,
    ) -> Result<(Scalar, Cow<'t, str>), YamlError> {
        let cannot = |found: &Scalar, tag: &str| {
            let found = found.tag();
            let message = format!("cannot decode {found} `{text}` as a !!{tag}");
            Err(YamlError::Value { line, message })
        };
        let same = Cow::Borrowed(text);
        match tag {
            None if style == ScalarStyle::Plain => Ok((resolve(text), same)),
            None | Some("str") => Ok((Scalar::Text, same)),
            Some("binary") => {
                let compact: String = text.split_whitespace().collect();
                match STANDARD.decode(compact) {
                    Ok(bytes) => {
                        let text = String::from_utf8_lossy(&bytes).into_owned();
                        Ok((Scalar::Text, Cow::Owned(text)))
                    }
                    Err(_) => {
                        let message = "!!binary value contains invalid base64 data".to_owned();
                        Err(YamlError::Value { line, message })
                    }
                }
            }
            Some(tag @ ("int" | "bool" | "null" | "timestamp" | "merge")) => {
                let found = resolve(text);
                if found.tag().trim_start_matches('!') == tag {
                    Ok((found, same))
                } else {
                    cannot(&found, tag)
                }
            }
            Some("float") => match resolve(text) {
                #[expect(clippy::cast_precision_loss, reason = "the tag asks for a float")]
                Scalar::Int(n) => Ok((Scalar::Float(n as f64), same)),
                found @ Scalar::Float(_) => Ok((found, same)),
                found => cannot(&found, "float"),
            },
            Some(_) => Ok((Scalar::Text, same)),
        }
    }

    fn leaf(&mut self, scalar: &(Scalar, Cow<'_, str>), _: &str) -> Result<Node, YamlError> {
        self.count(1)?;
        Ok(match &scalar.0 {
            Scalar::Null => self.dom.new_null(),
            Scalar::Bool(value) => self.dom.new_bool(*value),
            Scalar::Int(value) => self.dom.new_int(*value),
            #[expect(
                clippy::cast_precision_loss,
                reason = "beyond 64 bits signed, as in JSON"
            )]
            Scalar::Uint(value) => self.dom.new_float(*value as f64),
            Scalar::Float(value) if value.is_nan() => return Err(YamlError::Number("NaN")),
            Scalar::Float(value) if value.is_infinite() => {
                let name = if *value > 0.0 { "+Inf" } else { "-Inf" };
                return Err(YamlError::Number(name));
            }
            // Through JSON, a whole number loses its point: 1.0 and 1e3 become integers.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "checked to be whole and small"
            )]
            Scalar::Float(value) if value.fract() == 0.0 && value.abs() < 9e18 => {
                self.dom.new_int(*value as i64)
            }
            Scalar::Float(value) => self.dom.new_float(*value),
            Scalar::Time | Scalar::Merge | Scalar::Text => self.dom.new_str(&scalar.1),
        })
    }

    fn key(
        &mut self,
        scalar: &(Scalar, Cow<'_, str>),
        text: &str,
        anchor: usize,
        line: usize,
    ) -> Result<(), YamlError> {
        if anchor != 0 {
            let node = self.leaf(scalar, text)?;
            self.anchors.insert(anchor, Anchor { node, values: 1 });
        }
        let key = match &scalar.0 {
            Scalar::Merge => Key::Merge,
            Scalar::Text | Scalar::Time => Key::Name(scalar.1.to_string(), line),
            Scalar::Int(value) => Key::Name(value.to_string(), line),
            Scalar::Bool(value) => Key::Name(value.to_string(), line),
            Scalar::Float(value) => Key::Name(float_key(*value), line),
            Scalar::Null => {
                return Err(YamlError::Key {
                    kind: "%!s(<nil>), key: <nil>",
                });
            }
            Scalar::Uint(_) => {
                return Err(YamlError::Key { kind: "uint64" });
            }
        };
        self.set_key(key);
        Ok(())
    }

    fn set_key(&mut self, key: Key) {
        if let Some(map) = self.stack.last_mut().and_then(|frame| frame.map.as_mut()) {
            map.key = Some(key);
        }
    }

    fn open(&mut self, anchor: usize, map: bool) -> Result<(), YamlError> {
        if self.wants_key() {
            let kind = if map { "map" } else { "slice" };
            return Err(YamlError::Key { kind });
        }
        if self.stack.len() >= self.limits.depth {
            return Err(YamlError::Depth(self.limits.depth));
        }
        let start = self.values;
        self.count(1)?;
        let (node, map) = if map {
            (self.dom.new_map(), Some(MapState::default()))
        } else {
            (self.dom.new_list(), None)
        };
        self.stack.push(Frame {
            node,
            anchor,
            start,
            map,
        });
        Ok(())
    }

    fn close(&mut self, line: usize) -> Result<(), YamlError> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        if frame.anchor != 0 {
            let values = self.values - frame.start;
            self.anchors.insert(
                frame.anchor,
                Anchor {
                    node: frame.node,
                    values,
                },
            );
        }
        self.value(frame.node, 0, line)
    }

    fn alias(&mut self, id: usize, line: usize) -> Result<(), YamlError> {
        let Some(anchor) = self.anchors.get(&id).copied() else {
            let message = "anchor value contains itself".to_owned();
            return Err(YamlError::Value { line, message });
        };
        self.aliased = self.aliased.saturating_add(anchor.values);
        self.count(anchor.values)?;
        if self.aliased > 100 && self.values > 1000 && self.mostly_aliases() {
            return Err(YamlError::Aliases);
        }
        if self.wants_key() {
            let name = match self.dom.value(anchor.node) {
                Value::Str(text) => text.to_owned(),
                Value::Int(value) => value.to_string(),
                Value::Bool(value) => value.to_string(),
                Value::Float(value) => float_key(value),
                Value::Null => {
                    return Err(YamlError::Key {
                        kind: "%!s(<nil>), key: <nil>",
                    });
                }
                Value::List => {
                    return Err(YamlError::Key { kind: "slice" });
                }
                Value::Map => return Err(YamlError::Key { kind: "map" }),
            };
            self.set_key(Key::Name(name, line));
            return Ok(());
        }
        let deep = self.dom.depth(anchor.node) + self.stack.len();
        if deep > self.limits.depth {
            return Err(YamlError::Depth(self.limits.depth));
        }
        let copy = self.dom.copy(anchor.node);
        self.value(copy, 0, line)
    }

    /// Upstream's rule: small documents may be nearly all aliases, large ones to a tenth.
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    fn mostly_aliases(&self) -> bool {
        let (low, high) = (400_000.0, 4_000_000.0);
        let values = self.values as f64;
        let allowed = 0.99 - 0.89 * ((values - low) / (high - low)).clamp(0.0, 1.0);
        self.aliased as f64 / values > allowed
    }

    /// Puts a finished value where it belongs.
    fn value(&mut self, node: Node, anchor: usize, line: usize) -> Result<(), YamlError> {
        if anchor != 0 {
            self.anchors.insert(anchor, Anchor { node, values: 1 });
        }
        let Some(frame) = self.stack.last_mut() else {
            self.root = self.root.or(Some(node));
            return Ok(());
        };
        let target = frame.node;
        let Some(map) = &mut frame.map else {
            self.dom.put_children(target, [node]);
            return Ok(());
        };
        match map.key.take() {
            Some(Key::Name(name, key_line)) => {
                if !self.set(target, name.clone(), node) {
                    let key = format!("{name:?}");
                    let text = format!("line {key_line}: key {key} already set in map");
                    self.duplicates.push(text);
                }
                Ok(())
            }
            Some(Key::Merge) => self.merge(target, node, line),
            None => Ok(()),
        }
    }

    /// Sets an entry of the innermost map; false when the key was there.
    fn set(&mut self, target: Node, name: String, node: Node) -> bool {
        let Some(map) = self.stack.last_mut().and_then(|frame| frame.map.as_mut()) else {
            return true;
        };
        if let Some(old) = map.seen.get(&name) {
            self.dom.replace(*old, node);
            return false;
        }
        self.dom.append_entry(target, &name, node);
        map.seen.insert(name, node);
        true
    }

    fn merge(&mut self, target: Node, node: Node, line: usize) -> Result<(), YamlError> {
        let wrong = || {
            let message = "map merge requires map or sequence of maps as the value".to_owned();
            Err(YamlError::Value { line, message })
        };
        let maps = match self.dom.value(node) {
            Value::Map => vec![node],
            Value::List => {
                let mut maps = self.dom.take_children(node);
                maps.reverse();
                maps
            }
            _ => return wrong(),
        };
        let mut done = HashSet::new();
        for map in maps {
            if self.dom.value(map) != Value::Map || !done.insert(map) {
                return wrong();
            }
            for entry in self.dom.take_children(map) {
                let name = self.dom.key(entry).to_owned();
                self.set(target, name, entry);
            }
        }
        Ok(())
    }
}
