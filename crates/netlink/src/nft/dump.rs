//! Reads for repair and for tests of absence: generation, tables, chains, rules, elements.
//!
//! Rules come back as handle and comment, not as expressions: who repairs compares comments or
//! rebuilds the chain.

use rustix::io::Errno;

use crate::error::{Error, What};
use crate::nft::batch::{NEWCHAIN, NEWRULE, NEWSET, NEWSETELEM, NEWTABLE};
use crate::nft::{Family, Nft, SUBSYSTEM, Table, header};
use crate::wire::{Message, attributes, be32, be64, find, text};

const GETTABLE: u16 = SUBSYSTEM | 1;
const GETCHAIN: u16 = SUBSYSTEM | 4;
const GETRULE: u16 = SUBSYSTEM | 7;
const GETSET: u16 = SUBSYSTEM | 10;
const GETSETELEM: u16 = SUBSYSTEM | 13;
const NEWGEN: u16 = SUBSYSTEM | 15;
const GETGEN: u16 = SUBSYSTEM | 16;

/// A rule as the kernel numbers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleId {
    /// The chain it is in.
    pub chain: String,
    /// The kernel's number.
    pub handle: u64,
    /// The comment, if any.
    pub comment: String,
}

/// A base chain: where it hooks in, and what it does at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    /// Its table.
    pub table: Table,
    /// Its name.
    pub name: String,
    /// The hook's number (`enum nf_inet_hooks`): 0 prerouting, 1 input, 2 forward, 3 output,
    /// 4 postrouting.
    pub hook: u32,
    /// Its place among the chains of the hook.
    pub priority: i32,
    /// Drops what reaches its end.
    pub drops: bool,
}

/// An element as the kernel stores it; a range of a one-field set is two of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stored {
    /// Its key.
    pub key: Vec<u8>,
    /// The last key of a range in a concatenated set.
    pub key_end: Option<Vec<u8>>,
    /// A map's value.
    pub value: Option<Vec<u8>>,
    /// The chain of a verdict map's jump or goto.
    pub chain: Option<String>,
    /// The end of a range in a one-field set.
    pub interval_end: bool,
}

impl Nft {
    /// The ruleset's generation: it changes with every commit of anyone.
    pub fn generation(&mut self) -> Result<u32, Error> {
        let what = What::new("read nftables generation", "");
        let mut generation = None;
        self.socket.query(
            Message::new(GETGEN, 0, &header(0)),
            what.clone(),
            |received| {
                if received.kind == NEWGEN {
                    generation = received
                        .payload
                        .get(4..)
                        .and_then(|data| find(data, 1))
                        .map(be32);
                }
            },
        )?;
        generation.ok_or(Error::Answer {
            what,
            reason: "the answer holds no generation",
        })
    }

    /// All tables of all families.
    pub fn tables(&mut self) -> Result<Vec<Table>, Error> {
        let message = Message::new(GETTABLE, 0, &header(0));
        self.socket.dump(
            &message,
            &What::new("list nft tables", ""),
            |kind, payload| {
                if kind != NEWTABLE {
                    return None;
                }
                let family = Family::from_number(*payload.first()?)?;
                Some(Table::new(family, text(find(payload.get(4..)?, 1)?)))
            },
        )
    }

    /// The base chains of all tables.
    pub fn base_chains(&mut self) -> Result<Vec<BaseChain>, Error> {
        let message = Message::new(GETCHAIN, 0, &header(0));
        let what = What::new("list nft chains", "");
        self.socket.dump(&message, &what, |kind, payload| {
            if kind != NEWCHAIN {
                return None;
            }
            let family = Family::from_number(*payload.first()?)?;
            let data = payload.get(4..)?;
            let hook = find(data, 4)?;
            Some(BaseChain {
                table: Table::new(family, text(find(data, 1)?)),
                name: text(find(data, 3)?),
                hook: be32(find(hook, 1)?),
                priority: i32::from_ne_bytes(be32(find(hook, 2)?).to_ne_bytes()),
                drops: find(data, 5).is_some_and(|policy| be32(policy) == 0),
            })
        })
    }

