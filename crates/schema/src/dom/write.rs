//! A document as compact JSON, with the escapes and the number format of Go's encoder.
//!
//! Source: Go 1.26 encoding/json/encode.go (appendString with HTML escapes, floatEncoder).

use super::{Dom, Node, Tag, Value};

const HEX: &[u8; 16] = b"0123456789abcdef";

/// True for bytes that stand for themselves inside a string. 0xe2 starts U+2028 and U+2029.
static SAFE: [bool; 256] = {
    let mut safe = [true; 256];
    let mut i = 0;
    while i < 0x20 {
        safe[i] = false;
        i += 1;
    }
    safe[b'"' as usize] = false;
    safe[b'\\' as usize] = false;
    safe[b'<' as usize] = false;
    safe[b'>' as usize] = false;
    safe[b'&' as usize] = false;
    safe[0xe2] = false;
    safe
};

const ONES: u64 = 0x0101_0101_0101_0101;

/// High bit set in the first byte that is not [`SAFE`], and maybe in later ones.
#[inline]
fn stops(word: u64) -> u64 {
    let is = |byte: u8| {
        let difference = word ^ (ONES * u64::from(byte));
        difference.wrapping_sub(ONES) & !difference
    };
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    // 0x3c and 0x3e differ in one bit, as do 0x22 and 0x26 after it.
    let angle = (word & !(ONES * 2)) ^ (ONES * 0x3c);
    let quote = (word & !(ONES * 4)) ^ (ONES * 0x22);
    let pairs = (angle.wrapping_sub(ONES) & !angle) | (quote.wrapping_sub(ONES) & !quote);
    (control | pairs | is(b'\\') | is(0xe2)) & (ONES << 7)
}

pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut i = 0;
    let mut plain = true;
    while let Some(chunk) = bytes.get(i..).and_then(|rest| rest.first_chunk::<8>()) {
        if stops(u64::from_le_bytes(*chunk)) != 0 {
            plain = false;
            break;
        }
        i += 8;
    }
    if plain && bytes[i..].iter().all(|b| SAFE[*b as usize]) {
        out.extend_from_slice(bytes);
    } else {
        write_escaped(out, bytes, i);
    }
    out.push(b'"');
}

/// Writes the content of a string that may need escapes from `i` on.
#[inline(never)]
fn write_escaped(out: &mut Vec<u8>, bytes: &[u8], mut i: usize) {
    let mut from = 0;
    while let Some(&b) = bytes.get(i) {
        if SAFE[b as usize] {
            i += 1;
            continue;
        }
        if b == 0xe2 {
            if let Some(&[0x80, last @ (0xa8 | 0xa9)]) = bytes.get(i + 1..i + 3) {
                out.extend_from_slice(&bytes[from..i]);
                out.extend_from_slice(b"\\u202");
                out.push(HEX[(last & 15) as usize]);
                i += 3;
                from = i;
            } else {
                i += 1;
            }
            continue;
        }
        out.extend_from_slice(&bytes[from..i]);
        match b {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', b]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[(b >> 4) as usize]);
                out.push(HEX[(b & 15) as usize]);
            }
        }
        i += 1;
        from = i;
    }
    out.extend_from_slice(&bytes[from..]);
}
pub(crate) fn write_int(out: &mut Vec<u8>, n: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// JSON has no infinities and no NaN; such a value is written as `null`.
pub(crate) fn write_float(out: &mut Vec<u8>, f: f64) {
    let size = f.abs();
    if !f.is_finite() {
        out.extend_from_slice(b"null");
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{f:e}");
        match text.split_once('e') {
            Some((digits, power)) if !power.starts_with('-') => {
                out.extend_from_slice(format!("{digits}e+{power}").as_bytes());
            }
            _ => out.extend_from_slice(text.as_bytes()),
        }
    } else {
        out.extend_from_slice(format!("{f}").as_bytes());
    }
}

impl Dom {
    /// The value as compact JSON, keys in document order.
    #[must_use]
    pub fn to_json(&self, node: Node) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len().min(1 << 16) + 64);
        self.write_json(node, &mut out);
        out
    }

    /// [`Dom::to_json`], appended to `out`.
    pub fn write_json(&self, top: Node, out: &mut Vec<u8>) {
        self.write_any(top, out, false);
    }

    /// [`Dom::write_json`] with numbers as they came, for values that upstream keeps as text.
    pub(crate) fn write_raw(&self, top: Node, out: &mut Vec<u8>) {
        self.write_any(top, out, true);
    }

    fn write_any(&self, top: Node, out: &mut Vec<u8>, raw: bool) {
        let mut node = top;
        loop {
            match self.value(node) {
                Value::Null => out.extend_from_slice(b"null"),
                Value::Bool(true) => out.extend_from_slice(b"true"),
                Value::Bool(false) => out.extend_from_slice(b"false"),
                Value::Int(n) => write_int(out, n),
                Value::Float(_) if raw => {
                    let slot = self.slot(node.0);
                    out.extend_from_slice(self.span(slot.a, slot.b).as_bytes());
                }
                Value::Float(f) => write_float(out, f),
                Value::Str(s) => write_string(out, s),
                Value::List => {
                    out.push(b'[');
                    if let Some(child) = self.first(node) {
                        node = child;
                        continue;
                    }
                    out.push(b']');
                }
                Value::Map => {
                    out.push(b'{');
                    if let Some(child) = self.first(node) {
                        write_string(out, self.key(child));
                        out.push(b':');
                        node = child;
                        continue;
                    }
                    out.push(b'}');
                }
            }
            // Up to the nearest ancestor that has something left.
            loop {
                if node == top {
                    return;
                }
                if let Some(next) = self.next(node) {
                    out.push(b',');
                    node = next;
                    if self.tag(Node(self.slot(node.0).parent)) == Tag::Map {
                        write_string(out, self.key(node));
                        out.push(b':');
                    }
                    break;
                }
                node = Node(self.slot(node.0).parent);
                out.push(if self.tag(node) == Tag::Map {
                    b'}'
                } else {
                    b']'
                });
            }
        }
    }
}

/// Nesting beyond which maps are no longer sorted; no parser lets a document get there.
const SORTED_DEPTH: usize = 1024;

impl Dom {
    /// The value as compact JSON with the keys of every map sorted, as Go prints its maps.
    pub fn write_sorted(&self, node: Node, out: &mut Vec<u8>) {
        self.sorted(node, out, 0);
    }

    fn sorted(&self, node: Node, out: &mut Vec<u8>, depth: usize) {
        match self.value(node) {
            Value::List if depth < SORTED_DEPTH => {
                out.push(b'[');
                for (n, item) in self.items(node).enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    self.sorted(item, out, depth + 1);
                }
                out.push(b']');
            }
            Value::Map if depth < SORTED_DEPTH => {
                let mut entries: Vec<_> = self.entries(node).collect();
                if !entries.is_sorted_by_key(|(key, _)| *key) {
                    entries.sort_unstable_by_key(|(key, _)| *key);
                }
                out.push(b'{');
                for (n, (key, value)) in entries.into_iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    write_string(out, key);
                    out.push(b':');
                    self.sorted(value, out, depth + 1);
                }
                out.push(b'}');
            }
            _ => self.write_json(node, out),
        }
    }
}
