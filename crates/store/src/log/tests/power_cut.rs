//! Power cuts, replayed from the system calls of a process under write load (needs strace).
//!
//! `kill -9` leaves the page cache alone and so proves nothing about flushes. Here every write
//! and every flush of the child is recorded; a cut keeps of each file what was flushed before it,
//! and of the writes since then an arbitrary part. The store has to open from that, with every
//! answer that promised to be durable.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use crate::log::tests::crash::{DIRECTORY, ROUND, WRITES, child, is_durable};
use crate::{Config, Revision, Seal, Store};

const CUTS: u64 = 60;

/// What the child did, in order.
#[derive(Debug)]
enum Step {
    Change(String, Change),
    /// The changes of the file up to this number are on the disk now.
    Flush(String, usize),
    Rename(String, String),
    Acknowledge {
        writer: u64,
        revision: u64,
    },
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

/// A file with what is flushed, and what is not.
#[derive(Clone, Debug, Default)]
struct Model {
    flushed: Vec<u8>,
    changes: Vec<Change>,
    /// How many of the changes are in `flushed`.
    done: usize,
}

impl Model {
    fn apply(bytes: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Truncate(len) => bytes.resize(*len, 0),
            Change::Write(at, data) => {
                bytes.resize(bytes.len().max(at + data.len()), 0);
                bytes[*at..at + data.len()].copy_from_slice(data);
            }
        }
    }

    fn flush(&mut self, upto: usize) {
        for change in &self.changes[self.done..upto.max(self.done)] {
            Self::apply(&mut self.flushed, change);
        }
        self.done = self.done.max(upto);
    }

    /// The file after a cut: the disk took some of what was not flushed.
    fn after_cut(&self, rng: &mut base::Rng) -> Vec<u8> {
        let mut bytes = self.flushed.clone();
        let chance = rng.below(3);
        for change in &self.changes[self.done..] {
            if rng.below(2) < chance {
                Self::apply(&mut bytes, change);
            }
        }
        bytes
    }
}

#[test]
fn survives_power_cuts() {
    let dir = tempfile::tempdir().unwrap();
    let (data, trace) = (dir.path().join("data"), dir.path().join("trace"));
    if !Path::new("/usr/bin/strace").exists() {
        println!("skipped: needs strace");
        return;
    }
    std::fs::create_dir(&data).unwrap();
    let calls = "trace=lseek,write,pwrite64,ftruncate,fsync,fdatasync,rename";
    let file = trace.to_str().unwrap();
    let wrapper = [
        "strace", "-f", "-y", "-xx", "-s", "200000", "-e", calls, "-o", file,
    ];
    let (round, writes) = (PathBuf::from("0"), PathBuf::from("60"));
    let variables = [(DIRECTORY, &*data), (ROUND, &*round), (WRITES, &*writes)];
    let name = "log::tests::crash::writes_until_killed";
    let output = child(name, &wrapper, &variables)
        .wait_with_output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    let steps = parse(&std::fs::read_to_string(&trace).unwrap());
    let acknowledged = steps
        .iter()
        .filter(|step| matches!(step, Step::Acknowledge { .. }));
    assert_eq!(acknowledged.count(), 4 * 60 + 4 * 120);
    let first = steps
        .iter()
        .position(|step| matches!(step, Step::Acknowledge { .. }))
        .unwrap();
    let mut rng = base::Rng::new(11);
    let (mut lost, mut kept) = (0, 0);
    for number in 0..CUTS {
        let span = u64::try_from(steps.len() - first).unwrap();
        let cut = first + 1 + usize::try_from(rng.below(span)).unwrap();
        let after = dir.path().join(format!("cut-{number}"));
        std::fs::create_dir(&after).unwrap();
        std::fs::copy(data.join("store.db.key"), after.join("store.db.key")).unwrap();
        let answers = replay(&steps[..cut], &after, &mut rng);
        let (some_lost, some_kept) = verify(&after, &answers);
        (lost, kept) = (lost + some_lost, kept + some_kept);
    }
    // The cuts are real: relaxed answers do get lost.
    println!("{lost} relaxed answers lost, {kept} answers kept in {CUTS} cuts");
    assert!(lost > 0 && kept > 0);
}

/// Leaves in `dir` what the disk holds after these steps, and returns the answers given.
fn replay(steps: &[Step], dir: &Path, rng: &mut base::Rng) -> BTreeMap<u64, u64> {
    let mut files: HashMap<String, Model> = HashMap::new();
    let mut answers = BTreeMap::new();
    for step in steps {
        match step {
            Step::Change(name, change) => {
                files
                    .entry(name.clone())
                    .or_default()
                    .changes
                    .push(change.clone());
            }
            Step::Flush(name, upto) => files.entry(name.clone()).or_default().flush(*upto),
            Step::Rename(from, to) => {
                let model = files.remove(from).unwrap_or_default();
                files.insert(to.clone(), model);
            }
            Step::Acknowledge { writer, revision } => {
                answers.insert(*revision, *writer);
            }
        }
    }
    for (name, model) in files {
        std::fs::write(dir.join(name), model.after_cut(rng)).unwrap();
    }
    answers
}