    /// The names of a table's chains; none when the table is absent.
    pub fn chains(&mut self, table: &Table) -> Result<Vec<String>, Error> {
        let message = Message::new(GETCHAIN, 0, &header(table.family.number()));
        let what = What::new("list nft chains", table);
        self.socket.dump(&message, &what, |kind, payload| {
            let data = payload.get(4..)?;
            let ours = kind == NEWCHAIN && text(find(data, 1)?) == table.name;
            ours.then(|| find(data, 3).map(text)).flatten()
        })
    }

    /// The names of a table's sets and maps; none when the table is absent.
    pub fn sets(&mut self, table: &Table) -> Result<Vec<String>, Error> {
        let mut message = Message::new(GETSET, 0, &header(table.family.number()));
        message.attr_str(1, &table.name);
        let what = What::new("list nft sets", table);
        absent_is_empty(self.socket.dump(&message, &what, |kind, payload| {
            let data = payload.get(4..)?;
            (kind == NEWSET).then(|| find(data, 2).map(text)).flatten()
        }))
    }

    /// The rules of a table; none when the table is absent.
    pub fn rules(&mut self, table: &Table) -> Result<Vec<RuleId>, Error> {
        let mut message = Message::new(GETRULE, 0, &header(table.family.number()));
        message.attr_str(1, &table.name);
        let what = What::new("list nft rules", table);
        absent_is_empty(self.socket.dump(&message, &what, |kind, payload| {
            let data = payload.get(4..)?;
            if kind != NEWRULE || text(find(data, 1)?) != table.name {
                return None;
            }
            Some(RuleId {
                chain: text(find(data, 2)?),
                handle: be64(find(data, 3)?),
                comment: find(data, 7).map(comment).unwrap_or_default(),
            })
        }))
    }

    /// The elements of a set, sorted; none when the set is absent.
    pub fn elements(&mut self, table: &Table, set: &str) -> Result<Vec<Stored>, Error> {
        let mut message = Message::new(GETSETELEM, 0, &header(table.family.number()));
        message.attr_str(1, &table.name);
        message.attr_str(2, set);
        let what = What::new("list nft elements", format_args!("{table} {set}"));
        let lists = absent_is_empty(self.socket.dump(&message, &what, |kind, payload| {
            let list = find(payload.get(4..)?, 3)?;
            (kind == NEWSETELEM).then(|| attributes(list).map(|(_, e)| stored(e)).collect())
        }))?;
        let mut all: Vec<Stored> = lists
            .into_iter()
            .flat_map(|list: Vec<Stored>| list)
            .collect();
        all.sort();
        Ok(all)
    }
}

fn absent_is_empty<T>(result: Result<Vec<T>, Error>) -> Result<Vec<T>, Error> {
    match result {
        Err(error) if error.errno() == Some(Errno::NOENT) => Ok(Vec::new()),
        other => other,
    }
}

fn stored(data: &[u8]) -> Stored {
    let value = |kind| {
        find(data, kind)
            .and_then(|d| find(d, 1))
            .map(<[u8]>::to_vec)
    };
    let verdict = find(data, 2).and_then(|d| find(d, 2));
    Stored {
        key: value(1).unwrap_or_default(),
        key_end: value(10),
        value: value(2),
        chain: verdict.and_then(|v| find(v, 2)).map(text),
        interval_end: find(data, 3).is_some_and(|flags| be32(flags) & 1 != 0),
    }
}

/// The comment among nft's tag-length-value user data.
fn comment(mut data: &[u8]) -> String {
    while let [tag, length, rest @ ..] = data {
        let Some(value) = rest.get(..usize::from(*length)) else {
            break;
        };
        if *tag == 0 {
            return text(value);
        }
        data = &rest[usize::from(*length)..];
    }
    String::new()
}
