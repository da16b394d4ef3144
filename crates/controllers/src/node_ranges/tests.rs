//! Nodes that come and go where there are fewer shares than nodes.

use std::time::Duration;

use crate::node_ranges::PodRanges;
use crate::testing::TestApi;

/// Four shares.
fn ranges() -> PodRanges {
    PodRanges {
        ranges: vec!["10.244.0.0/22".parse().unwrap()],
        mask_v4: 24,
        mask_v6: 64,
        settled: Vec::new(),
    }
}

fn put(api: &TestApi, name: &str) {
    api.put("nodes", &format!(r#"{{"metadata":{{"name":"{name}"}}}}"#));
}

/// Nodes that were given a share since the last look, and how many events were written.
async fn settle(api: &TestApi) -> (Vec<String>, usize) {
    tokio::time::sleep(Duration::from_secs(60)).await;
    let asked = api.asked();
    let given = asked
        .iter()
        .filter_map(|line| line.strip_prefix("PATCH nodes "));
    let given = given.map(str::to_owned).collect();
    let events = asked.iter().filter(|line| line.contains("events"));
    (given, events.count())
}

/// With a thousand nodes and 256 shares, looking for each of 744 whenever a node went took all of
/// the API server's time, for the event that each had found nothing.
#[tokio::test(start_paused = true)]
async fn a_share_that_is_free_again_brings_one_that_waits() {
    let api = TestApi::default();
    for number in 10..50 {
        put(&api, &format!("n{number}"));
    }
    let shutdown = api.start("node-ipam-controller", ranges());
    let (first, events) = settle(&api).await;
    assert_eq!((first.len(), events), (4, 36));

    api.remove("nodes", &first[0]);
    let (second, events) = settle(&api).await;
    assert_eq!(second.len(), 1, "{second:?}");
    assert!(events <= 1, "{events} events");

    // One that has none takes nobody's with it.
    let has_none = api.names("nodes");
    let has_none = has_none
        .iter()
        .find(|name| !first.contains(name) && !second.contains(name));
    api.remove("nodes", has_none.unwrap());
    assert_eq!(settle(&api).await, (Vec::new(), 0));

    // All that had one go at once, the called ones among them.
    let next: Vec<String> = api
        .names("nodes")
        .into_iter()
        .filter(|name| !first.contains(name))
        .collect();
    for name in first[1..].iter().chain(&second).chain(&next[1..4]) {
        if api.names("nodes").contains(name) {
            api.remove("nodes", name);
        }
    }
    let (third, events) = settle(&api).await;
    assert_eq!(third.len(), 4, "{third:?}");
    assert!(events <= 4, "{events} events");
    shutdown.trigger();
}

/// A node that is made anew under its name gets a share like any other.
#[tokio::test(start_paused = true)]
async fn a_name_comes_again() {
    let api = TestApi::default();
    put(&api, "a");
    let shutdown = api.start("node-ipam-controller", ranges());
    assert_eq!(settle(&api).await.0, ["a"]);
    for _ in 0..9 {
        api.remove("nodes", "a");
        put(&api, "a");
        assert_eq!(settle(&api).await, (vec!["a".to_owned()], 0));
    }
    // What "a" held before is free.
    for name in ["b", "c", "d"] {
        put(&api, name);
    }
    assert_eq!(settle(&api).await.0.len(), 3);
    shutdown.trigger();
}
