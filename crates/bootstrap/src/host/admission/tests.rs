//! Docker's rules in a namespace of the test's own, made by iptables itself.

use std::os::fd::AsFd;

use expect_test::expect;
use netlink::{Namespace, Nft};

use crate::host::admission;

/// What a program says in `namespace`; `None` when it is not installed.
#[expect(
    clippy::disallowed_methods,
    reason = "the programs are the test's oracle"
)]
fn run(namespace: &Namespace, words: &str) -> Option<String> {
    let mut words = words.split(' ');
    let mut command = std::process::Command::new(words.next().unwrap());
    command.args(words);
    let output = namespace.run(move || command.output()).unwrap().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn rules(namespace: &Namespace) -> String {
    let text = run(namespace, "iptables-nft -S").unwrap();
    let ours = text.lines().filter(|line| !line.starts_with("-N"));
    ours.collect::<Vec<_>>().join("\n")
}

/// Rules come once, into Docker's own chain when there is one; iptables reads them; they go.
#[test]
fn docker() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: not root");
        return;
    }
    let host = Namespace::anonymous().unwrap();
    let Some(_) = run(&host, "iptables-nft -P FORWARD DROP") else {
        eprintln!("skipped: no iptables-nft");
        return;
    };
    let nft = || Nft::open_in(host.as_fd()).unwrap();
    for _ in 0..2 {
        admission::admit(&mut nft(), "trh01").unwrap();
    }
    expect![[r#"
        -P INPUT ACCEPT
        -P FORWARD DROP
        -P OUTPUT ACCEPT
        -A FORWARD -o trh01 -m comment --comment trh01 -j ACCEPT
        -A FORWARD -i trh01 -m comment --comment trh01 -j ACCEPT"#]]
    .assert_eq(&rules(&host));
    admission::withdraw(&mut nft(), "trh01").unwrap();
    for words in [
        "iptables-nft -P INPUT DROP",
        "iptables-nft -N DOCKER-USER",
        "iptables-nft -A FORWARD -j DOCKER-USER",
    ] {
        run(&host, words);
    }
    admission::admit(&mut nft(), "trh01").unwrap();
    admission::admit(&mut nft(), "trh02").unwrap();
    admission::withdraw(&mut nft(), "trh02").unwrap();
    expect![[r#"
        -P INPUT DROP
        -P FORWARD DROP
        -P OUTPUT ACCEPT
        -A INPUT -i trh01 -m comment --comment trh01 -j ACCEPT
        -A FORWARD -j DOCKER-USER
        -A DOCKER-USER -o trh01 -m comment --comment trh01 -j ACCEPT
        -A DOCKER-USER -i trh01 -m comment --comment trh01 -j ACCEPT"#]]
    .assert_eq(&rules(&host));
    admission::withdraw(&mut nft(), "trh01").unwrap();
    assert!(!rules(&host).contains("trh"));
}
