//! A node, its pods and the world outside as network namespaces, for tests that send packets.
//!
//! Node 172.20.0.2 (eth0) is linked to the outside, 172.20.0.1, which routes pods, Services and
//! external addresses to it. Pods have 10.1.0.N as /32, wired as the pod network does it.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use netlink::rt::{Prefix, Route, Veth};
use netlink::{Handle, Namespace};

const NEAR: [u8; 6] = [2, 0, 0, 0, 0, 1];
const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// What no answer within this time is.
const SILENCE: Duration = Duration::from_millis(2500);

pub(crate) struct Net {
    pub(crate) node: Namespace,
    pub(crate) outside: Namespace,
}

impl Net {
    /// `None` with the reason printed when not root.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: not root");
            return None;
        }
        let net = Self {
            node: Namespace::anonymous().unwrap(),
            outside: Namespace::anonymous().unwrap(),
        };
        set(&net.node, "ipv4/ip_forward", "1");
        if has_ipv6() {
            set(&net.node, "ipv6/conf/all/forwarding", "1");
        }
        lo_up(&net.node);
        lo_up(&net.outside);
        let mut outside = Handle::open_in(net.outside.as_fd()).unwrap();
        let mut node = Handle::open_in(net.node.as_fd()).unwrap();
        let veth = Veth {
            name: "eth0",
            address: None,
            peer_name: "eth0",
            peer_address: None,
            peer_namespace: Some(net.outside.as_fd()),
            mtu: None,
            alias: "",
        };
        let near = node.add_veth(&veth).unwrap();
        let far = outside.link_by_name("eth0").unwrap().unwrap().index;
        node.set_up(near, true).unwrap();
        outside.set_up(far, true).unwrap();
        let own = Prefix::new(ip("172.20.0.2"), 24);
        node.add_address(near, own).unwrap();
        outside
            .add_address(far, Prefix::new(ip("172.20.0.1"), 24))
            .unwrap();
        for range in ["10.0.0.0", "1.0.0.0"] {
            let route = Route::via(Prefix::new(ip(range), 8), ip("172.20.0.2"));
            outside.replace_route(&route).unwrap();
        }
        let back = Route::default_via(ip("172.20.0.1"));
        node.replace_route(&back).unwrap();
        if has_ipv6() {
            let any = Prefix::new(Ipv6Addr::UNSPECIFIED, 0);
            node.replace_route(&Route::direct(any, near)).unwrap();
        }
        Some(net)
    }

    /// A pod with address 10.1.0.`number`, and fd01::`number` where the kernel has IPv6.
    pub(crate) fn pod(&self, number: u8) -> Namespace {
        let pod = Namespace::anonymous().unwrap();
        lo_up(&pod);
        let hardware = [2, 0, 0, 1, 0, number];
        let name = format!("p{number}");
        let mut node = Handle::open_in(self.node.as_fd()).unwrap();
        let near = node
            .add_veth(&Veth {
                name: &name,
                address: Some(NEAR),
                peer_name: "eth0",
                peer_address: Some(hardware),
                peer_namespace: Some(pod.as_fd()),
                mtu: None,
                alias: "",
            })
            .unwrap();
        set(&self.node, &format!("ipv4/conf/{name}/rp_filter"), "1");
        node.set_up(near, true).unwrap();
        let mut inside = Handle::open_in(pod.as_fd()).unwrap();
        let far = inside.link_by_name("eth0").unwrap().unwrap().index;
        inside.set_up(far, true).unwrap();
        let v4 = Ipv4Addr::new(10, 1, 0, number).into();
        let v6 = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, number.into()).into();
        let both: [(IpAddr, IpAddr); 2] = [(v4, GATEWAY.into()), (v6, GATEWAY6.into())];
        for (address, gateway) in both {
            if address.is_ipv6() && !has_ipv6() {
                continue;
            }
            inside.add_address(far, Prefix::host(address)).unwrap();
            inside.set_neighbour(far, gateway, NEAR).unwrap();
            if gateway.is_ipv4() {
                let to_gateway = Route::direct(Prefix::host(gateway), far);
                inside.replace_route(&to_gateway).unwrap();
            }
            let mut default = Route::default_via(gateway);
            (default.link, default.onlink) = (Some(far), gateway.is_ipv4());
            inside.replace_route(&default).unwrap();
            node.set_neighbour(near, address, hardware).unwrap();
            let route = Route::direct(Prefix::host(address), near);
            node.replace_route(&route).unwrap();
        }
        pod
    }

    /// A pod that has all of 10.1.64.0/20 too.
    pub(crate) fn farm(&self, number: u8) -> Namespace {
        let pod = self.pod(number);
        let range = Prefix::new(ip("10.1.64.0"), 20);
        let mut inside = Handle::open_in(pod.as_fd()).unwrap();
        let lo = inside.link_by_name("lo").unwrap().unwrap().index;
        let mut local = Route::direct(range, lo);
        (local.kind, local.table) = (netlink::rt::route::RouteKind(2), 255);
        local.scope = netlink::rt::route::Scope(254);
        inside.add_route(&local).unwrap();
        let mut node = Handle::open_in(self.node.as_fd()).unwrap();
        let near = node
            .link_by_name(&format!("p{number}"))
            .unwrap()
            .unwrap()
            .index;
        let mut route = Route::via(range, Ipv4Addr::new(10, 1, 0, number).into());
        (route.link, route.onlink) = (Some(near), true);
        node.replace_route(&route).unwrap();
        pod
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn has_ipv6() -> bool {
    fs::exists("/proc/net/if_inet6").unwrap_or(false)
}

fn set(namespace: &Namespace, key: &str, value: &str) {
    let path = format!("/proc/sys/net/{key}");
    namespace.run(|| fs::write(path, value).unwrap()).unwrap();
}

fn lo_up(namespace: &Namespace) {
    let mut handle = Handle::open_in(namespace.as_fd()).unwrap();
    let lo = handle.link_by_name("lo").unwrap().unwrap().index;
    handle.set_up(lo, true).unwrap();
}

/// Answers every connection with `own address < client's address`, as long as the test runs.
pub(crate) fn serve(namespace: &Namespace, port: u16) {
    let any: &[IpAddr] = if has_ipv6() {
        &[IpAddr::V6(Ipv6Addr::UNSPECIFIED)]
    } else {
        &[IpAddr::V4(Ipv4Addr::UNSPECIFIED)]
    };
    for address in any {
        let listener = namespace
            .run(|| TcpListener::bind((*address, port)).unwrap())
            .unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let own = stream.local_addr().unwrap().ip().to_canonical();
                let peer = stream.peer_addr().unwrap().ip().to_canonical();
                let _ = write!(stream, "{own} < {peer}");
            }
        });
    }
}

