//! What a disk may and may not forget.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};

use super::{Change, Disk, Loss, Naming};

/// All that may be left after `changes` to a file `f` that held `old`, flushed up to `flushed`.
#[track_caller]
fn check(changes: &[&str], flushed: usize, loss: Loss, expect: Expect) {
    let mut disk = Disk::with(&[("f".to_owned(), b"old".to_vec())].into());
    for (at, text) in (0..).zip(changes) {
        let bytes = text.as_bytes().to_vec();
        disk.change("f", Change::Write(at, bytes));
    }
    disk.flush("f", flushed);
    let left = (0..200).map(|seed| {
        let files = disk.after_cut(loss, &mut base::Rng::new(seed));
        String::from_utf8_lossy(&files["f"]).into_owned()
    });
    let left: BTreeSet<String> = left.collect();
    expect.assert_eq(&format!("{left:?}"));
}

#[test]
fn what_is_not_flushed_may_be_lost() {
    let writes = ["A", "B", "C"];
    check(&writes, 0, Loss::All, expect![[r#"{"old"}"#]]);
    check(&writes, 2, Loss::All, expect![[r#"{"ABd"}"#]]);
    check(&writes, 1, Loss::None, expect![[r#"{"ABC"}"#]]);
    check(
        &writes,
        1,
        Loss::Tail,
        expect![[r#"{"ABC", "ABd", "Ald"}"#]],
    );
    check(
        &writes,
        1,
        Loss::Some,
        expect![[r#"{"ABC", "ABd", "AlC", "Ald"}"#]],
    );
}

/// A write of two sectors may lose either; the file may have grown all the same.
#[test]
fn sectors_tear() {
    let mut disk = Disk::with(&[("f".to_owned(), vec![])].into());
    disk.change("f", Change::Write(0, vec![b'x'; 1024]));
    let left = (0..200).map(|seed| {
        let files = disk.after_cut(Loss::Torn, &mut base::Rng::new(seed));
        let sector = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>() / 512;
        files["f"].chunks(512).map(sector).collect::<Vec<u32>>()
    });
    let left: BTreeSet<Vec<u32>> = left.collect();
    expect!["{[], [0], [0, 0], [0, 120], [120], [120, 0], [120, 120]}"]
        .assert_eq(&format!("{left:?}"));
}

/// Names need a flush of the directory.
#[test]
fn names_may_be_lost() {
    let mut disk = Disk::default();
    disk.name(&Naming::Create("new".into()));
    disk.flush_names();
    disk.change("new", Change::Write(0, b"x".to_vec()));
    disk.flush("new", 1);
    disk.name(&Naming::Rename("new".into(), "f".into()));
    let left = (0..50).map(|seed| {
        let files = disk.after_cut(Loss::Some, &mut base::Rng::new(seed));
        format!("{files:?}")
    });
    let left: BTreeSet<String> = left.collect();
    expect![[r#"{"{\"f\": [120]}", "{\"new\": [120]}"}"#]].assert_eq(&format!("{left:?}"));
}
