//! `cargo xtask differential`: the same requests to two API servers, and what differs.
//!
//! The corpus is text (`tests/differential/*.http`): requests divided by lines of three dashes,
//! each a method and a path, headers, an empty line and a body. `%NS%` is a namespace made for
//! the run on both sides; `%DEEP(n)%`, `%BIG(n)%` and `%ALIASES(n)%` stand for bodies that nobody
//! wants to read. Compared are status code, warnings, type and body; what the server makes up
//! (uids, times, revisions) is blanked, and an object's field managers are left out. Requests are
//! sent by curl. Knows nothing of either server.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use schema::{Dom, Ref, Value};

use crate::tool::command;

/// One side: where it is and who asks.
struct Side {
    name: String,
    server: String,
    folder: PathBuf,
}

struct Case {
    file: String,
    line: usize,
    method: String,
    path: String,
    headers: Vec<String>,
    body: String,
}

struct Answer {
    code: String,
    media: String,
    warnings: Vec<String>,
    body: String,
}

pub(crate) fn run(arguments: impl Iterator<Item = String>) -> Result<()> {
    let mut given: Vec<String> = Vec::new();
    let mut only = String::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--only" => only = arguments.next().context("--only needs a value")?,
            _ => given.push(argument),
        }
    }
    let [ours, theirs] = given.as_slice() else {
        bail!("usage: cargo xtask differential KUBECONFIG REFERENCE-KUBECONFIG [--only TEXT]");
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the workspace")?;
    let scratch = root.join(format!(".build/differential-{}", std::process::id()));
    let sides = [
        side("ours", Path::new(ours), &scratch)?,
        side("theirs", Path::new(theirs), &scratch)?,
    ];
    let namespace = format!("differential-{}", std::process::id());
    let create = format!(r#"{{"metadata":{{"name":"{namespace}"}}}}"#);
    for side in &sides {
        let case = Case {
            file: String::new(),
            line: 0,
            method: "POST".into(),
            path: "/api/v1/namespaces".into(),
            headers: Vec::new(),
            body: create.clone(),
        };
        let answer = send(side, &case)?;
        ensure!(answer.code == "201", "{}: {}", side.name, answer.body);
    }
    let mut cases = Vec::new();
    let mut files: Vec<PathBuf> = fs::read_dir(root.join("tests/differential"))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|e| e == "http"))
        .collect();
    files.sort();
    for file in &files {
        cases.extend(parse(file, &namespace)?);
    }
    let mut different = 0;
    let mut compared = 0;
    for case in cases
        .iter()
        .filter(|case| only.is_empty() || case.path.contains(&only) || case.file.contains(&only))
    {
        let [ours, theirs] = [send(&sides[0], case)?, send(&sides[1], case)?];
        compared += 1;
        let found = differences(&ours, &theirs, &namespace);
        if !found.is_empty() {
            different += 1;
            say(&format!(
                "{}:{}: {} {}\n{}",
                case.file,
                case.line,
                case.method,
                short(&case.path),
                found.join("\n")
            ));
        }
    }
    for side in &sides {
        let case = Case {
            file: String::new(),
            line: 0,
            method: "DELETE".into(),
            path: format!("/api/v1/namespaces/{namespace}"),
            headers: Vec::new(),
            body: String::new(),
        };
        send(side, &case)?;
    }
    fs::remove_dir_all(&scratch)?;
    say(&format!("{compared} requests, {different} differences"));
    ensure!(different == 0, "the servers differ");
    Ok(())
}

