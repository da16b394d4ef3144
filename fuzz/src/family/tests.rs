use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Family, Role};

/// A reader with an edge for each byte value below 64.
fn reach(counters: &[AtomicU64], data: &[u8]) {
    for byte in data.iter().copied().filter(|byte| *byte < 64) {
        let (word, shift) = (usize::from(byte) / 8, u32::from(byte) % 8 * 8);
        counters[word].fetch_add(1 << shift, Ordering::Relaxed);
    }
}

fn bytes(counters: &[AtomicU64]) -> Vec<u64> {
    let words = counters.iter();
    words.map(|word| word.load(Ordering::Relaxed)).collect()
}

#[test]
fn the_input_alone_leaves_counters() {
    let counters: Vec<AtomicU64> = (0..8).map(|_| AtomicU64::new(0)).collect();
    let mut family = Family::new(vec![b"<5>".to_vec()], &counters);
    let mut roles = Vec::new();
    family.run(b"a1", 64, &counters, |data, role| {
        reach(&counters, data);
        roles.push(role);
    });
    let count = |wanted| roles.iter().filter(|role| **role == wanted).count();
    assert_eq!((count(Role::Input), count(Role::Mutant)), (1, 500));
    assert_eq!(count(Role::Again), 500, "mutants reached new edges");
    assert_eq!(roles.last(), Some(&Role::Input));
    let alone: Vec<AtomicU64> = (0..8).map(|_| AtomicU64::new(0)).collect();
    reach(&alone, b"a1");
    assert_eq!(bytes(&counters), bytes(&alone));
}

/// What only a first run reaches (a cache that is filled, the count of mutants) is news once.
#[test]
fn what_does_not_come_again_is_known() {
    let counters: Vec<AtomicU64> = (0..8).map(|_| AtomicU64::new(0)).collect();
    let mut family = Family::new(Vec::new(), &counters);
    let mut again = 0;
    for _ in 0..2 {
        family.run(b"a1", 64, &counters, |_, role| {
            again += usize::from(role == Role::Again);
            if role == Role::Mutant {
                counters[3].fetch_add(1 << 16, Ordering::Relaxed);
            }
        });
    }
    assert_eq!((again, family.take(64)), (500, None));
}

#[test]
fn long_inputs_have_few_mutants() {
    let counters: Vec<AtomicU64> = Vec::new();
    let mut family = Family::new(Vec::new(), &counters);
    for (length, mutants) in [(0, 500), (112, 128), (4096, 4)] {
        let mut count = 0;
        family.run(&vec![b'a'; length], 4096, &counters, |_, role| {
            count += usize::from(role == Role::Mutant);
        });
        assert_eq!(count, mutants, "{length}");
    }
}

/// Each of them reaches something that none before it did, and a family without news runs once.
#[test]
fn mutants_with_new_edges_wait() {
    let counters: Vec<AtomicU64> = (0..8).map(|_| AtomicU64::new(0)).collect();
    let mut family = Family::new(vec![b"<5>".to_vec()], &counters);
    let mut again = Vec::new();
    for _ in 0..2 {
        let mut count = 0;
        family.run(b"a1", 64, &counters, |data, role| {
            reach(&counters, data);
            count += usize::from(role == Role::Again);
        });
        again.push(count);
    }
    assert_eq!(again, [500, 0]);
    assert_eq!(family.take(0), None, "none is so short");
    let mut reached = HashSet::from([b'1']);
    let mut waiting = 0;
    while let Some(mutant) = family.take(64) {
        let edges = mutant.iter().copied().filter(|byte| *byte < 64);
        let before = reached.len();
        reached.extend(edges);
        assert!(reached.len() > before, "{mutant:?}");
        waiting += 1;
    }
    assert!((2..64).contains(&waiting), "{waiting}");
}
