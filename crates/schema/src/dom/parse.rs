//! JSON text into a document, without any type.
//!
//! One loop, no recursion: the open container is the parent of the next value. A key that
//! comes twice keeps its first place and its last value (as Go's maps do) and is reported.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::{
    DEAD, Dom, Key, Lexer, NONE, Node, Number, Slot, Stop, SyntaxError, Tag, Text, unescape,
};
use crate::names::{self, Name, STATIC};

/// Bounds on one document.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Length of the input.
    pub bytes: usize,
    /// Nesting of lists and maps.
    pub depth: usize,
    /// Number of values.
    pub nodes: usize,
}

impl Limits {
    /// Room for the largest request body that upstream takes (3 MiB) and for large lists.
    pub const DEFAULT: Limits = Limits {
        bytes: 1 << 30,
        depth: 512,
        nodes: 1 << 23,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Limits::DEFAULT
    }
}

/// A document and the keys that came more than once in their map.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The document.
    pub dom: Dom,
    /// Paths like `spec.containers[0].name`, each once.
    pub duplicates: Vec<String>,
}

/// From this many keys on, a map's keys are looked up in a hash table while parsing.
const LARGE: u32 = 16;

/// Finds keys again in large maps; keyed, so that input cannot provoke collisions.
#[derive(Default)]
pub(crate) struct LargeMaps {
    seen: HashMap<u64, Node>,
    hasher: RandomState,
    /// Maps that have dead children.
    dirty: Vec<Node>,
    /// How many paths were worked out.
    reported: u32,
}

impl LargeMaps {
    /// Whether one more path may be worked out; each may cost a walk along a list.
    pub(crate) fn may_report(&mut self) -> bool {
        self.reported += 1;
        self.reported <= 200
    }

    fn slot(&self, map: Node, key: &str) -> u64 {
        self.hasher.hash_one((map.0, key))
    }
}

/// Text that is valid UTF-8; every stray byte becomes U+FFFD, as in Go's decoder.
pub(crate) fn sanitize(source: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(source) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let mut out = String::with_capacity(source.len() + 16);
            for chunk in source.utf8_chunks() {
                out.push_str(chunk.valid());
                for _ in chunk.invalid() {
                    out.push(char::REPLACEMENT_CHARACTER);
                }
            }
            Cow::Owned(out)
        }
    }
}

impl Dom {
    /// Reads one JSON document with [`Limits::DEFAULT`]; the last of duplicate keys counts.
    ///
    /// # Errors
    /// When the bytes are not one JSON document within the limits.
    pub fn parse_json(source: &[u8]) -> Result<Dom, SyntaxError> {
        Dom::parse_json_within(source, &Limits::DEFAULT).map(|parsed| parsed.dom)
    }

    /// Reads one JSON document within `limits` and reports duplicate keys.
    ///
    /// # Errors
    /// When the bytes are not one JSON document within the limits.
    pub fn parse_json_within(source: &[u8], limits: &Limits) -> Result<Parsed, SyntaxError> {
        let limit = limits.bytes.min(1 << 30);
        if source.len() > limit {
            return Err(SyntaxError::Bytes {
                found: source.len(),
                limit,
            });
        }
        let source = sanitize(source);
        let mut parser = Parser::new(&source, limits);
        let root = match parser.document() {
            Ok(root) => root,
            Err(Stop) => return Err(parser.lex.into_error()),
        };
        parser.dom.root = root.0;
        parser.dom.bury(&mut parser.large);
        Ok(Parsed {
            dom: parser.dom,
            duplicates: parser.duplicates,
        })
    }

    /// A document without nodes whose text starts as a copy of `source`.
    pub(crate) fn over(source: &str) -> Dom {
        let mut text = String::with_capacity(source.len() + 64);
        text.push_str(source);
        Dom {
            slots: Vec::with_capacity(source.len() / 16 + 4),
            text,
            keys: Vec::new(),
            root: 0,
        }
    }

    /// A key that came as a token of the source.
    #[inline]
    pub(crate) fn key_token(&mut self, source: &str, token: Text) -> Name {
        if token.escaped {
            return self.intern(&token.read(source));
        }
        let text = token.plain(source).as_bytes();
        let hash = names::hash(text);
        match names::lookup(text, hash) {
            Some(name) => name,
            None => self.add_key(Key {
                start: token.start,
                len: token.end - token.start,
                hash,
            }),
        }
    }

    /// A string that came as a token of the source, of which the text starts with a copy.
    #[inline]
    pub(crate) fn text_token(&mut self, token: Text) -> Node {
        match token.escaped {
            false => self.add(Slot::leaf(Tag::Str, token.start, token.end - token.start)),
            true => self.escaped_token(token),
        }
    }

