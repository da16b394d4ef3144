//! A follower that is quick, one that is too slow, and one whose store closes.

use std::sync::Arc;
use std::time::Duration;

use base::ManualClock;
use bytes::Bytes;
use store::{Op, Retry, Revision, Store, StoreError, Txn, Watcher};

use super::Follower;

fn store() -> Store {
    Store::in_memory(Arc::new(ManualClock::new(jiff::Timestamp::UNIX_EPOCH)))
}

async fn put(store: &Store, key: &'static str) {
    let op = Op::Put {
        key: Bytes::from_static(key.as_bytes()),
        value: Bytes::from_static(b"v"),
        ttl: None,
    };
    let txn = Txn {
        ops: vec![op],
        ..Txn::default()
    };
    drop(store.txn(txn).await);
}

/// Whether it wakes now.
async fn wakes(follower: &mut Follower) -> bool {
    let changed = tokio::time::timeout(Duration::from_secs(1), follower.changed()).await;
    changed.is_ok_and(|changed| changed.is_ok())
}

/// Why a watcher that nobody helps ends.
fn end(watcher: &mut Watcher) -> StoreError {
    loop {
        match watcher.try_next() {
            Ok(batch) => assert!(batch.is_some(), "it goes on"),
            Err(error) => return error,
        }
    }
}

fn follower(store: &Store, from: Revision) -> Follower {
    Follower::new(store.clone(), Bytes::from_static(b"/a/"), from)
}

#[tokio::test(start_paused = true)]
async fn a_change_wakes_once() {
    let store = store();
    put(&store, "/a/1").await;
    let mut follower = follower(&store, store.current_revision());
    assert!(!wakes(&mut follower).await);
    put(&store, "/b/1").await;
    assert!(!wakes(&mut follower).await);
    put(&store, "/a/1").await;
    assert!(wakes(&mut follower).await);
    assert!(!wakes(&mut follower).await);
}

/// Changes between the owner's reading and its first question are not lost.
#[tokio::test(start_paused = true)]
async fn what_came_before_the_first_question_wakes() {
    let store = store();
    let mut follower = follower(&store, store.current_revision());
    put(&store, "/a/1").await;
    assert!(wakes(&mut follower).await);
}

/// Its place is compacted before it watches, and after it began to lag: it wakes all the same,
/// and goes on.
#[tokio::test(start_paused = true)]
async fn lost_history_wakes_and_is_followed_on() {
    let store = store();
    put(&store, "/a/1").await;
    let mut late = follower(&store, store.current_revision());
    let mut lagging = follower(&store, store.current_revision());
    let mut plain = store.watch(b"/a/", store.current_revision()).unwrap();
    assert!(plain.try_next().unwrap().is_none());
    assert!(!wakes(&mut lagging).await);
    // More than the queue of a watcher holds.
    for _ in 0..3_000 {
        put(&store, "/a/1").await;
    }
    store.compact(store.current_revision()).unwrap();
    assert_eq!(end(&mut plain).retry(), Retry::Restart);
    assert!(wakes(&mut late).await);
    assert!(!wakes(&mut late).await);
    // What its queue held wakes it, and what that did not hold.
    while wakes(&mut lagging).await {}
    put(&store, "/a/2").await;
    assert!(wakes(&mut late).await);
    assert!(wakes(&mut lagging).await);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_closes_is_the_end() {
    let store = store();
    let mut follower = follower(&store, store.current_revision());
    assert!(!wakes(&mut follower).await);
    store.close();
    let ended = follower.changed().await.unwrap_err();
    assert_eq!(ended.to_string(), "the store is closed");
}
