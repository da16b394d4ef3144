//! Rules as a table, answers in upstream's words, and hooks over HTTP.

use expect_test::{Expect, expect};

use super::config::Rule;
use super::matching::{Asked, Operation, concerns};
use super::review;

fn rule(text: &str) -> Rule {
    let mut parts = text.split(' ').map(|part| {
        let all = part
            .split(',')
            .map(|one| one.trim_start_matches('-').to_owned());
        all.collect::<Vec<String>>()
    });
    let mut next = || parts.next().unwrap();
    Rule {
        operations: next(),
        groups: next(),
        versions: next(),
        resources: next(),
        scope: next().remove(0),
        names: Vec::new(),
    }
}

/// `OPERATION group version resource/sub namespace` against `operations groups versions
/// resources scope`; `-` is empty.
#[track_caller]
fn fits(rule_text: &str, asked: &str, expected: bool) {
    let parts: Vec<&str> = asked.split(' ').map(|p| p.trim_matches('-')).collect();
    let (resource, subresource) = parts[3].split_once('/').unwrap_or((parts[3], ""));
    let operation = match parts[0] {
        "CREATE" => Operation::Create,
        "UPDATE" => Operation::Update,
        "DELETE" => Operation::Delete,
        _ => Operation::Connect,
    };
    let asked = Asked {
        operation,
        group: parts[1],
        version: parts[2],
        resource,
        subresource,
        namespace: parts[4],
    };
    assert_eq!(concerns(&rule(rule_text), &asked), expected);
}

#[test]
fn rules() {
    fits("CREATE - v1 pods *", "CREATE - v1 pods a", true);
    fits("CREATE - v1 pods *", "UPDATE - v1 pods a", false);
    fits("* * * * *", "DELETE apps v1 deployments a", true);
    fits("* * * * *", "UPDATE apps v1 deployments/status a", false);
    fits("* * * */* *", "UPDATE apps v1 deployments/status a", true);
    fits("* * * pods/* *", "CREATE - v1 pods/eviction a", true);
    fits("* * * */status *", "UPDATE - v1 pods/status a", true);
    fits("* * * */status *", "UPDATE - v1 pods a", false);
    fits(
        "* apps v1 deployments *",
        "CREATE apps v1beta1 deployments a",
        false,
    );
    fits("* * * * Namespaced", "CREATE - v1 nodes -", false);
    fits("* * * * Cluster", "CREATE - v1 nodes -", true);
    fits("* * * * Cluster", "UPDATE - v1 namespaces a", true);
    fits(
        "CONNECT - v1 pods/attach *",
        "CONNECT - v1 pods/attach a",
        true,
    );
}

#[track_caller]
fn check(mutating: bool, body: &str, expected: &Expect) {
    let text = match review::answer("hook.example.com", "v1", "u", mutating, body.as_bytes()) {
        Err(error) => format!("error: {error}"),
        Ok(answer) => match answer.refused {
            Some(status) => format!("{} {}", status.code(), status.message),
            None => format!(
                "allowed, patch {:?}, warnings {:?}",
                answer
                    .patch
                    .map(|p| String::from_utf8(p.to_json(p.root())).unwrap()),
                answer.warnings
            ),
        },
    };
    expected.assert_eq(&text);
}

fn reply(response: &str) -> String {
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{response}}}"#
    )
}

#[test]
fn answers() {
    check(
        false,
        &reply(r#"{"uid":"u","allowed":true,"warnings":["old"]}"#),
        &expect![[r#"allowed, patch None, warnings ["old"]"#]],
    );
    check(
        false,
        &reply(r#"{"uid":"u","allowed":false,"status":{"message":"no","code":403}}"#),
        &expect![[r#"403 admission webhook "hook.example.com" denied the request: no"#]],
    );
    check(
        false,
        &reply(r#"{"uid":"u","allowed":false}"#),
        &expect![[
            r#"400 admission webhook "hook.example.com" denied the request without explanation"#
        ]],
    );
    check(
        false,
        &reply(r#"{"uid":"v","allowed":true}"#),
        &expect![[
            r#"error: received invalid webhook response: expected response.uid="u", got "v""#
        ]],
    );
    check(
        true,
        &reply(r#"{"uid":"u","allowed":true,"patch":"W10="}"#),
        &expect![
            "error: received invalid webhook response: webhook returned response.patch but not response.patchType"
        ],
    );
    check(
        true,
        &reply(
            r#"{"uid":"u","allowed":true,"patchType":"JSONPatch","patch":"W3sib3AiOiJyZW1vdmUiLCJwYXRoIjoiL2EifV0="}"#,
        ),
        &expect![[r#"allowed, patch Some("[{\"op\":\"remove\",\"path\":\"/a\"}]"), warnings []"#]],
    );
    check(
        true,
        "{}",
        &expect!["error: received invalid webhook response: webhook response was absent"],
    );
}
