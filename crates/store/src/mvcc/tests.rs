//! The core against a naive model that keeps a whole copy of the state for every revision.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use expect_test::{Expect, expect};
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::{collection, proptest};

use crate::{
    Compare, Event, EventKind, Marks, Mvcc, Op, Outcome, Range, Revision, StoreError, Txn,
};

type State = BTreeMap<Vec<u8>, (Vec<u8>, u64, u64)>;

#[derive(Debug, Default)]
struct Model {
    /// State at each revision.
    states: BTreeMap<u64, State>,
    events: Vec<(u64, Vec<u8>)>,
    revision: u64,
    compacted: u64,
}

impl Model {
    fn apply(&mut self, txn: &Txn) -> bool {
        let mut state = self.states[&self.revision].clone();
        for Compare::Revision { key, revision } in &txn.compares {
            if state.get(&key[..]).map_or(0, |(_, _, modified)| *modified) != revision.0 {
                return false;
            }
        }
        let revision = self.revision + 1;
        let mut changed = false;
        for op in &txn.ops {
            let key = op.key().to_vec();
            match op {
                Op::Put { value, .. } => {
                    let created = state.get(&key).map_or(revision, |(_, created, _)| *created);
                    state.insert(key.clone(), (value.to_vec(), created, revision));
                }
                Op::Delete { .. } if state.remove(&key).is_none() => continue,
                Op::Delete { .. } => {}
            }
            changed = true;
            self.events.push((revision, key));
        }
        if changed {
            self.revision = revision;
            self.states.insert(revision, state);
        }
        true
    }
}

