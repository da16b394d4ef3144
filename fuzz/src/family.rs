//! A family: an input that the engine hands over, and its mutants, through the same target.
//!
//! Owns the order of a family, what edges were ever reached, and the mutants that reached new ones,
//! which the engine is to take as inputs of its own. The counters are the engine's: it clears them
//! before a family and reads them after it, as those of the input alone, so mutants go first and
//! leave none. This is what makes an execution cheap: clearing, reading and choosing cost several
//! times what a small reader does, and are paid once for a family.
//! Example: of 200 mutants two reach the same new edge: `news` → each runs again by itself, the
//! first of them waits in `fresh`.
//!
//! Families are of about the same number of bytes, so that long inputs do not take all the time:
//! of 20 bytes there are 455 mutants, of 4 KiB there are 4.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::mutate::Mutator;

/// Bytes of the mutants of one input, and how many they are at least and at most.
const BYTES: usize = 16 << 10;
const MUTANTS: (usize, usize) = (4, 500);
/// Mutants with new edges that wait for the engine; the oldest go first.
const FRESH: usize = 1024;

/// Why something is executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The engine's own input.
    Input,
    /// A mutant, for the first time.
    Mutant,
    /// A mutant again, to see which of a family it was that reached something: not to be counted.
    Again,
}

/// The state between families.
#[derive(Debug)]
pub struct Family {
    mutator: Mutator,
    edges: Edges,
    fresh: VecDeque<Vec<u8>>,
}

impl Family {
    /// With a dictionary's words; each counter is the byte of an edge.
    #[must_use]
    pub fn new(words: Vec<Vec<u8>>, counters: &[AtomicU64]) -> Family {
        Family {
            mutator: Mutator::new(words),
            edges: Edges {
                known: vec![0; counters.len()],
            },
            fresh: VecDeque::new(),
        }
    }

    /// Executes an input and its mutants; leaves the counters of the input alone.
    pub fn run(
        &mut self,
        input: &[u8],
        most: usize,
        counters: &[AtomicU64],
        mut execute: impl FnMut(&[u8], Role),
    ) {
        let mutants = (BYTES / (input.len() + 16)).clamp(MUTANTS.0, MUTANTS.1);
        self.mutator.start(input);
        for _ in 0..mutants {
            execute(self.mutator.next(input, most), Role::Mutant);
        }
        if self.edges.news(counters) {
            // Also what a second run does not reach is no news the next time.
            let whole = load(counters).collect::<Vec<u64>>();
            self.mutator.start(input);
            for _ in 0..mutants {
                clear(counters);
                let mutant = self.mutator.next(input, most);
                execute(mutant, Role::Again);
                if self.edges.learn(load(counters)) && !mutant.is_empty() {
                    self.fresh.push_back(mutant.to_vec());
                }
            }
            let over = self.fresh.len().saturating_sub(FRESH);
            self.fresh.drain(..over);
            self.edges.learn(whole.into_iter());
        }
        clear(counters);
        execute(input, Role::Input);
        self.edges.learn(load(counters));
    }

    /// The next mutant that reached an edge nothing had reached before, if it has at most so many
    /// bytes.
    pub fn take(&mut self, most: usize) -> Option<Vec<u8>> {
        let short = |mutant: &Vec<u8>| mutant.len() <= most;
        let at = self.fresh.iter().position(short)?;
        self.fresh.remove(at)
    }
}

/// Edges that were ever reached: 0xff in the byte of each.
#[derive(Debug)]
struct Edges {
    known: Vec<u64>,
}

impl Edges {
    /// Whether any counter stands that is not known.
    fn news(&self, counters: &[AtomicU64]) -> bool {
        let mut pairs = self.known.iter().zip(load(counters));
        pairs.any(|(known, word)| word & !known != 0)
    }

    /// Knows what stands from now on; whether that is more.
    fn learn(&mut self, words: impl Iterator<Item = u64>) -> bool {
        let mut more = false;
        for (known, word) in self.known.iter_mut().zip(words) {
            let unknown = word & !*known;
            if unknown != 0 {
                more = true;
                let bytes = unknown.to_le_bytes();
                *known |= u64::from_le_bytes(bytes.map(|byte| if byte == 0 { 0 } else { 0xff }));
            }
        }
        more
    }
}

fn load(counters: &[AtomicU64]) -> impl Iterator<Item = u64> {
    counters.iter().map(|word| word.load(Ordering::Relaxed))
}

fn clear(counters: &[AtomicU64]) {
    for word in counters {
        word.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