/// The same for datagrams, on one address.
pub(crate) fn serve_udp(namespace: &Namespace, address: SocketAddr) {
    let socket = namespace.run(|| UdpSocket::bind(address).unwrap()).unwrap();
    std::thread::spawn(move || {
        let mut word = [0; 16];
        while let Ok((_, peer)) = socket.recv_from(&mut word) {
            let text = format!("{} < {}", address.ip(), peer.ip());
            let _ = socket.send_to(text.as_bytes(), peer);
        }
    });
}

/// Connects and returns the answer: `refused`, `silence`, or what the server wrote.
pub(crate) fn ask(from: &Namespace, to: &str) -> String {
    let target: SocketAddr = to.parse().unwrap();
    let stream = from
        .run(|| TcpStream::connect_timeout(&target, SILENCE))
        .unwrap();
    let mut stream = match stream {
        Ok(stream) => stream,
        Err(error) => return words(&error),
    };
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        Ok(_) => text,
        Err(error) => words(&error),
    }
}

/// A socket for several questions to one address.
pub(crate) fn udp_client(from: &Namespace, to: &str) -> UdpSocket {
    let target: SocketAddr = to.parse().unwrap();
    from.run(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        socket.connect(target).unwrap();
        socket.set_read_timeout(Some(SILENCE)).unwrap();
        socket
    })
    .unwrap()
}

pub(crate) fn ask_udp(socket: &UdpSocket) -> String {
    let mut word = [0; 64];
    if let Err(error) = socket.send(b"?") {
        return words(&error);
    }
    match socket.recv(&mut word) {
        Ok(n) => String::from_utf8_lossy(&word[..n]).into_owned(),
        Err(error) => words(&error),
    }
}

fn words(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{ConnectionRefused, TimedOut, WouldBlock};
    match error.kind() {
        ConnectionRefused => "refused".to_owned(),
        TimedOut | WouldBlock => "silence".to_owned(),
        kind => format!("{kind:?}"),
    }
}

/// `nft` with these words inside the namespace, or `None` with the reason printed.
#[expect(
    clippy::disallowed_methods,
    reason = "the oracle is an outside program"
)]
pub(crate) fn nft(namespace: &Namespace, words: &[&str]) -> Option<String> {
    let output = namespace
        .run(|| {
            Command::new("/usr/sbin/nft")
                .args(words)
                .current_dir("/")
                .output()
        })
        .unwrap();
    match output {
        Ok(output) if output.status.success() => Some(String::from_utf8(output.stdout).unwrap()),
        Ok(output) => panic!("nft: {}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => {
            eprintln!("skipped: nft(8) is not installed (Debian package nftables)");
            None
        }
    }
}
