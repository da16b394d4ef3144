use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use expect_test::{Expect, expect};

use super::serve;

fn archive() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut tar = tar::Builder::new(file.reopen().unwrap());
    let index = r#"{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "digest":"sha256:aa","annotations":{"io.containerd.image.name":"some.host/e2e/kitten:1.8"}}]}"#;
    for (path, text) in [
        ("index.json", index),
        ("blobs/sha256/aa", "manifest"),
        ("blobs/sha256/bb", "layer"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    tar.finish().unwrap();
    file
}

#[track_caller]
fn check(address: SocketAddr, request: &str, expect: Expect) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    expect.assert_eq(&answer.replace('\r', ""));
}

#[test]
fn an_image_is_pulled_by_tag_and_digest() {
    let archive = archive();
    let address = serve(archive.path()).unwrap();
    check(
        address,
        "GET /v2/",
        expect![[r#"
        HTTP/1.1 200 OK
        Content-Length: 2
        Connection: close

        {}"#]],
    );
    check(
        address,
        "HEAD /v2/e2e/kitten/manifests/1.8",
        expect![[r#"
        HTTP/1.1 200 OK
        Content-Type: application/vnd.oci.image.manifest.v1+json
        Content-Length: 8
        Docker-Content-Digest: sha256:aa
        Connection: close

    "#]],
    );
    check(
        address,
        "GET /v2/e2e/kitten/manifests/sha256:aa",
        expect![[r#"
        HTTP/1.1 200 OK
        Content-Type: application/vnd.oci.image.manifest.v1+json
        Content-Length: 8
        Docker-Content-Digest: sha256:aa
        Connection: close

        manifest"#]],
    );
    check(
        address,
        "GET /v2/e2e/kitten/blobs/sha256:bb",
        expect![[r#"
        HTTP/1.1 200 OK
        Content-Type: application/octet-stream
        Content-Length: 5
        Docker-Content-Digest: sha256:bb
        Connection: close

        layer"#]],
    );
}

#[test]
fn what_is_not_there_is_not_found() {
    let archive = archive();
    let address = serve(archive.path()).unwrap();
    for path in [
        "/",
        "/v2/e2e/kitten/manifests/2",
        "/v2/e2e/kitten/blobs/sha256:cc",
        "nonsense",
    ] {
        check(
            address,
            &format!("GET {path}"),
            expect![[r#"
            HTTP/1.1 404 Not Found
            Content-Length: 0
            Connection: close

        "#]],
        );
    }
}
