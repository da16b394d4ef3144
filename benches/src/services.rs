//! Service programming: from a changed EndpointSlice to the kernel's commit, with 100 and 10,000
//! Services; and connections through a Service against direct ones.
//!
//! Works in network namespaces of its own, without a cluster: the proxy's engine gets the bytes
//! that a watch would bring. Each Service has ten endpoints; one of them is replaced, or goes and
//! comes back, in a Service picked at random.

use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use api::view;
use base::Rng;
use bytes::Bytes;
use client::{Key, Object};
use netlink::rt::{Prefix, Route, Veth};
use netlink::{Handle, Namespace};
use proxy::{Engine, NodeFacts, Service, Slice};
use tokio::time::Instant;

use crate::report::{Figure, percentile};

const ENDPOINTS: u32 = 10;
const CHANGES: usize = 500;
const ROUNDS: u32 = 5;
const ROUND: Duration = Duration::from_millis(600);
const NEAR: [u8; 6] = [2, 0, 0, 0, 0, 1];
const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

pub(crate) fn run() -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for services in [100, 10_000] {
        figures.extend(programming(services)?);
    }
    figures.extend(connections()?);
    Ok(figures)
}

fn node() -> Result<NodeFacts> {
    Ok(NodeFacts {
        name: "here".to_owned(),
        pod_ranges: vec!["10.1.0.0/16".parse()?],
        service_ranges: vec!["10.96.0.0/16".parse()?],
        ..NodeFacts::default()
    })
}

/// The object as a watch brings it.
fn take(engine: &mut Engine, key: &Key, json: String) -> Result<()> {
    let object = Object::new(Bytes::from(json)).context("an object")?;
    let dom = object.parse()?;
    if json_is_slice(&object) {
        let slice = Slice::read(view::EndpointSlice(dom.as_ref()));
        engine.world().set_slice(key, slice);
    } else {
        let service = Service::read(view::Service(dom.as_ref()));
        engine.world().set_service(key, service);
    }
    Ok(())
}

fn json_is_slice(object: &Object) -> bool {
    object.bytes().starts_with(br#"{"addressType""#)
}

fn service(n: u32) -> String {
    let [_, _, high, low] = n.to_be_bytes();
    format!(
        r#"{{"metadata":{{"name":"s{n}","namespace":"bench"}},"spec":{{"type":"ClusterIP","clusterIP":"10.96.{high}.{low}","clusterIPs":["10.96.{high}.{low}"],"ports":[{{"name":"http","protocol":"TCP","port":80}}]}}}}"#
    )
}

fn slice(n: u32, addresses: &[Ipv4Addr]) -> String {
    let endpoint = |address: &Ipv4Addr| {
        format!(
            r#"{{"addresses":["{address}"],"conditions":{{"ready":true,"serving":true,"terminating":false}},"nodeName":"there"}}"#
        )
    };
    let all: Vec<String> = addresses.iter().map(endpoint).collect();
    format!(
        r#"{{"addressType":"IPv4","metadata":{{"name":"s{n}-a","namespace":"bench","labels":{{"kubernetes.io/service-name":"s{n}"}}}},"endpoints":[{}],"ports":[{{"name":"http","protocol":"TCP","port":8080}}]}}"#,
        all.join(",")
    )
}

fn addresses(n: u32) -> Vec<Ipv4Addr> {
    (0..ENDPOINTS)
        .map(|e| Ipv4Addr::from(0x0a01_0000 + n * ENDPOINTS + e))
        .collect()
}

fn programming(services: u32) -> Result<Vec<Figure>> {
    let namespace = Namespace::anonymous()?;
    let mut engine = Engine::open(Some(namespace.as_fd()), &node()?, false)?;
    let keys = |n: u32| {
        (
            Key::new("bench", format!("s{n}")),
            Key::new("bench", format!("s{n}-a")),
        )
    };
    for n in 0..services {
        let (key, slice_key) = keys(n);
        take(&mut engine, &key, service(n))?;
        take(&mut engine, &slice_key, slice(n, &addresses(n)))?;
    }
    let began = Instant::now();
    let whole = engine.commit()?.elements;
    let all = began.elapsed().as_secs_f64();
    // Classes of one endpoint less: made once in a cluster's life.
    take(&mut engine, &keys(0).1, slice(0, &addresses(0)[1..]))?;
    engine.commit()?;
    take(&mut engine, &keys(0).1, slice(0, &addresses(0)))?;
    engine.commit()?;

    let mut rng = Rng::from_os();
    let mut replaced = Vec::new();
    let mut count_changed = Vec::new();
    for change in 0..CHANGES {
        let n = u32::try_from(rng.below(services.into()))?;
        let slice_key = keys(n).1;
        let mut changed = addresses(n);
        let times = if change % 2 == 0 {
            changed[3] = Ipv4Addr::from(0x0afe_0000 + n);
            &mut replaced
        } else {
            changed.remove(3);
            &mut count_changed
        };
        for now in [changed, addresses(n)] {
            let json = slice(n, &now);
            let began = Instant::now();
            take(&mut engine, &slice_key, json)?;
            let committed = engine.commit()?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            anyhow::ensure!(committed.synced.is_empty(), "a difference was refused");
            anyhow::ensure!(committed.elements <= 6, "{} elements", committed.elements);
        }
    }
    let mut figures = vec![Figure::new(
        format!("{services} Services into the kernel ({whole} elements)"),
        "ms",
        all * 1e3,
    )];
    for (what, times) in [
        ("endpoint replaced", &mut replaced),
        ("endpoint gone or come", &mut count_changed),
    ] {
        times.sort_by(f64::total_cmp);
        for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
            let name = format!("{what}, of {services} Services, {name}");
            let figure = Figure::new(name, "ms", percentile(times, share));
            figures.push(match share > 0.9 {
                true => figure.limit(50.0),
                false => figure,
            });
        }
    }
    Ok(figures)
}

