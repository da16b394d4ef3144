//! A document as YAML in block style, as Go's encoder writes it (long lines are not folded).
//!
//! Lists stand at the indentation of their key; a string is plain when it reads back as
//! itself, literal when it has line breaks, else quoted.
//! Source: go.yaml.in/yaml/v2 v2.4.3 encode.go, sorter.go, emitterc.go.

use std::cmp::Ordering;
use std::fmt::Write;

use super::scalar::{Scalar, is_base60, resolve};
use crate::dom::{Dom, Node, Value};

/// A longer key is marked as one, with its value on the next line.
const SIMPLE_KEY_BYTES: usize = 128;

/// What is left to write.
enum Step {
    /// An item of a list at an indentation; the flag says that the line has begun.
    Item(Node, usize, bool),
    /// An entry of a map.
    Entry(Node, usize, bool),
}

pub(super) fn emit(dom: &Dom, top: Node) -> String {
    let mut out = String::new();
    let mut steps = Vec::new();
    if !begin(dom, top, 0, true, &mut steps) {
        scalar(dom, top, 0, &mut out);
        out.push('\n');
    }
    while let Some(step) = steps.pop() {
        match step {
            Step::Item(node, indent, begun) => {
                if !begun {
                    spaces(&mut out, indent);
                }
                out.push_str("- ");
                if !begin(dom, node, indent + 2, true, &mut steps) {
                    scalar(dom, node, indent, &mut out);
                    out.push('\n');
                }
            }
            Step::Entry(node, indent, begun) => {
                if !begun {
                    spaces(&mut out, indent);
                }
                let name = dom.key(node);
                if !is_simple_key(name) {
                    out.push_str("? ");
                    string(name, indent, &mut out);
                    out.push('\n');
                    spaces(&mut out, indent);
                    out.push_str(": ");
                    if !begin(dom, node, indent + 2, true, &mut steps) {
                        scalar(dom, node, indent, &mut out);
                        out.push('\n');
                    }
                    continue;
                }
                quote_if_needed(name, &mut out);
                out.push(':');
                let inner = match dom.value(node) {
                    Value::List => indent,
                    _ => indent + 2,
                };
                if begin(dom, node, inner, false, &mut steps) {
                    out.push('\n');
                } else {
                    out.push(' ');
                    scalar(dom, node, indent, &mut out);
                    out.push('\n');
                }
            }
        }
    }
    out
}

/// Plans the children of a list or map that has some; says whether it did. `begun` means that
/// the first child goes on the current line.
fn begin(dom: &Dom, node: Node, indent: usize, begun: bool, steps: &mut Vec<Step>) -> bool {
    if dom.is_empty(node) {
        return false;
    }
    let from = steps.len();
    match dom.value(node) {
        Value::List => steps.extend(dom.items(node).map(|n| Step::Item(n, indent, false))),
        Value::Map => {
            steps.extend(
                sorted(dom.entries(node).collect())
                    .into_iter()
                    .map(|(_, n)| Step::Entry(n, indent, false)),
            );
        }
        _ => return false,
    }
    if begun && let Some(Step::Item(.., flag) | Step::Entry(.., flag)) = steps.get_mut(from) {
        *flag = true;
    }
    steps[from..].reverse();
    true
}

fn spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

fn scalar(dom: &Dom, node: Node, indent: usize, out: &mut String) {
    match dom.value(node) {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Value::Int(value) => {
            let _ = write!(out, "{value}");
        }
        Value::Float(value) => out.push_str(&go_float(&format!("{value:e}"))),
        Value::Str(text) => string(text, indent, out),
        Value::List => out.push_str("[]"),
        Value::Map => out.push_str("{}"),
    }
}

/// Go's shortest `%g` from Rust's shortest `%e`.
pub(super) fn go_float(scientific: &str) -> String {
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific.to_owned();
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, digits) = match digits.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", digits),
    };
    let mantissa: String = digits.chars().filter(char::is_ascii_digit).collect();
    let count = i32::try_from(mantissa.len()).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= count.max(21) {
        let mark = if exponent < 0 { '-' } else { '+' };
        return format!("{sign}{digits}e{mark}{:02}", exponent.abs());
    }
    let text = if exponent < 0 {
        let zeros = "0".repeat(usize::try_from(-exponent - 1).unwrap_or(0));
        format!("0.{zeros}{mantissa}")
    } else {
        let point = usize::try_from(exponent + 1).unwrap_or(0);
        if mantissa.len() <= point {
            format!("{mantissa}{}", "0".repeat(point - mantissa.len()))
        } else {
            format!("{}.{}", &mantissa[..point], &mantissa[point..])
        }
    };
    format!("{sign}{text}")
}

