//! The node's image store for the runtime and for CRI clients.
//!
//! Translates between `images` and CRI messages, and keeps the layers of every container held.
//! Source: containerd 2.x internal/cri/server/images (ids, references, user of an image).

use std::collections::HashMap;
use std::path::PathBuf;

use base::Chain;
use base64::Engine as _;
use images::{Auth, Hold, ImageError, Registries};
use nodeapi::{Code, CriError, ImageService, cri};
use parking_lot::Mutex;

use crate::images::{Image, ImageConfig, Images};

/// `images` as the runtime and the kubelet want it; share it as an `Arc`.
#[derive(Debug)]
pub struct NodeImages {
    images: images::Images,
    registries: Registries,
    holds: Mutex<HashMap<String, Hold>>,
}

impl NodeImages {
    /// Over an open store, pulling from `registries`.
    #[must_use]
    pub fn new(images: images::Images, registries: Registries) -> NodeImages {
        NodeImages {
            images,
            registries,
            holds: Mutex::default(),
        }
    }

    /// The store itself.
    #[must_use]
    pub fn store(&self) -> &images::Images {
        &self.images
    }
}

fn error(e: &ImageError) -> CriError {
    let code = match e {
        ImageError::NotPresent(_) | ImageError::NotFound { .. } => Code::NotFound,
        ImageError::Reference { .. } | ImageError::Digest(_) => Code::InvalidArgument,
        ImageError::Unauthorized { .. } => Code::PermissionDenied,
        ImageError::Unreachable { .. } => Code::Unavailable,
        _ => Code::Unknown,
    };
    CriError::new(code, Chain(e).to_string())
}

/// Uid or name of the user of an image.
fn user(config: &images::ImageConfig) -> (Option<cri::Int64Value>, String) {
    let (user, _) = config.user.split_once(':').unwrap_or((&config.user, ""));
    match (user, user.parse::<i64>()) {
        // No user is root.
        ("", _) => (Some(cri::Int64Value { value: 0 }), String::new()),
        (_, Ok(value)) => (Some(cri::Int64Value { value }), String::new()),
        (name, Err(_)) => (None, name.into()),
    }
}

/// Who pulls, as the kubelet found it in pull secrets.
/// Source: containerd 2.x internal/cri/server/images/image_pull.go, ParseAuth.
fn credentials(auth: Option<&cri::AuthConfig>) -> Result<Auth, CriError> {
    let Some(auth) = auth else {
        return Ok(Auth::Anonymous);
    };
    if !auth.registry_token.is_empty() {
        return Ok(Auth::RegistryToken(auth.registry_token.clone()));
    }
    if !auth.identity_token.is_empty() {
        return Ok(Auth::IdentityToken(auth.identity_token.clone()));
    }
    if !auth.username.is_empty() {
        let (username, password) = (auth.username.clone(), auth.password.clone());
        return Ok(Auth::Basic { username, password });
    }
    if auth.auth.is_empty() {
        return Ok(Auth::Anonymous);
    }
    let bad = || CriError::invalid("the registry credentials are not base64 of name:password");
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(&auth.auth)
        .map_err(|_| bad())?;
    let text = String::from_utf8(bytes).map_err(|_| bad())?;
    let (username, password) = text.split_once(':').ok_or_else(bad)?;
    let password = password.trim_end_matches('\0');
    Ok(Auth::Basic {
        username: username.into(),
        password: password.into(),
    })
}

fn message(image: &images::Image) -> cri::Image {
    let (uid, username) = user(&image.config);
    cri::Image {
        id: image.id.clone(),
        repo_tags: image.repo_tags.clone(),
        repo_digests: image.repo_digests.clone(),
        size: image.size,
        uid,
        username,
        spec: None,
        pinned: image.pinned,
    }
}

fn name(spec: Option<&cri::ImageSpec>) -> Result<&str, CriError> {
    let name = spec.map_or("", |s| &s.image);
    if name.is_empty() {
        return Err(CriError::invalid("the request names no image"));
    }
    Ok(name)
}

