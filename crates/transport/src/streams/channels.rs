//! The channel protocols of remote commands: one byte says which stream a message belongs to.
//!
//! Example (v4): `01 68 69` is "hi" on standard output; `03 {"status":"Success",…}` ends it.
//! v5 adds `ff 00`: the client will send nothing more on channel 0.
//! Source: kubernetes v1.36 apimachinery/pkg/util/remotecommand/constants.go.

use std::fmt::Write;

use bytes::{BufMut, Bytes, BytesMut};

/// A stream of a remote command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Channel {
    /// To the process.
    Stdin = 0,
    /// From the process.
    Stdout = 1,
    /// From the process.
    Stderr = 2,
    /// The final Status.
    Error = 3,
    /// Terminal sizes.
    Resize = 4,
    /// v5: the stream named in the message is finished.
    Close = 255,
}

/// A message taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whose bytes.
    pub channel: Channel,
    /// The bytes.
    pub data: Bytes,
}

impl Frame {
    /// `None`: empty, or of a channel that does not exist.
    pub fn parse(message: &Bytes) -> Option<Self> {
        let channel = match message.first()? {
            0 => Channel::Stdin,
            1 => Channel::Stdout,
            2 => Channel::Stderr,
            3 => Channel::Error,
            4 => Channel::Resize,
            255 => Channel::Close,
            _ => return None,
        };
        let data = message.slice(1..);
        Some(Self { channel, data })
    }

    /// The message of `data` on `channel`.
    pub fn encode(channel: Channel, data: &[u8]) -> Bytes {
        let mut message = BytesMut::with_capacity(data.len() + 1);
        message.put_u8(channel as u8);
        message.put_slice(data);
        message.freeze()
    }
}

/// Which version a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The first one: failures are plain text.
    V1,
    /// The end is a Status.
    V4,
    /// The client can close its input.
    V5,
}

impl Protocol {
    /// What a server accepts.
    pub const ACCEPTED: [&'static str; 4] = [
        "v5.channel.k8s.io",
        "v4.channel.k8s.io",
        "channel.k8s.io",
        "",
    ];
    /// What a client offers.
    pub const OFFERED: [&'static str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

    /// By subprotocol.
    pub fn from_name(name: &str) -> Self {
        match name {
            "v5.channel.k8s.io" => Self::V5,
            "v4.channel.k8s.io" => Self::V4,
            _ => Self::V1,
        }
    }
}

/// Which streams a client wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// It will send input.
    pub stdin: bool,
    /// It wants the output.
    pub stdout: bool,
    /// It wants the error output; never with a terminal, which has one output.
    pub stderr: bool,
    /// The process gets a terminal.
    pub tty: bool,
}

impl Streams {
    /// From a query: `stdin stdout stderr tty` of the API, `input output error tty` of the kubelet.
    pub fn from_query(query: &str) -> Self {
        let set = |names: [&str; 2]| {
            query.split('&').any(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, "1"));
                names.contains(&name) && matches!(value, "1" | "true" | "True" | "TRUE" | "t" | "T")
            })
        };
        let tty = set(["tty", "tty"]);
        Self {
            stdin: set(["stdin", "input"]),
            stdout: set(["stdout", "output"]),
            stderr: set(["stderr", "error"]) && !tty,
            tty,
        }
    }
}

/// The size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

impl Size {
    /// From `{"Width":80,"Height":24}`.
    pub fn parse(json: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(json).ok()?;
        let field = |name: &str| {
            let (_, rest) = text.split_once(name)?;
            let digits = rest.trim_start_matches(['"', ':', ' ']);
            let end = digits
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(digits.len());
            digits[..end].parse().ok()
        };
        Some(Self {
            width: field("Width")?,
            height: field("Height")?,
        })
    }

    /// As JSON.
    pub fn to_json(self) -> String {
        format!(r#"{{"Width":{},"Height":{}}}"#, self.width, self.height)
    }
}

/// How a remote command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran and exited with this code.
    Exited(i32),
    /// It could not be run.
    Failed(String),
}

impl Outcome {
    /// The Status that ends the session.
    /// Source: kubernetes v1.36 kubelet/pkg/cri/streaming/remotecommand/exec.go.
    pub fn to_status(&self) -> String {
        match self {
            Self::Exited(0) => r#"{"metadata":{},"status":"Success"}"#.to_owned(),
            Self::Exited(code) => format!(
                r#"{{"metadata":{{}},"status":"Failure","message":"command terminated with non-zero exit code: exit status {code}","reason":"NonZeroExitCode","details":{{"causes":[{{"reason":"ExitCode","message":"{code}"}}]}}}}"#
            ),
            Self::Failed(reason) => {
                let mut message = String::new();
                escape("Internal error occurred: ", &mut message);
                escape(reason, &mut message);
                format!(
                    r#"{{"metadata":{{}},"status":"Failure","message":"{message}","reason":"InternalError","details":{{"causes":[{{"message":"{}"}}]}},"code":500}}"#,
                    message.trim_start_matches("Internal error occurred: ")
                )
            }
        }
    }

    /// From the Status of a server; anything that is none counts as a failure.
    pub fn from_status(status: &[u8]) -> Self {
        let text = String::from_utf8_lossy(status);
        if text.contains(r#""status":"Success""#) {
            return Self::Exited(0);
        }
        let message = |text: &str| {
            let (_, rest) = text.split_once(r#""message":""#)?;
            Some(unescape(rest))
        };
        let cause = text.split_once(r#""reason":"ExitCode""#);
        let code = cause.and_then(|(_, rest)| message(rest)?.parse().ok());
        match code {
            Some(code) => Self::Exited(code),
            None => Self::Failed(message(&text).unwrap_or_else(|| text.into_owned())),
        }
    }
}

fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if (c as u32) < 0x20 => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
}

/// Up to the closing quote.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&digits, 16).ok();
                    out.push(code.and_then(char::from_u32).unwrap_or('\u{fffd}'));
                }
                Some(c) => out.push(c),
                None => break,
            },
            c => out.push(c),
        }
    }
    out
}
