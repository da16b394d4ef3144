//! Each world is a few lines: `node NAME cpu=2 mem=4 pods=1 [taint=K:E] [label=K=V] [cordoned]`,
//! `on NODE cpu=1` for a pod there, and last `pod cpu=… [select=K=V] [tolerate=K] [port=N]`.

use base::Rng;
use client::Key;
use expect_test::{Expect, expect};

use super::*;
use crate::node::Taint;
use crate::pod::{HostPort, Toleration};

#[track_caller]
fn check(world: &str, expected: Expect) {
    let mut snapshot = Snapshot::default();
    let mut count = 0;
    let mut decided = String::new();
    for line in world.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        match words.next().unwrap() {
            "node" => {
                let mut node = NodeInfo {
                    name: words.next().unwrap().into(),
                    ..NodeInfo::default()
                };
                node.allowed_pods = 110;
                for word in words {
                    let (key, value) = word.split_once('=').unwrap_or((word, ""));
                    match key {
                        "cpu" => node.allocatable.millicores = value.parse::<i64>().unwrap() * 1000,
                        "mem" => {
                            node.allocatable.memory_bytes = value.parse::<i64>().unwrap() << 30
                        }
                        "pods" => node.allowed_pods = value.parse().unwrap(),
                        "cordoned" => node.unschedulable = true,
                        "label" => {
                            let (key, value) = value.split_once('=').unwrap();
                            node.labels.insert(key.into(), value.into());
                        }
                        "taint" => {
                            let (key, effect) = value.split_once(':').unwrap();
                            let (key, effect) = (key.to_owned(), effect.to_owned());
                            node.taints.push(Taint {
                                key,
                                value: String::new(),
                                effect,
                            });
                        }
                        _ => panic!("{word}"),
                    }
                }
                snapshot.set_node(node);
            }
            "on" => {
                count += 1;
                let node = words.next().unwrap();
                let mut pod = pod(words);
                pod.node_name = node.into();
                pod.key = Key::new("default", format!("p{count}"));
                snapshot.set_pod(pod);
            }
            _ => {
                decided = decide(&snapshot, &pod(words), &mut Rng::new(1)).to_string();
            }
        }
    }
    expected.assert_eq(&decided);
}

fn pod<'a>(words: impl Iterator<Item = &'a str>) -> PodInfo {
    let mut pod = PodInfo::default();
    for word in words {
        let (key, value) = word.split_once('=').unwrap();
        match key {
            "cpu" => pod.requests.millicores = value.parse::<i64>().unwrap() * 1000,
            "mem" => pod.requests.memory_bytes = value.parse::<i64>().unwrap() << 30,
            "select" => {
                let (key, value) = value.split_once('=').unwrap();
                pod.node_selector.push((key.into(), value.into()));
            }
            "tolerate" => pod.tolerations.push(Toleration {
                key: value.into(),
                exists: true,
                ..Toleration::default()
            }),
            "port" => pod.host_ports.push(HostPort {
                address: "0.0.0.0".into(),
                protocol: "TCP".into(),
                port: value.parse().unwrap(),
            }),
            _ => panic!("{word}"),
        }
    }
    pod
}

#[test]
fn nothing_to_choose_from() {
    check("pod cpu=1", expect!["no nodes available to schedule pods"]);
}

/// The emptier node wins, so that pods spread.
#[test]
fn the_emptier_node_wins() {
    check(
        "node a cpu=4 mem=8
         node b cpu=4 mem=8
         on a cpu=2 mem=2
         pod cpu=1 mem=1",
        expect!["b"],
    );
}

/// Each node counts once for each of its reasons; the words are upstream's.
#[test]
fn every_node_says_why_not() {
    check(
        "node a cpu=1 mem=1
         node b cpu=8 mem=8 taint=dedicated:NoSchedule
         node c cpu=8 mem=8 cordoned
         node d cpu=8 mem=8 pods=0
         pod cpu=2 mem=2",
        expect![
            "0/4 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 Too many pods, 1 node(s) had untolerated taint {dedicated: }, 1 node(s) were unschedulable."
        ],
    );
}

#[test]
fn selectors_tolerations_and_ports() {
    let nodes = "node a cpu=8 mem=8 label=disk=ssd taint=gpu:NoSchedule
                 node b cpu=8 mem=8
                 on b port=80
                 ";
    check(
        &format!("{nodes} pod select=disk=ssd tolerate=gpu"),
        expect!["a"],
    );
    check(
        &format!("{nodes} pod select=disk=hdd tolerate=gpu"),
        expect!["0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."],
    );
    check(
        &format!("{nodes} pod port=80"),
        expect![
            "0/2 nodes are available: 1 node(s) didn't have free ports for the requested pod ports, 1 node(s) had untolerated taint {gpu: }."
        ],
    );
}
