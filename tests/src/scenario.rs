//! Scenarios: Markdown files whose console blocks run as tests, against any kubeconfig.
//!
//! ```text
//! ```yaml file=a.yaml      writes a file into the scenario's folder
//! ```console
//! $ kubectl get cm a       must succeed; the lines below must appear in this order
//! NAME  ...                `...` stands for anything, runs of spaces count as one
//! $! kubectl get cm b      must fail
//! $& kubectl port-forward  runs beside the following commands until the scenario ends
//! ```
//! `NAME=value` before a command sets its environment, `< FILE` after it is its input. `%NS%` is a
//! namespace of the scenario's own, `%PORT1%` … are free ports. `SCENARIO=deploy` runs only files
//! with that in their name. Knows nothing of Transom: upstream runs the same files, which is how
//! the tests themselves are tested.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// One command with what it must print.
struct Step {
    line: usize,
    command: String,
    how: How,
    expected: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Succeeds,
    Fails,
    Beside,
}

/// Commands that run beside the others, ended with the scenario.
struct Beside(Vec<Child>);

impl Drop for Beside {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

struct Scenario {
    files: Vec<(String, String)>,
    steps: Vec<Step>,
}

fn parse(text: &str) -> Scenario {
    let mut scenario = Scenario {
        files: Vec::new(),
        steps: Vec::new(),
    };
    let mut lines = text.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let mut block = Vec::new();
        for (number, line) in lines.by_ref() {
            if line.starts_with("```") {
                break;
            }
            block.push((number + 1, line));
        }
        if let Some(file) = info.split("file=").nth(1) {
            let body = block.iter().map(|(_, line)| format!("{line}\n")).collect();
            scenario.files.push((file.trim().to_owned(), body));
        } else if info.trim() == "console" {
            for (number, line) in block {
                let marked = [
                    ("$ ", How::Succeeds),
                    ("$! ", How::Fails),
                    ("$& ", How::Beside),
                ];
                let command = marked
                    .iter()
                    .find_map(|(mark, how)| Some((line.strip_prefix(mark)?, *how)));
                if let Some((command, how)) = command {
                    scenario.steps.push(step(number, command, how));
                } else if let Some(last) = scenario.steps.last_mut()
                    && !line.trim().is_empty()
                {
                    last.expected.push(line.to_owned());
                }
            }
        }
    }
    assert!(!scenario.steps.is_empty(), "the scenario has commands");
    scenario
}

fn step(line: usize, command: &str, how: How) -> Step {
    Step {
        line,
        command: command.to_owned(),
        how,
        expected: Vec::new(),
    }
}

/// `%PORT1%` to `%PORT4%`.
const PORTS: usize = 4;
/// What a command that runs beside the others gets to begin.
const BEFORE_OTHERS: Duration = Duration::from_millis(1000);

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Runs one scenario file; panics with everything needed to understand a failure.
#[expect(
    clippy::disallowed_methods,
    reason = "a test runs the clients that people use"
)]
pub(crate) fn run(file: &Path, kubeconfig: &Path, kubectl: &Path) {
    let scenario = parse(&fs::read_to_string(file).unwrap());
    let folder = tempfile::tempdir().unwrap();
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let namespace = format!("scenario-{}-{number}", std::process::id());
    let ports: Vec<u16> = (0..PORTS).map(|_| free_port()).collect();
    let fill = |text: &str| {
        let mut text = text.replace("%NS%", &namespace);
        for (index, port) in ports.iter().enumerate() {
            text = text.replace(&format!("%PORT{}%", index + 1), &port.to_string());
        }
        text
    };
    for (name, body) in &scenario.files {
        fs::write(folder.path().join(name), fill(body)).unwrap();
    }
    let mut beside = Beside(Vec::new());
    for step in &scenario.steps {
        let words = split(&fill(&step.command));
        let mut words = words.as_slice();
        let mut command = Command::new(kubectl);
        while let Some((name, value)) = words[0].split_once('=') {
            command.env(name, value);
            words = &words[1..];
        }
        assert_eq!(
            words[0], "kubectl",
            "line {}: only kubectl runs here",
            step.line
        );
        command.stdin(Stdio::null());
        if let [rest @ .., mark, file] = words
            && mark == "<"
        {
            command.stdin(fs::File::open(folder.path().join(file)).unwrap());
            words = rest;
        }
        command
            .args(&words[1..])
            .env("KUBECONFIG", kubeconfig)
            .env("HOME", folder.path())
            .current_dir(folder.path());
        if step.how == How::Beside {
            command.stdout(Stdio::null()).stderr(Stdio::null());
            beside.0.push(command.spawn().unwrap());
            // Until it has opened its streams or its port.
            std::thread::sleep(BEFORE_OTHERS);
            continue;
        }
        let output = command.output().unwrap();
        // What a template prints has no line's end; warnings stand in lines of their own.
        let text = format!(
            "{}\n{}",
            String::from_utf8_lossy(&output.stdout).trim_end_matches('\n'),
            String::from_utf8_lossy(&output.stderr)
        );
        let place = format!("{}:{}: $ {}", file.display(), step.line, step.command);
        assert_eq!(
            output.status.success(),
            step.how == How::Succeeds,
            "{place}\nprinted:\n{text}"
        );
        let mut printed = text.lines();
        for wanted in &step.expected {
            let wanted = fill(wanted);
            assert!(
                printed.any(|line| matches(&squeeze(&wanted), &squeeze(line))),
                "{place}\nno line (in this order) like:\n{wanted}\nprinted:\n{text}"
            );
        }
    }
}

