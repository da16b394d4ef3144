//! A registry on loopback with the suite's images, for the specs that insist on pulling.
//!
//! Serves an OCI archive as it lies there, read only, over the pull half of the distribution API.
//! An image `any.host/path/name:tag` of the archive is `<address>/path/name:tag` here.
//! Source: github.com/opencontainers/distribution-spec v1.1 spec.md (end-1 to end-3).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

/// Bytes of a request's line and headers.
const HEAD_LIMIT: u64 = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves until the process ends.
pub(super) fn serve(archive: &Path) -> Result<SocketAddr> {
    let store = Arc::new(Store::open(archive)?);
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("a port for the registry")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let store = store.clone();
            // A client that goes away in the middle is its own business.
            std::thread::spawn(move || store.answer(&stream).ok());
        }
    });
    Ok(address)
}

struct Store {
    file: File,
    /// Where a digest's bytes lie in the archive.
    blobs: BTreeMap<String, (u64, u64)>,
    /// Digest by `path/name:tag`.
    tags: BTreeMap<String, String>,
    /// Media type of the manifests by digest.
    types: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq)]
enum Found<'a> {
    Version,
    Blob(&'a str, &'a str),
    Nothing,
}

impl Store {
    fn open(archive: &Path) -> Result<Store> {
        let file = File::open(archive).with_context(|| format!("open {}", archive.display()))?;
        let mut store = Store {
            file: file.try_clone()?,
            blobs: BTreeMap::new(),
            tags: BTreeMap::new(),
            types: BTreeMap::new(),
        };
        let mut index = Vec::new();
        for entry in tar::Archive::new(BufReader::new(file)).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.display().to_string();
            if path == "index.json" {
                entry.read_to_end(&mut index)?;
            } else if let Some(digest) = path.strip_prefix("blobs/") {
                let place = (entry.raw_file_position(), entry.size());
                store.blobs.insert(digest.replace('/', ":"), place);
            }
        }
        let index: Value = serde_json::from_slice(&index).context("index.json of the archive")?;
        for entry in index["manifests"].as_array().into_iter().flatten() {
            let name = entry["annotations"]["io.containerd.image.name"].as_str();
            let (Some(name), Some(digest)) = (name, entry["digest"].as_str()) else {
                continue;
            };
            let path = name.split_once('/').map_or(name, |(_, path)| path);
            let media_type = entry["mediaType"].as_str().unwrap_or_default();
            store.tags.insert(path.to_owned(), digest.to_owned());
            store.types.insert(digest.to_owned(), media_type.to_owned());
        }
        Ok(store)
    }

    /// What stands at a path of the API.
    fn find<'a>(&'a self, path: &'a str) -> Found<'a> {
        let Some(path) = path.strip_prefix("/v2/") else {
            return Found::Nothing;
        };
        if path.is_empty() {
            return Found::Version;
        }
        if let Some((name, reference)) = path.split_once("/manifests/") {
            let digest = match reference.contains(':') {
                true => Some(reference),
                false => self.tags.get(&format!("{name}:{reference}")).map(|d| &**d),
            };
            let found = digest.and_then(|digest| Some((digest, self.types.get(digest)?)));
            return found.map_or(Found::Nothing, |(digest, kind)| Found::Blob(digest, kind));
        }
        match path.split_once("/blobs/") {
            Some((_, digest)) if self.blobs.contains_key(digest) => {
                Found::Blob(digest, "application/octet-stream")
            }
            _ => Found::Nothing,
        }
    }

    fn answer(&self, mut stream: &TcpStream) -> Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut reader = BufReader::new(stream.take(HEAD_LIMIT));
        let mut request = String::new();
        reader.read_line(&mut request)?;
        let mut header = String::new();
        while reader.read_line(&mut header)? > 0 && !header.trim().is_empty() {
            header.clear();
        }
        let mut words = request.split_whitespace();
        let method = words.next().unwrap_or_default();
        let path = words.next().unwrap_or_default();
        let end = "Connection: close\r\n\r\n";
        match self.find(path) {
            Found::Version => {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{end}{{}}")?;
            }
            Found::Nothing => {
                write!(
                    stream,
                    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n{end}"
                )?;
            }
            Found::Blob(digest, media_type) => {
                let (mut offset, mut left) = *self.blobs.get(digest).context("a blob's place")?;
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\nContent-Length: {left}\r\nDocker-Content-Digest: {digest}\r\n{end}"
                )?;
                let mut buffer = vec![0; 256 * 1024];
                while method != "HEAD" && left > 0 {
                    let most = usize::try_from(left).map_or(buffer.len(), |l| l.min(buffer.len()));
                    let count = self.file.read_at(&mut buffer[..most], offset)?;
                    anyhow::ensure!(count > 0, "the archive ends early");
                    stream.write_all(&buffer[..count])?;
                    offset += count as u64;
                    left -= count as u64;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
