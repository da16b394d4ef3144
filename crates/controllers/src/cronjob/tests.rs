//! Active Jobs that are others than they were.

use crate::PodRanges;
use crate::testing::{TestApi, settle};

/// It was deleted and made anew, for the same time and so with the same name.
#[tokio::test(start_paused = true)]
async fn a_job_that_another_took_the_place_of_is_not_active() {
    let api = TestApi::default();
    api.put(
        "cronjobs",
        r#"{"metadata":{"namespace":"default","name":"often","uid":"c"},
            "spec":{"schedule":"* * * * *","suspend":true,"concurrencyPolicy":"Forbid",
                    "jobTemplate":{"spec":{"template":{"spec":{"containers":[]}}}}},
            "status":{"active":[{"name":"often-1","namespace":"default","uid":"first"}]}}"#,
    );
    api.put(
        "jobs",
        r#"{"metadata":{"namespace":"default","name":"often-1","uid":"second","ownerReferences":[
            {"apiVersion":"batch/v1","kind":"CronJob","name":"often","uid":"c","controller":true}]},
            "status":{"conditions":[{"type":"Complete","status":"True"}]}}"#,
    );
    let shutdown = api.start("cronjob-controller", PodRanges::default());
    settle().await;
    assert_eq!(
        api.asked(),
        ["PUT cronjobs often", "POST events"],
        "the list of active Jobs was written, and why"
    );
    shutdown.trigger();
}
