//! The files of ConfigMap, Secret, downward API, projected and token volumes.

use std::fs;
use std::path::Path;

use api::Gvr;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use client::Client;
use schema::{Dom, Ref};
use volumes::{File, Files};

use crate::config::Config;
use crate::container::{Need, Needs, NodeFacts, References, field, resource_field};
use crate::pod::Knowledge;
use crate::volume::{Round, VolumeError, kind_of};

const DEFAULT_MODE: i64 = 0o644;

/// Reads the referenced objects; those that do not exist are left out.
pub(crate) async fn fetch(
    client: &Client,
    namespace: &str,
    needs: Needs,
) -> Result<References, client::Error> {
    let mut references = References::default();
    for need in needs {
        let (resource, name) = match &need {
            Need::ConfigMap(name) => ("configmaps", name),
            Need::Secret(name) => ("secrets", name),
        };
        let api = client.namespaced(&Gvr::new("", "v1", resource), namespace);
        if let Some(object) = api.find(name).await? {
            references.insert(need, object.into());
        }
    }
    Ok(references)
}

/// The sources of a volume: itself, or the parts of a projected one.
fn sources(volume: Ref<'_>) -> Vec<Source<'_>> {
    let Some(body) = volume.get(kind_of(volume)) else {
        return Vec::new();
    };
    match kind_of(volume) {
        "configMap" => vec![Source::ConfigMap(body, body.str("name"))],
        "secret" => vec![Source::Secret(body, body.str("secretName"))],
        "downwardAPI" => vec![Source::Downward(body)],
        "projected" => body
            .items("sources")
            .flat_map(|source| {
                let config = source
                    .get("configMap")
                    .map(|b| Source::ConfigMap(b, b.str("name")));
                let secret = source
                    .get("secret")
                    .map(|b| Source::Secret(b, b.str("name")));
                let downward = source.get("downwardAPI").map(Source::Downward);
                let token = source.get("serviceAccountToken").map(Source::Token);
                [config, secret, downward, token].into_iter().flatten()
            })
            .collect(),
        _ => Vec::new(),
    }
}

#[derive(Clone, Copy)]
enum Source<'a> {
    ConfigMap(Ref<'a>, &'a str),
    Secret(Ref<'a>, &'a str),
    Downward(Ref<'a>),
    Token(Ref<'a>),
}

fn need_of(source: Source<'_>) -> Option<Need> {
    match source {
        Source::ConfigMap(_, name) => Some(Need::ConfigMap(name.to_owned())),
        Source::Secret(_, name) => Some(Need::Secret(name.to_owned())),
        Source::Downward(_) | Source::Token(_) => None,
    }
}

/// All files of one volume.
pub(super) async fn files(
    round: &Round<'_>,
    pod: Ref<'_>,
    volume: Ref<'_>,
    group: Option<u32>,
    dir: &Path,
) -> Result<Files, VolumeError> {
    let Round {
        config,
        client,
        known,
        now,
        ..
    } = round;
    let name = volume.str("name").to_owned();
    let namespace = pod
        .get("metadata")
        .map_or("", |metadata| metadata.str("namespace"))
        .to_owned();
    let body = volume.get(kind_of(volume));
    let default_mode = body
        .and_then(|body| body.int("defaultMode"))
        .unwrap_or(DEFAULT_MODE);
    let sources = sources(volume);
    let needs: Needs = sources
        .iter()
        .filter_map(|source| need_of(*source))
        .collect();
    let references =
        fetch(client, &namespace, needs)
            .await
            .map_err(|cause| VolumeError::Fetch {
                name: name.clone(),
                cause,
            })?;
    let mut files = Files::new();
    for source in sources {
        match source {
            Source::ConfigMap(body, _) | Source::Secret(body, _) => {
                let Some(need) = need_of(source) else {
                    continue;
                };
                let optional = body.bool("optional").unwrap_or(false);
                let Some(data) = references.data(&need) else {
                    if optional {
                        continue;
                    }
                    let reason = match &need {
                        Need::ConfigMap(object) => format!("configmap {object:?} not found"),
                        Need::Secret(object) => format!("secret {object:?} not found"),
                    };
                    return Err(VolumeError::Reference { name, reason });
                };
                add_data(&mut files, body, data, default_mode, optional).map_err(|key| {
                    let reason = format!("references non-existent config key: {key}");
                    VolumeError::Reference {
                        name: name.clone(),
                        reason,
                    }
                })?;
            }
            Source::Downward(body) => {
                let facts = facts(config, known, pod);
                for item in body.items("items") {
                    let Some(text) = downward(pod, item, &facts) else {
                        let reason = "a downward API item names no field".to_owned();
                        return Err(VolumeError::Reference { name, reason });
                    };
                    let mode = item.int("mode").unwrap_or(default_mode);
                    files.insert(item.str("path").to_owned(), file(text.into_bytes(), mode));
                }
            }
            Source::Token(body) => {
                let held = held_token(&dir.join(body.str("path")), now.as_second());
                let token = match held {
                    Some(held) if held.is_fresh => held.token,
                    held => match (request_token(client, pod, body).await, held) {
                        (Ok(token), _) => token,
                        // It serves until it ends; the next round asks again.
                        (Err(error), Some(held)) if held.is_valid => {
                            tracing::warn!(
                                volume = name,
                                err = %base::Chain(&error),
                                "token not renewed"
                            );
                            held.token
                        }
                        (Err(cause), _) => return Err(VolumeError::Fetch { name, cause }),
                    },
                };
                let mode = token_mode(default_mode, group);
                files.insert(body.str("path").to_owned(), file(token.into_bytes(), mode));
            }
        }
    }
    Ok(files)
}

fn add_data(
    files: &mut Files,
    body: Ref<'_>,
    data: Vec<(String, Vec<u8>)>,
    default_mode: i64,
    optional: bool,
) -> Result<(), String> {
    if body.get("items").is_none() {
        files.extend(
            data.into_iter()
                .map(|(key, bytes)| (key, file(bytes, default_mode))),
        );
        return Ok(());
    }
    for item in body.items("items") {
        let key = item.str("key");
        match data.iter().find(|(name, _)| name == key) {
            Some((_, bytes)) => {
                let mode = item.int("mode").unwrap_or(default_mode);
                files.insert(item.str("path").to_owned(), file(bytes.clone(), mode));
            }
            None if optional => {}
            None => return Err(key.to_owned()),
        }
    }
    Ok(())
}

fn file(bytes: Vec<u8>, mode: i64) -> File {
    File {
        bytes,
        mode: u32::try_from(mode & 0o7777).unwrap_or(0o644),
        owner: None,
    }
}

/// A pod with a file system group reads its token through that group only.
fn token_mode(default_mode: i64, group: Option<u32>) -> i64 {
    if group.is_some() { 0o640 } else { default_mode }
}

fn facts(config: &Config, known: &Knowledge, pod: Ref<'_>) -> NodeFacts {
    let own = pod
        .get("status")
        .into_iter()
        .flat_map(|status| status.items("podIPs"));
    NodeFacts {
        host_addresses: known.host_addresses.clone(),
        pod_addresses: own.map(|entry| entry.str("ip").to_owned()).collect(),
        allocatable_millicores: config.millicores,
        allocatable_memory_bytes: config.memory_bytes,
    }
}

fn downward(pod: Ref<'_>, item: Ref<'_>, facts: &NodeFacts) -> Option<String> {
    if let Some(reference) = item.get("fieldRef") {
        return field(pod, reference.str("fieldPath"), facts);
    }
    let reference = item.get("resourceFieldRef")?;
    let wanted = reference.str("containerName");
    let spec = pod.get("spec")?;
    let container = spec
        .items("containers")
        .chain(spec.items("initContainers"))
        .find(|container| container.str("name") == wanted)?;
    resource_field(
        container,
        reference.str("resource"),
        reference.str("divisor"),
        facts,
    )
}

/// The token that a file has.
struct Held {
    token: String,
    /// Less than 80 % of its life has passed, and at most a day.
    is_fresh: bool,
    /// It has not ended.
    is_valid: bool,
}

/// Reads a token's file. What the token says of itself counts, not when the file was written: it
/// may have been written anew with the same token. The server lets tokens for itself live longer
/// than was asked for, so that clients that never read the file again go on; such a token names
/// the end that was asked for apart.
/// Source: kubernetes v1.36.3 pkg/kubelet/token/token_manager.go, requiresRefresh.
fn held_token(file: &Path, now: i64) -> Option<Held> {
    const A_DAY: i64 = 86_400;
    let token = fs::read_to_string(file).ok()?;
    let body = token.split('.').nth(1)?;
    let body = BASE64.decode(body).ok()?;
    let claims = Dom::parse_json(&body).ok()?;
    let claims = claims.as_ref();
    let issued = claims.int("iat")?;
    let asked_for = claims
        .at(&["kubernetes.io", "warnafter"])
        .and_then(Ref::as_int);
    let ends = asked_for.or_else(|| claims.int("exp"))?;
    let refresh_at = (issued + (ends - issued) / 10 * 8).min(issued + A_DAY);
    Some(Held {
        token,
        is_fresh: now < refresh_at,
        is_valid: now <= ends,
    })
}

/// Asks for a token that is bound to the pod.
async fn request_token(
    client: &Client,
    pod: Ref<'_>,
    source: Ref<'_>,
) -> Result<String, client::Error> {
    let (metadata, spec) = (pod.get("metadata"), pod.get("spec"));
    let of = |part: Option<Ref<'_>>, name: &str| part.map_or("", |part| part.str(name)).to_owned();
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "apiVersion", "authentication.k8s.io/v1");
    dom.set_str(root, "kind", "TokenRequest");
    let request = dom.ensure_map(root, "spec");
    let audiences = dom.ensure_list(request, "audiences");
    if !source.str("audience").is_empty() {
        let audience = dom.new_str(source.str("audience"));
        dom.push(audiences, audience);
    }
    dom.set_int(
        request,
        "expirationSeconds",
        source.int("expirationSeconds").unwrap_or(3600),
    );
    let bound = dom.ensure_map(request, "boundObjectRef");
    dom.set_str(bound, "kind", "Pod");
    dom.set_str(bound, "apiVersion", "v1");
    dom.set_str(bound, "name", &of(metadata, "name"));
    dom.set_str(bound, "uid", &of(metadata, "uid"));
    let accounts = client.namespaced(
        &Gvr::new("", "v1", "serviceaccounts"),
        &of(metadata, "namespace"),
    );
    let account = match of(spec, "serviceAccountName") {
        name if name.is_empty() => "default".to_owned(),
        name => name,
    };
    let json = dom.to_json(root);
    let answer = accounts.create_subresource(&account, "token", json).await?;
    let token = Dom::parse_json(&answer)
        .ok()
        .and_then(|dom| Some(dom.as_ref().get("status")?.str("token").to_owned()));
    Ok(token.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A token that the file got at another time is judged by what it says.
    #[test]
    fn a_token_is_asked_for_again_after_four_fifths_of_its_life() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let write = |claims: &str| {
            fs::write(&file, format!("h.{}.s", BASE64.encode(claims))).unwrap();
        };
        let held = |now| held_token(&file, now).map(|held| (held.is_fresh, held.is_valid));
        write(r#"{"iat":1000,"exp":1600}"#);
        assert_eq!(held(1001), Some((true, true)));
        assert_eq!(held(1479), Some((true, true)));
        assert_eq!(held(1480), Some((false, true)));
        assert_eq!(held(1601), Some((false, false)));
        // Three days are renewed daily.
        write(r#"{"iat":1000,"exp":260200}"#);
        assert_eq!(held(87_399), Some((true, true)));
        assert_eq!(held(87_400), Some((false, true)));
        // The server made an hour a year.
        write(r#"{"iat":1000,"exp":31537000,"kubernetes.io":{"warnafter":4607}}"#);
        assert_eq!(held(3879), Some((true, true)));
        assert_eq!(held(3880), Some((false, true)));
        write("not a token");
        assert_eq!(held(1001), None);
        fs::remove_file(&file).unwrap();
        assert_eq!(held(1001), None);
    }
}
