//! One request of the corpus.
//!
//! `%RUN%` in paths and bodies is the run's namespace and the name of what belongs to no namespace.
//! `%RV%`, `%UID%` and `%CONTINUE%` are what the same side said last. Files of hand-picked
//! requests (`cases/*.http`) are divided by lines of three dashes: method and path, headers, an
//! empty line, a body; `%DEEP(n)%`, `%BIG(n)%`, `%ALIASES(n)%` and `%OPS(n)%` stand for bodies
//! that nobody wants to read.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// A request and how it is counted.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) group: &'static str,
    pub(crate) kind: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Others build on it: it is sent even if its group is not asked for.
    pub(crate) needed: bool,
    /// What it tries, for people.
    pub(crate) note: String,
    /// Milliseconds to wait after it, for what a server does later.
    pub(crate) settle: u64,
    /// Field managers are compared too.
    pub(crate) managers: bool,
}

impl Case {
    pub(crate) fn new(
        group: &'static str,
        kind: &str,
        method: &str,
        path: impl Into<String>,
    ) -> Self {
        Self {
            group,
            kind: kind.to_owned(),
            method: method.to_owned(),
            path: path.into(),
            headers: Vec::new(),
            body: Vec::new(),
            needed: false,
            note: String::new(),
            settle: 0,
            managers: false,
        }
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn media(self, value: &str) -> Self {
        self.header("content-type", value)
    }

    pub(crate) fn accept(self, value: &str) -> Self {
        self.header("accept", value)
    }

    pub(crate) fn needed(mut self) -> Self {
        self.needed = true;
        self
    }

    pub(crate) fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    pub(crate) fn settle(mut self, milliseconds: u64) -> Self {
        self.settle = milliseconds;
        self
    }

    pub(crate) fn managers(mut self) -> Self {
        self.managers = true;
        self
    }
}

/// The hand-picked requests of a folder.
pub(crate) fn files(folder: &Path, run: &str) -> Result<Vec<Case>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "http")
        {
            names.push(path);
        }
    }
    names.sort();
    let mut cases = Vec::new();
    for name in names {
        cases.extend(parse(&name, run)?);
    }
    Ok(cases)
}

fn parse(file: &Path, run: &str) -> Result<Vec<Case>> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let mut cases = Vec::new();
    let mut line = 1;
    for block in text.split("\n---\n") {
        let start = line;
        line += block.lines().count() + 1;
        let kept = block.lines().filter(|line| !line.starts_with('#'));
        let mut lines = kept.skip_while(|line| line.trim().is_empty());
        let Some((method, path)) = lines.next().and_then(|line| line.split_once(' ')) else {
            continue;
        };
        let mut case = Case::new("hand-picked", "", method, expand(path.trim(), run));
        case.note = format!("{name}:{start}");
        for header in lines.by_ref().take_while(|line| !line.is_empty()) {
            if let Some((key, value)) = header.split_once(": ") {
                case = case.header(key, value);
            }
        }
        case.body = expand(&lines.collect::<Vec<&str>>().join("\n"), run).into_bytes();
        cases.push(case);
    }
    Ok(cases)
}

fn expand(text: &str, run: &str) -> String {
    let mut out = text.replace("%NS%", run);
    for (mark, make) in [
        ("%DEEP(", deep as fn(usize) -> String),
        ("%BIG(", big),
        ("%ALIASES(", aliases),
        ("%OPS(", operations),
    ] {
        while let Some(at) = out.find(mark) {
            let Some(length) = out[at..].find(")%") else {
                break;
            };
            let count = out[at + mark.len()..at + length].parse().unwrap_or(1);
            out.replace_range(at..at + length + 2, &make(count));
        }
    }
    out
}

fn deep(count: usize) -> String {
    format!("{}1{}", "{\"a\":".repeat(count), "}".repeat(count))
}

fn big(count: usize) -> String {
    "x".repeat(count)
}

/// YAML that doubles with each line.
fn aliases(count: usize) -> String {
    let mut out = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..count {
        let one = format!("*a{}", n - 1);
        out.push_str(&format!(
            "a{n}: &a{n} [{}]\n",
            [one.as_str(); 10].join(", ")
        ));
    }
    out
}

fn operations(count: usize) -> String {
    let one = r#"{"op":"add","path":"/metadata/labels/a","value":"b"}"#;
    format!("[{}]", vec![one; count].join(","))
}