fn printable(c: char) -> bool {
    matches!(c, '\t' | '\n' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && c != '\u{feff}'
        && c != '\u{85}'
        && !matches!(c, '\u{2028}' | '\u{2029}')
        || c > '\u{ffff}'
}

/// May the text stand unquoted in block style, if it reads back as a string?
fn plain_allowed(text: &str) -> bool {
    let spaced = |c: Option<char>| c.is_none_or(|c| matches!(c, ' ' | '\t' | '\n'));
    if text.is_empty() || text.starts_with("---") || text.starts_with("...") {
        return false;
    }
    if text.starts_with(' ') || text.ends_with(' ') || text.contains('\n') || text.contains('\t') {
        return false;
    }
    let mut before = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied();
        let bad = match (before, c) {
            (
                None,
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
                | '@' | '`',
            ) => true,
            (None, '?' | ':' | '-') | (Some(_), ':') => spaced(next),
            (Some(' '), '#') => true,
            _ => !printable(c),
        };
        if bad {
            return false;
        }
        before = Some(c);
    }
    true
}

fn resolves_to_text(text: &str) -> bool {
    resolve(text) == Scalar::Text && !is_base60(text)
}

/// May the text stand as a literal block?
fn literal_allowed(text: &str) -> bool {
    !text.ends_with(' ') && !text.contains(" \n") && text.chars().all(|c| printable(c) && c != '\r')
}

fn string(text: &str, indent: usize, out: &mut String) {
    if text.contains('\n') && literal_allowed(text) {
        return literal(text, indent, out);
    }
    quote_if_needed(text, out);
}

/// May the key stand before its colon on one line? Readers look so far, and no further, for one.
fn is_simple_key(text: &str) -> bool {
    text.len() <= SIMPLE_KEY_BYTES && !text.contains('\n')
}

fn quote_if_needed(text: &str, out: &mut String) {
    if !resolves_to_text(text) || text.contains('\n') || !text.chars().all(printable) {
        return double_quoted(text, out);
    }
    if plain_allowed(text) {
        out.push_str(text);
    } else {
        out.push('\'');
        out.push_str(&text.replace('\'', "''"));
        out.push('\'');
    }
}

fn literal(text: &str, indent: usize, out: &mut String) {
    out.push('|');
    if text.starts_with([' ', '\n', '\t']) {
        out.push('2');
    }
    let body = text.trim_end_matches('\n');
    match text.len() - body.len() {
        0 => out.push('-'),
        1 if !body.is_empty() => {}
        _ => out.push('+'),
    }
    let lines = text.strip_suffix('\n').unwrap_or(text);
    for line in lines.split('\n') {
        out.push('\n');
        if !line.is_empty() {
            spaces(out, indent + 2);
            out.push_str(line);
        }
    }
}

fn double_quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0' => out.push_str("\\0"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\u{1b}' => out.push_str("\\e"),
            '\u{85}' => out.push_str("\\N"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            c if printable(c) => out.push(c),
            c if (c as u32) < 0x100 => {
                let _ = write!(out, "\\x{:02X}", c as u32);
            }
            c if (c as u32) < 0x1_0000 => {
                let _ = write!(out, "\\u{:04X}", c as u32);
            }
            c => {
                let _ = write!(out, "\\U{:08X}", c as u32);
            }
        }
    }
    out.push('"');
}

/// By [`compare`], which is no total order, as Go's is none: keys of digits, letters and other
/// characters may go round in a circle. The standard library's sort panics then, merging does not.
fn sorted<T>(mut entries: Vec<(&str, T)>) -> Vec<(&str, T)> {
    if entries.len() < 2 {
        return entries;
    }
    let right = entries.split_off(entries.len() / 2);
    let mut merged = Vec::with_capacity(entries.len() + right.len());
    let mut left = sorted(entries).into_iter().peekable();
    let mut right = sorted(right).into_iter().peekable();
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        match compare(a.0, b.0) {
            Ordering::Greater => merged.extend(right.next()),
            _ => merged.extend(left.next()),
        }
    }
    merged.extend(left.chain(right));
    merged
}

/// Go's order of keys: letters after other characters, runs of digits by value.
fn compare(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let Some(i) = a.iter().zip(&b).position(|(x, y)| x != y) else {
        return a.len().cmp(&b.len());
    };
    let (x, y) = (a[i], b[i]);
    match (x.is_alphabetic(), y.is_alphabetic()) {
        (true, true) => return x.cmp(&y),
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let mut start: u64 = 0;
    if x == '0' || y == '0' {
        let digits = a[..i].iter().rev().take_while(|c| c.is_ascii_digit());
        start = u64::from(digits.into_iter().any(|c| *c != '0'));
    }
    let run = |text: &[char]| {
        let digits = text[i..].iter().take_while(|c| c.is_ascii_digit());
        digits.fold((start, 0_usize), |(value, length), c| {
            let digit = u64::from(c.to_digit(10).unwrap_or(0));
            (value.wrapping_mul(10).wrapping_add(digit), length + 1)
        })
    };
    run(&a).cmp(&run(&b)).then(x.cmp(&y))
}
