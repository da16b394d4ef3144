//! The frames of one watch stream.

use bytes::{Buf, Bytes, BytesMut};
use transport::Body;

use crate::error::read_status;
use schema::scan;

use crate::{Error, Object};

/// One frame.
#[derive(Debug)]
pub enum WatchEvent {
    /// Created, or now selected.
    Added(Object),
    /// Changed.
    Modified(Object),
    /// Gone, or no longer selected.
    Deleted(Object),
    /// Nothing up to this revision is missing. `initial_end`: the initial state is complete.
    Bookmark {
        /// The revision reached.
        resource_version: String,
    },
}

/// A running watch. Dropping it ends it.
pub struct Watch {
    body: Body,
    path: String,
    buffer: BytesMut,
    /// How far the buffer was searched for a line's end.
    searched: usize,
}

/// An object is at most 1.5 MiB at the server; twice that is a frame that cannot be right.
const FRAME_LIMIT_BYTES: usize = 4 << 20;

impl Watch {
    pub(crate) fn new(body: Body, path: String) -> Self {
        Self {
            body,
            path,
            buffer: BytesMut::new(),
            searched: 0,
        }
    }

    /// The next frame; `None` when the server ended the stream.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, Error>> {
        loop {
            while let Some(at) = self.buffer[self.searched..]
                .iter()
                .position(|byte| *byte == b'\n')
            {
                let line = self.buffer.split_to(self.searched + at).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                if !line.is_empty() {
                    return Some(self.frame(&line));
                }
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > FRAME_LIMIT_BYTES {
                return Some(Err(self.unexpected("a watch frame below 4 MiB")));
            }
            match self.body.next().await? {
                Ok(bytes) => self.buffer.extend_from_slice(&bytes),
                Err(cause) => {
                    return Some(Err(Error::Body {
                        verb: "WATCH".to_owned(),
                        path: self.path.clone(),
                        cause,
                    }));
                }
            }
        }
    }

    fn frame(&self, line: &Bytes) -> Result<WatchEvent, Error> {
        let bad = || self.unexpected("a watch frame");
        let kind = scan::member(line, "type")
            .and_then(scan::plain_string)
            .ok_or_else(bad)?;
        let value = scan::member(line, "object").ok_or_else(bad)?;
        if kind == "ERROR" {
            let status = read_status(value).ok_or_else(bad)?;
            return Err(Error::Api {
                verb: "WATCH".to_owned(),
                path: self.path.clone(),
                status: Box::new(status),
            });
        }
        if kind == "BOOKMARK" {
            let version = scan::member(value, "metadata")
                .and_then(|metadata| scan::member(metadata, "resourceVersion"))
                .and_then(scan::plain_string)
                .ok_or_else(bad)?;
            return Ok(WatchEvent::Bookmark {
                resource_version: version.to_owned(),
            });
        }
        let object = Object::new(Bytes::copy_from_slice(value)).ok_or_else(bad)?;
        match kind {
            "ADDED" => Ok(WatchEvent::Added(object)),
            "MODIFIED" => Ok(WatchEvent::Modified(object)),
            "DELETED" => Ok(WatchEvent::Deleted(object)),
            _ => Err(bad()),
        }
    }

    fn unexpected(&self, expected: &'static str) -> Error {
        Error::Unexpected {
            verb: "WATCH".to_owned(),
            path: self.path.clone(),
            expected,
        }
    }
}
