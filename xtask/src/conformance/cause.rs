//! What failures have in common: a message without what differs from run to run. Pure.
//!
//! Example: `failed: Timed out after 300.001s.\nExpected pod "web-5f7d9" …` and the same of another
//! pod both become `Timed out after N. Expected pod "…"`.

/// Characters of a cause.
const LIMIT: usize = 140;

pub(super) fn cause(message: &str) -> String {
    let mut text = message;
    for state in ["failed: ", "panicked: "] {
        text = text.strip_prefix(state).unwrap_or(text);
    }
    let mut short = String::new();
    for word in text.split_whitespace() {
        let word = plain(word);
        if short.chars().count() + word.chars().count() >= LIMIT {
            short.push_str(" …");
            break;
        }
        // What follows each other in a list of names is one unknown.
        if word == "…" && short.ends_with('…') {
            continue;
        }
        if !short.is_empty() {
            short.push(' ');
        }
        short.push_str(&word);
    }
    short.replace('|', "/").replace('`', "'")
}

/// A word with a name, an address or a number in it says only that one stood there.
fn plain(word: &str) -> String {
    let core = word.trim_matches(|c: char| !c.is_alphanumeric());
    let digits = core.chars().filter(char::is_ascii_digit).count();
    if digits == 0 {
        return word.to_owned();
    }
    let number = core.trim_end_matches(char::is_alphabetic);
    let is_number = number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let stand_in = if is_number { "N" } else { "…" };
    match word.split_once(core) {
        // Types and versions such as `int64` or `v1` say what kind of thing it is.
        _ if core.len() <= 6 && !is_number && !core.contains(['-', '.', ':']) => word.to_owned(),
        Some((before, after)) => format!("{before}{stand_in}{after}"),
        None => stand_in.to_owned(),
    }
}

#[cfg(test)]
mod tests;
