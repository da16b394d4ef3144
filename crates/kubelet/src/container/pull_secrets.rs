//! Image names, and who may pull them by a pod's `imagePullSecrets`. Pure.
//!
//! Owns the reading of docker configurations and which entry fits which repository; knows nothing
//! of registries. Example: an entry `127.0.0.1:5000/team` fits `127.0.0.1:5000/team/app`, before
//! one for `127.0.0.1:5000`. Source: kubernetes v1.36 pkg/credentialprovider/{keyring,config}.go,
//! secrets/secrets.go; github.com/distribution/reference v0.6 (the grammar).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use nodeapi::cri::AuthConfig;
use schema::{Dom, Ref};

/// Where docker.io's credentials are kept by tradition.
const DEFAULT_REGISTRY: &str = "index.docker.io";
const NAME_LIMIT: usize = 255;

/// The repository of an image (`docker.io/library/busybox`), or upstream's words about the name.
pub(crate) fn repository(image: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("couldn't parse image name {image:?}: {why}"));
    let invalid = "invalid reference format";
    if image.len() == 64
        && image
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    {
        return wrong(&format!(
            "invalid repository name ({image}), cannot specify 64-byte hexadecimal strings"
        ));
    }
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    if digest.is_some_and(|digest| !is_digest(digest)) {
        return wrong(invalid);
    }
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return wrong(invalid);
    }
    let (registry, path) = match name.split_once('/') {
        Some((first, path))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (first, path.to_owned())
        }
        _ => ("docker.io", name.to_owned()),
    };
    let registry = match registry {
        DEFAULT_REGISTRY => "docker.io",
        other => other,
    };
    let path = match registry {
        "docker.io" if !path.contains('/') => format!("library/{path}"),
        _ => path,
    };
    if path.bytes().any(|b| b.is_ascii_uppercase()) {
        return wrong(&format!(
            "{invalid}: repository name ({path}) must be lowercase"
        ));
    }
    if !path.split('/').all(is_component) || !is_registry(registry) {
        return wrong(invalid);
    }
    if path.len() > NAME_LIMIT {
        return wrong("repository name must not be more than 255 characters");
    }
    Ok(format!("{registry}/{path}"))
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let fits = |b: u8| word(b) || matches!(b, b'.' | b'-');
    tag.len() <= 128 && tag.bytes().next().is_some_and(word) && tag.bytes().all(fits)
}

fn is_digest(digest: &str) -> bool {
    digest.split_once(':').is_some_and(|(algorithm, hex)| {
        !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
    })
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let inner = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host_fits = match inner {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(label),
    };
    host_fits
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Lower-case words joined by `.`, `_`, `__` or dashes.
fn is_component(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| word(*byte));
    let bytes = text.as_bytes();
    ends(bytes.first())
        && ends(bytes.last())
        && bytes.split(|byte| word(*byte)).all(|joint| {
            matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|byte| *byte == b'-')
        })
}

/// The credentials of a pod's pull secrets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keyring {
    /// (host and path, credentials); more specific ones first.
    entries: Vec<(String, AuthConfig)>,
}

impl Keyring {
    /// Takes what a Secret holds; others than docker's are passed over.
    pub(crate) fn add(&mut self, secret: Ref<'_>) {
        let data = |key: &str| {
            let text = secret.get("data").map_or("", |data| data.str(key));
            let bytes = STANDARD.decode(text).ok()?;
            Dom::parse_json(&bytes).ok()
        };
        match secret.str("type") {
            "kubernetes.io/dockerconfigjson" => {
                if let Some(dom) = data(".dockerconfigjson") {
                    self.add_entries(dom.as_ref().get("auths"));
                }
            }
            "kubernetes.io/dockercfg" => {
                if let Some(dom) = data(".dockercfg") {
                    self.add_entries(Some(dom.as_ref()));
                }
            }
            _ => {}
        }
        self.entries.sort_by(|(a, _), (b, _)| b.cmp(a));
    }

    fn add_entries(&mut self, auths: Option<Ref<'_>>) {
        for (place, entry) in auths.into_iter().flat_map(|auths| auths.map()) {
            let place = place
                .strip_prefix("https://")
                .or_else(|| place.strip_prefix("http://"))
                .unwrap_or(place);
            let (host, path) = match place.split_once('/') {
                Some((host, path)) => (host, format!("/{path}")),
                None => (place, String::new()),
            };
            let path = match path.as_str() {
                p if p.starts_with("/v2/") || p.starts_with("/v1/") => path[3..].to_owned(),
                _ => path,
            };
            let key = match path.as_str() {
                "" | "/" => host.to_owned(),
                path => format!("{host}{path}"),
            };
            let mut auth = AuthConfig {
                username: entry.str("username").to_owned(),
                password: entry.str("password").to_owned(),
                ..AuthConfig::default()
            };
            if let Some((username, password)) = name_and_password(entry.str("auth")) {
                (auth.username, auth.password) = (username, password);
            }
            self.entries.push((key, auth));
        }
    }

