//! YAML in and out of the DOM, with upstream's reading of scalars.
//!
//! Upstream converts YAML to JSON with a YAML 1.1 decoder: `yes`, `on` and `y` are booleans,
//! `0777` is octal, `1_000` is a number, timestamps stay strings, `<<` merges. Owns scalars,
//! anchors with a budget, duplicate keys, and the block style of output. The scanner is the
//! saphyr-parser crate, used event by event, so that nothing recurses on input.
//! Source: sigs.k8s.io/yaml v1.6.0, go.yaml.in/yaml/v2 v2.4.3 (decode.go, resolve.go,
//! encode.go, emitterc.go); apimachinery v0.36.3 pkg/util/yaml (document separators).

mod build;
mod emit;
mod scalar;

use crate::dom::{Dom, Limits, Node, Parsed};

/// Why a text is not a YAML document that JSON could hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamlError {
    /// The scanner's complaint.
    #[error("yaml: {}{message}", place(*line))]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A scalar does not fit its explicit tag, or a merge key's value is no map.
    #[error("yaml: {}{message}", place(*line))]
    Value {
        /// Line, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// A key that JSON cannot have.
    #[error("unsupported map key of type: {kind}")]
    Key {
        /// Type of the key.
        kind: &'static str,
    },
    /// A number that JSON cannot have.
    #[error("json: unsupported value: {0}")]
    Number(&'static str),
    /// Aliases make far more of the text than it is.
    #[error("yaml: document contains excessive aliasing")]
    Aliases,
    /// The text is longer than allowed.
    #[error("yaml: document of {found} bytes exceeds the limit of {limit}")]
    Bytes {
        /// Length.
        found: usize,
        /// Bound.
        limit: usize,
    },
    /// Lists and maps nest deeper than allowed.
    #[error("yaml: exceeded max depth of {0}")]
    Depth(usize),
    /// More values than allowed.
    #[error("yaml: more than {0} values")]
    Nodes(usize),
    /// The text is not UTF-8.
    #[error("yaml: invalid leading UTF-8 octet")]
    Encoding,
}

/// Upstream names no line when it is the first.
fn place(line: usize) -> String {
    if line > 1 {
        format!("line {line}: ")
    } else {
        String::new()
    }
}

/// The duplicate keys of a document as one error of strict decoding.
#[must_use]
pub fn strict_error(duplicates: &[String]) -> String {
    format!("yaml: unmarshal errors:\n  {}", duplicates.join("\n  "))
}

/// Reads the first document of `source`; later ones are not looked at, as upstream. Duplicate
/// keys (the last one counts) are reported in upstream's words.
///
/// # Errors
/// When the first document is malformed or exceeds `limits`.
pub fn parse(source: &[u8], limits: &Limits) -> Result<Parsed, YamlError> {
    if source.len() > limits.bytes {
        return Err(YamlError::Bytes {
            found: source.len(),
            limit: limits.bytes,
        });
    }
    let text = std::str::from_utf8(source).map_err(|_| YamlError::Encoding)?;
    build::build(text.trim_start_matches('\u{feff}'), limits)
}

/// `node` in block style, keys sorted as upstream sorts them, with a final newline.
#[must_use]
pub fn to_yaml(dom: &Dom, node: Node) -> String {
    emit::emit(dom, node)
}

/// Splits a stream at its `---` lines; parts without content are left out.
pub fn documents(stream: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(stream);
    let parts = std::iter::from_fn(move || {
        let text = rest?;
        match text.find("\n---") {
            Some(at) => {
                let after = &text[at + 4..];
                rest = after.find('\n').map(|end| &after[end + 1..]);
                Some(&text[..at])
            }
            None => {
                rest = None;
                Some(text)
            }
        }
    });
    parts.filter(|part| {
        part.lines().any(|line| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#') && line != "---"
        })
    })
}

#[cfg(test)]
mod tests;
