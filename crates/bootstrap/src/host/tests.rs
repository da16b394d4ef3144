//! A hub with two nodes inside a host namespace of the test's own: packets and absence.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::Duration;

use netlink::rt::Prefix;
use netlink::{Handle, Namespace, Nft};

use crate::cluster::Place;
use crate::host;
use crate::ranges::{Wanted, choose};

fn connect(from: &Namespace, to: SocketAddr) -> Result<(), std::io::ErrorKind> {
    let stream = from.run(|| TcpStream::connect_timeout(&to, Duration::from_secs(2)));
    let mut byte = [0];
    stream
        .unwrap()
        .map_err(|error| error.kind())?
        .read_exact(&mut byte)
        .unwrap();
    Ok(())
}

/// Answers connections to `address` in `namespace` with one byte, for ever.
fn serve(namespace: &Namespace, address: Ipv4Addr) -> SocketAddr {
    let listener = namespace
        .run(|| TcpListener::bind((address, 0)))
        .unwrap()
        .unwrap();
    let target = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = std::io::Write::write_all(&mut &stream, b"x");
        }
    });
    target
}

/// Host, nodes and pods' ranges reach each other; a second run changes nothing; `disconnect`
/// leaves the host as it was.
#[test]
fn hub_with_two_nodes() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: not root");
        return;
    }
    let outside = Namespace::anonymous().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(folder.path(), "t").unwrap();
    std::fs::create_dir_all(place.dir()).unwrap();
    let mut handle = Handle::open_in(outside.as_fd()).unwrap();
    let lo = handle.link_by_name("lo").unwrap().unwrap().index;
    handle.set_up(lo, true).unwrap();
    let ranges = choose(&Wanted::default(), &[]).unwrap();
    let before = (handle.links().unwrap().len(), handle.routes().unwrap());

    outside
        .run(|| {
            for _ in 0..2 {
                host::connect(&place, &ranges)?;
                host::connect_node(&place, &ranges, 0)?;
                host::connect_node(&place, &ranges, 1)?;
                host::route_services(&place, &ranges, 0)?;
            }
            let in_use = host::in_use(&place.link())?;
            assert!(in_use.is_empty(), "{in_use:?}");
            assert_eq!(host::in_use("")?.len(), 4);
            Ok::<(), crate::Error>(())
        })
        .unwrap()
        .unwrap();

    let nodes: Vec<Namespace> = (0..2)
        .map(|i| Namespace::open(&host::node_namespace(&place, i)).unwrap())
        .collect();
    let api = serve(&outside, ranges.api_address());
    let one = serve(&nodes[1], ranges.node_address(1));
    connect(&nodes[0], api).unwrap();
    connect(&nodes[0], one).unwrap();
    connect(&outside, one).unwrap();
    // A pod's address on node 1, seen from the host and from node 0.
    let pod = Ipv4Addr::from(u32::from(ranges.node_pods(1).network()) + 5);
    let mut node = Handle::open_in(nodes[1].as_fd()).unwrap();
    let eth0 = node.link_by_name("eth0").unwrap().unwrap().index;
    node.add_address(eth0, Prefix::host(pod)).unwrap();
    let pod = serve(&nodes[1], pod);
    connect(&outside, pod).unwrap();
    connect(&nodes[0], pod).unwrap();

    for _ in 0..2 {
        outside.run(|| host::disconnect(&place)).unwrap().unwrap();
    }
    drop(nodes);
    assert_eq!(
        (handle.links().unwrap().len(), handle.routes().unwrap()),
        before
    );
    assert!(
        Nft::open_in(outside.as_fd())
            .unwrap()
            .tables()
            .unwrap()
            .is_empty()
    );
    assert!(host::mounts::below(folder.path()).unwrap().is_empty());
}
