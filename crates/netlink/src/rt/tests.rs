//! Links, addresses, routes and neighbours in a namespace of the test's own.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

use expect_test::{Expect, expect};

use crate::rt::{Handle, Prefix, Route, Veth, Vxlan};
use crate::testing::namespace;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

fn v4(a: u8, b: u8, c: u8, d: u8) -> std::net::IpAddr {
    Ipv4Addr::new(a, b, c, d).into()
}

#[track_caller]
fn check(handle: &mut Handle, expect: Expect) {
    let mut out = String::new();
    for link in handle.links().unwrap() {
        writeln!(
            out,
            "link {} {:?} up={} mtu={}",
            link.name, link.kind, link.up, link.mtu
        )
        .unwrap();
    }
    for address in handle.addresses().unwrap() {
        if address.prefix.address.is_ipv4() {
            writeln!(out, "address {}", address.prefix).unwrap();
        }
    }
    for route in handle.routes().unwrap() {
        if route.destination.address.is_ipv4() && route.table == Route::MAIN {
            let link = route
                .link
                .map(|index| handle.link_by_index(index).unwrap().unwrap().name);
            let gateway = route.gateway.map(|g| g.to_string()).unwrap_or_default();
            let link = link.unwrap_or_default();
            let onlink = if route.onlink { " onlink" } else { "" };
            writeln!(
                out,
                "route {} via {gateway:?} dev {link}{onlink}",
                route.destination
            )
            .unwrap();
        }
    }
    expect.assert_eq(&out);
}

/// The shape of a pod: far end in its own namespace, /32, gateway by a permanent neighbour.
#[test]
fn pod_shape() {
    let (Some(node), Some(pod)) = (namespace(), namespace()) else {
        return;
    };
    let mut near = Handle::open_in(node.as_fd()).unwrap();
    let mut far = Handle::open_in(pod.as_fd()).unwrap();
    let veth = Veth {
        name: "tr0",
        address: Some([2, 0, 0, 0, 0, 1]),
        peer_name: "eth0",
        peer_address: None,
        peer_namespace: Some(pod.as_fd()),
        mtu: Some(1400),
        alias: "test pod",
    };
    let index = near.add_veth(&veth).unwrap();
    assert!(near.add_veth(&veth).unwrap_err().is_exists());
    near.set_up(index, true).unwrap();
    near.add_route(&Route::direct(Prefix::host(v4(10, 1, 0, 5)), index))
        .unwrap();
    near.replace_route(&Route::direct(Prefix::host(v4(10, 1, 0, 5)), index))
        .unwrap();
    near.add_proxy(index, GATEWAY.into()).unwrap();
    assert_eq!(near.proxy_neighbours().unwrap().len(), 1);

    let eth0 = far.link_by_name("eth0").unwrap().unwrap();
    far.set_up(eth0.index, true).unwrap();
    far.add_address(eth0.index, Prefix::host(v4(10, 1, 0, 5)))
        .unwrap();
    far.add_route(&Route::direct(Prefix::host(GATEWAY), eth0.index))
        .unwrap();
    let mut default = Route::default_via(GATEWAY.into());
    default.link = Some(eth0.index);
    default.onlink = true;
    far.replace_route(&default).unwrap();
    far.set_neighbour(eth0.index, GATEWAY.into(), [2, 0, 0, 0, 0, 1])
        .unwrap();
    assert!(
        far.neighbours()
            .unwrap()
            .iter()
            .any(|n| n.permanent && n.address == GATEWAY)
    );

    check(
        &mut near,
        expect![[r#"
            link lo "" up=false mtu=65536
            link tr0 "veth" up=true mtu=1400
            route 10.1.0.5/32 via "" dev tr0
        "#]],
    );
    check(
        &mut far,
        expect![[r#"
            link lo "" up=false mtu=65536
            link eth0 "veth" up=true mtu=1400
            address 10.1.0.5/32
            route 0.0.0.0/0 via "169.254.1.1" dev eth0 onlink
            route 169.254.1.1/32 via "" dev eth0
        "#]],
    );
    assert_eq!(near.link_by_name("tr0").unwrap().unwrap().alias, "test pod");
    assert!(near.delete_link_named("tr0").unwrap());
    assert!(!near.delete_link_named("tr0").unwrap());
    assert!(far.link_by_name("eth0").unwrap().is_none());
}

/// A refusal names the operation, the object and the kernel's own words.
#[test]
fn errors_carry_the_kernels_text() {
    let Some(namespace) = namespace() else { return };
    let mut handle = Handle::open_in(namespace.as_fd()).unwrap();
    let route = Route::via(Prefix::new(v4(10, 9, 0, 0), 16), v4(192, 0, 2, 1));
    let error = handle.add_route(&route).unwrap_err();
    expect![
        "add route 10.9.0.0/16 via 192.0.2.1: Nexthop has invalid gateway: \
         Network is unreachable (os error 101)"
    ]
    .assert_eq(&format!("{error}: {}", error.errno().unwrap()));
    let bad = Veth {
        name: "a-name-that-is-too-long",
        address: None,
        peer_name: "x",
        peer_address: None,
        peer_namespace: None,
        mtu: None,
        alias: "",
    };
    expect![
        "add veth a-name-that-is-too-long: a link name has 1 to 15 bytes without '/', ':' and \
         blanks"
    ]
    .assert_eq(&handle.add_veth(&bad).unwrap_err().to_string());
}

/// Links are renamed, moved, resized; VXLAN devices learn nothing by themselves.
#[test]
fn changes_to_links() {
    let (Some(one), Some(two)) = (namespace(), namespace()) else {
        return;
    };
    let mut handle = Handle::open_in(one.as_fd()).unwrap();
    let veth = Veth {
        name: "a",
        address: None,
        peer_name: "b",
        peer_address: None,
        peer_namespace: None,
        mtu: None,
        alias: "",
    };
    let index = handle.add_veth(&veth).unwrap();
    handle.rename_link(index, "c").unwrap();
    handle.set_mtu(index, 1300).unwrap();
    handle
        .set_hardware_address(index, [2, 1, 2, 3, 4, 5])
        .unwrap();
    let moved = handle.link_by_name("b").unwrap().unwrap().index;
    handle.move_link(moved, two.as_fd()).unwrap();
    let mut other = Handle::open_in(two.as_fd()).unwrap();
    let moved = other.link_by_name("b").unwrap().unwrap();
    assert!(moved.peer_elsewhere);
    let vxlan = Vxlan {
        name: "vx",
        id: 7,
        port: 8472,
        local: Some(v4(192, 0, 2, 1)),
        link: None,
        address: None,
        mtu: Some(1230),
    };
    let vxlan = handle.add_vxlan(&vxlan).unwrap();
    handle.set_up(vxlan, true).unwrap();
    handle
        .set_forwarding(vxlan, [2, 0, 0, 0, 0, 9], v4(192, 0, 2, 2))
        .unwrap();
    handle.delete_forwarding(vxlan, [2, 0, 0, 0, 0, 9]).unwrap();
    check(
        &mut handle,
        expect![[r#"
            link lo "" up=false mtu=65536
            link c "veth" up=false mtu=1300
            link vx "vxlan" up=true mtu=1230
        "#]],
    );
}
