//! Image references: `[registry/]repository[:tag][@digest]` with docker.io's short forms.
//!
//! Example: `nginx` → registry `docker.io`, repository `library/nginx`, tag `latest`;
//! `localhost:5000/a@sha256:…` → registry `localhost:5000`, repository `a`, no tag.
//! Source: distribution/reference v0.6 (grammar, familiar names, default domain and tag).

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;
use crate::error::ImageError;

/// A repository name is at most this long.
const MAX_NAME: usize = 255;
/// A tag is at most this long.
const MAX_TAG: usize = 128;

/// A parsed reference.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// `host[:port]`.
    pub registry: String,
    /// Path of the repository in the registry.
    pub repository: String,
    /// Tag; `latest` where neither tag nor digest was given.
    pub tag: Option<String>,
    /// Digest of manifest or index.
    pub digest: Option<Digest>,
}

impl Reference {
    /// What the registry is asked for: the digest, else the tag.
    pub fn selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// `registry/repository`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// `registry/repository:tag`; `None` for a reference by digest.
    pub fn repo_tag(&self) -> Option<String> {
        match (&self.digest, &self.tag) {
            (None, Some(tag)) => Some(format!("{}:{tag}", self.name())),
            _ => None,
        }
    }

    /// `registry/repository@digest`.
    pub fn repo_digest(&self, digest: &Digest) -> String {
        format!("{}@{digest}", self.name())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ImageError;
    fn from_str(text: &str) -> Result<Reference, ImageError> {
        parse(text).map_err(|reason| ImageError::Reference {
            reference: text.chars().take(300).collect(),
            reason,
        })
    }
}

fn parse(text: &str) -> Result<Reference, &'static str> {
    if text.is_empty() {
        return Err("it is empty");
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => {
            let digest = digest
                .parse()
                .map_err(|_| "the digest is not sha256 and 64 digits")?;
            (rest, Some(digest))
        }
        None => (text, None),
    };
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => {
            check_tag(tag)?;
            (name, Some(tag.to_owned()))
        }
        _ => (rest, None),
    };
    let (registry, path) = match name.split_once('/') {
        Some((first, path))
            if first.contains(['.', ':']) || first == "localhost" || has_upper(first) =>
        {
            check_registry(first)?;
            (first, path.to_owned())
        }
        _ => ("docker.io", name.to_owned()),
    };
    let registry = if registry == "index.docker.io" {
        "docker.io"
    } else {
        registry
    };
    let path = if registry == "docker.io" && !path.contains('/') {
        format!("library/{path}")
    } else {
        path
    };
    check_path(&path)?;
    let tag = if tag.is_none() && digest.is_none() {
        Some("latest".to_owned())
    } else {
        tag
    };
    Ok(Reference {
        registry: registry.to_owned(),
        repository: path,
        tag,
        digest,
    })
}

fn has_upper(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if tag.is_empty() || tag.len() > MAX_TAG || !tag.bytes().all(fits) {
        return Err("the tag has to be 1 to 128 letters, digits, '_', '.' or '-'");
    }
    if tag.starts_with(['.', '-']) {
        return Err("the tag may not start with '.' or '-'");
    }
    Ok(())
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (registry, None),
    };
    // Rust's numbers may begin with a sign.
    let is_port = |port: &str| !port.starts_with('+') && port.parse::<u16>().is_ok();
    if !port.is_none_or(is_port) {
        return Err("the registry's port is not a port number");
    }
    if let Some(v6) = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        return v6
            .parse::<std::net::Ipv6Addr>()
            .map(drop)
            .map_err(|_| "bad IPv6 address");
    }
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.split('.').all(label) {
        Ok(())
    } else {
        Err("the registry is not a host name")
    }
}

fn check_path(path: &str) -> Result<(), &'static str> {
    if path.len() > MAX_NAME {
        return Err("the repository name is longer than 255 characters");
    }
    if has_upper(path) {
        return Err("the repository name has to be lower case");
    }
    if path.split('/').all(component) {
        Ok(())
    } else {
        Err("a part of the repository name is not lower-case words joined by '.', '_', '__' or '-'")
    }
}

/// Words of letters and digits joined by one `.`, one or two `_`, or any number of `-`.
fn component(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !word(*first) || !word(*last) {
        return false;
    }
    bytes.split(|byte| word(*byte)).all(|joint| {
        matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|byte| *byte == b'-')
    })
}

#[cfg(test)]
mod tests;
