//! The table against `nft list ruleset`.

use std::os::fd::AsFd;

use expect_test::{Expect, expect};

use crate::Engine;
use crate::testing::net::{Net, nft};
use crate::testing::{become_of, node};

#[track_caller]
fn check(text: &str, ipv6: bool, pick: &[&str], expect: Expect) {
    let Some(net) = Net::new() else { return };
    let mut engine = Engine::open(Some(net.node.as_fd()), &node(), ipv6).unwrap();
    become_of(engine.world(), "", text);
    engine.commit().unwrap();
    let words = ["--stateless", "list"];
    if let Some(listing) = nft(&net.node, &[&words, pick].concat()) {
        expect.assert_eq(&listing);
    }
}

/// The frame of every node, with two classes.
#[test]
fn ipv4() {
    check(
        "service a/web 10.96.0.1 80 nodeport=30001
         endpoint a/web 10.1.0.5:8080 on=here
         endpoint a/web 10.1.1.6:8080 on=there
         service a/lb 10.96.0.2 53/udp lb=1.2.3.4 from=10.0.0.0/8 policy=Local sticky=60
         endpoint a/lb 10.1.0.5:53/udp on=here",
        false,
        &["ruleset"],
        expect![[r#"
            table ip transom-services {
            	map service-ips {
            		type ipv4_addr . inet_proto . inet_service : mark . mark . mark . mark
            		elements = { 10.96.0.2 . udp . 53 : 0x00000000 . 0x00000001 . 0x0000003c . 0xd262b4d6,
            			     1.2.3.4 . udp . 53 : 0x00000000 . 0x00000001 . 0x0000003c . 0x8795be4b,
            			     10.96.0.1 . tcp . 80 : 0x00000000 . 0x00000002 . 0x00000000 . 0xc2ce21c5 }
            	}

            	map inside-ips {
            		type ipv4_addr . inet_proto . inet_service : mark . mark . mark . mark
            		elements = { 1.2.3.4 . udp . 53 : 0x00000000 . 0x00000001 . 0x0000003c . 0xd262b4d6 }
            	}

            	set masquerade-ips {
            		type ipv4_addr . inet_proto . inet_service
            	}

            	set reject-ips {
            		type ipv4_addr . inet_proto . inet_service
            	}

            	set drop-ips {
            		type ipv4_addr . inet_proto . inet_service
            	}

            	set firewalled {
            		type ipv4_addr . inet_proto . inet_service
            		elements = { 1.2.3.4 . udp . 53 }
            	}

            	set allowed {
            		type ipv4_addr . inet_proto . inet_service . ipv4_addr
            		flags interval
            		elements = { 1.2.3.4 . udp . 53 . 10.0.0.0/8 }
            	}

            	map node-ports {
            		type inet_proto . inet_service : mark . mark . mark . mark
            		elements = { tcp . 30001 : 0x00000000 . 0x00000002 . 0x00000000 . 0xc2ce21c5 }
            	}

            	map inside-ports {
            		type inet_proto . inet_service : mark . mark . mark . mark
            	}

            	set masquerade-ports {
            		type inet_proto . inet_service
            		elements = { tcp . 30001 }
            	}

            	set reject-ports {
            		type inet_proto . inet_service
            	}

            	set drop-ports {
            		type inet_proto . inet_service
            	}

            	set cluster-ips {
            		type ipv4_addr
            		elements = { 10.96.0.1, 10.96.0.2 }
            	}

            	set hairpin {
            		type ipv4_addr . ipv4_addr
            		elements = { 10.1.0.5 . 10.1.0.5 }
            	}

            	map endpoints {
            		type mark . mark : ipv4_addr . inet_service
            		elements = { 0x8795be4b . 0x00000000 : 10.1.0.5 . 53,
            			     0xc2ce21c5 . 0x00000000 : 10.1.0.5 . 8080,
            			     0xd262b4d6 . 0x00000000 : 10.1.0.5 . 53,
            			     0xc2ce21c5 . 0x00000001 : 10.1.1.6 . 8080 }
            	}

            	set members {
            		type ipv4_addr . inet_service . mark
            		elements = { 10.1.0.5 . 53 . 0x8795be4b,
            			     10.1.0.5 . 53 . 0xd262b4d6 }
            	}

            	map service-ips-picks {
            		type mark . mark : verdict
            		elements = { 0x00000002 . 0x00000000 : goto service-ips-2,
            			     0x00000001 . 0x0000003c : goto service-ips-1-sticky-60 }
            	}

            	map inside-ips-picks {
            		type mark . mark : verdict
            		elements = { 0x00000001 . 0x0000003c : goto inside-ips-1-sticky-60 }
            	}

            	map node-ports-picks {
            		type mark . mark : verdict
            		elements = { 0x00000002 . 0x00000000 : goto node-ports-2 }
            	}

            	map inside-ports-picks {
            		type mark . mark : verdict
            	}

            	map affinity {
            		type mark . ipv4_addr : mark . ipv4_addr . inet_service . mark
            		size 262144
            		flags dynamic,timeout
            		timeout 3h
            	}

            	set pod-ranges {
            		type ipv4_addr
            		flags interval
            		elements = { 10.1.0.0/16 }
            	}

            	set service-ranges {
            		type ipv4_addr
            		flags interval
            		elements = { 10.96.0.0/16 }
            	}

            	chain layout-1 {
            	}

            	chain services {
            		ip saddr @pod-ranges comment "@inside-ips gives count, stickiness, pool from pods; on by @inside-ips-picks"
            		fib saddr type local comment "@inside-ips gives count, stickiness, pool from this node; on by @inside-ips-picks"
            		 comment "@service-ips gives count, stickiness, pool; on by @service-ips-picks"
            		fib daddr type local ip daddr != 127.0.0.0/8 ip saddr @pod-ranges comment "@inside-ports gives count, stickiness, pool from pods; on by @inside-ports-picks"
            		fib daddr type local ip daddr != 127.0.0.0/8 fib saddr type local comment "@inside-ports gives count, stickiness, pool from this node; on by @inside-ports-picks"
            		fib daddr type local ip daddr != 127.0.0.0/8 comment "@node-ports gives count, stickiness, pool; on by @node-ports-picks"
            	}

            	chain nat-postrouting {
            		type nat hook postrouting priority srcnat; policy accept;
            		ct status ! dnat return comment "not to a Service"
            		ip saddr . ip daddr @hairpin masquerade fully-random comment "a pod reaches itself"
            		fib saddr type local masquerade fully-random comment "from the node itself"
            		ct original ip daddr @cluster-ips ip saddr != @pod-ranges masquerade fully-random comment "to a cluster address from outside"
            		ct original ip daddr . meta l4proto . ct original proto-dst @masquerade-ips masquerade fully-random comment "external address, any endpoint"
            		return comment "of @service-ips"
            		return comment "of @inside-ips"
            		meta l4proto . ct original proto-dst @masquerade-ports masquerade fully-random comment "node port, any endpoint"
            	}

            	chain node-port-check {
            		fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport @reject-ports reject with tcp reset comment "no endpoint"
            		fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport @reject-ports reject comment "no endpoint"
            		fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport @drop-ports drop comment "nobody here"
            	}

            	chain service-ip-check {
            		ip daddr . meta l4proto . th dport @reject-ips reject with tcp reset comment "no endpoint"
            		ip daddr . meta l4proto . th dport @reject-ips reject comment "no endpoint"
            		ip daddr . meta l4proto . th dport @drop-ips drop comment "nobody here"
            	}

            	chain cluster-ip-check {
            		ip daddr @cluster-ips reject with tcp reset comment "no such port"
            		ip daddr @cluster-ips reject comment "no such port"
            		ip daddr @service-ranges drop comment "nobody here"
            	}

            	chain firewall {
            		ip daddr . meta l4proto . th dport @firewalled ip daddr . meta l4proto . th dport . ip saddr != @allowed drop comment "not from the load balancer's source ranges"
            	}

            	chain firewall-prerouting {
            		type filter hook prerouting priority dstnat - 10; policy accept;
            		ct state new jump firewall
            	}

            	chain firewall-output {
            		type filter hook output priority -110; policy accept;
            		ct state new jump firewall
            	}

            	chain nat-prerouting {
            		type nat hook prerouting priority dstnat; policy accept;
            		jump services
            	}

            	chain nat-output {
            		type nat hook output priority -100; policy accept;
            		jump services
            	}

            	chain filter-input {
            		type filter hook input priority filter; policy accept;
            		ct state new jump node-port-check
            		ct state new jump service-ip-check
            	}

            	chain filter-forward {
            		type filter hook forward priority filter; policy accept;
            		ct state new jump service-ip-check
            		ct state new jump cluster-ip-check
            	}

            	chain filter-output {
            		type filter hook output priority filter; policy accept;
            		ct state new jump service-ip-check
            		ct state new jump cluster-ip-check
            	}

            	chain service-ips-1-sticky-60 {
            		dnat to meta l4proto:th dport comment "as in @affinity, if still in @members"
            		 comment "out of @affinity"
            		dnat to meta l4proto:th dport comment "as below, into @affinity"
            		dnat to ip daddr:meta l4proto comment "to @endpoints of the pool and a number below 1"
            		dnat to ip daddr:meta l4proto comment "to @endpoints of the pool and 0"
            	}

            	chain service-ips-2 {
            		dnat to ip daddr:meta l4proto comment "to @endpoints of the pool and a number below 2"
            		dnat to ip daddr:meta l4proto comment "to @endpoints of the pool and 0"
            	}

            	chain inside-ips-1-sticky-60 {
            		dnat to meta l4proto:th dport comment "as in @affinity, if still in @members"
            		 comment "out of @affinity"
            		dnat to meta l4proto:th dport comment "as below, into @affinity"
            		dnat to ip daddr:meta l4proto comment "to @endpoints of the pool and a number below 1"
            		dnat to ip daddr:meta l4proto comment "to @endpoints of the pool and 0"
            	}

            	chain node-ports-2 {
            		dnat to meta l4proto:th dport comment "to @endpoints of the pool and a number below 2"
            		dnat to meta l4proto:th dport comment "to @endpoints of the pool and 0"
            	}
            }
        "#]],
    );
}

/// The rules where registers and headers differ from IPv4.
#[test]
fn ipv6() {
    if !crate::testing::net::has_ipv6() {
        return;
    }
    check(
        "service a/web fd96::1 80 nodeport=30001 sticky=60
         endpoint a/web [fd01::5]:8080 on=here",
        true,
        &["table", "ip6", "transom-services"],
        expect![[r#"
            table ip6 transom-services {
            	map service-ips {
            		type ipv6_addr . inet_proto . inet_service : mark . mark . mark . mark
            		elements = { fd96::1 . tcp . 80 : 0x00000000 . 0x00000001 . 0x0000003c . 0xc2ce21c5 }
            	}

            	map inside-ips {
            		type ipv6_addr . inet_proto . inet_service : mark . mark . mark . mark
            	}

            	set masquerade-ips {
            		type ipv6_addr . inet_proto . inet_service
            	}

            	set reject-ips {
            		type ipv6_addr . inet_proto . inet_service
            	}

            	set drop-ips {
            		type ipv6_addr . inet_proto . inet_service
            	}

            	set firewalled {
            		type ipv6_addr . inet_proto . inet_service
            	}

            	set allowed {
            		type ipv6_addr . inet_proto . inet_service . ipv6_addr
            		flags interval
            	}

            	map node-ports {
            		type inet_proto . inet_service : mark . mark . mark . mark
            		elements = { tcp . 30001 : 0x00000000 . 0x00000001 . 0x0000003c . 0xc2ce21c5 }
            	}

            	map inside-ports {
            		type inet_proto . inet_service : mark . mark . mark . mark
            	}

            	set masquerade-ports {
            		type inet_proto . inet_service
            		elements = { tcp . 30001 }
            	}

            	set reject-ports {
            		type inet_proto . inet_service
            	}

            	set drop-ports {
            		type inet_proto . inet_service
            	}

            	set cluster-ips {
            		type ipv6_addr
            		elements = { fd96::1 }
            	}

            	set hairpin {
            		type ipv6_addr . ipv6_addr
            		elements = { fd01::5 . fd01::5 }
            	}

            	map endpoints {
            		type mark . mark : ipv6_addr . inet_service
            		elements = { 0xc2ce21c5 . 0x00000000 : fd01::5 . 8080 }
            	}

            	set members {
            		type ipv6_addr . inet_service . mark
            		elements = { fd01::5 . 8080 . 0xc2ce21c5 }
            	}

            	map service-ips-picks {
            		type mark . mark : verdict
            		elements = { 0x00000001 . 0x0000003c : goto service-ips-1-sticky-60 }
            	}

            	map inside-ips-picks {
            		type mark . mark : verdict
            	}

            	map node-ports-picks {
            		type mark . mark : verdict
            		elements = { 0x00000001 . 0x0000003c : goto node-ports-1-sticky-60 }
            	}

            	map inside-ports-picks {
            		type mark . mark : verdict
            	}

            	map affinity {
            		type mark . ipv6_addr : mark . ipv6_addr . inet_service . mark
            		size 262144
            		flags dynamic,timeout
            		timeout 3h
            	}

            	set pod-ranges {
            		type ipv6_addr
            		flags interval
            		elements = { fd01::/48 }
            	}

            	set service-ranges {
            		type ipv6_addr
            		flags interval
            		elements = { fd96::/112 }
            	}

            	chain layout-1 {
            	}

            	chain services {
            		ip6 saddr @pod-ranges comment "@inside-ips gives count, stickiness, pool from pods; on by @inside-ips-picks"
            		fib saddr type local comment "@inside-ips gives count, stickiness, pool from this node; on by @inside-ips-picks"
            		 comment "@service-ips gives count, stickiness, pool; on by @service-ips-picks"
            		fib daddr type local ip6 daddr != ::1 ip6 saddr @pod-ranges comment "@inside-ports gives count, stickiness, pool from pods; on by @inside-ports-picks"
            		fib daddr type local ip6 daddr != ::1 fib saddr type local comment "@inside-ports gives count, stickiness, pool from this node; on by @inside-ports-picks"
            		fib daddr type local ip6 daddr != ::1 comment "@node-ports gives count, stickiness, pool; on by @node-ports-picks"
            	}

            	chain nat-postrouting {
            		type nat hook postrouting priority srcnat; policy accept;
            		ct status ! dnat return comment "not to a Service"
            		ip6 saddr . ip6 daddr @hairpin masquerade fully-random comment "a pod reaches itself"
            		fib saddr type local masquerade fully-random comment "from the node itself"
            		ct original ip6 daddr @cluster-ips ip6 saddr != @pod-ranges masquerade fully-random comment "to a cluster address from outside"
            		ct original ip6 daddr . meta l4proto . ct original proto-dst @masquerade-ips masquerade fully-random comment "external address, any endpoint"
            		return comment "of @service-ips"
            		return comment "of @inside-ips"
            		meta l4proto . ct original proto-dst @masquerade-ports masquerade fully-random comment "node port, any endpoint"
            	}

            	chain node-port-check {
            		fib daddr type local ip6 daddr != ::1 meta l4proto . th dport @reject-ports reject with tcp reset comment "no endpoint"
            		fib daddr type local ip6 daddr != ::1 meta l4proto . th dport @reject-ports reject comment "no endpoint"
            		fib daddr type local ip6 daddr != ::1 meta l4proto . th dport @drop-ports drop comment "nobody here"
            	}

            	chain service-ip-check {
            		ip6 daddr . meta l4proto . th dport @reject-ips reject with tcp reset comment "no endpoint"
            		ip6 daddr . meta l4proto . th dport @reject-ips reject comment "no endpoint"
            		ip6 daddr . meta l4proto . th dport @drop-ips drop comment "nobody here"
            	}

            	chain cluster-ip-check {
            		ip6 daddr @cluster-ips reject with tcp reset comment "no such port"
            		ip6 daddr @cluster-ips reject comment "no such port"
            		ip6 daddr @service-ranges drop comment "nobody here"
            	}

            	chain firewall {
            		ip6 daddr . meta l4proto . th dport @firewalled ip6 daddr . meta l4proto . th dport . ip6 saddr != @allowed drop comment "not from the load balancer's source ranges"
            	}

            	chain firewall-prerouting {
            		type filter hook prerouting priority dstnat - 10; policy accept;
            		ct state new jump firewall
            	}

            	chain firewall-output {
            		type filter hook output priority -110; policy accept;
            		ct state new jump firewall
            	}

            	chain nat-prerouting {
            		type nat hook prerouting priority dstnat; policy accept;
            		jump services
            	}

            	chain nat-output {
            		type nat hook output priority -100; policy accept;
            		jump services
            	}

            	chain filter-input {
            		type filter hook input priority filter; policy accept;
            		ct state new jump node-port-check
            		ct state new jump service-ip-check
            	}

            	chain filter-forward {
            		type filter hook forward priority filter; policy accept;
            		ct state new jump service-ip-check
            		ct state new jump cluster-ip-check
            	}

            	chain filter-output {
            		type filter hook output priority filter; policy accept;
            		ct state new jump service-ip-check
            		ct state new jump cluster-ip-check
            	}

            	chain service-ips-1-sticky-60 {
            		 comment "as in @affinity, if still in @members"
            		 comment "out of @affinity"
            		 comment "as below, into @affinity"
            		dnat to ip6 daddr:meta l4proto comment "to @endpoints of the pool and a number below 1"
            		dnat to ip6 daddr:meta l4proto comment "to @endpoints of the pool and 0"
            	}

            	chain node-ports-1-sticky-60 {
            		 comment "as in @affinity, if still in @members"
            		 comment "out of @affinity"
            		 comment "as below, into @affinity"
            		 comment "to @endpoints of the pool and a number below 1"
            		 comment "to @endpoints of the pool and 0"
            	}
            }
        "#]],
    );
}
