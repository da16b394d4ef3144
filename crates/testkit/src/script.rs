//! What a simulated container does: a tiny shell, unrolled into a timeline. Pure.
//!
//! The same words mean the same in a real container with busybox, so that scenarios can run there
//! too. Known: `sleep N`, `exit N`, `true`, `false`, `:`, `echo WORDS [> FILE]`, `touch FILE`,
//! `rm FILE`, `trap 'WORDS' TERM`, `while …` (for ever). As in a container, process 1 ignores
//! SIGTERM unless it traps it.
//! Example: `sleep 2; touch /ready; sleep 5; exit 3` → touch at 2 s, ended with 3 at 7 s.

use std::collections::BTreeMap;
use std::time::Duration;

/// Something that happens to a container's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A file has this text from now on.
    Write(String, String),
    /// A file is no more.
    Remove(String),
}

/// What SIGTERM does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnTerm {
    /// Nothing.
    #[default]
    Ignored,
    /// It ends after a while with a code.
    Ends(Duration, i32),
}

/// A timeline since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// In order of time.
    pub steps: Vec<(Duration, Step)>,
    /// When it ends by itself, with which code.
    pub end: Option<(Duration, i32)>,
    /// What SIGTERM does.
    pub on_term: OnTerm,
}

/// The command is no known program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("exec: {program:?}: executable file not found in $PATH")]
pub struct UnknownProgram {
    /// Its name.
    pub program: String,
}

impl Script {
    /// What an image does that is given no command: serve until told to end.
    pub fn of_image() -> Self {
        Self {
            on_term: OnTerm::Ends(Duration::ZERO, 0),
            ..Self::default()
        }
    }

    /// What a command does; an empty one is the image's own.
    pub fn of_command(words: &[String]) -> Result<Self, UnknownProgram> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => Ok(Self::of_image()),
            ["sh" | "/bin/sh", "-c", script, ..] => Self::of_shell(script),
            words => Self::of_shell(&words.join(" ")),
        }
    }

    fn of_shell(script: &str) -> Result<Self, UnknownProgram> {
        let mut made = Self::default();
        let mut at = Duration::ZERO;
        let mut code = 0;
        for command in split(script, is_separator) {
            let words = split(&command, |c| c == ' ');
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            code = 0;
            match words.as_slice() {
                [] | [":" | "true" | "set" | "exec", ..] => {}
                ["false"] => code = 1,
                ["sleep", "infinity"] | ["while", ..] => return Ok(made),
                ["sleep", seconds] => at += duration(seconds),
                ["exit"] => {
                    made.end = Some((at, 0));
                    return Ok(made);
                }
                ["exit", number] => {
                    made.end = Some((at, number.parse().unwrap_or(2)));
                    return Ok(made);
                }
                ["touch", file] => made
                    .steps
                    .push((at, Step::Write((*file).to_owned(), String::new()))),
                ["rm", .., file] => made.steps.push((at, Step::Remove((*file).to_owned()))),
                ["echo", text @ .., ">", file] => {
                    let step = Step::Write((*file).to_owned(), text.join(" "));
                    made.steps.push((at, step));
                }
                ["echo" | "cat" | "test", ..] => {}
                ["trap", handler, "TERM"] => {
                    made.on_term = match Self::of_shell(handler)?.end {
                        _ if handler.is_empty() => OnTerm::Ignored,
                        Some((after, code)) => OnTerm::Ends(after, code),
                        None => OnTerm::Ignored,
                    };
                }
                [program, ..] => {
                    let program = (*program).to_owned();
                    return Err(UnknownProgram { program });
                }
            }
        }
        made.end = Some((at, code));
        Ok(made)
    }

    /// The files that there are so long after the start.
    pub fn files(&self, elapsed: Duration) -> BTreeMap<&str, &str> {
        let mut files = BTreeMap::new();
        for (at, step) in &self.steps {
            if *at <= elapsed {
                match step {
                    Step::Write(file, text) => {
                        files.insert(file.as_str(), text.as_str());
                    }
                    Step::Remove(file) => {
                        files.remove(file.as_str());
                    }
                }
            }
        }
        files
    }
}

/// How a command ends that is run beside the main process: exit code, and how long it takes.
pub(crate) fn exec(words: &[String], files: &BTreeMap<&str, &str>) -> (Duration, i32) {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let exists = |file: &str| i32::from(!files.contains_key(file));
    match words.as_slice() {
        ["sh" | "/bin/sh", "-c", script] => exec(&split(script, |c| c == ' '), files),
        ["cat" | "ls", file] => (Duration::ZERO, exists(file)),
        ["test", "-e" | "-f", file] => (Duration::ZERO, exists(file)),
        ["sleep", seconds] => (duration(seconds), 0),
        ["true" | "touch" | "echo", ..] => (Duration::ZERO, 0),
        ["false"] => (Duration::ZERO, 1),
        _ => (Duration::ZERO, 127),
    }
}

fn duration(seconds: &str) -> Duration {
    let seconds: f64 = seconds.trim_end_matches('s').parse().unwrap_or(0.0);
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

fn is_separator(character: char) -> bool {
    matches!(character, ';' | '\n' | '&')
}

/// Parts between separators outside quotes, without the quotes' outermost pair when a part is
/// split into words.
fn split(text: &str, separates: impl Fn(char) -> bool) -> Vec<String> {
    let words = separates(' ');
    let (mut parts, mut part, mut quote, mut quoted) = (Vec::new(), String::new(), None, false);
    for character in text.chars() {
        match quote {
            Some(end) if character == end => {
                quote = None;
                if !words {
                    part.push(character);
                }
            }
            None if matches!(character, '\'' | '"') => {
                quote = Some(character);
                quoted = true;
                if !words {
                    part.push(character);
                }
            }
            None if separates(character) => {
                if quoted || !part.trim().is_empty() {
                    parts.push(part.trim().to_owned());
                }
                part.clear();
                quoted = false;
            }
            _ => part.push(character),
        }
    }
    if quoted || !part.trim().is_empty() {
        parts.push(part.trim().to_owned());
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(script: &str, steps: usize, end: Option<(u64, i32)>, on_term: OnTerm) {
        let words = ["sh", "-c", script].map(str::to_owned);
        let made = Script::of_command(&words).unwrap();
        assert_eq!(made.steps.len(), steps);
        assert_eq!(
            made.end,
            end.map(|(at, code)| (Duration::from_secs(at), code))
        );
        assert_eq!(made.on_term, on_term);
    }

    #[test]
    fn scripts_become_timelines() {
        check(
            "sleep 2; touch /ready; sleep 5; exit 3",
            1,
            Some((7, 3)),
            OnTerm::Ignored,
        );
        check("true", 0, Some((0, 0)), OnTerm::Ignored);
        check("sleep 1 && false", 0, Some((1, 1)), OnTerm::Ignored);
        check(
            "echo last words > /dev/termination-log; exit 1",
            1,
            Some((0, 1)),
            OnTerm::Ignored,
        );
        let ends = OnTerm::Ends(Duration::from_secs(3), 5);
        check("trap 'sleep 3; exit 5' TERM; sleep infinity", 0, None, ends);
        check(
            "trap '' TERM; while true; do sleep 1; done",
            0,
            None,
            OnTerm::Ignored,
        );
        assert!(Script::of_command(&["nope".to_owned()]).is_err());
        assert_eq!(Script::of_command(&[]).unwrap(), Script::of_image());
    }
}
