//! Seccomp profiles of files on the node (`Localhost`), in the JSON of container engines.
//!
//! Source: OCI runtime specification, config-linux.md, Seccomp; moby profiles' `includes` and
//! `excludes` by capability. Names that this architecture lacks are skipped, as engines do.

use oci::seccomp::{Action, Condition, Profile, Rule, Test, number};
use serde::Deserialize;

use nodeapi::CriError;

/// Largest profile that is read.
const MAX_PROFILE: usize = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    syscalls: Vec<Calls>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Calls {
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u16>,
    args: Option<Vec<Argument>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// Parses a profile.
pub(crate) fn parse(path: &str, bytes: &[u8]) -> Result<Profile, CriError> {
    let bad = |text: String| CriError::invalid(format!("seccomp profile {path}: {text}"));
    if bytes.len() > MAX_PROFILE {
        return Err(bad("too large".into()));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
    let action = |name: &str, errno: Option<u16>| -> Result<Action, CriError> {
        Ok(match name {
            "SCMP_ACT_ALLOW" => Action::Allow,
            "SCMP_ACT_ERRNO" => Action::Errno(errno.unwrap_or(1)),
            "SCMP_ACT_LOG" => Action::Log,
            "SCMP_ACT_TRAP" => Action::Trap,
            "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Action::KillThread,
            "SCMP_ACT_KILL_PROCESS" => Action::KillProcess,
            other => return Err(bad(format!("action {other} is not supported"))),
        })
    };
    let default = action(&document.default_action, document.default_errno_ret)?;
    let mut rules = Vec::new();
    for calls in document.syscalls {
        let action = action(&calls.action, calls.errno_ret)?;
        let conditions = calls
            .args
            .unwrap_or_default()
            .into_iter()
            .map(|a| {
                let test = match a.op.as_str() {
                    "SCMP_CMP_EQ" => Test::Equal(a.value),
                    "SCMP_CMP_NE" => Test::NotEqual(a.value),
                    "SCMP_CMP_GT" => Test::Greater(a.value),
                    "SCMP_CMP_GE" => Test::GreaterEqual(a.value),
                    "SCMP_CMP_LT" => Test::Less(a.value),
                    "SCMP_CMP_LE" => Test::LessEqual(a.value),
                    "SCMP_CMP_MASKED_EQ" => Test::Masked {
                        mask: a.value,
                        value: a.value_two,
                    },
                    other => return Err(bad(format!("comparison {other} is not known"))),
                };
                Ok(Condition {
                    argument: a.index,
                    test,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        for number in calls.names.iter().filter_map(|name| number(name)) {
            rules.push(Rule {
                number,
                conditions: conditions.clone(),
                action,
            });
        }
    }
    Ok(Profile { default, rules })
}

#[cfg(test)]
mod tests {
    use super::parse;
    use oci::seccomp::Action;

    #[test]
    fn profile_of_a_file() {
        let text = br#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["mkdir","nonsense"],"action":"SCMP_ACT_ERRNO","errnoRet":13,
             "args":[{"index":1,"value":511,"op":"SCMP_CMP_EQ"}]}]}"#;
        let profile = parse("x.json", text).unwrap();
        assert_eq!((profile.default, profile.rules.len()), (Action::Allow, 1));
        assert_eq!(profile.rules[0].action, Action::Errno(13));
        profile.compile().unwrap();
        let error = parse("x.json", b"{}").unwrap_err().to_string();
        assert!(
            error.starts_with("seccomp profile x.json: missing field"),
            "{error}"
        );
    }
}
