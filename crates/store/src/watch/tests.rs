//! Watchers through the three groups.

use std::sync::Arc;

use bytes::Bytes;
use expect_test::{Expect, expect};
use jiff::Timestamp;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof};
use proptest::{collection, proptest};

use crate::mvcc::tests::describe;
use crate::watch::hub::QUEUE_EVENTS;
use crate::{Event, Op, Revision, Store, StoreError, Txn, Watcher};

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
            734: /b=v@734
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
                oldest: Revision(65),
                ..
            }
        ),
        "{end}"
    );
    let early = store.watch(b"/", Revision(64)).unwrap_err();
    expect!["revision 64 has been compacted: the oldest available is 65"]
        .assert_eq(&early.to_string());
    let late = store.watch(b"/", Revision(66)).unwrap_err();
    expect!["revision 66 is in the future: the current revision is 65"]
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

/// What a watcher has been told so far, and what it should have been told.
struct Follower {
    watcher: Watcher,
    prefix: &'static [u8],
    from: u64,
    told: Vec<Event>,
    upto: u64,
}

impl Follower {
    fn start(store: &Store, prefix: &'static [u8], from: u64) -> Follower {
        let watcher = store.watch(prefix, Revision(from)).unwrap();
        Follower {
            watcher,
            prefix,
            from,
            told: Vec::new(),
            upto: from,
        }
    }

    /// Takes one batch; false: there was none.
    fn step(&mut self) -> bool {
        let Some(batch) = self.watcher.try_next().unwrap() else {
            return false;
        };
        assert!(batch.revision.0 >= self.upto);
        for event in batch.events.iter() {
            let at = event.kv.mod_revision.0;
            assert!(
                self.upto < at && at <= batch.revision.0,
                "{at} is outside its batch"
            );
        }
        self.upto = batch.revision.0;
        self.told.extend(batch.events.iter().cloned());
        true
    }

    fn expected(&self, all: &[Event], upto: u64) -> Vec<Event> {
        let wanted = |event: &&Event| {
            let at = event.kv.mod_revision.0;
            self.from < at && at <= upto && event.kv.key.starts_with(self.prefix)
        };
        all.iter().filter(wanted).cloned().collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<u8>),
    Start(u8, u8),
    Read(u8, u8),
    Progress(u8),
    Stop(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = collection::btree_set(0..6u8, 1..4).prop_map(|keys| keys.into_iter().collect());
    let step = prop_oneof![
        20 => write.prop_map(Step::Write),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(prefix, from)| Step::Start(prefix, from)),
        3 => (any::<u8>(), 0..6u8).prop_map(|(which, times)| Step::Read(which, times)),
        2 => any::<u8>().prop_map(Step::Progress),
        1 => any::<u8>().prop_map(Step::Stop),
    ];
    collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    /// Whatever the order of writes and reads: every watcher is told everything under its prefix
    /// behind its start, once and in order, and is never ahead of or behind what it says.
    #[test]
    fn nothing_is_lost_or_told_twice(steps in steps()) {
        const KEYS: [&str; 6] = ["/a/1", "/a/2", "/a/b/1", "/ab/1", "/b/1", "/b/2"];
        const PREFIXES: [&[u8]; 6] = [b"", b"/a/", b"/a/b/", b"/a", b"/b/2", b"/c/"];
        let store = store();
        let mut history = store.watch(b"", Revision(1)).unwrap();
        let mut followers: Vec<Follower> = Vec::new();
        for step in steps {
            let pick = |which: u8, followers: &[Follower]| usize::from(which) % followers.len().max(1);
            match step {
                Step::Write(keys) => {
                    let keys: Vec<&str> = keys.iter().map(|&key| KEYS[usize::from(key)]).collect();
                    put(&store, &keys);
                }
                Step::Start(prefix, from) => {
                    let prefix = PREFIXES[usize::from(prefix) % PREFIXES.len()];
                    let from = 1 + u64::from(from) % store.current_revision().0;
                    followers.push(Follower::start(&store, prefix, from));
                }
                Step::Read(which, times) => {
                    let which = pick(which, &followers);
                    if let Some(follower) = followers.get_mut(which) {
                        (0..times).take_while(|_| follower.step()).count();
                    }
                }
                Step::Progress(which) => {
                    if let Some(follower) = followers.get(pick(which, &followers)) {
                        follower.watcher.progress_requester().request();
                    }
                }
                Step::Stop(which) if !followers.is_empty() => {
                    followers.swap_remove(pick(which, &followers));
                }
                Step::Stop(_) => {}
            }
        }
        let mut all: Vec<Event> = Vec::new();
        while let Some(batch) = history.try_next().unwrap() {
            all.extend(batch.events.iter().cloned());
        }
        for follower in &mut followers {
            assert_eq!(follower.told, follower.expected(&all, follower.upto));
            follower.watcher.progress_requester().request();
            while follower.step() {}
            assert_eq!(follower.upto, store.current_revision().0);
            assert_eq!(follower.told, follower.expected(&all, u64::MAX));
        }
        assert_eq!(all.last().map_or(1, |event| event.kv.mod_revision.0), store.current_revision().0);
    }
}
