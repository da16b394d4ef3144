//! Cheap mutations of an input: what else is tried of it while the engine has it in hand.
//!
//! Owns the steps (bits, bytes, words of the target's dictionary, ranges taken out, doubled or
//! moved, numbers at the edges) and their order, which the input alone decides: the same input and
//! words give the same mutants, so that a family can be walked again. Knows no target.
//! Example: `replicas: 3`, one step `number` → `replicas: 9223372036854775808`.
//!
//! Its generator is not `base::Rng`: `base` brings tokio, ring and tracing, which would be built with
//! counters into engines whose readers need none of them. One word of state is also all that a new
//! start costs, and there is one for each input.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Bytes that mean something to one reader or another.
const BYTES: &[u8] = b"\0\x01\x7f\x80\xc0\xe2\xff \t\r\n\"'\\/,.:;=+-*#&!?@[](){}<>|09aAeEzZ";
/// Decimal numbers around the ends of what holds numbers.
const NUMBERS: &[&[u8]] = &[
    b"0",
    b"-1",
    b"1",
    b"00",
    b"127",
    b"128",
    b"255",
    b"256",
    b"65535",
    b"65536",
    b"2147483647",
    b"2147483648",
    b"-2147483649",
    b"4294967295",
    b"4294967296",
    b"9007199254740993",
    b"9223372036854775807",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"18446744073709551615",
    b"18446744073709551616",
    b"340282366920938463463374607431768211456",
    b"0.1",
    b"1e999",
    b"1e-999",
];
/// Binary numbers likewise, of which the last bytes are taken.
const WORDS: &[u64] = &[
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0xff_ffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    u64::MAX >> 1,
    u64::MAX,
];
/// Steps of one mutant at most.
const STEPS: u32 = 4;
/// The longest range that is moved about, usually.
const RANGE: usize = 32;

/// The mutants of one input after the other.
#[derive(Debug)]
pub struct Mutator {
    words: Vec<Vec<u8>>,
    state: u64,
    out: Vec<u8>,
}

impl Mutator {
    /// With a dictionary's words.
    #[must_use]
    pub fn new(words: Vec<Vec<u8>>) -> Mutator {
        Mutator {
            words,
            state: 0,
            out: Vec::new(),
        }
    }

    /// Turns to this input: its first mutant is next.
    pub fn start(&mut self, input: &[u8]) {
        let mut hasher = DefaultHasher::new();
        input.hash(&mut hasher);
        self.state = hasher.finish();
    }

    /// The next mutant of the input, of at most so many bytes.
    pub fn next(&mut self, input: &[u8], most: usize) -> &[u8] {
        self.out.clear();
        self.out.extend_from_slice(input);
        // One step, half of the time two, and so on.
        let steps = 1 + self.random().trailing_ones().min(STEPS - 1);
        for _ in 0..steps {
            self.step();
        }
        self.out.truncate(most);
        &self.out
    }

    fn step(&mut self) {
        match self.below(16) {
            0..=2 => self.bit(),
            3..=5 => self.byte(),
            6 | 7 => self.word(true),
            8 => self.word(false),
            9 | 10 => self.take_out(),
            11 => self.double(),
            12 => self.move_over(),
            13 => self.number(),
            14 => self.binary(),
            _ => self.cut(),
        }
    }

    fn bit(&mut self) {
        let bit = 1 << self.below(8);
        match self.place() {
            Some(at) => self.out[at] ^= bit,
            None => self.out.push(bit),
        }
    }

    /// Sets, or puts between.
    fn byte(&mut self) {
        let random = self.random();
        let byte = if random & 1 == 0 {
            BYTES[self.below(BYTES.len())]
        } else {
            random.to_le_bytes()[7]
        };
        match self.place() {
            Some(at) if random & 6 != 0 => self.out[at] = byte,
            at => self.out.insert(at.unwrap_or(0), byte),
        }
    }

