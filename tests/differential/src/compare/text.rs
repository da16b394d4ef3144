//! Texts without what differs from run to run, and the shape of a message.

/// Blanks the run's name, uids, revisions in messages and the times of today.
pub(super) fn mask(text: &str, run: &str) -> String {
    let text = revisions(&drawn(&text.replace(run, "RUN")));
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if fits(bytes, at, UID) {
            out.extend_from_slice(b"UID");
            at += UID.len();
        } else if fits(bytes, at, TIME) && !bytes[at..].starts_with(b"2026-01-02") {
            out.extend_from_slice(b"TIME");
            at += TIME.len();
            while bytes
                .get(at)
                .is_some_and(|byte| byte.is_ascii_digit() || *byte == b'.')
            {
                at += 1;
            }
            at += usize::from(bytes.get(at) == Some(&b'Z'));
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Blanks five characters drawn at random: the volume of a pod's token, the corpus's generated
/// name.
fn drawn(text: &str) -> String {
    let mut out = text.to_owned();
    for name in ["kube-api-access-", "X_"] {
        let mut parts = out.split(name);
        let mut blanked = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            blanked.push_str(name);
            let random = part.get(..5).filter(|five| {
                five.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            });
            blanked.push_str(random.map_or("", |_| "DRAWN"));
            blanked.push_str(random.map_or(part, |_| &part[5..]));
        }
        out = blanked;
    }
    out
}

/// Blanks revisions where messages name them.
fn revisions(text: &str) -> String {
    let mut out = text.to_owned();
    for before in [", current: ", "in record (", "\\\"resourceVersion\\\":\\\""] {
        let mut parts = out.split(before);
        let mut blanked = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
            blanked.push_str(before);
            blanked.push_str(if rest.len() < part.len() {
                "REVISION"
            } else {
                ""
            });
            blanked.push_str(rest);
        }
        out = blanked;
    }
    out
}

/// `x` is a hexadecimal digit, `9` a decimal one.
const UID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
const TIME: &str = "9999-99-99T99:99:99";

fn fits(bytes: &[u8], at: usize, pattern: &str) -> bool {
    bytes.get(at..at + pattern.len()).is_some_and(|part| {
        part.iter()
            .zip(pattern.bytes())
            .all(|(byte, wanted)| match wanted {
                b'x' => byte.is_ascii_hexdigit(),
                b'9' => byte.is_ascii_digit(),
                other => *byte == other,
            })
    })
}

/// A path without its numbers and keys: `.spec.ports[].name`.
pub(crate) fn place(path: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for character in path.chars() {
        match character {
            '[' => {
                inside = true;
                out.push('[');
            }
            ']' => {
                inside = false;
                out.push(']');
            }
            _ if inside => {}
            other => out.push(other),
        }
    }
    // One type, many places: what is wrong with a pod's template is wrong with a pod.
    for (from, to) in [
        ("spec.jobTemplate.spec.template.spec.", "spec."),
        ("spec.template.spec.", "spec."),
        ("spec.initContainers[]", "spec.containers[]"),
        (".template.spec.", ".spec."),
    ] {
        out = out.replace(from, to);
    }
    out
}

/// A message without its values.
pub(crate) fn shape(text: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut digits = false;
    let mut escaped = false;
    for character in text.chars() {
        let skipped = escaped;
        escaped = quoted && character == '\\' && !skipped;
        match character {
            '"' if !skipped => {
                quoted = !quoted;
                out.push('"');
            }
            _ if quoted => {}
            '0'..='9' => {
                if !digits {
                    out.push('N');
                }
            }
            '\n' | '|' => out.push(' '),
            other => out.push(other),
        }
        digits = character.is_ascii_digit();
    }
    match out.char_indices().nth(220) {
        Some((end, _)) => format!("{}…", &out[..end]),
        None => out,
    }
}