    /// What fits a repository, best first.
    pub(crate) fn lookup(&self, repository: &str) -> Vec<AuthConfig> {
        let found: Vec<AuthConfig> = self
            .entries
            .iter()
            .filter(|(place, _)| fits(place, repository))
            .map(|(_, auth)| auth.clone())
            .collect();
        let hub = repository.starts_with("docker.io/");
        if !found.is_empty() || !hub {
            return found;
        }
        self.entries
            .iter()
            .filter(|(place, _)| place == DEFAULT_REGISTRY)
            .map(|(_, auth)| auth.clone())
            .collect()
    }
}

fn name_and_password(auth: &str) -> Option<(String, String)> {
    let auth = auth.trim();
    let bytes = match auth.contains('=') {
        true => STANDARD.decode(auth),
        false => STANDARD_NO_PAD.decode(auth),
    };
    let text = String::from_utf8(bytes.ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// Host parts one by one (`*` stands for anything in a part), same port, path as a prefix.
fn fits(place: &str, repository: &str) -> bool {
    let split = |text: &str| {
        let (host, path) = match text.find('/') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) => (host, port),
            None => (host, ""),
        };
        let parts: Vec<String> = host.split('.').map(str::to_owned).collect();
        (parts, port.to_owned(), path.to_owned())
    };
    let (glob, target) = (split(place), split(repository));
    glob.1 == target.1
        && glob.0.len() == target.0.len()
        && target.2.starts_with(&glob.2)
        && glob
            .0
            .iter()
            .zip(&target.0)
            .all(|(glob, part)| glob_fits(glob, part))
}

fn glob_fits(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut last = first;
    let mut stars = false;
    for part in parts {
        stars = true;
        last = part;
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    match stars {
        false => rest.is_empty(),
        true => last.is_empty() || text.ends_with(last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[track_caller]
    fn check(images: &[&str], expect: Expect) {
        let lines: Vec<String> = images
            .iter()
            .map(|image| repository(image).unwrap_or_else(|why| why))
            .collect();
        expect.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn names() {
        check(
            &[
                "busybox",
                "team/app:v1",
                "localhost/busybox",
                "127.0.0.1:5000/a/b@sha256:0123456789abcdef0123456789abcdef",
                "index.docker.io/x",
                "",
                "Foo",
                "a//b",
                "a:b:c",
                "a@sha256:zz",
                "-a/b",
                "registry.example:x/y",
            ],
            expect![[r#"
                docker.io/library/busybox
                docker.io/team/app
                localhost/busybox
                127.0.0.1:5000/a/b
                docker.io/library/x
                couldn't parse image name "": invalid reference format
                couldn't parse image name "Foo": invalid reference format: repository name (library/Foo) must be lowercase
                couldn't parse image name "a//b": invalid reference format
                couldn't parse image name "a:b:c": invalid reference format
                couldn't parse image name "a@sha256:zz": invalid reference format
                couldn't parse image name "-a/b": invalid reference format
                couldn't parse image name "registry.example:x/y": invalid reference format"#]],
        );
    }

    #[test]
    fn the_most_specific_entry_comes_first() {
        let config = r#"{"auths":{"127.0.0.1:5000":{"username":"a","password":"1"},
            "https://127.0.0.1:5000/team":{"auth":"Yjoy"},"*.example.com":{"username":"c","password":"3"},
            "https://index.docker.io/v1/":{"username":"d","password":"4"}}}"#;
        let secret = format!(
            r#"{{"type":"kubernetes.io/dockerconfigjson","data":{{".dockerconfigjson":"{}"}}}}"#,
            STANDARD.encode(config)
        );
        let dom = Dom::parse_json(secret.as_bytes()).unwrap();
        let mut keyring = Keyring::default();
        keyring.add(dom.as_ref());
        let names = |repository: &str| -> String {
            let found = keyring.lookup(repository).into_iter();
            found
                .map(|auth| auth.username + &auth.password + " ")
                .collect()
        };
        assert_eq!(names("127.0.0.1:5000/team/app"), "b2 a1 ");
        assert_eq!(names("127.0.0.1:5000/other"), "a1 ");
        assert_eq!(names("127.0.0.1:5001/other"), "");
        assert_eq!(names("r.example.com/x"), "c3 ");
        assert_eq!(names("a.r.example.com/x"), "");
        assert_eq!(names("docker.io/library/busybox"), "d4 ");
        assert_eq!(names("quay.io/x"), "");
    }
}
