//! Sets of completion indexes as ranges: `0-3,5,7-9`.
//!
//! Source: kubernetes v1.36.3 pkg/controller/job/indexed_job_utils.go.

use std::fmt;

/// Ranges in order, none touching the next; both ends belong to a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Indexes(Vec<(usize, usize)>);

impl Indexes {
    /// What a text says of indexes below `completions`; nonsense says nothing.
    pub(super) fn parse(text: &str, completions: usize) -> Self {
        let mut all = Self::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else {
                return Self::default();
            };
            if first >= completions {
                break;
            }
            all.extend(first, last.min(completions - 1));
        }
        all
    }

    /// Appends a range that begins after the start of the last one.
    fn extend(&mut self, first: usize, last: usize) {
        if last < first {
            return;
        }
        match self.0.last_mut() {
            Some((_, end)) if first <= *end + 1 => *end = (*end).max(last),
            _ => self.0.push((first, last)),
        }
    }

    /// With single indexes, in any order.
    pub(super) fn with(&self, indexes: impl IntoIterator<Item = usize>) -> Self {
        let mut singles: Vec<usize> = indexes.into_iter().collect();
        singles.sort_unstable();
        let mut other = Self::default();
        for index in singles {
            other.extend(index, index);
        }
        self.union(&other)
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        let mut ranges: Vec<(usize, usize)> = self.0.iter().chain(&other.0).copied().collect();
        ranges.sort_unstable();
        let mut all = Self::default();
        for (first, last) in ranges {
            all.extend(first, last);
        }
        all
    }

    pub(super) fn total(&self) -> usize {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    pub(super) fn has(&self, index: usize) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < index);
        self.0.get(at).is_some_and(|(first, _)| *first <= index)
    }

    /// How many indexes are in both.
    pub(super) fn overlap(&self, other: &Self) -> usize {
        let (mut a, mut b, mut sum) = (0, 0, 0);
        while let (Some(one), Some(two)) = (self.0.get(a), other.0.get(b)) {
            let (first, last) = (one.0.max(two.0), one.1.min(two.1));
            sum += (last + 1).saturating_sub(first);
            a += usize::from(one.1 <= two.1);
            b += usize::from(two.1 <= one.1);
        }
        sum
    }

    /// The first `count` indexes below `completions` that are not in the set.
    pub(super) fn first_missing(&self, count: usize, completions: usize) -> Vec<usize> {
        let mut missing = Vec::new();
        let mut next = 0;
        let end = (completions, completions);
        for (first, last) in self.0.iter().copied().chain([end]) {
            while next < first.min(completions) && missing.len() < count {
                missing.push(next);
                next += 1;
            }
            next = next.max(last + 1);
        }
        missing
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (first, last)) in self.0.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                // Two neighbours stay apart, as upstream prints them.
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let set = Indexes::parse("1,3-5", 9);
        assert_eq!(set.with([2, 8, 0]).to_string(), "0-5,8");
        assert_eq!(set.with([7, 8]).to_string(), "1,3-5,7,8");
        assert_eq!(set.total(), 4);
        assert!(set.has(4) && !set.has(2) && !set.has(6));
        assert_eq!(set.first_missing(3, 9), [0, 2, 6]);
        assert_eq!(set.first_missing(9, 4), [0, 2]);
        assert_eq!(Indexes::parse("0-99", 3).total(), 3);
        assert_eq!(Indexes::parse("x", 3).total(), 0);
        assert_eq!(
            Indexes::parse("0-4,6", 9).overlap(&Indexes::parse("3-6", 9)),
            3
        );
    }
}