    #[cold]
    fn escaped_token(&mut self, token: Text) -> Node {
        let start = self.text.len();
        let raw = self.span(token.start, token.end - token.start).to_owned();
        unescape(&raw, &mut self.text);
        let len = (self.text.len() - start) as u32;
        self.add(Slot::leaf(Tag::Str, start as u32, len))
    }

    pub(crate) fn number_token(&mut self, number: Number) -> Node {
        match number {
            Number::Int(n) => self.new_int(n),
            Number::Float(start, end) => {
                self.add(Slot::leaf(Tag::Float, start as u32, (end - start) as u32))
            }
        }
    }

    /// Appends to a list or map that is being read.
    #[inline]
    pub(crate) fn attach(&mut self, parent: Node, child: Node, key: Option<Name>) {
        self.append(parent, child, key.map_or(NONE, |name| name.0));
    }

    /// The child of `map` whose key equals that of `name`, looked up fast in large maps too.
    #[inline]
    pub(crate) fn find_again(&self, large: &mut LargeMaps, map: Node, name: Name) -> Option<Node> {
        let slot = self.slot(map.0);
        let count = slot.count();
        if count < LARGE {
            let own = (name.0 >= STATIC).then(|| self.keys.get((name.0 - STATIC) as usize));
            let mut child = slot.a;
            while child != NONE {
                let slot = self.slot(child);
                if slot.key == name.0 {
                    return Some(Node(child));
                }
                if let Some(Some(own)) = own
                    && slot.key >= STATIC
                    && let Some(key) = self.keys.get((slot.key - STATIC) as usize)
                    && key.hash == own.hash
                    && self.span(key.start, key.len) == self.span(own.start, own.len)
                {
                    return Some(Node(child));
                }
                child = slot.next;
            }
            return None;
        }
        if count == LARGE {
            for (key, node) in self.entries(map) {
                if self.name(node) == Name(DEAD) {
                    continue;
                }
                large.seen.insert(large.slot(map, key), node);
            }
        }
        large
            .seen
            .get(&large.slot(map, self.text_of(name)))
            .copied()
    }

    /// Tells `large` of a child that was appended to `map`.
    #[inline]
    pub(crate) fn remember(&self, large: &mut LargeMaps, map: Node, child: Node) {
        if self.slot(map.0).count() > LARGE {
            large.seen.insert(large.slot(map, self.key(child)), child);
        }
    }

    /// Marks a child whose key came again; [`Dom::bury`] takes it out. (At once it would cost
    /// a walk over the map each time.)
    pub(crate) fn kill(&mut self, large: &mut LargeMaps, map: Node, child: Node) {
        if let Some(slot) = self.slots.get_mut(child.0 as usize) {
            slot.key = DEAD;
        }
        if large.dirty.last() != Some(&map) {
            large.dirty.push(map);
        }
    }

    /// Takes the dead children out of all maps.
    pub(crate) fn bury(&mut self, large: &mut LargeMaps) {
        large.dirty.sort_unstable_by_key(|map| map.0);
        large.dirty.dedup();
        for map in std::mem::take(&mut large.dirty) {
            let children = self.take_children(map);
            let alive: Vec<_> = children
                .into_iter()
                .filter(|c| self.name(*c).0 != DEAD)
                .collect();
            self.put_children(map, alive);
        }
    }

    /// Where a node that is still being read sits, as upstream prints paths.
    pub(crate) fn path_to(&self, node: Node, last: Option<Name>) -> String {
        let mut steps = Vec::new();
        if let Some(name) = last {
            steps.push(self.text_of(name).to_owned());
        }
        let mut here = node.0;
        loop {
            let slot = self.slot(here);
            if slot.parent == NONE {
                break;
            }
            if slot.key == NONE {
                let index = self
                    .items(Node(slot.parent))
                    .position(|n| n.0 == here)
                    .unwrap_or_default();
                steps.push(format!("[{index}]"));
            } else {
                steps.push(self.key(Node(here)).to_owned());
            }
            here = slot.parent;
        }
        let mut path = String::new();
        for step in steps.iter().rev() {
            if !path.is_empty() && !step.starts_with('[') {
                path.push('.');
            }
            path.push_str(step);
        }
        path
    }
}

struct Parser<'a> {
    lex: Lexer<'a>,
    dom: Dom,
    limits: &'a Limits,
    duplicates: Vec<String>,
    large: LargeMaps,
}

impl<'a> Parser<'a> {
    fn new(source: &'a str, limits: &'a Limits) -> Self {
        Parser {
            lex: Lexer::new(source),
            dom: Dom::over(source),
            limits,
            duplicates: Vec::new(),
            large: LargeMaps::default(),
        }
    }

