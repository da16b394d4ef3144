//! strace's lines as steps of a disk, in the order in which the kernel saw them.
//!
//! Owns the reading of `strace -f -y -xx`. A flush covers the changes that had begun before the
//! flush began; a line on standard output counts from the moment it could have been read.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};

use crate::power::disk::{Change, Naming};

/// What to trace: all that can change a file or a name, so that nothing is overlooked.
pub(crate) const CALLS: &str = "trace=open,openat,creat,lseek,write,writev,pwrite64,pwritev,\
    pwritev2,ftruncate,fallocate,fsync,fdatasync,sync_file_range,rename,renameat,renameat2,link,\
    linkat,unlink,unlinkat";

/// What the process did.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Change(String, Change),
    /// The changes of the file up to this number are on the disk now.
    Flush(String, usize),
    Name(Naming),
    FlushNames,
    /// Lines on standard output.
    Said(String),
}

/// Reads a trace of what happened in `dir`.
pub(crate) fn parse(text: &str, dir: &str) -> Result<Vec<Step>> {
    let mut reader = Reader {
        dir: dir.trim_end_matches('/'),
        steps: Vec::new(),
        offsets: HashMap::new(),
        changes: HashMap::new(),
    };
    let mut begun: HashMap<&str, (String, usize)> = HashMap::new();
    for line in text.lines() {
        let Some((pid, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        if let Some(part) = call.strip_suffix(" <unfinished ...>") {
            let upto = reader.begun(part);
            if !reader.said(part) {
                begun.insert(pid, (part.to_owned(), upto));
            }
        } else if let Some(rest) = call.strip_prefix("<... ") {
            let Some((start, upto)) = begun.remove(pid) else {
                continue;
            };
            let (_, rest) = rest.split_once("resumed>").context("a resumed call")?;
            reader.call(&(start + rest), upto)?;
        } else if !reader.said(call) {
            let upto = reader.begun(call);
            reader.call(call, upto)?;
        }
    }
    Ok(reader.steps)
}

struct Reader<'a> {
    dir: &'a str,
    steps: Vec<Step>,
    /// Descriptor with path → position.
    offsets: HashMap<String, usize>,
    /// Name → changes so far.
    changes: HashMap<String, usize>,
}

impl Reader<'_> {
    /// How many changes the file of this call had when the call began.
    fn begun(&self, call: &str) -> usize {
        let name = call.split_once('(').and_then(|(_, rest)| self.file(rest));
        name.and_then(|name| self.changes.get(&name).copied())
            .unwrap_or_default()
    }

    /// `write(1<…>, "…`, as a step.
    fn said(&mut self, call: &str) -> bool {
        let text = call.strip_prefix("write(1<").and_then(|rest| {
            let (_, rest) = rest.split_once(", ")?;
            String::from_utf8(unhex(rest.split(", ").next()?)).ok()
        });
        let is_some = text.is_some();
        self.steps.extend(text.map(Step::Said));
        is_some
    }

    fn call(&mut self, call: &str, upto: usize) -> Result<()> {
        let (Some((name, rest)), false) = (call.split_once('('), call.starts_with(['+', '-']))
        else {
            return Ok(());
        };
        let Some((arguments, result)) = rest.rsplit_once(" = ") else {
            return Ok(());
        };
        let arguments: Vec<&str> = arguments.trim().trim_end_matches(')').split(", ").collect();
        let result = result.split([' ', '<']).next().unwrap_or_default();
        let Ok(result) = result.parse::<usize>() else {
            return Ok(());
        };
        match name {
            "open" | "creat" | "openat" => {
                let path = usize::from(name == "openat");
                let creates = name == "creat" || call.contains("O_CREAT");
                if let Some(name) = self.path(arguments[path]).filter(|_| creates) {
                    self.steps.push(Step::Name(Naming::Create(name)));
                }
                return Ok(());
            }
            "rename" | "link" => return self.two(name, arguments[0], arguments[1]),
            "renameat" | "renameat2" | "linkat" => {
                return self.two(name, arguments[1], arguments[3]);
            }
            "unlink" | "unlinkat" => {
                if let Some(name) = self.path(arguments[usize::from(name == "unlinkat")]) {
                    self.changes.remove(&name);
                    self.steps.push(Step::Name(Naming::Unlink(name)));
                }
                return Ok(());
            }
            _ => {}
        }
        if matches!(name, "fsync" | "fdatasync") && self.is_dir(arguments[0]) {
            self.steps.push(Step::FlushNames);
            return Ok(());
        }
        let Some(file) = self.file(arguments[0]) else {
            return Ok(());
        };
        let change = match name {
            "lseek" => {
                self.offsets.insert(arguments[0].to_owned(), result);
                return Ok(());
            }
            "fsync" | "fdatasync" => {
                self.steps.push(Step::Flush(file, upto));
                return Ok(());
            }
            "ftruncate" => Change::Truncate(arguments[1].parse().context("a length")?),
            "write" | "pwrite64" => {
                let mut data = unhex(arguments[1]);
                data.truncate(result);
                let at = match arguments.get(3) {
                    Some(offset) => offset.parse().context("an offset")?,
                    None => {
                        let offset = self.offsets.entry(arguments[0].to_owned()).or_default();
                        *offset += result;
                        *offset - result
                    }
                };
                Change::Write(at, data)
            }
            other => bail!("{other} on {file}: the recorder does not know it"),
        };
        *self.changes.entry(file.clone()).or_default() += 1;
        self.steps.push(Step::Change(file, change));
        Ok(())
    }

    fn two(&mut self, call: &str, from: &str, to: &str) -> Result<()> {
        let (Some(from), Some(to)) = (self.path(from), self.path(to)) else {
            return Ok(());
        };
        let count = if call.starts_with("link") {
            self.changes.get(&from).copied()
        } else {
            self.changes.remove(&from)
        };
        self.changes.insert(to.clone(), count.unwrap_or_default());
        self.steps.push(Step::Name(if call.starts_with("link") {
            Naming::Link(from, to)
        } else {
            Naming::Rename(from, to)
        }));
        Ok(())
    }

    /// The name in the directory of `5</directory/name>`.
    fn file(&self, descriptor: &str) -> Option<String> {
        let (_, path) = descriptor.split_once('<')?;
        self.path(path.split_once('>').map_or(path, |(path, _)| path))
    }

    fn is_dir(&self, descriptor: &str) -> bool {
        let path = descriptor.split_once('<').map_or("", |(_, path)| path);
        text(path.trim_end_matches('>')) == self.dir
    }

    /// The name of a file whose content matters.
    fn path(&self, path: &str) -> Option<String> {
        let path = text(path);
        let name = path.strip_prefix(self.dir)?.strip_prefix('/')?;
        let counts = !name.ends_with("-shm") && !name.ends_with(".lock");
        (counts && !name.contains(['/', ' '])).then(|| name.to_owned())
    }
}

/// A string of strace's, in hex or not.
fn text(quoted: &str) -> String {
    let bare = quoted.trim_matches('"');
    if bare.starts_with("\\x") {
        String::from_utf8_lossy(&unhex(bare)).into_owned()
    } else {
        bare.to_owned()
    }
}

/// `\x41\x42` → `AB`.
fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => byte - b'0',
        _ => byte.wrapping_sub(b'a').wrapping_add(10) & 15,
    };
    let text = text.trim_matches('"').as_bytes();
    let bytes = text.chunks_exact(4);
    bytes.map(|c| digit(c[2]) << 4 | digit(c[3])).collect()
}
