//! Bursts, repetitions and an API server that is away; time is virtual.

use std::collections::BTreeMap;
use std::sync::Mutex;

use base::ManualClock;
use transport::{Body, InProcess, Request, Response, service_fn};

use super::*;

/// A server of events that takes its time.
#[derive(Default)]
struct Server {
    events: Mutex<BTreeMap<String, (String, String, i64)>>,
    requests: AtomicU64,
    /// So many requests fail at first.
    broken: AtomicU64,
}

impl Server {
    async fn answer(&self, request: Request) -> Response {
        tokio::time::sleep(Duration::from_millis(5)).await;
        self.requests.fetch_add(1, Ordering::Relaxed);
        let fails = self
            .broken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        if fails.is_ok() {
            let mut response = Response::new(Body::from("away"));
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            return response;
        }
        let is_patch = request.method() == http::Method::PATCH;
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect(1 << 20).await.unwrap();
        let dom = Dom::parse_json(&body).unwrap();
        let event = dom.as_ref();
        let count = event.int("count").unwrap();
        let mut events = self.events.lock().unwrap();
        if is_patch {
            let name = path.rsplit('/').next().unwrap();
            let known = events.get_mut(name).unwrap();
            known.2 = count;
            if !event.str("message").is_empty() {
                known.1 = event.str("message").to_owned();
            }
        } else {
            let metadata = event.get("metadata").unwrap();
            let (about, message) = (
                event.get("involvedObject").unwrap().str("name").to_owned(),
                event.str("message").to_owned(),
            );
            events.insert(metadata.str("name").to_owned(), (about, message, count));
        }
        Response::new(Body::from(body))
    }
}

fn start(broken: u64) -> (Recorder, Arc<Server>) {
    let server = Arc::new(Server {
        broken: AtomicU64::new(broken),
        ..Server::default()
    });
    let serving = Arc::clone(&server);
    let service = service_fn(move |request| {
        let server = Arc::clone(&serving);
        async move { server.answer(request).await }
    });
    let transport = InProcess::new(service, http::Extensions::new());
    let client = Client::new(Arc::new(transport), "test").with_rng(Rng::new(7));
    let clock = Arc::new(ManualClock::new("2026-01-02T03:04:05Z".parse().unwrap()));
    let recorder = Recorder::start(client, "kubelet", "node-0", clock, &Shutdown::new());
    (recorder, server)
}

fn pod(number: u32) -> Reference {
    Reference {
        api_version: "v1".to_owned(),
        kind: "Pod".to_owned(),
        namespace: "default".to_owned(),
        name: format!("web-{number}"),
        uid: format!("u{number}"),
        ..Reference::default()
    }
}

/// What 300 pods that start at once say: the first words at one moment, the others within a second.
#[tokio::test(start_paused = true)]
async fn a_burst_of_300_pods_loses_nothing() {
    let (recorder, server) = start(0);
    let reasons = ["Scheduled", "Pulling", "Pulled"];
    for reason in reasons {
        for number in 0..300 {
            recorder.record(&pod(number), EventType::Normal, reason, "text");
        }
    }
    for reason in ["Created", "Started", "Unhealthy", "Killing"] {
        tokio::time::sleep(Duration::from_millis(250)).await;
        for number in 0..300 {
            recorder.record(&pod(number), EventType::Normal, reason, "text");
        }
    }
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(recorder.dropped.load(Ordering::Relaxed), 0);
    let events = server.events.lock().unwrap();
    assert_eq!(events.len(), 7 * 300);
    assert!(events.values().all(|(_, _, count)| *count == 1));
}

/// More than the queue holds is dropped, and nobody waits.
#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded() {
    let (recorder, server) = start(0);
    for number in 0..1200 {
        recorder.record(&pod(number), EventType::Normal, "Scheduled", "text");
    }
    assert_eq!(recorder.dropped.load(Ordering::Relaxed), 200);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(server.events.lock().unwrap().len(), 1000);
}

/// While the first is on its way the others are counted: two requests, not twenty.
#[tokio::test(start_paused = true)]
async fn repetitions_share_a_write() {
    let (recorder, server) = start(0);
    for _ in 0..20 {
        recorder.record(&pod(1), EventType::Warning, "BackOff", "text");
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let events: Vec<_> = server.events.lock().unwrap().values().cloned().collect();
    assert_eq!(events, [("web-1".to_owned(), "text".to_owned(), 20)]);
    assert_eq!(server.requests.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn an_absent_server_is_asked_again() {
    let (recorder, server) = start(40);
    for number in 0..40 {
        recorder.record(&pod(number), EventType::Normal, "Scheduled", "text");
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(server.events.lock().unwrap().len(), 40);
}
