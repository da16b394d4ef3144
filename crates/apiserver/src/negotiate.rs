//! Which encoding and which form of an object a client wants.
//!
//! Source: kubernetes v1.36.3 apiserver/pkg/endpoints/handlers/negotiation/negotiate.go.

use api::Status;
use http::HeaderMap;

/// Encodings of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

impl Encoding {
    pub(crate) const fn mime(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }
}

/// What an object is turned into.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) enum Form {
    /// The object itself.
    #[default]
    Plain,
    /// meta.k8s.io Table.
    Table(String),
    /// meta.k8s.io PartialObjectMetadata, or its list.
    Partial(String),
    /// Aggregated discovery in that version.
    Discovery(String),
}

/// One way to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) encoding: Encoding,
    pub(crate) form: Form,
    pub(crate) pretty: bool,
}

impl Accepted {
    pub(crate) const JSON: Accepted = Accepted {
        encoding: Encoding::Json,
        form: Form::Plain,
        pretty: false,
    };
}

pub(crate) const ALL: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// The best of the `Accept` header that is possible. `discovery`: aggregated discovery is.
pub(crate) fn accept(
    headers: &HeaderMap,
    objects: bool,
    discovery: bool,
) -> Result<Accepted, Status> {
    let mut best: Option<(u32, Accepted)> = None;
    let mut any = false;
    let values = headers.get_all(http::header::ACCEPT).iter();
    let clauses = values.filter_map(|value| value.to_str().ok());
    for clause in clauses.flat_map(|value| value.split(',')) {
        any = true;
        let quality = clause
            .split(';')
            .filter_map(|p| p.trim().strip_prefix("q="))
            .find_map(|q| q.parse::<f32>().ok())
            .unwrap_or(1.0);
        // f32 in 0..=1 to a sortable number
        let quality = (quality.clamp(0.0, 1.0) * 1000.0).round() as u32;
        // Of equals the first.
        if best.as_ref().is_none_or(|(other, _)| quality > *other)
            && let Some(accepted) = one(clause.trim(), objects, discovery)
        {
            best = Some((quality, accepted));
        }
    }
    match best {
        Some((_, accepted)) => Ok(accepted),
        None if any => Err(Status::not_acceptable(&ALL)),
        None => Ok(Accepted::JSON),
    }
}

/// Whether some clause names an encoding of ours, whatever form it wants in it.
pub(crate) fn plain_is_accepted(headers: &HeaderMap) -> bool {
    let values = headers.get_all(http::header::ACCEPT).iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|clause| {
            let media = clause.split(';').next().unwrap_or_default().trim();
            ALL.contains(&media) || matches!(media, "*/*" | "application/*")
        })
}

fn one(clause: &str, objects: bool, discovery: bool) -> Option<Accepted> {
    let mut parts = clause.split(';').map(str::trim);
    let encoding = match parts.next()? {
        "application/json" | "*/*" | "application/*" => Encoding::Json,
        "application/yaml" => Encoding::Yaml,
        "application/vnd.kubernetes.protobuf" => Encoding::Protobuf,
        _ => return None,
    };
    let (mut kind, mut group, mut version, mut pretty) = ("", "", "", false);
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => kind = value,
            Some(("g", value)) => group = value,
            Some(("v", value)) => version = value,
            Some(("pretty", value)) => pretty = value == "1" || value == "true",
            Some(("stream", _)) | Some(("charset", _)) | Some(("q", _)) => {}
            _ => {}
        }
    }
    let form = match (kind, group) {
        ("", _) => Form::Plain,
        ("Table", "meta.k8s.io") if objects && matches!(version, "v1" | "v1beta1") => {
            if encoding == Encoding::Protobuf {
                return None;
            }
            Form::Table(version.to_owned())
        }
        ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io")
            if objects && matches!(version, "v1" | "v1beta1") =>
        {
            Form::Partial(version.to_owned())
        }
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io")
            if discovery && matches!(version, "v2" | "v2beta1") =>
        {
            Form::Discovery(version.to_owned())
        }
        _ => return None,
    };
    Some(Accepted {
        encoding,
        form,
        pretty,
    })
}

/// The encoding of a request's body.
pub(crate) fn content_type(headers: &HeaderMap) -> Result<Encoding, Status> {
    let value = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok());
    let media = value
        .unwrap_or("application/json")
        .split(';')
        .next()
        .unwrap_or("")
        .trim();
    match media {
        "" | "application/json" => Ok(Encoding::Json),
        "application/yaml" => Ok(Encoding::Yaml),
        "application/vnd.kubernetes.protobuf" => Ok(Encoding::Protobuf),
        _ => Err(Status::unsupported_media_type(&ALL)),
    }
}
