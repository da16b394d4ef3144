//! Makes sure that the images of a container are there, by their pull policies: its own and those
//! that it mounts as volumes.
//!
//! Source: kubernetes v1.36 pkg/kubelet/images/image_manager.go; pkg/kubelet/kuberuntime/
//! kuberuntime_manager.go, getImageVolumes.

use std::collections::HashMap;
use std::time::Duration;

use base::Backoff;
use client::EventType;
use jiff::Timestamp;
use nodeapi::cri::{AuthConfig, Image, ImageSpec, ImageStatusRequest, PullImageRequest};
use schema::Ref;

use crate::container::{Keyring, repository};
use crate::pod::Waiting;
use crate::worker::Worker;

/// Images that are mounted, by the names of their volumes.
pub(crate) type ImageVolumes = HashMap<String, ImageSpec>;

/// An image that is needed.
struct Wanted {
    /// What its delays count for: a container or a volume.
    key: String,
    /// As written.
    image: String,
    /// `Always`, `Never`, `IfNotPresent`; empty is the last.
    policy: String,
}

/// The last failure of a pull, and until when the next one waits.
#[derive(Debug)]
pub(super) struct FailedPull {
    backoff: Backoff,
    pub(super) until: Timestamp,
    reason: String,
    message: String,
}

const FIRST_DELAY: Duration = Duration::from_secs(10);
const LONGEST_DELAY: Duration = Duration::from_secs(300);
/// How long ErrImagePull is reported before it becomes ImagePullBackOff.
const SHOWN: Duration = Duration::from_secs(5);

impl Worker {
    /// A container's own image.
    pub(super) async fn ensure_image(
        &mut self,
        container: Ref<'_>,
        field_path: &str,
    ) -> Result<Image, Waiting> {
        let wanted = Wanted {
            key: container.str("name").to_owned(),
            image: container.str("image").to_owned(),
            policy: container.str("imagePullPolicy").to_owned(),
        };
        let ensured = self.ensure(&wanted, field_path).await;
        if let Err(waiting) = &ensured {
            self.told_waiting(waiting, field_path);
        }
        ensured
    }

    /// The images that a container mounts, by the names of their volumes.
    pub(super) async fn ensure_image_volumes(
        &mut self,
        pod: Ref<'_>,
        container: Ref<'_>,
        field_path: &str,
    ) -> Result<ImageVolumes, Waiting> {
        let mut found = ImageVolumes::new();
        let mut failed = None;
        for volume in pod.get("spec").into_iter().flat_map(|s| s.items("volumes")) {
            let name = volume.str("name");
            let mut mounts = container.items("volumeMounts");
            let Some(source) = volume.get("image") else {
                continue;
            };
            if !mounts.any(|mount| mount.str("name") == name) {
                continue;
            }
            let wanted = Wanted {
                // No container has such a name.
                key: format!("volume {name}"),
                image: source.str("reference").to_owned(),
                policy: source.str("pullPolicy").to_owned(),
            };
            // What happens to a volume's image is told of the pod.
            match self.ensure(&wanted, "").await {
                Ok(image) => {
                    let spec = ImageSpec {
                        image: image.id,
                        user_specified_image: wanted.image,
                        ..ImageSpec::default()
                    };
                    found.insert(name.to_owned(), spec);
                }
                Err(waiting) => {
                    self.told_waiting(&waiting, field_path);
                    failed = Some(waiting);
                }
            }
        }
        failed.map_or(Ok(found), Err)
    }

    /// Why a container waits is told of the container.
    fn told_waiting(&self, waiting: &Waiting, field_path: &str) {
        if waiting.reason != "ImageInspectError" {
            let message = format!("Error: {}", waiting.reason);
            self.event(EventType::Warning, "Failed", &message, field_path);
        }
    }

