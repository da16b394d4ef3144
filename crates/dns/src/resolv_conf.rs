//! A resolver file: its servers, and the names that its search list makes of one. Pure.
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

/// The names that a resolver asks for `name`, in their order: with enough dots as it is first,
/// else with each search domain first; with a dot at its end nothing else.
pub(crate) fn candidates(name: &str, text: &str) -> Vec<String> {
    if name.ends_with('.') {
        return vec![name.to_owned()];
    }
    let mut searches: Vec<&str> = Vec::new();
    let mut dots = 1;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("search" | "domain") => searches = words.collect(),
            Some("options") => {
                let value = words.find_map(|word| word.strip_prefix("ndots:"));
                dots = value.and_then(|value| value.parse().ok()).unwrap_or(dots);
            }
            _ => {}
        }
    }
    let mut all: Vec<String> = searches
        .iter()
        .map(|search| format!("{name}.{search}"))
        .collect();
    let at = if name.matches('.').count() >= dots {
        0
    } else {
        all.len()
    };
    all.insert(at, name.to_owned());
    all
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{candidates, servers};

    #[test]
    fn few_dots_are_searched_for_first() {
        let text = "search a.svc.cluster.local svc.cluster.local\noptions ndots:5 edns0\n";
        expect!["web.a.svc.cluster.local web.svc.cluster.local web"]
            .assert_eq(&candidates("web", text).join(" "));
        expect!["a.b.c.d.e.f a.b.c.d.e.f.a.svc.cluster.local a.b.c.d.e.f.svc.cluster.local"]
            .assert_eq(&candidates("a.b.c.d.e.f", text).join(" "));
        expect!["web."].assert_eq(&candidates("web.", text).join(" "));
    }

    #[test]
    fn lines_of_other_kinds_and_addresses_of_links_are_left_out() {
        let text = "# host\nsearch corp\nnameserver 127.0.0.53\n\tnameserver  fd00::1 # x\nnameserver fe80::1%eth0\nnameserver 127.0.0.53\nnameserver\noptions edns0\n";
        expect!["[127.0.0.53:53, [fd00::1]:53]"].assert_eq(&format!("{:?}", servers(text)));
    }
}