/// Reads a kubeconfig with embedded certificates.
fn side(name: &str, kubeconfig: &Path, scratch: &Path) -> Result<Side> {
    let folder = scratch.join(name);
    fs::create_dir_all(&folder)?;
    let text = fs::read(kubeconfig).with_context(|| format!("read {}", kubeconfig.display()))?;
    let parsed = schema::yaml::parse(&text, &schema::Limits::default())
        .map_err(|error| anyhow::anyhow!("{}: {error}", kubeconfig.display()))?;
    let config = parsed.dom.as_ref();
    let cluster = config
        .items("clusters")
        .next()
        .and_then(|c| c.get("cluster"));
    let user = config.items("users").next().and_then(|u| u.get("user"));
    let (cluster, user) = cluster.zip(user).context("a cluster and a user")?;
    for (key, file) in [
        ("client-certificate", "client.crt"),
        ("client-key", "client.key"),
    ] {
        let data = user.str(&format!("{key}-data"));
        let bytes = if data.is_empty() {
            let base = kubeconfig.parent().unwrap_or(Path::new("."));
            fs::read(base.join(user.str(key)))?
        } else {
            decode(data)
        };
        fs::write(folder.join(file), bytes)?;
    }
    Ok(Side {
        name: name.to_owned(),
        server: cluster.str("server").to_owned(),
        folder,
    })
}

/// Standard base64; anything else in the text is skipped.
fn decode(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut bits, mut held) = (0u32, 0u32);
    for byte in text.bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(digit);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    out
}

fn parse(file: &Path, namespace: &str) -> Result<Vec<Case>> {
    let text = fs::read_to_string(file)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let mut cases = Vec::new();
    let mut line = 1;
    for block in text.split("\n---\n") {
        let start = line;
        line += block.lines().count() + 1;
        let kept: Vec<&str> = block.lines().filter(|l| !l.starts_with('#')).collect();
        let skipped = kept.iter().take_while(|l| l.trim().is_empty()).count();
        let mut lines = kept.into_iter().skip(skipped);
        let Some((method, path)) = lines.next().and_then(|l| l.split_once(' ')) else {
            continue;
        };
        let headers = lines.by_ref().take_while(|l| !l.is_empty());
        let headers: Vec<String> = headers.map(str::to_owned).collect();
        let body = expand(&lines.collect::<Vec<&str>>().join("\n"), namespace);
        cases.push(Case {
            file: name.to_string(),
            line: start,
            method: method.to_owned(),
            path: expand(path.trim(), namespace),
            headers,
            body,
        });
    }
    Ok(cases)
}

fn expand(text: &str, namespace: &str) -> String {
    let mut out = text.replace("%NS%", namespace);
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

fn send(side: &Side, case: &Case) -> Result<Answer> {
    let body = side.folder.join("body");
    fs::write(&body, &case.body)?;
    let mut curl = command("curl", &side.folder);
    curl.args(["-sk", "--max-time", "40", "-D", "headers", "-o", "answer"])
        .args(["--cert", "client.crt", "--key", "client.key"])
        .args(["-X", &case.method, "--path-as-is"]);
    let typed = case
        .headers
        .iter()
        .any(|h| h.to_lowercase().starts_with("content-type"));
    if !case.body.is_empty() {
        curl.args(["--data-binary", "@body", "-H", "Expect:"]);
        if !typed {
            curl.args(["-H", "Content-Type: application/json"]);
        }
    }
    for header in &case.headers {
        curl.args(["-H", header]);
    }
    let _gone = fs::remove_file(side.folder.join("answer"));
    let status = curl.arg(format!("{}{}", side.server, case.path)).status()?;
    let headers = fs::read_to_string(side.folder.join("headers")).unwrap_or_default();
    let body = fs::read(side.folder.join("answer")).unwrap_or_default();
    let value = |line: &str, name: &str| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name)
            .then(|| value.trim().to_owned())
    };
    let code = headers
        .lines()
        .next()
        .and_then(|line| line.split(' ').nth(1));
    Ok(Answer {
        code: code.map_or_else(|| format!("curl {status}"), str::to_owned),
        media: headers
            .lines()
            .find_map(|l| value(l, "content-type"))
            .unwrap_or_default(),
        warnings: headers
            .lines()
            .filter_map(|l| value(l, "warning"))
            .collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}

fn differences(ours: &Answer, theirs: &Answer, namespace: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |what: &str, a: &str, b: &str| {
        if a != b {
            let (a, b) = (short(a), short(b));
            found.push(format!("  {what}\n    ours:   {a}\n    theirs: {b}"));
        }
    };
    note("code", &ours.code, &theirs.code);
    note("type", &ours.media, &theirs.media);
    note(
        "warnings",
        &ours.warnings.join(" | "),
        &theirs.warnings.join(" | "),
    );
    let (a, b) = (blank(&ours.body, namespace), blank(&theirs.body, namespace));
    let read = |text: &str| {
        let yaml = ours.media.contains("yaml");
        if yaml {
            let parsed = schema::yaml::parse(text.as_bytes(), &schema::Limits::default());
            return parsed.ok().map(|parsed| parsed.dom);
        }
        Dom::parse_json(text.as_bytes()).ok()
    };
    match (read(&a), read(&b)) {
        (Some(a), Some(b)) => compare("", Some(a.as_ref()), Some(b.as_ref()), &mut note),
        _ => note("body", &a, &b),
    }
    found
}

/// What the server makes up.
const MADE_UP: [&str; 6] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "managedFields",
    "selfLink",
];