#[derive(Clone, Debug)]
enum Step {
    Txn {
        compares: Vec<(u8, u8)>,
        ops: Vec<(u8, Option<u8>)>,
    },
    Compact(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let txn = (
        collection::vec((0..6u8, 0..8u8), 0..2),
        collection::btree_map(0..6u8, any::<Option<u8>>(), 0..3),
    );
    let txn = txn.prop_map(|(compares, ops)| Step::Txn {
        compares,
        ops: ops.into_iter().collect(),
    });
    collection::vec(
        prop_oneof![8 => txn, 1 => any::<u8>().prop_map(Step::Compact)],
        1..60,
    )
}

fn key(n: u8) -> Bytes {
    Bytes::from(format!("/{}/{n}", if n < 3 { "a" } else { "b" }))
}

/// Of the byte that a value is.
fn marker(value: &[u8]) -> Marks {
    Marks::of(&[value])
}

fn compare_all(mvcc: &Mvcc, model: &Model) {
    for (&revision, state) in &model.states {
        let range = Range::prefix(b"/").at(Revision(revision));
        if revision < model.compacted {
            assert!(matches!(
                mvcc.range(&range),
                Err(StoreError::Compacted { .. })
            ));
            continue;
        }
        let page = mvcc.range(&range).unwrap();
        let read: State = page
            .items
            .iter()
            .map(|kv| {
                let meta = (kv.value.to_vec(), kv.create_revision.0, kv.mod_revision.0);
                (kv.key.to_vec(), meta)
            })
            .collect();
        assert_eq!(&read, state, "at {revision}");
        // Who asks for a value sees its keys, and none whose marks say that it is another.
        let wanted: Vec<Vec<u8>> = state.values().map(|(value, ..)| value.clone()).collect();
        for value in wanted.into_iter().chain([vec![7]]) {
            let page = mvcc.range(&range.clone().having(marker(&value))).unwrap();
            let looks =
                |(_, (other, ..)): &(_, &(Vec<u8>, _, _))| marker(other).hold(marker(&value));
            let expected = state.iter().filter(looks).map(|(key, _)| &key[..]);
            assert!(expected.eq(page.items.iter().map(|kv| &kv.key[..])));
        }
        // Pages of two make up the same.
        let mut paged = Vec::new();
        let mut range = range.limit(2);
        loop {
            let page = mvcc.range(&range).unwrap();
            paged.extend(page.items.iter().map(|kv| kv.key.to_vec()));
            assert_eq!(paged.len() + page.remaining, state.len());
            if !page.more {
                break;
            }
            range = range.after(&page.items[1].key);
        }
        assert_eq!(paged, state.keys().cloned().collect::<Vec<_>>());
        // Replaying what happened since then leads to the newest state.
        for prefix in ["/", "/a/"] {
            let mut replayed = state.clone();
            replayed.retain(|key, _| key.starts_with(prefix.as_bytes()));
            let (mut from, mut events) = (revision, Vec::new());
            while from < mvcc.revision().0 {
                let (some, upto) = mvcc.changes(prefix.as_bytes(), from, 3).unwrap();
                assert!(upto > from);
                (from, events) = (upto, [events, some].concat());
            }
            for event in &events {
                replay(&mut replayed, event);
            }
            let mut newest = model.states[&model.revision].clone();
            newest.retain(|key, _| key.starts_with(prefix.as_bytes()));
            assert_eq!(replayed, newest, "from {revision}");
        }
    }
}

fn replay(state: &mut State, event: &Event) {
    let kv = &event.kv;
    let meta = (kv.value.to_vec(), kv.create_revision.0, kv.mod_revision.0);
    let prev = match event.kind {
        EventKind::Put => state.insert(kv.key.to_vec(), meta),
        EventKind::Delete => state.remove(&kv.key[..]),
    };
    let told = event.prev.as_ref();
    let told = told.map(|p| (p.value.to_vec(), p.create_revision.0, p.mod_revision.0));
    assert_eq!(prev, told);
}

proptest! {
    #[test]
    fn agrees_with_the_model(steps in steps()) {
        let mut mvcc = Mvcc::at_compaction(0, marker);
        let mut model = Model { revision: 1, ..Model::default() };
        model.states.insert(1, State::new());
        for step in steps {
            match step {
                Step::Txn { compares, ops } => {
                    // Compares against now, against absence, or against some old revision.
                    let compares = compares.into_iter().map(|(n, back)| {
                        let now = mvcc.get(&key(n)).map_or(0, |kv| kv.mod_revision.0);
                        let revision = if back < 5 { now } else { now.saturating_sub(back.into()) };
                        Compare::Revision { key: key(n), revision: Revision(revision) }
                    });
                    let compares = compares.collect();
                    let ops = ops.into_iter().map(|(n, value)| match value {
                        Some(value) => Op::Put { key: key(n), value: vec![value].into(), ttl: None },
                        None => Op::Delete { key: key(n) },
                    });
                    let txn = Txn { compares, ops: ops.collect(), ..Txn::default() };
                    let (outcome, _) = mvcc.apply(&txn, 0).unwrap();
                    let held = model.apply(&txn);
                    assert_eq!(matches!(outcome, Outcome::Committed { .. }), held);
                    assert_eq!(mvcc.revision().0, model.revision);
                }
                Step::Compact(part) => {
                    let span = model.revision - model.compacted;
                    model.compacted += span * u64::from(part) / 255;
                    mvcc.compact(model.compacted).unwrap();
                }
            }
        }
        compare_all(&mvcc, &model);
        mvcc.compact(mvcc.revision().0).unwrap();
        assert!(mvcc.past.is_empty() && mvcc.log.is_empty() && mvcc.log_bytes == 0);
        let live: usize = mvcc.live.iter().map(crate::record::Record::len).sum();
        assert_eq!(live, mvcc.live_bytes);
    }
}

#[track_caller]
fn check(txns: &[Txn], expect: Expect) {
    let mut mvcc = Mvcc::new();
    let mut lines = String::new();
    for txn in txns {
        let line = match mvcc.apply(txn, 0) {
            Err(error) => format!("error: {error}\n"),
            Ok((Outcome::Conflict { key, current }, _)) => {
                let current = current.map_or(0, |kv| kv.mod_revision.0);
                format!(
                    "conflict: {} is at {current}\n",
                    String::from_utf8_lossy(&key)
                )
            }
            Ok((Outcome::Committed { revision }, events)) => {
                let events: Vec<String> = events.iter().map(describe).collect();
                format!("{revision}: {}\n", events.join(", "))
            }
        };
        lines.push_str(&line);
    }
    expect.assert_eq(&lines);
}

pub(crate) fn describe(event: &Event) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let prev = event.prev.as_ref();
    let prev = prev.map(|kv| format!(" <- {}@{}", text(&kv.value), kv.mod_revision));
    let kv = &event.kv;
    let value = if event.kind == EventKind::Put {
        text(&kv.value)
    } else {
        "gone".into()
    };
    format!(
        "{}={value}@{}{}",
        text(&kv.key),
        kv.mod_revision,
        prev.unwrap_or_default()
    )
}

fn put(key: &str, value: &str) -> Op {
    Op::Put {
        key: Bytes::from(key.to_owned()),
        value: Bytes::from(value.to_owned()),
        ttl: None,
    }
}

fn create(key: &str) -> Txn {
    Txn::create(Bytes::from(key.to_owned()), Bytes::from_static(b"v"))
}

