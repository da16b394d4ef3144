//! ADD, DEL, CHECK against the kernel: a node namespace, pod namespaces, real packets.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use netlink::{Handle, Namespace};
use nodeapi::cni::{AddRequest, Cni, CniError, PortMapping, Protocol};

use crate::{Config, Network};

struct Node {
    namespace: Namespace,
    folder: tempfile::TempDir,
    pods: Vec<PathBuf>,
}

impl Drop for Node {
    fn drop(&mut self) {
        for pod in &self.pods {
            let _ = Namespace::remove(pod);
        }
    }
}

impl Node {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: not root");
            return None;
        }
        let namespace = Namespace::anonymous().unwrap();
        Some(Self {
            namespace,
            folder: tempfile::tempdir().unwrap(),
            pods: Vec::new(),
        })
    }

    fn open(&self, ranges: &[&str]) -> Network {
        let folder = self.folder.path().join("state");
        let ranges = ranges.iter().map(|range| range.parse().unwrap()).collect();
        let config = Config {
            folder,
            ranges,
            mtu: None,
            masquerade: None,
        };
        self.namespace
            .run(|| Network::open(config))
            .unwrap()
            .unwrap()
    }

    fn pod(&mut self, name: &str) -> AddRequest {
        let netns = self.folder.path().join(name);
        Namespace::create(&netns).unwrap();
        self.pods.push(netns.clone());
        AddRequest {
            sandbox_id: name.to_owned(),
            netns,
            pod_namespace: "default".to_owned(),
            pod_name: name.to_owned(),
            ..AddRequest::default()
        }
    }

    fn links(&self) -> usize {
        use std::os::fd::AsFd;
        Handle::open_in(self.namespace.as_fd())
            .unwrap()
            .links()
            .unwrap()
            .len()
    }
}

/// Sends a word from one namespace to a listener in another and returns the peer it saw.
fn talk(from: &Namespace, to: &Path, address: IpAddr) -> IpAddr {
    let to = Namespace::open(to).unwrap();
    let listener = to.run(|| TcpListener::bind((address, 0))).unwrap().unwrap();
    let target = SocketAddr::new(address, listener.local_addr().unwrap().port());
    let server = std::thread::spawn(move || {
        let (mut stream, peer) = listener.accept().unwrap();
        stream.write_all(b"hello").unwrap();
        peer.ip()
    });
    let mut stream = from
        .run(|| TcpStream::connect_timeout(&target, Duration::from_secs(5)))
        .unwrap()
        .expect("connect");
    let mut word = [0; 5];
    stream.read_exact(&mut word).unwrap();
    server.join().unwrap()
}

/// Two pods and the node reach each other under their own addresses; DEL leaves nothing.
#[tokio::test]
async fn pods_talk() {
    let Some(mut node) = Node::new() else { return };
    let network = node.open(&["10.77.0.0/29"]);
    let (a, b) = (node.pod("a"), node.pod("b"));
    network.status().await.unwrap();
    let first = network.add(a.clone()).await.unwrap();
    let second = network.add(b.clone()).await.unwrap();
    assert_eq!(network.add(a.clone()).await.unwrap(), first);
    let (ip_a, ip_b) = (first.ips[0].addr(), second.ips[0].addr());
    assert_ne!(ip_a, ip_b);
    let ns_a = Namespace::open(&a.netns).unwrap();
    assert_eq!(talk(&ns_a, &b.netns, ip_b), ip_a);
    let ns_b = Namespace::open(&b.netns).unwrap();
    assert_eq!(talk(&ns_b, &a.netns, ip_a), ip_b);
    network.check(a.clone()).await.unwrap();

    // A unused address of the range is refused at once instead of travelling in circles.
    let unused: SocketAddr = "10.77.0.6:80".parse().unwrap();
    let refused = ns_a.run(|| TcpStream::connect_timeout(&unused, Duration::from_secs(5)));
    let kind = refused.unwrap().unwrap_err().kind();
    assert_eq!(kind, std::io::ErrorKind::HostUnreachable);

    network.del(a.clone()).await.unwrap();
    network.del(a.clone()).await.unwrap();
    Namespace::remove(&b.netns).unwrap();
    network.del(b).await.unwrap();
    assert_eq!(node.links(), 1);
    let again = network.add(a.clone()).await.unwrap();
    assert_eq!(again.ips[0].addr().to_string(), "10.77.0.3");
}

/// The same over IPv6, where the kernel has it.
#[tokio::test]
async fn pods_talk_over_ipv6() {
    let Some(mut node) = Node::new() else { return };
    if !Path::new("/proc/net/if_inet6").exists() {
        eprintln!("skipped: no IPv6");
        return;
    }
    let network = node.open(&["10.77.0.0/24", "fd00:77::/64"]);
    let (a, b) = (node.pod("a"), node.pod("b"));
    let first = network.add(a.clone()).await.unwrap();
    let second = network.add(b.clone()).await.unwrap();
    assert_eq!(first.ips[1].to_string(), "fd00:77::1/128");
    let ns_a = Namespace::open(&a.netns).unwrap();
    assert_eq!(
        talk(&ns_a, &b.netns, second.ips[1].addr()),
        first.ips[1].addr()
    );
    assert_eq!(
        talk(&ns_a, &b.netns, second.ips[0].addr()),
        first.ips[0].addr()
    );
    network.check(a.clone()).await.unwrap();
    network.del(a).await.unwrap();
    network.del(b).await.unwrap();
    assert_eq!(node.links(), 1);
}

