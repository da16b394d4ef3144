//! Strings as Go prints them: JSON literals and `%q`.
//!
//! Upstream's messages embed values in one of these two forms, so that both have to be equal
//! to the byte. Source: go1.26 encoding/json (HTML escaping on), strconv.Quote.

use std::fmt::Write;

/// Appends `value` to `out` as a JSON string, escaped as Go's encoder does by default
/// (`<`, `>`, `&`, U+2028 and U+2029 are escaped too).
pub fn json_string(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => escape_u(out, c),
            c if (c as u32) < 0x20 => escape_u(out, c),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn escape_u(out: &mut String, c: char) {
    let _ = write!(out, "\\u{:04x}", c as u32);
}

/// `value` as Go's `%q` verb prints it.
#[must_use]
pub fn quote(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if is_print(c) => out.push(c),
            c if (c as u32) < 0x1_0000 => escape_u(&mut out, c),
            c => {
                let _ = write!(out, "\\U{:08x}", c as u32);
            }
        }
    }
    out.push('"');
    out
}

/// The ranges that matter of Go's `unicode.IsPrint`: controls, odd spaces, format characters,
/// surrogate neighbours and private use are not printable.
fn is_print(c: char) -> bool {
    !matches!(c as u32,
        0x80..=0xa0 | 0xad | 0x600..=0x605 | 0x61c | 0x1680 | 0x180e | 0x2000..=0x200f
        | 0x2028..=0x202f | 0x205f..=0x206f | 0x3000 | 0xe000..=0xf8ff | 0xfeff
        | 0xfff0..=0xfffb | 0xfffe..=0xffff | 0xe0000..=0x10_ffff)
}

#[cfg(test)]
mod tests;
