//! A Service that is gone in the server and still in the controller's copy; slices that others take.

use std::time::Duration;

use crate::PodRanges;
use crate::testing::{TestApi, settle};

/// A second, as [`crate::endpoint::slice_sync`] waits after others' changes.
const PAUSE: Duration = Duration::from_secs(1);

fn world() -> TestApi {
    let api = TestApi::default();
    api.put(
        "services",
        r#"{"metadata":{"namespace":"default","name":"web","uid":"u"},
            "spec":{"clusterIP":"10.96.0.10","ipFamilies":["IPv4"],"selector":{"app":"web"},
                    "ports":[{"port":80}]}}"#,
    );
    api
}

/// The garbage collector takes what the controller makes, and the controller makes it anew for as
/// long as its watch of Services is behind. Nobody asks the server, as upstream: what others took
/// is looked at a second later, so it is one slice a second, and ends with the watch's delay.
#[tokio::test(start_paused = true)]
async fn slices_of_a_service_that_is_gone_are_few() {
    let api = world();
    let shutdown = api.start("endpointslice-controller", PodRanges::default());
    settle().await;
    assert_eq!(api.asked(), ["POST endpointslices"]);

    api.hold_back("services");
    api.remove("services", "web");
    // The collector is at it at once, always.
    for _ in 0..3000 {
        for slice in api.names("endpointslices") {
            api.remove("endpointslices", &slice);
        }
        tokio::time::sleep(PAUSE / 100).await;
    }
    let made = api.asked();
    assert!(
        made.iter().all(|line| line == "POST endpointslices"),
        "{made:?}"
    );
    assert!((10..=30).contains(&made.len()), "{} in 30 s", made.len());

    api.catch_up("services");
    settle().await;
    for slice in api.names("endpointslices") {
        api.remove("endpointslices", &slice);
    }
    api.asked();
    settle().await;
    assert_eq!(api.asked(), [""; 0]);
    shutdown.trigger();
}

/// It is not waited for in the watch, where it came and went before the answer.
#[tokio::test(start_paused = true)]
async fn a_slice_that_others_take_before_its_answer_is_made_anew() {
    let api = world();
    api.delay_answers(PAUSE / 10);
    let shutdown = api.start("endpointslice-controller", PodRanges::default());
    let first = loop {
        tokio::time::sleep(PAUSE / 100).await;
        if let Some(first) = api.names("endpointslices").pop() {
            break first;
        }
    };
    api.remove("endpointslices", &first);
    settle().await;
    assert_eq!(api.asked(), ["POST endpointslices"; 2]);
    assert_eq!(api.names("endpointslices").len(), 1);
    shutdown.trigger();
}
