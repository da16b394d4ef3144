//! CRI's ImageService: every image exists, except those whose name says otherwise.
//!
//! `missing` in the name: the registry has it not. `slow`: its pull takes 30 s. Others take 1 s,
//! and stay on the node.

use std::time::Duration;

use nodeapi::cri;
use nodeapi::{Code, CriError, ImageService};

use crate::runtime::{FakeRuntime, State};

const PULL: Duration = Duration::from_secs(1);
const SLOW_PULL: Duration = Duration::from_secs(30);
const SIZE_BYTES: u64 = 1 << 20;

impl State {
    pub(super) fn has_image(&self, name: &str) -> bool {
        self.images.contains_key(name) || self.images.values().any(|image| image.id == name)
    }
}

fn name_of(image: Option<cri::ImageSpec>) -> String {
    image.map(|image| image.image).unwrap_or_default()
}

#[async_trait::async_trait]
impl ImageService for FakeRuntime {
    async fn list_images(
        &self,
        _: cri::ListImagesRequest,
    ) -> Result<cri::ListImagesResponse, CriError> {
        let images = self.inner.state.lock().images.values().cloned().collect();
        Ok(cri::ListImagesResponse { images })
    }

    async fn image_status(
        &self,
        request: cri::ImageStatusRequest,
    ) -> Result<cri::ImageStatusResponse, CriError> {
        let name = name_of(request.image);
        let image = self.inner.state.lock().images.get(&name).cloned();
        Ok(cri::ImageStatusResponse {
            image,
            ..Default::default()
        })
    }

    async fn pull_image(
        &self,
        request: cri::PullImageRequest,
    ) -> Result<cri::PullImageResponse, CriError> {
        let name = name_of(request.image);
        tokio::time::sleep(if name.contains("slow") {
            SLOW_PULL
        } else {
            PULL
        })
        .await;
        if name.contains("missing") {
            let message = format!("failed to resolve reference {name:?}: {name}: not found");
            return Err(CriError::new(Code::NotFound, message));
        }
        let image = cri::Image {
            id: format!("sha256:{name}"),
            repo_tags: vec![name.clone()],
            size: SIZE_BYTES,
            ..Default::default()
        };
        let image_ref = image.id.clone();
        self.inner.state.lock().images.insert(name, image);
        Ok(cri::PullImageResponse { image_ref })
    }

    async fn remove_image(
        &self,
        request: cri::RemoveImageRequest,
    ) -> Result<cri::RemoveImageResponse, CriError> {
        self.inner
            .state
            .lock()
            .images
            .remove(&name_of(request.image));
        Ok(cri::RemoveImageResponse {})
    }

    async fn image_fs_info(
        &self,
        _: cri::ImageFsInfoRequest,
    ) -> Result<cri::ImageFsInfoResponse, CriError> {
        Ok(cri::ImageFsInfoResponse::default())
    }
}
