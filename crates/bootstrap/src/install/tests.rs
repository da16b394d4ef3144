//! Choices of `install`, and what `uninstall` takes for ours.

use std::net::Ipv4Addr;

use expect_test::{Expect, expect};
use netlink::rt::{Address, Link, Prefix, Route, Scope};

use super::units::{AGENT, SERVER};
use super::{Install, Installed, address, changed, is_name, remove};
use crate::ranges::{self, Wanted};

fn installed() -> Installed {
    Installed {
        version: 1,
        node: "one".to_owned(),
        address: Ipv4Addr::new(192, 0, 2, 5),
        port: 6443,
        ranges: ranges::choose(&Wanted::default(), &[]).unwrap(),
        program: true,
    }
}

#[track_caller]
fn check_changed(request: &Install, expect: Expect) {
    let findings = changed(request, &installed());
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    expect.assert_eq(&lines.join("\n"));
}

/// A second `install` changes the program, not what was chosen.
#[test]
fn what_is_fixed() {
    check_changed(&Install::default(), expect![[""]]);
    let same = Install {
        node_name: Some("one".to_owned()),
        port: Some(6443),
        ..Install::default()
    };
    check_changed(&same, expect![[""]]);
    let other = Install {
        node_address: Some(Ipv4Addr::new(192, 0, 2, 6)),
        port: Some(7443),
        ..Install::default()
    };
    check_changed(
        &other,
        expect![[r#"
            node address 192.0.2.6: this machine was installed with 192.0.2.5; is fixed then; leave it out, or `transom uninstall` first
            port 7443: this machine was installed with 6443; is fixed then; leave it out, or `transom uninstall` first"#]],
    );
}

/// Both processes read what `install` writes for them.
#[test]
fn configuration() {
    let folder = tempfile::tempdir().unwrap();
    let (server, agent) = (folder.path().join("s"), folder.path().join("a"));
    let (wanted_server, wanted_agent) = (
        super::server_config(&installed()),
        super::agent_config(&installed()),
    );
    wanted_server.save(&server).unwrap();
    wanted_agent.save(&agent).unwrap();
    assert_eq!(
        crate::config::ServerConfig::load(&server).unwrap(),
        wanted_server
    );
    assert_eq!(
        crate::config::AgentConfig::load(&agent).unwrap(),
        wanted_agent
    );
    assert_eq!(wanted_server.advertise.to_string(), "192.0.2.5:6443");
}

/// Containers outlive a stop of the agent, and the control plane has no rights.
#[test]
fn units() {
    assert!(AGENT.text().contains("KillMode=process\nDelegate=yes\n"));
    for hidden in ["Private", "Protect", "NoNewPrivileges", "Restrict"] {
        let lines = AGENT.text().lines();
        assert_eq!(lines.filter(|line| line.starts_with(hidden)).count(), 0);
    }
    assert!(SERVER.text().contains("DynamicUser=yes\n"));
    assert!(SERVER.text().contains("CapabilityBoundingSet=\n"));
    assert_eq!(AGENT.cgroup(), "/system.slice/transom-agent.service");
}

#[test]
fn names_of_nodes() {
    for (name, good) in [
        ("one", true),
        ("one.example.com", true),
        ("One", false),
        ("", false),
        ("a_b", false),
        ("-a", false),
        ("a..b", false),
    ] {
        assert_eq!(is_name(name), good, "{name}");
    }
}

/// The source of the best default route; without one its link's first address; without a default
/// route that of a link that is up.
#[test]
fn addresses() {
    let prefix = |text: &str| Prefix::new(text.parse::<std::net::IpAddr>().unwrap(), 24);
    let links = ["lo", "eth0", "eth1"]
        .iter()
        .zip(1..)
        .map(|(name, index)| Link {
            index,
            name: (*name).to_owned(),
            up: true,
            loopback: index == 1,
            ..Link::default()
        });
    let links: Vec<Link> = links.collect();
    let on = |link, text| Address {
        link,
        prefix: prefix(text),
        scope: Scope(0),
        label: String::new(),
    };
    let known = [
        on(1, "127.0.0.1"),
        on(2, "192.0.2.5"),
        on(3, "198.51.100.7"),
    ];
    let by = |link, priority, source: Option<&str>| {
        let mut route = Route::default_via("192.0.2.1".parse::<std::net::IpAddr>().unwrap());
        (route.link, route.priority) = (Some(link), priority);
        route.source = source.map(|text| text.parse::<std::net::IpAddr>().unwrap());
        route
    };
    let chosen = |routes: &[Route]| address::choose(&links, &known, routes).unwrap().to_string();
    assert_eq!(chosen(&[]), "192.0.2.5");
    assert_eq!(
        chosen(&[by(2, 200, None), by(3, 100, None)]),
        "198.51.100.7"
    );
    assert_eq!(chosen(&[by(2, 0, Some("203.0.113.9"))]), "203.0.113.9");
    assert_eq!(address::choose(&links[..1], &known, &[]), None);
}

/// Only links of pods go; the hub's links of local clusters and those of others stay.
#[test]
fn links_of_pods() {
    for (name, alias, ours) in [
        ("tr766651b35fbe1", "sandbox", true),
        ("tr766651b35fbe1", "", false),
        ("trh0123abcd", "transom cluster a", false),
        ("eth0", "x", false),
    ] {
        assert_eq!(remove::is_of_pod(name, alias), ours, "{name}");
    }
}