    fn document(&mut self) -> Result<Node, Stop> {
        let root = parse_value(
            &mut self.lex,
            &mut self.dom,
            self.limits,
            0,
            None,
            &mut self.large,
            &mut self.duplicates,
        )?;
        match self.lex.peek() {
            None => Ok(root),
            Some(_) => Err(self.lex.unexpected("after top-level value")),
        }
    }
}

/// Reads one value of any shape; `parent` is where it will sit (attached here already, so that
/// duplicate keys inside are reported with their whole path).
pub(crate) fn parse_value(
    lex: &mut Lexer<'_>,
    dom: &mut Dom,
    limits: &Limits,
    depth: usize,
    place: Option<(Node, Option<Name>)>,
    large: &mut LargeMaps,
    duplicates: &mut Vec<String>,
) -> Result<Node, Stop> {
    let top_parent = place.map_or(Node(NONE), |(parent, _)| parent);
    let mut open = top_parent;
    let mut key = place.and_then(|(_, name)| name);
    let mut level = depth;
    let mut top = None;
    loop {
        if dom.slots.len() >= limits.nodes {
            return Err(lex.fail(SyntaxError::Nodes {
                limit: limits.nodes,
            }));
        }
        let node = match lex.peek() {
            Some(b'"') => {
                let token = lex.string()?;
                dom.text_token(token)
            }
            Some(b'{') => {
                lex.pos += 1;
                dom.new_map()
            }
            Some(b'[') => {
                lex.pos += 1;
                dom.new_list()
            }
            Some(b'-' | b'0'..=b'9') => {
                let number = lex.finite_number()?;
                dom.number_token(number)
            }
            Some(b't') => {
                lex.literal("true")?;
                dom.new_bool(true)
            }
            Some(b'f') => {
                lex.literal("false")?;
                dom.new_bool(false)
            }
            Some(b'n') => {
                lex.literal("null")?;
                dom.new_null()
            }
            _ => return Err(lex.unexpected("looking for beginning of value")),
        };
        if open.0 != NONE {
            dom.attach(open, node, key);
            if key.is_some() {
                dom.remember(large, open, node);
            }
        }
        if top.is_none() {
            top = Some(node);
        }
        let tag = dom.tag(node);
        if matches!(tag, Tag::List | Tag::Map) {
            level += 1;
            if level > limits.depth {
                return Err(lex.fail(SyntaxError::Depth));
            }
            open = node;
            let close = if tag == Tag::Map { b'}' } else { b']' };
            if lex.peek() != Some(close) {
                key = match tag {
                    Tag::Map => Some(next_key(lex, dom, open, large, duplicates)?),
                    _ => None,
                };
                continue;
            }
        } else if open == top_parent {
            return Ok(node);
        }
        // After a value: the next one, or the end of one or more containers.
        loop {
            if open == top_parent {
                return Ok(top.unwrap_or(node));
            }
            let map = dom.tag(open) == Tag::Map;
            match lex.peek() {
                Some(b',') if !dom.is_empty(open) => {
                    lex.pos += 1;
                    key = match map {
                        true => {
                            if lex.peek() != Some(b'"') {
                                return Err(
                                    lex.unexpected("looking for beginning of object key string")
                                );
                            }
                            Some(next_key(lex, dom, open, large, duplicates)?)
                        }
                        false => None,
                    };
                    break;
                }
                Some(b'}') if map => {}
                Some(b']') if !map => {}
                _ if map => return Err(lex.unexpected("after object key:value pair")),
                _ => return Err(lex.unexpected("after array element")),
            }
            lex.pos += 1;
            level -= 1;
            open = Node(dom.slot(open.0).parent);
        }
    }
}

/// Reads `"key":`. An earlier value under the same key is taken out and reported.
fn next_key(
    lex: &mut Lexer<'_>,
    dom: &mut Dom,
    map: Node,
    large: &mut LargeMaps,
    duplicates: &mut Vec<String>,
) -> Result<Name, Stop> {
    if lex.peek() != Some(b'"') {
        return Err(lex.unexpected("looking for beginning of object key string"));
    }
    let token = lex.string()?;
    let name = dom.key_token(lex.src, token);
    if lex.peek() != Some(b':') {
        return Err(lex.unexpected("after object key"));
    }
    lex.pos += 1;
    if let Some(old) = dom.find_again(large, map, name) {
        if duplicates.len() < 64 && large.may_report() {
            let path = dom.path_to(map, Some(name));
            if !duplicates.contains(&path) {
                duplicates.push(path);
            }
        }
        dom.kill(large, map, old);
    }
    Ok(name)
}
