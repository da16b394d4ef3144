//! Watchers through the three groups.

use std::sync::Arc;

use bytes::Bytes;
use expect_test::{Expect, expect};
use jiff::Timestamp;

use crate::mvcc::tests::describe;
use crate::watch::hub::QUEUE_EVENTS;
use crate::{Op, Revision, Store, StoreError, Txn, Watcher};

fn store() -> Store {
    Store::in_memory(Arc::new(base::ManualClock::new(Timestamp::UNIX_EPOCH)))
}

fn put(store: &Store, keys: &[&str]) {
    let op = |key: &&str| Op::Put {
        key: Bytes::from((*key).to_owned()),
        value: Bytes::from_static(b"v"),
        ttl: None,
    };
    let txn = Txn {
        ops: keys.iter().map(op).collect(),
        ..Txn::default()
    };
    drop(crate::log::tests::wait(store.txn(txn)));
}

#[track_caller]
fn check(watcher: &mut Watcher, expect: Expect) {
    let mut lines = String::new();
    while let Some(batch) = watcher.try_next().unwrap() {
        let events: Vec<String> = batch.events.iter().map(describe).collect();
        lines.push_str(&format!("{}: {}\n", batch.revision, events.join(", ")));
    }
    expect.assert_eq(&lines);
}

/// Lagging first, then current; prefixes that contain each other; a revision stays whole.
#[test]
fn history_then_news() {
    let store = store();
    put(&store, &["/a/1"]);
    put(&store, &["/b/1"]);
    put(&store, &["/a/2", "/b/2"]);
    let mut all = store.watch(b"/", Revision(1)).unwrap();
    let mut some = store.watch(b"/a/", Revision(2)).unwrap();
    let mut one = store.watch(b"/a/2", Revision(4)).unwrap();
    check(
        &mut all,
        expect![[r#"
        4: /a/1=v@2, /b/1=v@3, /a/2=v@4, /b/2=v@4
    "#]],
    );
    check(
        &mut some,
        expect![[r#"
        4: /a/2=v@4
    "#]],
    );
    check(&mut one, expect![""]);
    put(&store, &["/a/2", "/b/2"]);
    put(&store, &["/a/3"]);
    put(&store, &["/0"]);
    check(
        &mut all,
        expect![[r#"
        5: /a/2=v@5 <- v@4, /b/2=v@5 <- v@4
        6: /a/3=v@6
        7: /0=v@7
    "#]],
    );
    check(
        &mut some,
        expect![[r#"
        5: /a/2=v@5 <- v@4
        6: /a/3=v@6
    "#]],
    );
    check(
        &mut one,
        expect![[r#"
        5: /a/2=v@5 <- v@4
    "#]],
    );
}

/// Progress is told when asked for, behind everything that is queued.
#[test]
fn progress() {
    let store = store();
    let mut watcher = store.watch(b"/a/", Revision(1)).unwrap();
    check(&mut watcher, expect![""]);
    put(&store, &["/b/1"]);
    put(&store, &["/a/1"]);
    put(&store, &["/b/1"]);
    watcher.progress_requester().request();
    check(
        &mut watcher,
        expect![[r#"
        3: /a/1=v@3
        4: 
    "#]],
    );
}

/// A full queue loses nothing: the rest comes from the history.
#[test]
fn stuck_then_lagging_then_current() {
    let store = store();
    let mut watcher = store.watch(b"/", Revision(1)).unwrap();
    check(&mut watcher, expect![""]);
    let many = QUEUE_EVENTS as u64 + 700;
    for _ in 0..many {
        put(&store, &["/a"]);
    }
    let mut next = 2;
    while let Some(batch) = watcher.try_next().unwrap() {
        for event in batch.events.iter() {
            assert_eq!(event.kv.mod_revision.0, next);
            next += 1;
        }
        assert_eq!(batch.revision.0, next - 1);
    }
    assert_eq!(next, many + 2);
    put(&store, &["/b"]);
    check(
        &mut watcher,
        expect![[r#"
        1726: /b=v@1726
    "#]],
    );
}

/// A stuck watcher whose place is compacted away is told so, after what it still had.
#[test]
fn compacted_under_a_stuck_watcher() {
    let store = store();
    let mut watcher = store.watch(b"/", Revision(1)).unwrap();
    check(&mut watcher, expect![""]);
    for _ in 0..2 * QUEUE_EVENTS {
        put(&store, &["/a"]);
    }
    store.compact(store.current_revision()).unwrap();
    let end = loop {
        if let Err(end) = watcher.try_next() {
            break end;
        }
    };
    assert!(
        matches!(
            end,
            StoreError::Compacted {
                oldest: Revision(2049),
                ..
            }
        ),
        "{end}"
    );
    let early = store.watch(b"/", Revision(2048)).unwrap_err();
    expect!["revision 2048 has been compacted: the oldest available is 2049"]
        .assert_eq(&early.to_string());
    let late = store.watch(b"/", Revision(2050)).unwrap_err();
    expect!["revision 2050 is in the future: the current revision is 2049"]
        .assert_eq(&late.to_string());
}

/// Expiry is a delete like any other.
#[test]
fn expiry_is_an_event() {
    let clock = Arc::new(base::ManualClock::new(Timestamp::UNIX_EPOCH));
    let store = Store::in_memory(Arc::clone(&clock) as Arc<dyn base::Clock>);
    let second = std::time::Duration::from_secs(1);
    drop(crate::log::tests::wait(
        store.txn(Txn::create("/e".into(), "v".into()).with_ttl(second)),
    ));
    let mut watcher = store.watch(b"/", Revision(2)).unwrap();
    store.expire();
    check(&mut watcher, expect![""]);
    clock.advance(second);
    store.expire();
    check(
        &mut watcher,
        expect![[r#"
        3: /e=gone@3 <- v@2
    "#]],
    );
}
