//! The numbered endpoints of one port under one policy.
//!
//! The kernel draws a number below the count and looks the endpoint up, so numbers have no gaps.
//! An endpoint that stays keeps its number; one that goes leaves its number to a new one, or else
//! to the last: `[a b c d]` without `b` is `[a d c]`, with `e` instead of `b` it is `[a e c d]`.
//! So a change of one endpoint changes one or two numbers, however many there are.

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;

/// See the module's header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) id: u32,
    pub(crate) slots: Vec<SocketAddr>,
}

impl Pool {
    /// Becomes a pool of exactly `wanted`, with as few numbers changed as possible.
    pub(crate) fn become_of(&mut self, wanted: &[SocketAddr]) {
        let keep: BTreeSet<SocketAddr> = wanted.iter().copied().collect();
        let had: HashSet<SocketAddr> = self.slots.iter().copied().collect();
        let mut new = keep.iter().filter(|e| !had.contains(e)).copied();
        let mut at = 0;
        while at < self.slots.len() {
            if keep.contains(&self.slots[at]) {
                at += 1;
            } else if let Some(endpoint) = new.next() {
                self.slots[at] = endpoint;
                at += 1;
            } else {
                // The last one may have to go too: look at this number again.
                self.slots.swap_remove(at);
            }
        }
        self.slots.extend(new);
    }
}

#[cfg(test)]
mod tests {
    use super::Pool;
    use std::net::SocketAddr;

    #[track_caller]
    fn check(before: &str, wanted: &str, after: &str) {
        let parse = |text: &str| -> Vec<SocketAddr> {
            let of = |letter: u8| SocketAddr::from(([10, 0, 0, letter], 80));
            text.bytes().map(of).collect()
        };
        let mut pool = Pool {
            id: 1,
            slots: parse(before),
        };
        pool.become_of(&parse(wanted));
        assert_eq!(pool.slots, parse(after));
    }

    #[test]
    fn few_numbers_change() {
        check("", "bac", "abc");
        check("abcd", "acd", "adc");
        check("abcd", "acde", "aecd");
        check("abcd", "a", "a");
        check("abcd", "", "");
        check("abcd", "efghi", "efghi");
        check("ab", "abc", "abc");
        check("abcd", "dc", "dc");
    }
}
