//! Values as Go's `%v` prints them, for the messages of strategic patches.
//!
//! Cut off after a kilobyte: upstream echoes the whole value, which may be megabytes.

use crate::dom::{Dom, Node, Value};

const LIMIT: usize = 1024;

/// `map[a:1 b:[x y]]`, keys sorted; `<nil>` for null.
pub fn value(dom: &Dom, node: Node) -> String {
    let mut out = String::new();
    write(dom, node, &mut out, 0);
    out
}

/// Several lists as Go prints a list of lists: `[[a] [b c]]`.
pub(super) fn lists(dom: &Dom, lists: [&[Node]; 2]) -> String {
    let mut out = String::from("[");
    for (i, list) in lists.iter().enumerate() {
        out.push_str(if i == 0 { "[" } else { " [" });
        for (j, item) in list.iter().enumerate() {
            if j > 0 {
                out.push(' ');
            }
            write(dom, *item, &mut out, 0);
        }
        out.push(']');
    }
    out.push(']');
    out
}

fn write(dom: &Dom, node: Node, out: &mut String, depth: usize) {
    if out.len() > LIMIT || depth > 32 {
        if !out.ends_with('…') {
            out.push('…');
        }
        return;
    }
    match dom.value(node) {
        Value::Null => out.push_str("<nil>"),
        Value::Bool(b) => out.push_str(if b { "true" } else { "false" }),
        Value::Int(n) => out.push_str(&n.to_string()),
        Value::Float(f) => out.push_str(&f.to_string()),
        Value::Str(text) => out.push_str(text),
        Value::List => {
            out.push('[');
            for (i, item) in dom.items(node).enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                write(dom, item, out, depth + 1);
            }
            out.push(']');
        }
        Value::Map => {
            let mut entries: Vec<_> = dom.entries(node).collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push_str("map[");
            for (i, (key, value)) in entries.into_iter().enumerate() {
                if i > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                write(dom, value, out, depth + 1);
            }
            out.push(']');
        }
    }
}

/// The Go type of a decoded value.
pub(super) fn type_of(value: Value<'_>) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Float(_) => "float64",
        Value::Str(_) => "string",
        Value::List => "[]interface {}",
        Value::Map => "map[string]interface {}",
    }
}
