//! References as the docker CLI reads them.

use expect_test::{Expect, expect};

use super::Reference;

#[track_caller]
fn check(text: &str, expect: Expect) {
    let got = match text.parse::<Reference>() {
        Ok(reference) => format!("{reference} select {}", reference.selector()),
        Err(error) => format!("error: {error}"),
    };
    expect.assert_eq(&got);
}

#[test]
fn short_names_are_docker_hubs() {
    check(
        "nginx",
        expect!["docker.io/library/nginx:latest select latest"],
    );
    check(
        "nginx:1.27",
        expect!["docker.io/library/nginx:1.27 select 1.27"],
    );
    check(
        "grafana/loki",
        expect!["docker.io/grafana/loki:latest select latest"],
    );
    check(
        "index.docker.io/nginx",
        expect!["docker.io/library/nginx:latest select latest"],
    );
}

#[test]
fn registries_have_a_dot_a_port_or_are_localhost() {
    check("localhost/a", expect!["localhost/a:latest select latest"]);
    check(
        "127.0.0.1:5000/a/b:c",
        expect!["127.0.0.1:5000/a/b:c select c"],
    );
    check("[::1]:5000/a", expect!["[::1]:5000/a:latest select latest"]);
    check(
        "registry.k8s.io/pause:3.10",
        expect!["registry.k8s.io/pause:3.10 select 3.10"],
    );
}

#[test]
fn digests_win_over_tags() {
    let hex = "0123456789abcdef".repeat(4);
    check(
        &format!("a.b/c:t@sha256:{hex}"),
        expect![
            "a.b/c:t@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef select sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
        ],
    );
}

#[test]
fn wrong_references_say_why() {
    check(
        "",
        expect![[r#"error: invalid image reference "": it is empty"#]],
    );
    check(
        "UPPER",
        expect![[
            r#"error: invalid image reference "UPPER": the repository name has to be lower case"#
        ]],
    );
    check(
        "a.b:99999/c",
        expect![[
            r#"error: invalid image reference "a.b:99999/c": the registry's port is not a port number"#
        ]],
    );
    check(
        "a.b:+80/c",
        expect![[
            r#"error: invalid image reference "a.b:+80/c": the registry's port is not a port number"#
        ]],
    );
    check(
        "a//b",
        expect![[
            r#"error: invalid image reference "a//b": a part of the repository name is not lower-case words joined by '.', '_', '__' or '-'"#
        ]],
    );
    check(
        "../etc",
        expect![[r#"error: invalid image reference "../etc": the registry is not a host name"#]],
    );
    check(
        "a:-x",
        expect![[
            r#"error: invalid image reference "a:-x": the tag may not start with '.' or '-'"#
        ]],
    );
    check(
        "a@sha256:12",
        expect![[
            r#"error: invalid image reference "a@sha256:12": the digest is not sha256 and 64 digits"#
        ]],
    );
}