/// How many answers are lost and kept; none of the durable ones may be lost.
fn verify(dir: &Path, answers: &BTreeMap<u64, u64>) -> (usize, usize) {
    let config = Config {
        boot_id: "after the cut".into(),
        seal: Seal::KeyFile(dir.join("store.db.key")),
        ..Config::new(&dir.join("store.db"))
    };
    let store = Store::open(&config).unwrap();
    let mut watcher = store.watch(b"/x/", Revision(1)).unwrap();
    let mut last = 1;
    while let Some(batch) = watcher.try_next().unwrap() {
        for event in batch.events.iter() {
            last += 1;
            assert_eq!(event.kv.mod_revision.0, last, "a hole in the history");
        }
    }
    for (revision, writer) in answers {
        let reusable = *revision > last && *revision >= store.current_revision().0;
        assert!(!reusable, "{revision} could be used again");
        assert!(
            !is_durable(*writer) || *revision <= last,
            "durable {revision} is lost"
        );
    }
    let lost = answers.range(last + 1..).count();
    (lost, answers.len() - lost)
}

/// Reads strace's lines, putting together those that another thread interrupted.
fn parse(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut begun: HashMap<&str, (String, usize)> = HashMap::new();
    let mut offsets: HashMap<String, usize> = HashMap::new();
    let mut changes: HashMap<String, usize> = HashMap::new();
    for line in text.lines() {
        let Some((pid, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        let started = |call: &str| {
            let descriptor = call.split_once('(').map_or("", |(_, rest)| rest);
            changes
                .get(&file_name(descriptor))
                .copied()
                .unwrap_or_default()
        };
        let (call, upto) = if let Some(part) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(pid, (part.to_owned(), started(part)));
            // An answer counts from the moment it could have been read.
            if let Some(step) = acknowledgement(part) {
                steps.push(step);
            }
            continue;
        } else if let Some(rest) = call.strip_prefix("<... ") {
            let Some((start, upto)) = begun.remove(pid) else {
                continue;
            };
            if acknowledgement(&start).is_some() {
                continue;
            }
            let (_, rest) = rest.split_once("resumed>").unwrap();
            (start + rest, upto)
        } else {
            (call.to_owned(), started(call))
        };
        if let Some(step) = acknowledgement(&call) {
            steps.push(step);
            continue;
        }
        let Some((name, rest)) = call.split_once('(') else {
            continue;
        };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else {
            continue;
        };
        let arguments: Vec<&str> = arguments.trim().trim_end_matches(')').split(", ").collect();
        let Ok(result) = result
            .split(' ')
            .next()
            .unwrap_or_default()
            .parse::<usize>()
        else {
            continue;
        };
        if name == "rename" {
            let [from, to] = [arguments[0], arguments[1]].map(|path| file_name_of(&unhex(path)));
            let count = changes.remove(&from).unwrap_or_default();
            changes.insert(to.clone(), count);
            steps.push(Step::Rename(from, to));
            continue;
        }
        let file = file_name(arguments[0]);
        if !["store.db", "store.db-wal", "store.db.new"].contains(&&*file) {
            continue;
        }
        let change = match name {
            "lseek" => {
                offsets.insert(arguments[0].to_owned(), result);
                continue;
            }
            "fsync" | "fdatasync" => {
                steps.push(Step::Flush(file, upto));
                continue;
            }
            "ftruncate" => Change::Truncate(arguments[1].parse().unwrap()),
            _ => {
                let mut data = unhex(arguments[1]);
                data.truncate(result);
                let at = match arguments.get(3) {
                    Some(offset) => offset.parse().unwrap(),
                    None => {
                        let offset = offsets.entry(arguments[0].to_owned()).or_default();
                        *offset += result;
                        *offset - result
                    }
                };
                Change::Write(at, data)
            }
        };
        *changes.entry(file.clone()).or_default() += 1;
        steps.push(Step::Change(file, change));
    }
    steps
}

/// `write(1<…>, "ack …` as a step.
fn acknowledgement(call: &str) -> Option<Step> {
    let arguments = call.strip_prefix("write(1<")?;
    let text = unhex(arguments.split_once(", ")?.1.split(", ").next()?);
    let text = String::from_utf8(text).ok()?;
    let numbers = text.lines().find_map(|line| line.strip_prefix("ack "))?;
    let numbers: Vec<u64> = numbers.split(' ').map(|n| n.parse().unwrap()).collect();
    Some(Step::Acknowledge {
        writer: numbers[0],
        revision: numbers[2],
    })
}

/// The name in `5</directory/name>`; the path may be in hex.
fn file_name(descriptor: &str) -> String {
    let path = descriptor.split_once('<').map_or("", |(_, path)| path);
    let path = path.split_once('>').map_or(path, |(path, _)| path);
    if path.starts_with("\\x") {
        file_name_of(&unhex(path))
    } else {
        file_name_of(path.as_bytes())
    }
}

fn file_name_of(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path).into_owned();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.trim_matches('"').split("\\x").skip(1);
    digits
        .map(|digits| u8::from_str_radix(&digits[..2], 16).unwrap())
        .collect()
}