fn compare(
    path: &str,
    a: Option<Ref<'_>>,
    b: Option<Ref<'_>>,
    note: &mut impl FnMut(&str, &str, &str),
) {
    match (a.map(Ref::value), b.map(Ref::value)) {
        (Some(Value::Map), Some(Value::Map)) => {
            let (a, b) = (a.into_iter(), b.into_iter());
            let (a, b) = (a.clone().next(), b.clone().next());
            let mut keys: Vec<&str> = Vec::new();
            for side in [a, b].into_iter().flatten() {
                for (key, _) in side.map() {
                    // Descriptions are in each side's own words.
                    let words = key == "description" && path.contains("columnDefinitions");
                    if !keys.contains(&key) && !MADE_UP.contains(&key) && !words {
                        keys.push(key);
                    }
                }
            }
            for key in keys {
                let (a, b) = (a.and_then(|a| a.get(key)), b.and_then(|b| b.get(key)));
                compare(&format!("{path}.{key}"), a, b, note);
            }
        }
        (Some(Value::List), Some(Value::List)) => {
            let a: Vec<Ref<'_>> = a.into_iter().flat_map(Ref::list).collect();
            let b: Vec<Ref<'_>> = b.into_iter().flat_map(Ref::list).collect();
            for n in 0..a.len().max(b.len()) {
                let place = format!("{path}[{n}]");
                compare(&place, a.get(n).copied(), b.get(n).copied(), note);
            }
        }
        _ => {
            let text = |value: Option<Ref<'_>>| match value {
                Some(value) => String::from_utf8_lossy(&value.to_json()).into_owned(),
                None => "absent".to_owned(),
            };
            note(path, &text(a), &text(b));
        }
    }
}

/// Removes what differs from run to run inside of texts.
fn blank(body: &str, namespace: &str) -> String {
    mask(&body.replace(namespace, "NS"))
}

/// Blanks uids (8-4-4-4-12 hexadecimal digits) inside of texts.
fn mask(text: &str) -> String {
    let bytes = text.as_bytes();
    let is_uid = |at: usize| {
        bytes.get(at..at + 36).is_some_and(|part| {
            part.iter().enumerate().all(|(n, byte)| match n {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
        })
    };
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if is_uid(at) {
            out.extend_from_slice(b"UID");
            at += 36;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn short(text: &str) -> String {
    let mut out: String = text.chars().take(400).collect();
    if out.len() < text.len() {
        out.push('…');
    }
    out
}

#[expect(clippy::print_stdout, reason = "a task talks to a terminal")]
fn say(line: &str) {
    println!("{line}");
}
