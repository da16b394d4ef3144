//! What a certificate shall say.

use std::net::IpAddr;
use std::time::Duration;

/// One year: how long an identity is valid unless told otherwise.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// Prove who a TLS client is.
    Client,
    /// Prove who a TLS server is.
    Server,
}

/// A subject alternative name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum San {
    /// A DNS name, possibly with a leading `*.`.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl From<&str> for San {
    /// An address if it parses as one, else a name.
    fn from(text: &str) -> Self {
        text.parse()
            .map_or_else(|_| Self::Dns(text.to_owned()), Self::Ip)
    }
}

/// Subject, names, usages and life time of a certificate.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Common name: the user.
    pub cn: String,
    /// Organizations: the user's groups.
    pub organizations: Vec<String>,
    /// Names and addresses of a server.
    pub sans: Vec<San>,
    /// What it may be used for.
    pub usages: Vec<Usage>,
    /// From now on.
    pub lifetime: Duration,
}

impl Profile {
    /// A client certificate of `cn` in `organizations`, for a year.
    pub fn client<'a>(
        cn: impl Into<String>,
        organizations: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        Self {
            cn: cn.into(),
            organizations: organizations.into_iter().map(str::to_owned).collect(),
            sans: Vec::new(),
            usages: vec![Usage::Client],
            lifetime: YEAR,
        }
    }

    /// A server certificate of `cn` with `sans` (addresses are recognised), for a year.
    pub fn server<'a>(cn: impl Into<String>, sans: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            cn: cn.into(),
            organizations: Vec::new(),
            sans: sans.into_iter().map(San::from).collect(),
            usages: vec![Usage::Server],
            lifetime: YEAR,
        }
    }
}
