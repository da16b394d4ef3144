//! Certificates and tokens against themselves and against openssl where it is installed.

use std::path::Path;
use std::time::Duration;

use expect_test::{Expect, expect};
use jiff::Timestamp;
use serde_json::json;

use crate::jwt::{KeySet, SigningKey, TokenError};
use crate::{Ca, Csr, KeyPair, Profile, PublicKey, Usage, files, parse_subject};

fn t0() -> Timestamp {
    "2026-11-21T05:00:00Z".parse().unwrap()
}

/// Runs openssl in `folder`; `None` where it is not installed.
#[expect(
    clippy::disallowed_methods,
    reason = "the oracle, in a folder of its own"
)]
fn openssl(folder: &Path, arguments: &str) -> Option<String> {
    let output = std::process::Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output();
    let Ok(output) = output else {
        println!("skipped: openssl is not installed");
        return None;
    };
    let text = [output.stdout, output.stderr].concat();
    Some(String::from_utf8(text).unwrap())
}

#[track_caller]
fn check_openssl(folder: &Path, arguments: &str, expect: Expect) {
    if let Some(text) = openssl(folder, arguments) {
        expect.assert_eq(&text);
    }
}

#[test]
fn openssl_believes_the_chain() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::generate("kubernetes", t0()).unwrap();
    files::save_ca(folder.path(), "ca", &ca).unwrap();
    let server = Profile::server(
        "kube-apiserver",
        ["kubernetes.default.svc", "10.96.0.1", "fd00::1"],
    );
    let server = ca.issue(&server, t0()).unwrap();
    files::save_identity(folder.path(), "server", &server).unwrap();
    let admin = Profile::client("kubernetes-admin", ["kubeadm:cluster-admins", "dev"]);
    let admin = ca.issue(&admin, t0()).unwrap();
    files::save_identity(folder.path(), "admin", &admin).unwrap();

    let at = t0().as_second();
    check_openssl(
        folder.path(),
        &format!(
            "verify -attime {at} -purpose sslserver -verify_ip 10.96.0.1 -CAfile ca.crt server.crt"
        ),
        expect!["server.crt: OK\n"],
    );
    check_openssl(
        folder.path(),
        &format!("verify -attime {at} -purpose sslclient -x509_strict -CAfile ca.crt admin.crt"),
        expect!["admin.crt: OK\n"],
    );
    check_openssl(
        folder.path(),
        "x509 -in admin.crt -noout -subject -startdate -enddate -ext keyUsage,extendedKeyUsage,basicConstraints",
        expect![[r#"
            subject=O = kubeadm:cluster-admins, O = dev, CN = kubernetes-admin
            notBefore=Nov 21 04:55:00 2026 GMT
            notAfter=Nov 21 05:00:00 2027 GMT
            X509v3 Key Usage: critical
                Digital Signature, Key Encipherment
            X509v3 Extended Key Usage: 
                TLS Web Client Authentication
            X509v3 Basic Constraints: critical
                CA:FALSE
        "#]],
    );
    check_openssl(
        folder.path(),
        "x509 -in server.crt -noout -ext subjectAltName",
        expect![[r#"
            X509v3 Subject Alternative Name: 
                DNS:kubernetes.default.svc, IP Address:10.96.0.1, IP Address:FD00:0:0:0:0:0:0:1
        "#]],
    );
}

#[test]
fn subjects_are_read_back_in_order() {
    let ca = Ca::generate("kubernetes", t0()).unwrap();
    let node = Profile::client("system:node:a", ["system:nodes", "z", "b"]);
    let node = ca.issue(&node, t0()).unwrap();
    let (_, section) = x509_parser::pem::parse_x509_pem(node.cert_pem.as_bytes()).unwrap();
    let subject = parse_subject(&section.contents).unwrap();
    assert_eq!(subject.cn, "system:node:a");
    assert_eq!(subject.organizations, ["system:nodes", "z", "b"]);
    assert_eq!(
        crate::not_after(&node.cert_pem).unwrap().to_string(),
        "2027-11-21T05:00:00Z"
    );
}

#[test]
fn a_leaf_never_outlives_its_ca() {
    let ca = Ca::generate("kubernetes", t0()).unwrap();
    let mut profile = Profile::client("a", []);
    profile.lifetime = Duration::from_secs(40 * 365 * 24 * 3600);
    let leaf = ca.issue(&profile, t0()).unwrap();
    let (own, leaf) = (
        crate::not_after(ca.cert_pem()),
        crate::not_after(&leaf.cert_pem),
    );
    assert_eq!(own.unwrap(), leaf.unwrap());
}

#[test]
fn a_ca_is_loaded_with_its_own_key_only() {
    let ca = Ca::generate("kubernetes", t0()).unwrap();
    let other = Ca::generate("kubernetes", t0()).unwrap();
    let loaded = Ca::load(ca.cert_pem(), ca.key_pem()).unwrap();
    assert_eq!(loaded.fingerprint(), ca.fingerprint());
    let error = Ca::load(ca.cert_pem(), other.key_pem()).unwrap_err();
    expect!["certificate and private key do not match"].assert_eq(&error.to_string());
    let leaf = ca.issue(&Profile::client("a", []), t0()).unwrap();
    let error = Ca::load(&leaf.cert_pem, &leaf.key_pem).unwrap_err();
    expect!["parse CA certificate: it is not a CA's"].assert_eq(&error.to_string());
}

/// kubeadm writes RSA CAs in PKCS#1 and EC keys in SEC1 form.
#[test]
fn keys_made_by_others_sign() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (make, name) in [
        ("genrsa -traditional -out rsa.key 2048", "rsa"),
        ("ecparam -name prime256v1 -genkey -noout -out ec.key", "ec"),
    ] {
        if openssl(path, make).is_none() {
            return;
        }
        let request = format!(
            "req -x509 -new -key {name}.key -subj /CN=kubernetes -days 3650 -out {name}.crt"
        );
        openssl(path, &request);
        let ca = files::load_ca(path, name).unwrap();
        let leaf = ca.issue(&Profile::client("a", ["b"]), now()).unwrap();
        files::save_identity(path, "leaf", &leaf).unwrap();
        check_openssl(
            path,
            &format!("verify -purpose sslclient -CAfile {name}.crt leaf.crt"),
            expect!["leaf.crt: OK\n"],
        );
        let pin = format!("x509 -in {name}.crt -noout -pubkey -out pub.pem");
        openssl(path, &pin);
        openssl(path, "pkey -pubin -in pub.pem -outform DER -out pub.der");
        let hash = openssl(path, "dgst -sha256 -r pub.der").unwrap();
        assert_eq!(format!("sha256:{}", &hash[..64]), ca.fingerprint());
        round_trip(
            KeyPair::from_pem(&files::load(&path.join(format!("{name}.key"))).unwrap()).unwrap(),
        );
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "openssl dates its certificates by the wall clock"
)]
fn now() -> Timestamp {
    Timestamp::try_from(std::time::SystemTime::now()).unwrap()
}

#[test]
fn requests_are_checked_and_signed() {
    let ca = Ca::generate("kubernetes", t0()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut profile = Profile::client("system:node:a", ["system:nodes"]);
    profile.sans = vec!["a".into(), "10.0.0.1".into()];
    let text = Csr::create(&profile, &key).unwrap();
    let folder = tempfile::tempdir().unwrap();
    files::save(&folder.path().join("a.csr"), &text).unwrap();
    check_openssl(
        folder.path(),
        "req -in a.csr -noout -verify -subject",
        expect![[r#"
            subject=O = system:nodes, CN = system:node:a
            Certificate request self-signature verify OK
        "#]],
    );
    let request = Csr::parse(&text).unwrap();
    assert_eq!(request.subject().cn, "system:node:a");
    assert_eq!(request.sans(), profile.sans);
    let lifetime = Duration::from_secs(3600);
    let signed = ca.sign(&request, &[Usage::Server], lifetime, t0()).unwrap();
    files::save(&folder.path().join("a.crt"), &signed).unwrap();
    files::save_ca(folder.path(), "ca", &ca).unwrap();
    check_openssl(
        folder.path(),
        &format!(
            "verify -attime {} -purpose sslserver -verify_hostname a -CAfile ca.crt a.crt",
            t0().as_second()
        ),
        expect!["a.crt: OK\n"],
    );

    // One bit of the subject changed: the signature no longer fits.
    let (_, section) = x509_parser::pem::parse_x509_pem(text.as_bytes()).unwrap();
    let mut bytes = section.contents.clone();
    let at = bytes.windows(6).position(|w| w == b"node:a").unwrap() + 5;
    bytes[at] = b'b';
    let forged = crate::key::pem("CERTIFICATE REQUEST", &bytes);
    let error = Csr::parse(&forged).unwrap_err();
    expect!["certificate request is not signed by its key"].assert_eq(&error.to_string());
    assert!(Csr::parse("nonsense").is_err());
    assert!(Csr::parse(ca.cert_pem()).is_err());
}

fn round_trip(key: KeyPair) {
    let public = key.public().unwrap();
    let keys = KeySet::new([public]);
    let signer = SigningKey::new(key);
    let claims = json!({"iss": "https://kubernetes.default.svc", "exp": t0().as_second() + 3600});
    let claims = claims.as_object().unwrap();
    let token = signer.sign(claims).unwrap();
    assert_eq!(keys.verify(&token, t0()).as_ref(), Ok(claims));
    assert_eq!(
        crate::jwt::issuer(&token).unwrap(),
        "https://kubernetes.default.svc"
    );
}

#[test]
fn tokens_expire_and_cannot_be_forged() {
    round_trip(KeyPair::generate().unwrap());
    let signer = SigningKey::new(KeyPair::generate().unwrap());
    let keys = KeySet::new([signer.key().public().unwrap()]);
    let start = t0().as_second();
    let claims = json!({"nbf": start, "exp": start + 3600, "sub": "a"});
    let token = signer.sign(claims.as_object().unwrap()).unwrap();
    let at = |seconds: i64| Timestamp::from_second(start + seconds).unwrap();
    let verify = |seconds| keys.verify(&token, at(seconds)).map(|_| ());
    assert_eq!(verify(-61), Err(TokenError::NotYet));
    assert_eq!(verify(-60), Ok(()));
    assert_eq!(verify(3660), Ok(()));
    assert_eq!(verify(3661), Err(TokenError::Expired));

    let other = KeySet::new([KeyPair::generate().unwrap().public().unwrap()]);
    assert_eq!(other.verify(&token, t0()), Err(TokenError::Signature));
    let mut parts: Vec<_> = token.split('.').collect();
    let none = "eyJhbGciOiJub25lIn0"; // {"alg":"none"}
    parts[0] = none;
    assert_eq!(
        keys.verify(&parts.join("."), t0()),
        Err(TokenError::Signature)
    );
    parts[2] = "";
    assert_eq!(
        keys.verify(&parts.join("."), t0()),
        Err(TokenError::Signature)
    );
    for text in ["", ".", "..", "a.b", "a.b.c", &"x".repeat(20_000)] {
        assert_eq!(
            keys.verify(text, t0()),
            Err(TokenError::Malformed),
            "{text}"
        );
    }
}

/// What anybody may send before a key is asked: depth ends at serde_json's 128, bytes at 16 KiB,
/// and what is over them is refused however well it is signed.
#[test]
fn large_and_deep_tokens_are_refused() {
    let signer = SigningKey::new(KeyPair::generate().unwrap());
    let keys = KeySet::new([signer.key().public().unwrap()]);
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        signer.sign_json(&format!(r#"{{"iss":"a","x":{open}{close}}}"#))
    };
    let long = |length: usize| signer.sign_json(&format!(r#"{{"iss":"{}"}}"#, "a".repeat(length)));
    for good in [nested(100), long(8 << 10)] {
        let good = good.unwrap();
        assert!(keys.verify(&good, t0()).is_ok(), "{} bytes", good.len());
    }
    for bad in [nested(130), nested(6000), long(16 << 10)] {
        let bad = bad.unwrap();
        assert_eq!(keys.verify(&bad, t0()), Err(TokenError::Malformed));
        assert_eq!(crate::jwt::issuer(&bad), None);
    }
}

/// Fixed key: the id and the key set are what upstream's functions compute.
#[test]
fn key_set_has_upstreams_form() {
    let public = PublicKey::from_pem(
        "-----BEGIN PUBLIC KEY-----\n\
         MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEH6cuzP8XuD5wal6wf9M6xDljTOPL\n\
         X2i8uIp/C/ASqiIGUeeKQtX0/IR3qCXyThP/dbCiHrF3v1cuhBOHY8CLVg==\n\
         -----END PUBLIC KEY-----\n",
    )
    .unwrap();
    let keys = KeySet::new([public]);
    expect![[r#"{"keys":[{"use":"sig","kty":"EC","kid":"SoABiieYuNx4UdqYvZRVeuC6SihxgLrhLy9peHMHpTc","crv":"P-256","alg":"ES256","x":"H6cuzP8XuD5wal6wf9M6xDljTOPLX2i8uIp_C_ASqiI","y":"BlHnikLV9PyEd6gl8k4T_3Wwoh6xd79XLoQTh2PAi1Y"}]}"#]].assert_eq(&keys.jwks());
    assert_eq!(keys.algorithms(), ["ES256"]);
}

#[test]
fn secrets_are_private_and_replaced_whole() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sa.key");
    files::save(&path, "public").unwrap();
    files::save_secret(&path, "secret").unwrap();
    assert_eq!(files::load(&path).unwrap(), "secret");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let error = files::load(&folder.path().join("none")).unwrap_err();
    assert!(error.to_string().starts_with("read /"), "{error}");
}
