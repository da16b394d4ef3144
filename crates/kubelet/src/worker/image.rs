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
/// How long ErrImagePull is reported before it becomes ImagePullBackOff.
const SHOWN: Duration = Duration::from_secs(5);

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
            && let Some((_, until)) = self.failed_pulls.get(&name)
            && *until > self.shared.clock.now()
        {
            let text = format!("Back-off pulling image {image:?}");
            let cause = match earlier.reason.as_str() {
                "ErrImagePull" => format!("{text}: ErrImagePull: {}", earlier.message),
                _ => earlier.message.clone(),
            };
            let retry_at = Some(*until);
            self.event(EventType::Normal, "BackOff", &text, field_path);
            self.event(
                EventType::Warning,
                "Failed",
                "Error: ImagePullBackOff",
                field_path,
            );
            return Err(Waiting {
                reason: "ImagePullBackOff".to_owned(),
                message: cause,
                retry_at,
            });
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
        let now = self.shared.clock.now();
        let after = |delay: Duration| {
            let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::ZERO);
            now.checked_add(delay).unwrap_or(now)
        };
        let (backoff, until) = self
            .failed_pulls
            .entry(container.to_owned())
            .or_insert_with(|| (Backoff::new(FIRST_DELAY, LONGEST_DELAY), now));
        let delay = backoff.next_delay();
        *until = after(delay);
        // The failure is shown for a while, then that its repetition waits.
        let retry_at = match reason {
            "ErrImagePull" => after(SHOWN.min(delay)),
            _ => *until,
        };
        Waiting {
            reason: reason.to_owned(),
            message,
            retry_at: Some(retry_at),
        }
    }
}