    /// A word of the dictionary, put between or over what is there.
    fn word(&mut self, between: bool) {
        if self.words.is_empty() {
            return self.byte();
        }
        let word = self.below(self.words.len());
        let at = self.below(self.out.len() + 1);
        let length = self.words[word].len();
        let over = if between { 0 } else { length };
        let end = self.out.len().min(at + over);
        self.out.splice(at..end, self.words[word].iter().copied());
    }

    fn take_out(&mut self) {
        let (from, to) = self.range();
        self.out.drain(from..to);
    }

    /// A range once more, somewhere.
    fn double(&mut self) {
        let (from, to) = self.range();
        let copy = self.out[from..to].to_vec();
        let at = self.below(self.out.len() + 1);
        self.out.splice(at..at, copy);
    }

    /// A range over another place.
    fn move_over(&mut self) {
        let (from, to) = self.range();
        let at = self.below(self.out.len() + 1);
        let to = to.min(from + self.out.len() - at);
        self.out.copy_within(from..to, at);
    }

    /// Digits become a number at an edge.
    fn number(&mut self) {
        let number = NUMBERS[self.below(NUMBERS.len())];
        let start = self.below(self.out.len() + 1);
        let digit = |byte: &u8| byte.is_ascii_digit();
        let (before, after) = self.out.split_at(start);
        let next = after.iter().position(digit).map(|at| start + at);
        let Some(from) = next.or_else(|| before.iter().position(digit)) else {
            self.out.splice(start..start, number.iter().copied());
            return;
        };
        let length = self.out[from..].iter().take_while(|byte| digit(byte));
        let to = from + length.count();
        self.out.splice(from..to, number.iter().copied());
    }

    /// A binary number at an edge, of one to eight bytes, over what is there.
    fn binary(&mut self) {
        let Some(at) = self.place() else { return };
        let random = self.random();
        let mut bytes = WORDS[self.below(WORDS.len())].to_be_bytes();
        let length = [1, 2, 4, 8][self.below(4)].min(self.out.len() - at);
        let kept = &mut bytes[8 - length..];
        if random & 1 == 0 {
            kept.reverse();
        }
        self.out[at..at + length].copy_from_slice(kept);
    }

    fn cut(&mut self) {
        let at = self.below(self.out.len() + 1);
        self.out.truncate(at);
    }

    /// A place that has a byte, if there is any.
    fn place(&mut self) -> Option<usize> {
        (!self.out.is_empty()).then(|| self.below(self.out.len()))
    }

    /// Mostly a short one, empty only if there is nothing.
    fn range(&mut self) -> (usize, usize) {
        let Some(from) = self.place() else {
            return (0, 0);
        };
        let left = self.out.len() - from;
        let most = if self.below(8) == 0 {
            left
        } else {
            left.min(RANGE)
        };
        (from, from + 1 + self.below(most))
    }

    fn below(&mut self, bound: usize) -> usize {
        // The high half of a product: no division.
        let product = u128::from(self.random()) * bound as u128;
        usize::try_from(product >> 64).expect("less than the bound")
    }

    /// Steele, Lea and Flood's splitmix64.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The words of a dictionary as libFuzzer reads it: lines `"word"` or `name="word"` with `\xNN`,
/// `\\` and `\"`.
#[must_use]
pub fn words(dictionary: &str) -> Vec<Vec<u8>> {
    let lines = dictionary.lines().map(str::trim);
    let lines = lines.filter(|line| !line.starts_with('#'));
    lines.filter_map(word).collect()
}

fn word(line: &str) -> Option<Vec<u8>> {
    let (_, quoted) = line.split_once('"')?;
    let mut rest = quoted.strip_suffix('"')?.as_bytes();
    let mut word = Vec::new();
    while let [first, after @ ..] = rest {
        (rest, _) = match (first, after) {
            (b'\\', [b'x', high, low, after @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).ok()?;
                (after, word.push(u8::from_str_radix(digits, 16).ok()?))
            }
            (b'\\', [escaped, after @ ..]) => (after, word.push(*escaped)),
            _ => (after, word.push(*first)),
        };
    }
    (!word.is_empty()).then_some(word)
}

#[cfg(test)]
mod tests;
