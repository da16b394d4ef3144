use std::collections::HashSet;
use std::path::Path;

use super::{Mutator, words};

fn family(input: &[u8], words: &[&str], most: usize) -> Vec<Vec<u8>> {
    let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    let mut mutator = Mutator::new(words);
    mutator.start(input);
    (0..2000)
        .map(|_| mutator.next(input, most).to_vec())
        .collect()
}

/// What was found in a family can be found again.
#[test]
fn the_input_decides_its_mutants() {
    let once = family(b"replicas: 3", &["true"], 64);
    assert_eq!(once, family(b"replicas: 3", &["true"], 64));
    assert_ne!(once, family(b"replicas: 4", &["true"], 64));
}

#[test]
fn mutants_differ_and_keep_the_bound() {
    for (input, least) in [
        (&b""[..], 200),
        (b"a", 500),
        (b"replicas: 3, ports: [80]", 1500),
    ] {
        let all = family(input, &["true", "a long word"], 24);
        assert!(all.iter().all(|mutant| mutant.len() <= 24));
        let different: HashSet<&Vec<u8>> = all.iter().collect();
        assert!(different.len() > least, "{} of {input:?}", different.len());
    }
}

/// Every kind of step shows.
#[test]
fn steps_are_of_all_kinds() {
    let all = family(b"replicas: 3, ports: [80]", &["<word>"], 200);
    let has = |wanted: &[u8]| {
        let holds = |mutant: &Vec<u8>| mutant.windows(wanted.len()).any(|part| part == wanted);
        all.iter().any(holds)
    };
    for wanted in [
        "<word>",
        "replicas: 9223372036854775808, ports",
        "[18446744073709551615]",
        "replicas: 3, ports: [80",
        "licas: 3, ports: [80]",
    ] {
        assert!(has(wanted.as_bytes()), "{wanted}");
    }
    assert!(has(b"\xff\xff\xff\xff"));
    assert!(all.iter().any(|mutant| mutant.len() < 8), "cut");
    let twice = |mutant: &Vec<u8>| mutant.windows(4).filter(|part| part == b"port").count() > 1;
    assert!(all.iter().any(twice), "doubled");
}

#[test]
fn dictionaries_are_read_as_libfuzzer_does() {
    let text = "# words\n\"a\\x00\\\\\\\"\"\nname=\"two\"\n\n\"\"\nnone\n";
    assert_eq!(words(text), [&b"a\0\\\""[..], b"two"]);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dictionaries");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().filter(|line| line.contains('"'));
        assert_eq!(words(&text).len(), lines.count(), "{}", path.display());
    }
}