#[async_trait::async_trait]
impl Images for NodeImages {
    async fn acquire(&self, reference: &str, container: &str) -> Result<Image, CriError> {
        let acquired = self.images.acquire(reference).await;
        let (found, hold) = acquired.map_err(|e| error(&e))?;
        self.holds.lock().insert(container.into(), hold);
        let first = |list: &[String]| list.first().cloned();
        let digest = first(&found.repo_digests);
        let config = found.config;
        Ok(Image {
            name: first(&found.repo_tags)
                .or_else(|| digest.clone())
                .unwrap_or_default(),
            reference: digest.unwrap_or_else(|| found.id.clone()),
            id: found.id,
            lowers: found.layers,
            config: ImageConfig {
                entrypoint: config.entrypoint,
                cmd: config.cmd,
                env: config.env,
                user: config.user,
                working_dir: config.working_dir,
                stop_signal: config.stop_signal,
            },
        })
    }

    async fn restore(&self, container: &str, lowers: &[PathBuf]) {
        let hold = self.images.hold_layers(lowers);
        self.holds.lock().insert(container.into(), hold);
    }

    async fn release(&self, container: &str) {
        self.holds.lock().remove(container);
    }
}

#[async_trait::async_trait]
impl ImageService for NodeImages {
    async fn list_images(
        &self,
        request: cri::ListImagesRequest,
    ) -> Result<cri::ListImagesResponse, CriError> {
        let wanted = request.filter.and_then(|f| f.image).map(|i| i.image);
        let images = match wanted.filter(|w| !w.is_empty()) {
            Some(wanted) => self.images.resolve(&wanted).iter().map(message).collect(),
            None => self.images.list().iter().map(message).collect(),
        };
        Ok(cri::ListImagesResponse { images })
    }

    async fn image_status(
        &self,
        request: cri::ImageStatusRequest,
    ) -> Result<cri::ImageStatusResponse, CriError> {
        let found = self.images.resolve(name(request.image.as_ref())?);
        let mut info = std::collections::BTreeMap::new();
        if let Some(found) = found.as_ref().filter(|_| request.verbose) {
            let text = serde_json::json!({ "layers": found.layers, "config": found.config });
            info.insert("info".into(), text.to_string());
        }
        Ok(cri::ImageStatusResponse {
            image: found.as_ref().map(message),
            info,
        })
    }

    async fn pull_image(
        &self,
        request: cri::PullImageRequest,
    ) -> Result<cri::PullImageResponse, CriError> {
        let name = name(request.image.as_ref())?;
        let auth = credentials(request.auth.as_ref())?;
        let pulled = self.images.pull(&self.registries, name, &auth, None).await;
        let pulled = pulled.map_err(|e| {
            let e = error(&e);
            CriError::new(
                e.code,
                format!("failed to pull image {name:?}: {}", e.message),
            )
        })?;
        Ok(cri::PullImageResponse {
            image_ref: pulled.id,
        })
    }

    async fn remove_image(
        &self,
        request: cri::RemoveImageRequest,
    ) -> Result<cri::RemoveImageResponse, CriError> {
        self.images
            .remove(name(request.image.as_ref())?)
            .await
            .map_err(|e| error(&e))?;
        Ok(cri::RemoveImageResponse {})
    }

    async fn image_fs_info(
        &self,
        _: cri::ImageFsInfoRequest,
    ) -> Result<cri::ImageFsInfoResponse, CriError> {
        let usage = self.images.usage().await.map_err(|e| error(&e))?;
        let filesystem = cri::FilesystemUsage {
            timestamp: 0,
            fs_id: Some(cri::FilesystemIdentifier {
                mountpoint: usage.path.to_string_lossy().into_owned(),
            }),
            used_bytes: Some(cri::UInt64Value { value: usage.bytes }),
            inodes_used: None,
        };
        Ok(cri::ImageFsInfoResponse {
            image_filesystems: vec![filesystem.clone()],
            container_filesystems: vec![filesystem],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::credentials;
    use images::Auth;
    use nodeapi::cri::AuthConfig;

    #[test]
    fn credentials_of_pull_secrets() {
        let auth = AuthConfig {
            auth: "dXNlcjpwYTpzcw==".into(),
            ..Default::default()
        };
        let expect = Auth::Basic {
            username: "user".into(),
            password: "pa:ss".into(),
        };
        assert!(credentials(Some(&auth)).unwrap() == expect);
        let auth = AuthConfig {
            auth: "!".into(),
            ..Default::default()
        };
        assert!(credentials(Some(&auth)).is_err());
        assert!(credentials(None).unwrap() == Auth::Anonymous);
    }
}
