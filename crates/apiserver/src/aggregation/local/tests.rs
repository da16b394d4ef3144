use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use schema::Dom;

use super::{ALWAYS, ON_START, Past, Step, Wanted, plan};

/// `name managed priority`, managed may be `-`; `remote` and `silent` may follow.
fn object(line: &str) -> Dom {
    let words: Vec<&str> = line.split(' ').collect();
    let (version, group) = words[0].split_once('.').unwrap();
    let label = match words[1] {
        "-" => String::new(),
        managed => format!(r#","labels":{{"{}":"{managed}"}}"#, super::MANAGED),
    };
    let service = match words.contains(&"remote") {
        true => r#","service":{"name":"s","namespace":"n"}"#,
        false => "",
    };
    let says = match words.contains(&"silent") {
        true => "",
        false => {
            r#","status":{"conditions":[{"type":"Available","status":"True","reason":"Local"}]}"#
        }
    };
    let json = format!(
        r#"{{"metadata":{{"name":"{}","uid":"u"{label}}},"spec":{{"group":"{group}","version":"{version}","groupPriorityMinimum":{},"versionPriority":1{service}}}{says}}}"#,
        words[0], words[2],
    );
    Dom::parse_json(json.as_bytes()).unwrap()
}

#[track_caller]
fn check(
    wanted: &[(&str, &'static str)],
    current: &[&str],
    at_start: &str,
    settled: &str,
    expect: &Expect,
) {
    let wanted: BTreeMap<String, Wanted> = wanted
        .iter()
        .map(|(name, managed)| {
            let (version, group) = name.split_once('.').unwrap();
            let one = Wanted {
                group: group.to_owned(),
                version: version.to_owned(),
                priorities: (7, 1),
                managed,
            };
            ((*name).to_owned(), one)
        })
        .collect();
    let current: Vec<Dom> = current.iter().map(|line| object(line)).collect();
    let set = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    let past = Past {
        at_start: set(at_start),
        settled: set(settled),
    };
    let steps = plan(&wanted, &current, &past);
    let lines: Vec<String> = steps
        .iter()
        .map(|step| match step {
            Step::Create(one) => format!("create {}\n", one.name()),
            Step::Update(one) => format!("update {}\n", one.name()),
            Step::Delete(name, uid) => format!("delete {name} {uid}\n"),
            Step::Available(name) => format!("available {name}\n"),
        })
        .collect();
    expect.assert_eq(&lines.concat());
}

/// Upstream's table of what is done, its rows 2A to 6C.
#[test]
fn the_table() {
    let none: &[&str] = &[];
    let (start, always) = (&[("v1.a", ON_START)][..], &[("v1.a", ALWAYS)][..]);
    check(&[], none, "", "", &expect![[""]]);
    check(start, none, "", "", &expect![["create v1.a\n"]]);
    check(start, none, "", "v1.a", &expect![[""]]);
    check(always, none, "", "v1.a", &expect![["create v1.a\n"]]);
    for wanted in [&[][..], start, always] {
        check(wanted, &["v1.a - 3"], "v1.a", "", &expect![[""]]);
        check(wanted, &["v1.a onstart 3"], "", "", &expect![[""]]);
        check(wanted, &["v1.a onstart 3"], "v1.a", "v1.a", &expect![[""]]);
    }
    check(
        &[],
        &["v1.a onstart 3"],
        "v1.a",
        "",
        &expect![["delete v1.a u\n"]],
    );
    check(
        start,
        &["v1.a onstart 3"],
        "v1.a",
        "",
        &expect![["update v1.a\n"]],
    );
    check(
        always,
        &["v1.a onstart 3"],
        "v1.a",
        "",
        &expect![["update v1.a\n"]],
    );
    check(
        &[],
        &["v1.a true 3"],
        "",
        "v1.a",
        &expect![["delete v1.a u\n"]],
    );
    check(start, &["v1.a true 3"], "", "", &expect![["update v1.a\n"]]);
    check(start, &["v1.a true 3"], "", "v1.a", &expect![[""]]);
    check(
        always,
        &["v1.a true 3"],
        "",
        "v1.a",
        &expect![["update v1.a\n"]],
    );
    check(always, &["v1.a true 7"], "", "v1.a", &expect![[""]]);
}

/// What is served here says so, whoever made it; what is not, is the business of its task.
#[test]
fn conditions() {
    let silent = &["v1.a - 3 silent"];
    check(&[], silent, "", "v1.a", &expect![["available v1.a\n"]]);
    check(&[], &["v1.a - 3 silent remote"], "", "", &expect![[""]]);
    let always = &[("v1.a", ALWAYS)];
    check(
        always,
        &["v1.a true 7 remote"],
        "",
        "",
        &expect![["update v1.a\n"]],
    );
}