/// Words as a shell would split them: spaces, single and double quotes; nothing else.
fn split(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut open) = (Vec::new(), String::new(), None, false);
    for character in command.chars() {
        match (quote, character) {
            (Some(end), _) if character == end => quote = None,
            (Some(_), _) => word.push(character),
            (None, '\'' | '"') => {
                quote = Some(character);
                open = true;
            }
            (None, ' ') => {
                if open || !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                open = false;
            }
            (None, _) => word.push(character),
        }
    }
    if open || !word.is_empty() {
        words.push(word);
    }
    words
}

fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `...` stands for anything.
fn matches(pattern: &str, line: &str) -> bool {
    let Some((first, others)) = pattern.split_once("...") else {
        return pattern == line;
    };
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let (between, last) = others.rsplit_once("...").unwrap_or(("", others));
    for part in between.split("...") {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn ends_of_patterns() {
    for (pattern, line, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a...", "ab", true),
        ("0...ff", "01fffeffff", true),
        ("...b...c", "abxc", true),
        ("...c...b", "abxc", false),
        ("ab...bc", "abc", false),
    ] {
        assert_eq!(matches(pattern, line), expected, "{pattern} {line}");
    }
}

/// All scenario files of a folder.
pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scenarios")
        .join(folder);
    let mut found: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    found.sort();
    assert!(!found.is_empty(), "{} has scenarios", folder.display());
    found
}

fn run_folder(folder: &str) {
    let (Some(kubeconfig), Some(kubectl)) = (
        std::env::var_os("SCENARIO_KUBECONFIG"),
        std::env::var_os("SCENARIO_KUBECTL"),
    ) else {
        println!("skipped: SCENARIO_KUBECONFIG and SCENARIO_KUBECTL name no cluster");
        return;
    };
    let only = std::env::var("SCENARIO").unwrap_or_default();
    for file in files(folder) {
        if !file.to_string_lossy().contains(&only) {
            continue;
        }
        println!("{}", file.display());
        run(&file, kubeconfig.as_ref(), kubectl.as_ref());
    }
}

/// Scenarios that need no node: any API server.
#[test]
fn api_scenarios() {
    run_folder("api");
}

/// Scenarios that need a node.
#[test]
fn node_scenarios() {
    if std::env::var_os("SCENARIO_NODES").is_none() {
        println!("skipped: SCENARIO_NODES is not set");
        return;
    }
    run_folder("node");
}

#[test]
fn patterns() {
    assert!(matches("a ... c", "a b c"));
    assert!(matches("...c", "abc"));
    assert!(matches("a...", "abc"));
    assert!(!matches("a", "ab"));
    assert_eq!(split("a 'b c' \"\" d"), ["a", "b c", "", "d"]);
}