/// Whether `to` hears what `from` sends under the address `source`, which `from` gives itself.
fn hears(from: &Namespace, to: &Namespace, source: IpAddr, address: IpAddr) -> bool {
    use std::net::UdpSocket;
    let mut handle = from.run(Handle::open).unwrap().unwrap();
    let eth0 = handle.link_by_name("eth0").unwrap().unwrap().index;
    netlink::ignore_exists(handle.add_address(eth0, netlink::rt::Prefix::host(source))).unwrap();
    let receiver = to.run(|| UdpSocket::bind((address, 0))).unwrap().unwrap();
    let sender = from.run(|| UdpSocket::bind((source, 0))).unwrap().unwrap();
    let limit = Duration::from_millis(500);
    receiver.set_read_timeout(Some(limit)).unwrap();
    let target = receiver.local_addr().unwrap();
    sender.send_to(b"hello", target).unwrap();
    let mut word = [0; 8];
    match receiver.recv_from(&mut word) {
        Ok((_, peer)) => {
            assert_eq!(peer.ip(), source);
            true
        }
        Err(_) => false,
    }
}

/// A pod that takes another's address, or one of nowhere, as its source is not heard, in either
/// family; without the guards it is.
#[tokio::test]
async fn sources_are_the_pods_own() {
    use netlink::nft::{Batch, Family, Nft, Table};
    use std::os::fd::AsFd;
    let Some(mut node) = Node::new() else { return };
    let mut ranges = vec!["10.77.0.0/24"];
    if Path::new("/proc/net/if_inet6").exists() {
        ranges.push("fd00:77::/64");
    }
    let network = node.open(&ranges);
    let (a, b, c) = (node.pod("a"), node.pod("b"), node.pod("c"));
    let thief = network.add(a.clone()).await.unwrap();
    let target = network.add(b.clone()).await.unwrap();
    let victim = network.add(c.clone()).await.unwrap();
    let (ns_a, ns_b) = (
        Namespace::open(&a.netns).unwrap(),
        Namespace::open(&b.netns).unwrap(),
    );
    let nowhere: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    for (family, nowhere) in nowhere.into_iter().enumerate().take(ranges.len()) {
        let to = target.ips[family].addr();
        let stolen = [victim.ips[family].addr(), nowhere];
        assert!(hears(&ns_a, &ns_b, thief.ips[family].addr(), to), "its own");
        for source in stolen {
            assert!(!hears(&ns_a, &ns_b, source, to), "as {source}");
        }
        node.namespace
            .run(|| {
                let near = crate::link::near_name("a");
                for name in [&near, "all"] {
                    crate::sysctl::set(&format!("ipv4/conf/{name}/rp_filter"), "0").unwrap();
                }
            })
            .unwrap();
        let mut nft = Nft::open_in(node.namespace.as_fd()).unwrap();
        let mut batch = Batch::new();
        batch.destroy_table(&Table::new(Family::Ip6, crate::sources::NAME));
        nft.commit(batch).unwrap();
        for source in stolen {
            assert!(hears(&ns_a, &ns_b, source, to), "unguarded as {source}");
        }
        network.set_ranges(Vec::new()).unwrap();
        network
            .set_ranges(ranges.iter().map(|range| range.parse().unwrap()).collect())
            .unwrap();
    }
}

/// CHECK names what differs, and ADD repairs it under the same address.
#[tokio::test]
async fn check_and_repair() {
    let Some(mut node) = Node::new() else { return };
    let network = node.open(&["10.77.0.0/24"]);
    let a = node.pod("a");
    let made = network.add(a.clone()).await.unwrap();
    let pod = Namespace::open(&a.netns).unwrap();
    let mut handle = pod.run(Handle::open).unwrap().unwrap();
    let eth0 = handle.link_by_name("eth0").unwrap().unwrap();
    handle.set_up(eth0.index, false).unwrap();
    let error = network.check(a.clone()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "sandbox a is not as it was set up: interface eth0 is down, the sandbox has no default \
         route for 10.77.0.1/32"
    );
    assert_eq!(network.add(a.clone()).await.unwrap(), made);
    network.check(a).await.unwrap();
}

/// A restarted agent gives addresses and links of dead sandboxes back, and keeps the others.
#[tokio::test]
async fn restart() {
    let Some(mut node) = Node::new() else { return };
    let (a, b) = (node.pod("a"), node.pod("b"));
    let network = node.open(&["10.77.0.0/24"]);
    network
        .set_ranges(vec!["10.78.0.0/24".parse().unwrap()])
        .unwrap();
    network.add(a.clone()).await.unwrap();
    let kept = network.add(b.clone()).await.unwrap();
    drop(network);
    let network = node.open(&[]);
    let live = HashSet::from(["b".to_owned()]);
    assert_eq!(network.reconcile(live).await.unwrap(), ["a"]);
    assert_eq!(node.links(), 2);
    assert_eq!(network.add(b).await.unwrap(), kept);
    assert_eq!(kept.ips[0].addr().to_string(), "10.78.0.2");
    assert!(matches!(
        network.check(a).await,
        Err(CniError::Changed { .. })
    ));
}

