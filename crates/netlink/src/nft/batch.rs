//! The changes of one transaction, in the order in which the kernel applies them.
//!
//! Splits long element lists into messages that stay under netlink's 64 KiB attribute limit.
//! Source: Linux UAPI `nf_tables.h`, `enum nf_tables_msg_types`.

use crate::error::What;
use crate::nft::{Element, Expr, SUBSYSTEM, Set, Table, header};
use crate::wire::{Message, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};

pub(crate) const NEWTABLE: u16 = SUBSYSTEM;
pub(crate) const DELTABLE: u16 = SUBSYSTEM | 2;
pub(crate) const NEWCHAIN: u16 = SUBSYSTEM | 3;
pub(crate) const DELCHAIN: u16 = SUBSYSTEM | 5;
pub(crate) const NEWRULE: u16 = SUBSYSTEM | 6;
pub(crate) const DELRULE: u16 = SUBSYSTEM | 8;
pub(crate) const NEWSET: u16 = SUBSYSTEM | 9;
pub(crate) const DELSET: u16 = SUBSYSTEM | 11;
pub(crate) const NEWSETELEM: u16 = SUBSYSTEM | 12;
pub(crate) const DELSETELEM: u16 = SUBSYSTEM | 14;

const ELEMENTS_LIMIT: usize = 60_000;
const NFTA_RULE_USERDATA: u16 = 7;
/// nft's own tag of a comment in user data (`NFTNL_UDATA_RULE_COMMENT`).
const UDATA_COMMENT: u8 = 0;
const COMMENT_LIMIT: usize = 126;

/// What a base chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChainKind {
    /// Accept, drop, reject.
    Filter,
    /// Rewrite addresses at the start of connections.
    Nat,
    /// Reroute after a change of mark.
    Route,
}

/// Where in the packet's way a base chain sits (`enum nf_inet_hooks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named as in nft(8), section address families")]
pub enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

/// What a base chain does with packets that reach its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the usual two")]
pub enum Policy {
    Drop,
    Accept,
}

/// A chain; a base chain has a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The table it lives in.
    pub table: Table,
    /// Its name.
    pub name: String,
    /// Kind, hook, priority and policy of a base chain.
    pub base: Option<(ChainKind, Hook, i32, Policy)>,
}

impl Chain {
    /// A chain to jump to.
    #[must_use]
    pub fn regular(table: &Table, name: impl Into<String>) -> Self {
        Self {
            table: table.clone(),
            name: name.into(),
            base: None,
        }
    }

    /// A chain at a hook with policy accept.
    #[must_use]
    pub fn base(
        table: &Table,
        name: impl Into<String>,
        kind: ChainKind,
        hook: Hook,
        priority: i32,
    ) -> Self {
        let base = Some((kind, hook, priority, Policy::Accept));
        Self {
            table: table.clone(),
            name: name.into(),
            base,
        }
    }
}

/// Changes to be committed together.
#[derive(Debug, Default)]
pub struct Batch {
    messages: Vec<(Message, What)>,
    next_set_id: u32,
}

