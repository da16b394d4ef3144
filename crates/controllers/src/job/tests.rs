//! What Jobs hold on to that are gone, and pods that are gone before they are counted.

use std::time::Duration;

use crate::PodRanges;
use crate::testing::{TestApi, settle};

const JOB: &str = r#"{"metadata":{"namespace":"default","name":"once","uid":"j"},
    "spec":{"parallelism":1,"completions":1,"backoffLimit":2,
            "selector":{"matchLabels":{"app":"once"}},
            "template":{"metadata":{"labels":{"app":"once"}},"spec":{"containers":[]}}}}"#;

const POD: &str = r#"{"metadata":{"namespace":"default","name":"once-1","uid":"p",
    "labels":{"app":"once"},"finalizers":["batch.kubernetes.io/job-tracking"],"ownerReferences":[
    {"apiVersion":"batch/v1","kind":"Job","name":"once","uid":"j","controller":true}]}}"#;

/// The pod's own last event is there before the Job's: it says nothing of whose the pod is then.
#[tokio::test(start_paused = true)]
async fn a_pod_is_let_go_when_its_job_goes_after_it() {
    let api = TestApi::default();
    api.put("jobs", JOB);
    api.put("pods", POD);
    let shutdown = api.start("job-controller", PodRanges::default());
    settle().await;
    api.hold_back("jobs");
    api.remove("jobs", "once");
    let deleting = POD.replacen(
        "\"uid\":\"p\"",
        "\"uid\":\"p\",\"deletionTimestamp\":\"2026-01-02T03:04:05Z\"",
        1,
    );
    api.put("pods", &deleting);
    settle().await;
    let asked = api.asked();
    assert!(
        !asked.contains(&"PATCH pods once-1".to_owned()),
        "{asked:?}"
    );
    api.catch_up("jobs");
    settle().await;
    assert_eq!(api.asked(), ["PATCH pods once-1"]);
    shutdown.trigger();
}

/// The controller let go of it, and the answer was lost: the server knows the pod no more. As long
/// as the watch of pods is behind, the controller's copy holds the finalizer.
#[tokio::test(start_paused = true)]
async fn a_pod_that_is_gone_is_counted_once() {
    let api = TestApi::default();
    api.delay_answers(Duration::from_millis(50));
    api.put("jobs", JOB);
    api.put("pods", POD);
    let shutdown = api.start("job-controller", PodRanges::default());
    settle().await;
    let failed = r#"{"status":{"phase":"Failed"},"metadata""#;
    api.put("pods", &POD.replacen("{\"metadata\"", failed, 1));
    api.hold_back("pods");
    api.remove("pods", "once-1");
    settle().await;
    let counted = || {
        let job = api.object("jobs", "once");
        job.as_ref()
            .get("status")
            .and_then(|status| status.int("failed"))
    };
    assert_eq!(counted(), Some(1));
    api.catch_up("pods");
    settle().await;
    assert_eq!(counted(), Some(1));
    shutdown.trigger();
}
