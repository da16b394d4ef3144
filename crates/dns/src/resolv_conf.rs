//! The `nameserver` lines of a resolver file. Pure.
//!
//! Source: resolv.conf(5).

use std::net::{IpAddr, SocketAddr};

/// Most servers that a file can name.
const SERVER_LIMIT: usize = 15;

/// The servers, in their order.
pub(crate) fn servers(text: &str) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        // A scope (`fe80::1%eth0`) names a link of the host, which is not ours to use.
        let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
        let Some(address) = address else { continue };
        let server = SocketAddr::new(address, 53);
        if !servers.contains(&server) && servers.len() < SERVER_LIMIT {
            servers.push(server);
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::servers;

    #[test]
    fn lines_of_other_kinds_and_addresses_of_links_are_left_out() {
        let text = "# host\nsearch corp\nnameserver 127.0.0.53\n\tnameserver  fd00::1 # x\nnameserver fe80::1%eth0\nnameserver 127.0.0.53\nnameserver\noptions edns0\n";
        expect!["[127.0.0.53:53, [fd00::1]:53]"].assert_eq(&format!("{:?}", servers(text)));
    }
}
