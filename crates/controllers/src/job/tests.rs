//! What Jobs that are gone hold on to.

use crate::PodRanges;
use crate::testing::{TestApi, settle};

const POD: &str = r#"{"metadata":{"namespace":"default","name":"once-1","uid":"p",
    "labels":{"app":"once"},"finalizers":["batch.kubernetes.io/job-tracking"],"ownerReferences":[
    {"apiVersion":"batch/v1","kind":"Job","name":"once","uid":"j","controller":true}]}}"#;

/// The pod's own last event is there before the Job's: it says nothing of whose the pod is then.
#[tokio::test(start_paused = true)]
async fn a_pod_is_let_go_when_its_job_goes_after_it() {
    let api = TestApi::default();
    api.put(
        "jobs",
        r#"{"metadata":{"namespace":"default","name":"once","uid":"j"},
            "spec":{"parallelism":1,"completions":1,"selector":{"matchLabels":{"app":"once"}},
                    "template":{"metadata":{"labels":{"app":"once"}},"spec":{"containers":[]}}}}"#,
    );
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
