use super::*;

#[tokio::test(start_paused = true)]
async fn a_key_added_while_active_comes_again_once() {
    let queue = WorkQueue::new();
    queue.add("a");
    queue.add("a");
    let key = queue.next().await;
    assert!(queue.is_empty());
    queue.add("a");
    queue.add("a");
    assert!(queue.is_empty(), "not while it is worked on");
    queue.done(&key);
    assert_eq!(queue.next().await, "a");
    queue.done(&"a");
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn failures_delay_and_forget_clears() {
    let queue = WorkQueue::new();
    let start = Instant::now();
    for _ in 0..4 {
        queue.retry("a");
        let key = queue.next().await;
        queue.done(&key);
    }
    assert_eq!(start.elapsed().as_millis(), 5 + 10 + 20 + 40);
    assert_eq!(queue.failures(&"a"), 4);
    queue.forget(&"a");
    assert_eq!(queue.failures(&"a"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_delay_wins() {
    let queue = WorkQueue::new();
    let start = Instant::now();
    queue.add_after("a", Duration::from_secs(9));
    queue.add_after("a", Duration::from_secs(2));
    queue.add_after("a", Duration::from_secs(5));
    let key = queue.next().await;
    queue.done(&key);
    assert_eq!(start.elapsed().as_secs(), 2);
    let more = tokio::time::timeout(Duration::from_secs(60), queue.next()).await;
    assert!(more.is_err(), "one delivery only");
}