/// Without a range the network is not ready; a full range and a missing namespace are errors
/// that hold nothing back.
#[tokio::test]
async fn refusals() {
    let Some(mut node) = Node::new() else { return };
    let network = node.open(&[]);
    let (a, b, c) = (node.pod("a"), node.pod("b"), node.pod("c"));
    assert!(matches!(network.status().await, Err(CniError::NotReady(_))));
    assert!(matches!(
        network.add(a.clone()).await,
        Err(CniError::NotReady(_))
    ));
    network
        .set_ranges(vec!["10.77.0.0/30".parse().unwrap()])
        .unwrap();
    let gone = AddRequest {
        netns: "/nonexistent".into(),
        ..c.clone()
    };
    let error = network.add(gone).await.unwrap_err();
    assert_eq!(error.to_string(), "add network for sandbox c");
    network.add(a.clone()).await.unwrap();
    network.add(b).await.unwrap();
    assert!(matches!(
        network.add(c.clone()).await,
        Err(CniError::Exhausted(_))
    ));
    network.del(a).await.unwrap();
    network.add(c).await.unwrap();
}

/// One word from a listener in `pod` on port 8080 for each word asked for at `targets`.
fn ask(from: &Namespace, pod: &Path, target: &str) -> Option<IpAddr> {
    let pod = Namespace::open(pod).unwrap();
    let listener = pod
        .run(|| TcpListener::bind("0.0.0.0:8080"))
        .unwrap()
        .unwrap();
    let target: SocketAddr = target.parse().unwrap();
    let connect = || TcpStream::connect_timeout(&target, Duration::from_secs(2));
    let stream = from.run(connect).unwrap().ok()?;
    let (_, peer) = listener.accept().unwrap();
    drop(stream);
    Some(peer.ip())
}

/// Host ports lead to their pods, from loopback, from the node and from pods, and from nowhere
/// else; they outlast a restart and go with the pod.
#[tokio::test]
async fn host_ports() {
    let Some(mut node) = Node::new() else { return };
    let network = node.open(&["10.77.0.0/24"]);
    {
        let mut handle = Handle::open_in(std::os::fd::AsFd::as_fd(&node.namespace)).unwrap();
        let lo = handle.link_by_name("lo").unwrap().unwrap();
        handle.set_up(lo.index, true).unwrap();
        let own = netlink::rt::Prefix::host(std::net::Ipv4Addr::new(192, 0, 2, 1));
        handle.add_address(lo.index, own).unwrap();
    }
    let port = |host_port, host_ip: Option<&str>| PortMapping {
        host_port,
        container_port: 8080,
        protocol: Protocol::Tcp,
        host_ip: host_ip.map(|ip| ip.parse().unwrap()),
    };
    let web = AddRequest {
        ports: vec![port(80, None), port(81, Some("127.0.0.1"))],
        ..node.pod("web")
    };
    let other = node.pod("other");
    let made = network.add(web.clone()).await.unwrap();
    network.add(other.clone()).await.unwrap();
    let (host, inside) = (&node.namespace, Namespace::open(&other.netns).unwrap());
    let reaches = |target: &str| ask(host, &web.netns, target).is_some();
    assert!(reaches("127.0.0.1:80") && reaches("127.0.0.1:81"));
    assert!(!reaches("127.0.0.2:81") && !reaches("127.0.0.1:82"));
    // From the node's own address, from another pod, and the pod itself.
    assert!(reaches("192.0.2.1:80") && !reaches("192.0.2.1:81"));
    let pod = made.ips[0].addr();
    let others = network.add(other.clone()).await.unwrap().ips[0].addr();
    assert_eq!(ask(&inside, &web.netns, "192.0.2.1:80"), Some(others));
    let itself = Namespace::open(&web.netns).unwrap();
    let seen = ask(&itself, &web.netns, "192.0.2.1:80").unwrap();
    assert!(seen != pod, "{seen}: its answers would not come back");
    // Nobody else reaches the node's loopback over the link that takes it to the pod.
    assert!(ask(&inside, &web.netns, "127.0.0.1:80").is_none());

    let second = AddRequest {
        ports: vec![port(80, Some("127.0.0.1"))],
        ..node.pod("second")
    };
    let error = network.add(second.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), "host port 80 is in use by sandbox web");
    network.del(second).await.unwrap();

    drop(network);
    let network = node.open(&[]);
    assert_eq!(network.add(web.clone()).await.unwrap(), made);
    assert!(ask(&node.namespace, &web.netns, "127.0.0.1:80").is_some());
    network.del(web.clone()).await.unwrap();
    let mut nft = netlink::nft::Nft::open_in(std::os::fd::AsFd::as_fd(&node.namespace)).unwrap();
    assert!(nft.tables().unwrap().is_empty());
}