impl Batch {
    /// No changes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// How many messages the transaction has so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn into_messages(self) -> Vec<(Message, What)> {
        self.messages
    }

    fn push(
        &mut self,
        kind: u16,
        flags: u16,
        table: &Table,
        what: What,
        fill: impl FnOnce(&mut Message),
    ) {
        let mut message = Message::new(kind, flags, &header(table.family.number()));
        fill(&mut message);
        self.messages.push((message, what));
    }

    /// Adds a table; one that exists stays as it is.
    pub fn add_table(&mut self, table: &Table) {
        let what = What::new("add nft table", table);
        self.push(NEWTABLE, NLM_F_CREATE, table, what, |m| {
            m.attr_str(1, &table.name);
            m.attr_be32(2, 0);
        });
    }

    /// Deletes a table with all it holds; fails if it is absent.
    pub fn delete_table(&mut self, table: &Table) {
        let what = What::new("delete nft table", table);
        self.push(DELTABLE, 0, table, what, |m| m.attr_str(1, &table.name));
    }

    /// Deletes a table with all it holds; absent is fine.
    pub fn destroy_table(&mut self, table: &Table) {
        self.add_table(table);
        self.delete_table(table);
    }

    /// Adds a chain; one that exists with the same hook stays as it is.
    pub fn add_chain(&mut self, chain: &Chain) {
        let what = What::new(
            "add nft chain",
            format_args!("{} {}", chain.table, chain.name),
        );
        self.push(NEWCHAIN, NLM_F_CREATE, &chain.table, what, |m| {
            m.attr_str(1, &chain.table.name);
            m.attr_str(3, &chain.name);
            let Some((kind, hook, priority, policy)) = chain.base else {
                return;
            };
            m.nest(4, |m| {
                m.attr_be32(1, hook as u32);
                m.attr(2, &priority.to_be_bytes());
            });
            m.attr_be32(5, policy as u32);
            m.attr_str(
                7,
                match kind {
                    ChainKind::Filter => "filter",
                    ChainKind::Nat => "nat",
                    ChainKind::Route => "route",
                },
            );
        });
    }

    /// Deletes a chain that nothing jumps to, with its rules.
    pub fn delete_chain(&mut self, table: &Table, name: &str) {
        let what = What::new("delete nft chain", format_args!("{table} {name}"));
        self.push(DELCHAIN, 0, table, what, |m| {
            m.attr_str(1, &table.name);
            m.attr_str(3, name);
        });
    }

    /// Removes all rules of a chain.
    pub fn flush_chain(&mut self, table: &Table, name: &str) {
        let what = What::new("flush nft chain", format_args!("{table} {name}"));
        self.push(DELRULE, 0, table, what, |m| {
            m.attr_str(1, &table.name);
            m.attr_str(2, name);
        });
    }

    /// Appends a rule to a chain.
    pub fn add_rule(&mut self, table: &Table, chain: &str, steps: &[Expr]) {
        self.add_commented_rule(table, chain, steps, "");
    }

    /// Appends a rule with a comment as nft(8) shows it (cut at 126 bytes).
    pub fn add_commented_rule(&mut self, table: &Table, chain: &str, steps: &[Expr], note: &str) {
        let what = What::new("add nft rule", format_args!("{table} {chain}"));
        self.push(NEWRULE, NLM_F_CREATE | NLM_F_APPEND, table, what, |m| {
            m.attr_str(1, &table.name);
            m.attr_str(2, chain);
            Expr::encode_list(steps, 4, m);
            comment(m, note);
        });
    }

    /// Puts a rule with a comment before all others of a chain.
    pub fn insert_commented_rule(
        &mut self,
        table: &Table,
        chain: &str,
        steps: &[Expr],
        note: &str,
    ) {
        let what = What::new("insert nft rule", format_args!("{table} {chain}"));
        self.push(NEWRULE, NLM_F_CREATE, table, what, |m| {
            m.attr_str(1, &table.name);
            m.attr_str(2, chain);
            Expr::encode_list(steps, 4, m);
            comment(m, note);
        });
    }

    /// Replaces the rule with that handle.
    pub fn replace_rule(&mut self, table: &Table, chain: &str, handle: u64, steps: &[Expr]) {
        let what = What::new("replace nft rule", format_args!("{table} {chain} {handle}"));
        self.push(NEWRULE, NLM_F_REPLACE, table, what, |m| {
            m.attr_str(1, &table.name);
            m.attr_str(2, chain);
            m.attr_be64(3, handle);
            Expr::encode_list(steps, 4, m);
        });
    }

    /// Deletes the rule with that handle.
    pub fn delete_rule(&mut self, table: &Table, chain: &str, handle: u64) {
        let what = What::new("delete nft rule", format_args!("{table} {chain} {handle}"));
        self.push(DELRULE, 0, table, what, |m| {
            m.attr_str(1, &table.name);
            m.attr_str(2, chain);
            m.attr_be64(3, handle);
        });
    }

    /// Adds a set, map or verdict map; one that exists with the same shape stays as it is.
    pub fn add_set(&mut self, set: &Set) {
        self.next_set_id += 1;
        let id = self.next_set_id;
        let what = What::new("add nft set", format_args!("{} {}", set.table, set.name));
        self.push(NEWSET, NLM_F_CREATE, &set.table, what, |m| {
            set.encode(m, id)
        });
    }

    /// Deletes a set that no rule uses.
    pub fn delete_set(&mut self, table: &Table, name: &str) {
        let what = What::new("delete nft set", format_args!("{table} {name}"));
        self.push(DELSET, 0, table, what, |m| {
            m.attr_str(1, &table.name);
            m.attr_str(2, name);
        });
    }

    /// Adds elements. Those that exist with the same value are fine, with another one an error.
    pub fn add_elements(&mut self, set: &Set, elements: &[Element]) {
        self.elements(NEWSETELEM, NLM_F_CREATE, "add nft elements", set, elements);
    }

    /// Adds elements that must not exist yet.
    pub fn insert_elements(&mut self, set: &Set, elements: &[Element]) {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.elements(NEWSETELEM, flags, "insert nft elements", set, elements);
    }

    /// Deletes elements; fails if one is absent. Values are not compared.
    pub fn delete_elements(&mut self, set: &Set, elements: &[Element]) {
        self.elements(DELSETELEM, 0, "delete nft elements", set, elements);
    }

    /// Removes all elements of a set.
    pub fn flush_set(&mut self, table: &Table, name: &str) {
        let what = What::new("flush nft set", format_args!("{table} {name}"));
        self.push(DELSETELEM, 0, table, what, |m| {
            m.attr_str(1, &table.name);
            m.attr_str(2, name);
        });
    }

    fn elements(
        &mut self,
        kind: u16,
        flags: u16,
        operation: &'static str,
        set: &Set,
        elements: &[Element],
    ) {
        let mut rest = elements;
        while !rest.is_empty() {
            let mut size = 0;
            let fits = rest
                .iter()
                .take_while(|element| {
                    size += element.wire_size();
                    size <= ELEMENTS_LIMIT
                })
                .count()
                .max(1);
            let (now, later) = rest.split_at(fits);
            rest = later;
            let what = What::new(operation, format_args!("{} {}", set.table, set.name));
            self.push(kind, flags, &set.table, what, |m| {
                m.attr_str(1, &set.table.name);
                m.attr_str(2, &set.name);
                m.nest(3, |m| {
                    for element in now {
                        element.encode(set, m);
                    }
                });
            });
        }
    }
}

fn comment(m: &mut Message, note: &str) {
    if note.is_empty() {
        return;
    }
    let mut end = note.len().min(COMMENT_LIMIT);
    while !note.is_char_boundary(end) {
        end -= 1;
    }
    let Ok(length) = u8::try_from(end + 1) else {
        return;
    };
    let mut data = vec![UDATA_COMMENT, length];
    data.extend_from_slice(&note.as_bytes()[..end]);
    data.push(0);
    m.attr(NFTA_RULE_USERDATA, &data);
}
