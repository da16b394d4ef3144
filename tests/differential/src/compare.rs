//! What differs between two answers, and by what cause.
//!
//! What a server makes up (uids, times, revisions, tokens) counts as present or absent only. A
//! cause is the normalised place and kind of a difference: `body .spec.dnsPolicy missing`, so that
//! a hundred requests that fail for one reason are one line. Findings of validation are compared
//! one by one.

mod body;
mod text;

use serde_json::Value;

use crate::case::Case;
use crate::side::Answer;
pub(crate) use body::values;
pub(crate) use text::shape;

/// One difference.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) cause: String,
    pub(crate) ours: String,
    pub(crate) theirs: String,
}

impl Difference {
    pub(crate) fn new(
        cause: impl Into<String>,
        ours: impl Into<String>,
        theirs: impl Into<String>,
    ) -> Self {
        Self {
            cause: cause.into(),
            ours: ours.into(),
            theirs: theirs.into(),
        }
    }
}

pub(crate) fn answers(case: &Case, ours: &Answer, theirs: &Answer, run: &str) -> Vec<Difference> {
    let mut found = Vec::new();
    let (a, b) = (
        text::mask(&ours.text(), run),
        text::mask(&theirs.text(), run),
    );
    let (a, b) = (
        body::read(ours, &a, run, case.managers),
        body::read(theirs, &b, run, case.managers),
    );
    warnings(ours, theirs, run, &mut found);
    if ours.code != theirs.code {
        codes(ours.code, theirs.code, &a, &b, &mut found);
        return found;
    }
    if ours.media != theirs.media {
        let cause = format!(
            "content type `{}` instead of `{}`",
            ours.media, theirs.media
        );
        found.push(Difference::new(cause, &ours.media, &theirs.media));
    }
    if is_status(&a) && is_status(&b) {
        statuses(&a, &b, &mut found);
    } else {
        body::values("", &a, &b, &mut |path, ours, theirs| {
            let kind = match (ours, theirs) {
                (None, _) => "missing",
                (_, None) => "extra",
                _ => "differs",
            };
            let say = |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), short);
            let cause = format!("body {} {kind}", text::place(path));
            found.push(Difference::new(cause, say(ours), say(theirs)));
        });
    }
    found
}

fn is_status(body: &Value) -> bool {
    body["kind"] == "Status" && body["apiVersion"] == "v1" && body["status"] == "Failure"
}

fn warnings(ours: &Answer, theirs: &Answer, run: &str, found: &mut Vec<Difference>) {
    let lines = |answer: &Answer| -> Vec<String> {
        answer
            .warnings
            .iter()
            .map(|line| text::mask(line, run))
            .collect()
    };
    let (a, b) = (lines(ours), lines(theirs));
    for line in a.iter().filter(|line| !b.contains(line)) {
        found.push(Difference::new(
            format!("warning extra: {}", shape(line)),
            line,
            "absent",
        ));
    }
    for line in b.iter().filter(|line| !a.contains(line)) {
        found.push(Difference::new(
            format!("warning missing: {}", shape(line)),
            "absent",
            line,
        ));
    }
}

/// The findings of a refusal: field, reason and message in one line each.
fn findings(status: &Value) -> Vec<String> {
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    let text = |cause: &Value, key: &str| cause[key].as_str().unwrap_or_default().to_owned();
    causes
        .map(|cause| {
            let line = [
                text(cause, "field"),
                text(cause, "reason"),
                text(cause, "message"),
            ];
            line.join(" ")
        })
        .collect()
}

fn finding_cause(line: &str) -> String {
    let (field, rest) = line.split_once(' ').unwrap_or((line, ""));
    format!("{} {}", text::place(field), shape(rest))
}

fn codes(ours: u16, theirs: u16, a: &Value, b: &Value, found: &mut Vec<Difference>) {
    let refused = |code: u16| !(200..300).contains(&code);
    let message = |body: &Value| {
        body["message"]
            .as_str()
            .map_or_else(|| short(body), str::to_owned)
    };
    let (verb, who) = match (refused(ours), refused(theirs)) {
        (false, _) => ("accepted", b),
        (true, false) => ("refused", a),
        (true, true) => ("code", b),
    };
    let lines = findings(who);
    if verb == "code" || lines.is_empty() {
        let cause = format!(
            "{verb}, {ours} instead of {theirs}: {}",
            shape(&message(who))
        );
        found.push(Difference::new(cause, message(a), message(b)));
        return;
    }
    for line in lines {
        let cause = format!("{verb}: {}", finding_cause(&line));
        found.push(Difference::new(cause, message(a), message(b)));
    }
}

fn statuses(a: &Value, b: &Value, found: &mut Vec<Difference>) {
    let (mine, other) = (findings(a), findings(b));
    let before = found.len();
    for line in mine.iter().filter(|line| !other.contains(line)) {
        found.push(Difference::new(
            format!("finding extra: {}", finding_cause(line)),
            line,
            other.join("\n"),
        ));
    }
    for line in other.iter().filter(|line| !mine.contains(line)) {
        found.push(Difference::new(
            format!("finding missing: {}", finding_cause(line)),
            mine.join("\n"),
            line,
        ));
    }
    if found.len() > before {
        return;
    }
    if mine != other {
        found.push(Difference::new(
            "findings in another order",
            mine.join("\n"),
            other.join("\n"),
        ));
        return;
    }
    if a["message"] != b["message"] {
        let (a, b) = (short(&a["message"]), short(&b["message"]));
        found.push(Difference::new(format!("message {}", shape(&b)), a, b));
        return;
    }
    body::values("", a, b, &mut |path, ours, theirs| {
        let say = |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), short);
        let cause = format!("status {} differs", text::place(path));
        found.push(Difference::new(cause, say(ours), say(theirs)));
    });
}

pub(crate) fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() <= 1500 {
        return text;
    }
    let mut out: String = text.chars().take(1500).collect();
    out.push('…');
    out
}