/// A pod of the node, wired as the pod network does it.
fn pod(node: &Namespace, number: u8) -> Result<Namespace> {
    let pod = Namespace::anonymous()?;
    let mut outer = Handle::open_in(node.as_fd())?;
    let mut inner = Handle::open_in(pod.as_fd())?;
    let hardware = [2, 0, 0, 1, 0, number];
    let near = outer.add_veth(&Veth {
        name: &format!("p{number}"),
        address: Some(NEAR),
        peer_name: "eth0",
        peer_address: Some(hardware),
        peer_namespace: Some(pod.as_fd()),
        mtu: None,
        alias: "",
    })?;
    outer.set_up(near, true)?;
    let far = inner.link_by_name("eth0")?.context("eth0")?.index;
    inner.set_up(far, true)?;
    let address = IpAddr::from([10, 1, 0, number]);
    inner.add_address(far, Prefix::host(address))?;
    inner.set_neighbour(far, GATEWAY.into(), NEAR)?;
    inner.replace_route(&Route::direct(Prefix::host(GATEWAY), far))?;
    let mut default = Route::default_via(GATEWAY.into());
    (default.link, default.onlink) = (Some(far), true);
    inner.replace_route(&default)?;
    outer.set_neighbour(near, address, hardware)?;
    outer.replace_route(&Route::direct(Prefix::host(address), near))?;
    Ok(pod)
}

/// Connections one after the other from a pod to a pod, in interleaved rounds: to its address,
/// and through one Service of 1,000. Both ends close with a reset, so that ports are free again.
fn connections() -> Result<Vec<Figure>> {
    let namespace = Namespace::anonymous()?;
    namespace.run(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))??;
    let (client, server) = (pod(&namespace, 2)?, pod(&namespace, 3)?);
    let listener = server.run(|| TcpListener::bind("0.0.0.0:8080"))??;
    std::thread::Builder::new()
        .name("server".to_owned())
        .spawn(move || {
            for stream in listener.incoming() {
                drop(stream);
            }
        })?;
    let mut engine = Engine::open(Some(namespace.as_fd()), &node()?, false)?;
    let backend = Ipv4Addr::new(10, 1, 0, 3);
    for n in 0..1000 {
        take(&mut engine, &Key::new("bench", format!("s{n}")), service(n))?;
        let key = Key::new("bench", format!("s{n}-a"));
        take(&mut engine, &key, slice(n, &[backend]))?;
    }
    engine.commit()?;
    let direct: SocketAddr = "10.1.0.3:8080".parse()?;
    let service: SocketAddr = "10.96.1.7:80".parse()?;
    let mut rates = [0.0, 0.0];
    client.run(|| -> Result<()> {
        for _ in 0..ROUNDS {
            for (rate, target) in rates.iter_mut().zip([direct, service]) {
                let began = Instant::now();
                let mut count = 0_u32;
                while began.elapsed() < ROUND {
                    let mut stream = TcpStream::connect_timeout(&target, Duration::from_secs(2))?;
                    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
                    let _ = stream.read(&mut [0]);
                    count += 1;
                }
                *rate += f64::from(count) / began.elapsed().as_secs_f64() / f64::from(ROUNDS);
            }
        }
        Ok(())
    })??;
    let [direct, service] = rates;
    Ok(vec![
        Figure::new("connections pod to pod, direct", "/s", direct),
        Figure::new("connections pod to pod, through a Service", "/s", service),
        Figure::new(
            "the same, through against direct",
            "%",
            service / direct * 100.0,
        ),
    ])
}