/// Several keys change together or not at all, in one revision.
#[test]
fn several_keys_are_one_revision() {
    let both = |value: &str, revision| {
        let mut txn = create("/ip/10.0.0.1");
        txn.ops.insert(0, put("/svc/a", value));
        txn.compares[0] = Compare::Revision {
            key: "/ip/10.0.0.1".into(),
            revision: Revision(revision),
        };
        txn
    };
    check(
        &[
            both("1", 0),
            both("2", 0),
            both("3", 2),
            Txn::delete("/svc/a".into(), Revision(3)),
        ],
        expect![[r#"
            2: /svc/a=1@2, /ip/10.0.0.1=v@2
            conflict: /ip/10.0.0.1 is at 2
            3: /svc/a=3@3 <- 1@2, /ip/10.0.0.1=v@3 <- v@2
            4: /svc/a=gone@4 <- 3@3
        "#]],
    );
}

/// A key that comes back is a new one; deleting nothing is no revision.
#[test]
fn create_and_delete() {
    let delete = |revision| Txn::delete("/a".into(), Revision(revision));
    check(
        &[
            create("/a"),
            create("/a"),
            delete(1),
            delete(2),
            delete(0),
            create("/a"),
        ],
        expect![[r#"
            2: /a=v@2
            conflict: /a is at 2
            conflict: /a is at 2
            3: /a=gone@3 <- v@2
            3: 
            4: /a=v@4
        "#]],
    );
}

#[test]
fn refuses_what_cannot_be() {
    let twice = Txn {
        ops: vec![put("/a", "1"), put("/a", "2")],
        ..Txn::default()
    };
    let large = Txn::create("/big".into(), vec![0; (8 << 20) + 1].into());
    let many = Txn {
        ops: (0..1025).map(|n| put(&n.to_string(), "")).collect(),
        ..Txn::default()
    };
    check(
        &[twice, large, many, create("")],
        expect![[r#"
            error: transaction changes /a twice
            error: /big: 8388609 bytes are more than the limit of 8388608
            error: transaction of 1025 operations: the limit is 1024
            error: empty key
        "#]],
    );
}

/// A later put without a time to live takes it away; a later one with, renews it.
#[test]
fn time_to_live() {
    let mut mvcc = Mvcc::new();
    let minute = Duration::from_secs(60);
    let put = |name: &str| Txn {
        ops: vec![put(name, "v")],
        ..Txn::default()
    };
    for name in ["/keep", "/renew", "/end"] {
        mvcc.apply(&put(name).with_ttl(minute), 0).unwrap();
    }
    mvcc.apply(&put("/keep"), 1_000).unwrap();
    mvcc.apply(&put("/renew").with_ttl(minute), 1_000).unwrap();
    assert_eq!(mvcc.next_expiry(), Some(60_000));
    assert_eq!(mvcc.expired(59_999, 9), Vec::<Bytes>::new());
    assert_eq!(mvcc.expired(60_000, 9), ["/end"]);
    assert_eq!(mvcc.expired(61_000, 9), ["/end", "/renew"]);
    mvcc.apply(&Txn::delete("/end".into(), Revision(4)), 60_000)
        .unwrap();
    assert_eq!(mvcc.next_expiry(), Some(61_000));
}

#[test]
fn ends_of_prefixes() {
    let end = |prefix: &[u8]| crate::txn::end_of_prefix(prefix);
    assert_eq!(end(b"/a/"), b"/a0");
    assert_eq!(end(b"a\xff\xff"), b"b");
    assert!(end(b"\xff").is_empty() && end(b"").is_empty());
}

/// The oldest revision can be read and watched from, also where a power cut left a gap.
/// Found by `faults power --seed 239219452397429` (docs/RELIABILITY.md).
#[test]
fn compaction_inside_a_gap() {
    let mut mvcc = Mvcc::new();
    mvcc.apply(&create("/a"), 0).unwrap();
    mvcc.add_gap(2, 1002);
    mvcc.advance(1002);
    mvcc.compact(500).unwrap();
    assert_eq!(mvcc.compacted(), Revision(1002));
    let oldest = Range::prefix(b"").at(mvcc.compacted());
    assert_eq!(mvcc.range(&oldest).unwrap().items.len(), 1);
    mvcc.check_watchable(mvcc.compacted().0).unwrap();
    // As a database of before this was mended is read.
    let mut mvcc = Mvcc::at_compaction(500, marker);
    mvcc.add_gap(2, 1002);
    assert_eq!(mvcc.compacted(), Revision(1002));
}
