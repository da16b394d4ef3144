//! Defaults, round trip, and what a wrong file says.

use expect_test::expect;

use crate::config::{AgentConfig, ServerConfig, parse};

const SERVER: &str = "
clusterName: demo
dataDir: /d
pkiDir: /p
listen: ['127.0.0.1:6443']
advertise: 172.31.0.1:6443
podRanges: [10.244.0.0/16]
serviceRanges: [10.96.0.0/16]
";

/// A file with the needed fields gets Kubernetes' defaults; writing and reading changes nothing.
#[test]
fn round_trip() {
    let config: ServerConfig = parse(SERVER).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("server.yaml");
    config.save(&path).unwrap();
    assert_eq!(ServerConfig::load(&path).unwrap(), config);
    expect![[r#"
        clusterName: demo
        dataDir: /d
        pkiDir: /p
        listen:
        - 127.0.0.1:6443
        advertise: 172.31.0.1:6443
        podRanges:
        - 10.244.0.0/16
        serviceRanges:
        - 10.96.0.0/16
        nodeMaskV4: 24
        nodeMaskV6: 64
        clusterDomain: cluster.local
        serviceAccountIssuer: https://kubernetes.default.svc.cluster.local
        log: info
    "#]]
    .assert_eq(&std::fs::read_to_string(&path).unwrap());
}

/// An unknown field, a wrong type and a missing field are named with their place.
#[test]
fn refusals() {
    let refuse = |text: String| parse::<ServerConfig>(&text).unwrap_err().to_string();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent.yaml");
    let absent = AgentConfig::load(&path).unwrap_err().to_string();
    let all = [
        refuse(format!("{SERVER}lisen: []\n")),
        refuse(SERVER.replace("172.31.0.1:6443", "nowhere")),
        refuse(SERVER.replace("dataDir: /d", "")),
        absent.replace(&path.display().to_string(), "FILE"),
    ];
    expect![[r#"
        line 9 column 1: unknown field `lisen`, expected one of clusterName, dataDir, pkiDir, listen, advertise, podRanges, serviceRanges, nodeMaskV4, nodeMaskV6, nodes, clusterDomain, clusterDns, serviceAccountIssuer, log
         --> <input>:9:1
          |
        7 | podRanges: [10.244.0.0/16]
        8 | serviceRanges: [10.96.0.0/16]
        9 | lisen: []
          | ^ unknown field `lisen`, expected one of clusterName, dataDir, pkiDir, listen, advertise, podRanges, serviceRanges, nodeMaskV4, nodeMaskV6, nodes, clusterDomain, clusterDns, serviceAccountIssuer, log
        ---
        line 6 column 12: invalid socket address syntax
         --> <input>:6:12
          |
        4 | pkiDir: /p
        5 | listen: ['127.0.0.1:6443']
        6 | advertise: nowhere
          |            ^ invalid socket address syntax
        7 | podRanges: [10.244.0.0/16]
        8 | serviceRanges: [10.96.0.0/16]
          |
        ---
        line 8 column 1: missing field `dataDir`
         --> <input>:8:1
          |
        6 | advertise: 172.31.0.1:6443
        7 | podRanges: [10.244.0.0/16]
        8 | serviceRanges: [10.96.0.0/16]
          | ^ missing field `dataDir`
        ---
        read FILE"#]].assert_eq(&all.join("\n---\n"));
}
