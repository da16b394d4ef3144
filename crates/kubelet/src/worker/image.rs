//! Makes sure that a container's image is there, by its pull policy.
//!
//! Source: kubernetes v1.36 pkg/kubelet/images/image_manager.go.

use std::time::Duration;

use base::Backoff;
use client::EventType;
use jiff::SignedDuration;
use nodeapi::cri::{Image, ImageSpec, ImageStatusRequest, PullImageRequest};
use schema::Ref;

use crate::pod::Waiting;
use crate::worker::Worker;

const FIRST_DELAY: Duration = Duration::from_secs(10);
const LONGEST_DELAY: Duration = Duration::from_secs(300);

impl Worker {
    /// The image, pulled if need be; `Err` says why the container waits.
    pub(super) async fn ensure_image(
        &mut self,
        container: Ref<'_>,
        field_path: &str,
    ) -> Result<Image, Waiting> {
        let name = container.str("name").to_owned();
        let image = container.str("image").to_owned();
        let policy = match container.str("imagePullPolicy") {
            "" => "IfNotPresent",
            policy => policy,
        };
        let spec = ImageSpec {
            image: image.clone(),
            ..ImageSpec::default()
        };
        let request = ImageStatusRequest {
            image: Some(spec.clone()),
            verbose: false,
        };
        let present = match self.shared.images.image_status(request.clone()).await {
            Ok(answer) => answer.image,
            Err(error) => {
                let message = format!("Failed to inspect image {image:?}: {error}");
                self.event(EventType::Warning, "InspectFailed", &message, field_path);
                return Err(self.wait(&name, "ImageInspectError", message));
            }
        };
        match (policy, present) {
            ("IfNotPresent" | "Never", Some(found)) => {
                let message = format!(
                    "Container image {image:?} already present on machine and can be accessed by the pod"
                );
                self.event(EventType::Normal, "Pulled", &message, field_path);
                self.failed_pulls.remove(&name);
                return Ok(found);
            }
            ("Never", None) => {
                let message =
                    format!("Container image {image:?} is not present with pull policy of Never");
                self.event(
                    EventType::Warning,
                    "ErrImageNeverPull",
                    &message,
                    field_path,
                );
                return Err(self.wait(&name, "ErrImageNeverPull", message));
            }
            _ => {}
        }
        if let Some(earlier) = self.known.waiting.get(&name)
            && earlier.reason == "ErrImagePull"
            && earlier
                .retry_at
                .is_some_and(|at| at > self.shared.clock.now())
        {
            return Err(earlier.clone());
        }
        self.event(
            EventType::Normal,
            "Pulling",
            &format!("Pulling image {image:?}"),
            field_path,
        );
        let started = tokio::time::Instant::now();
        let pull = PullImageRequest {
            image: Some(spec),
            ..PullImageRequest::default()
        };
        if let Err(error) = self.shared.images.pull_image(pull).await {
            let message = format!("Failed to pull image {image:?}: {}", base::Chain(&error));
            self.event(EventType::Warning, "Failed", &message, field_path);
            self.event(
                EventType::Warning,
                "Failed",
                "Error: ErrImagePull",
                field_path,
            );
            return Err(self.wait(&name, "ErrImagePull", base::Chain(&error).to_string()));
        }
        // Upstream rounds to milliseconds.
        let millis = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX / 1_000_000);
        let took = api::duration::format_nanos(millis * 1_000_000);
        match self.shared.images.image_status(request).await {
            Ok(answer) => match answer.image {
                Some(found) => {
                    let message = format!(
                        "Successfully pulled image {image:?} in {took} ({took} including waiting). Image size: {} bytes.",
                        found.size
                    );
                    self.event(EventType::Normal, "Pulled", &message, field_path);
                    self.failed_pulls.remove(&name);
                    Ok(found)
                }
                None => {
                    let message = format!("image {image:?} is gone right after its pull");
                    Err(self.wait(&name, "ImageInspectError", message))
                }
            },
            Err(error) => Err(self.wait(&name, "ImageInspectError", error.to_string())),
        }
    }

    /// Remembers a failure with a growing delay.
    fn wait(&mut self, container: &str, reason: &str, message: String) -> Waiting {
        let backoff = self
            .failed_pulls
            .entry(container.to_owned())
            .or_insert_with(|| Backoff::new(FIRST_DELAY, LONGEST_DELAY));
        let delay = SignedDuration::try_from(backoff.next_delay()).unwrap_or(SignedDuration::ZERO);
        Waiting {
            reason: reason.to_owned(),
            message,
            retry_at: self.shared.clock.now().checked_add(delay).ok(),
        }
    }
}