    /// An image, pulled if need be; `Err` says why the container waits.
    async fn ensure(&mut self, wanted: &Wanted, field_path: &str) -> Result<Image, Waiting> {
        let (name, image) = (&wanted.key, &wanted.image);
        let policy = match wanted.policy.as_str() {
            "" => "IfNotPresent",
            policy => policy,
        };
        let repository = match repository(image) {
            Ok(repository) => repository,
            Err(why) => {
                let message = format!("Failed to apply default image tag {image:?}: {why}");
                self.event(EventType::Warning, "InspectFailed", &message, field_path);
                return Err(self.wait(name, "InvalidImageName", message));
            }
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
                return Err(self.wait(name, "ImageInspectError", message));
            }
        };
        match (policy, present) {
            ("IfNotPresent" | "Never", Some(found)) => {
                let message = format!(
                    "Container image {image:?} already present on machine and can be accessed by the pod"
                );
                self.event(EventType::Normal, "Pulled", &message, field_path);
                self.failed_pulls.remove(name);
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
                return Err(self.wait(name, "ErrImageNeverPull", message));
            }
            _ => {}
        }
        let now = self.now();
        if let Some(earlier) = self.failed_pulls.get(name)
            && earlier.until > now
        {
            let text = format!("Back-off pulling image {image:?}");
            let cause = match earlier.reason.as_str() {
                "ErrImagePull" => format!("{text}: ErrImagePull: {}", earlier.message),
                _ => earlier.message.clone(),
            };
            let retry_at = Some(earlier.until);
            self.event(EventType::Normal, "BackOff", &text, field_path);
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
        let keyring = self.pull_secrets().await;
        if let Err(error) = self.pull(spec, keyring.lookup(&repository)).await {
            let message = format!("Failed to pull image {image:?}: {}", base::Chain(&error));
            self.event(EventType::Warning, "Failed", &message, field_path);
            return Err(self.wait(name, "ErrImagePull", base::Chain(&error).to_string()));
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
                    self.failed_pulls.remove(name);
                    Ok(found)
                }
                None => {
                    let message = format!("image {image:?} is gone right after its pull");
                    Err(self.wait(name, "ImageInspectError", message))
                }
            },
            Err(error) => Err(self.wait(name, "ImageInspectError", error.to_string())),
        }
    }

    /// Whether a container's image lies on this node.
    pub(super) async fn has_image(&self, spec: &crate::pod::ContainerSpec) -> bool {
        let request = ImageStatusRequest {
            image: Some(ImageSpec {
                image: spec.image.clone(),
                ..ImageSpec::default()
            }),
            verbose: false,
        };
        let found = self.shared.images.image_status(request).await;
        found.is_ok_and(|answer| answer.image.is_some())
    }

    /// Tries one credential after the other, or without any when there is none.
    async fn pull(
        &self,
        spec: ImageSpec,
        credentials: Vec<AuthConfig>,
    ) -> Result<(), nodeapi::CriError> {
        let mut tries: Vec<Option<AuthConfig>> = credentials.into_iter().map(Some).collect();
        if tries.is_empty() {
            tries.push(None);
        }
        let mut last = Ok(());
        for auth in tries {
            let pull = PullImageRequest {
                image: Some(spec.clone()),
                auth,
                ..PullImageRequest::default()
            };
            match self.shared.images.pull_image(pull).await {
                Ok(_) => return Ok(()),
                Err(error) => last = Err(error),
            }
        }
        last
    }

    /// The pod's `imagePullSecrets`; those that cannot be read are told and passed over.
    async fn pull_secrets(&self) -> Keyring {
        let mut keyring = Keyring::default();
        let Ok(dom) = self.object.parse() else {
            return keyring;
        };
        let secrets = self
            .shared
            .client
            .namespaced(&api::Gvr::new("", "v1", "secrets"), &self.key.namespace);
        let mut missing: Vec<&str> = Vec::new();
        let spec = dom.as_ref().get("spec");
        for reference in spec.into_iter().flat_map(|s| s.items("imagePullSecrets")) {
            let name = reference.str("name");
            if name.is_empty() {
                continue;
            }
            match secrets
                .find(name)
                .await
                .map(|found| found.map(|o| o.parse()))
            {
                Ok(Some(Ok(secret))) => keyring.add(secret.as_ref()),
                _ => missing.push(name),
            }
        }
        if !missing.is_empty() {
            let message = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                missing.join(", ")
            );
            let reason = "FailedToRetrieveImagePullSecret";
            self.event(EventType::Warning, reason, &message, "");
        }
        keyring
    }

    /// Remembers a failure with a growing delay.
    fn wait(&mut self, key: &str, reason: &str, message: String) -> Waiting {
        let now = self.now();
        let failed = self
            .failed_pulls
            .entry(key.to_owned())
            .or_insert_with(|| FailedPull {
                backoff: Backoff::new(FIRST_DELAY, LONGEST_DELAY),
                until: now,
                reason: String::new(),
                message: String::new(),
            });
        let delay = failed.backoff.next_delay();
        failed.until = base::after(now, delay);
        reason.clone_into(&mut failed.reason);
        failed.message.clone_from(&message);
        // The failure is shown for a while, then that its repetition waits.
        let retry_at = match reason {
            "ErrImagePull" => base::after(now, SHOWN.min(delay)),
            _ => failed.until,
        };
        Waiting {
            reason: reason.to_owned(),
            message,
            retry_at: Some(retry_at),
        }
    }
}
