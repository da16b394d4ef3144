//! The first free share of each range. Pure.
//!
//! Example: 10.244.0.0/16 in shares of /24, used 10.244.0.0/24 and 10.244.2.0/23 → 10.244.1.0/24.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::node_ranges::PodRanges;

/// One share of every range; none when one of them is full.
pub(super) fn share(ranges: &PodRanges, used: &[IpNet]) -> Option<Vec<IpNet>> {
    let shares = ranges.ranges.iter().map(|range| {
        let mask = match range {
            IpNet::V4(_) => ranges.mask_v4,
            IpNet::V6(_) => ranges.mask_v6,
        };
        first_free(range, mask, used)
    });
    shares.collect()
}

fn first_free(range: &IpNet, mask: u8, used: &[IpNet]) -> Option<IpNet> {
    if mask < range.prefix_len() || mask > range.max_prefix_len() {
        return None;
    }
    // Start and end (inclusive) of what is taken, in order.
    let mut taken: BTreeMap<u128, u128> = BTreeMap::new();
    let of_family = |net: &&IpNet| net.addr().is_ipv4() == range.addr().is_ipv4();
    for net in used.iter().filter(of_family) {
        let (start, end) = (number(net.network()), number(net.broadcast()));
        let known = taken.entry(start).or_insert(end);
        *known = (*known).max(end);
    }
    let size = 1u128.checked_shl(u32::from(range.max_prefix_len() - mask))?;
    let (mut start, last) = (number(range.network()), number(range.broadcast()));
    for (from, to) in taken {
        if to < start {
            continue;
        }
        if from >= start.checked_add(size)? {
            break;
        }
        // The next multiple of the size behind what is taken.
        start = (to / size + 1).checked_mul(size)?;
    }
    (start.checked_add(size - 1)? <= last)
        .then(|| IpNet::new(address(start, range), mask).ok())
        .flatten()
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn address(number: u128, like: &IpNet) -> IpAddr {
    match like {
        IpNet::V4(_) => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
        IpNet::V6(_) => Ipv6Addr::from(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(ranges: &str, used: &str, expected: Expect) {
        let parse = |text: &str| {
            text.split_whitespace()
                .map(|net| net.parse().unwrap())
                .collect()
        };
        let ranges = PodRanges {
            ranges: parse(ranges),
            mask_v4: 24,
            mask_v6: 64,
            settled: Vec::new(),
        };
        let used: Vec<IpNet> = parse(used);
        let text = share(&ranges, &used).map(|shares| {
            let words: Vec<String> = shares.iter().map(ToString::to_string).collect();
            words.join(" ")
        });
        expected.assert_eq(&text.unwrap_or_else(|| "full".into()));
    }

    #[test]
    fn shares() {
        check("10.244.0.0/16", "", expect!["10.244.0.0/24"]);
        check(
            "10.244.0.0/16",
            "10.244.0.0/24 10.244.2.0/23",
            expect!["10.244.1.0/24"],
        );
        check(
            "10.244.0.0/16",
            "10.244.1.0/26 10.244.0.128/25",
            expect!["10.244.2.0/24"],
        );
        check(
            "10.244.0.0/23",
            "10.244.0.0/24 10.244.1.0/24",
            expect!["full"],
        );
        check("10.244.0.0/23", "10.0.0.0/8", expect!["full"]);
        check("10.244.0.0/25", "", expect!["full"]);
        check(
            "10.244.0.0/16 fd00::/48",
            "fd00::/64 10.244.0.0/24",
            expect!["10.244.1.0/24 fd00:0:0:1::/64"],
        );
    }

    /// Shares never meet.
    #[test]
    fn all_of_a_range() {
        let ranges = PodRanges {
            ranges: vec!["10.0.0.0/20".parse().unwrap()],
            mask_v4: 24,
            ..PodRanges::default()
        };
        let mut used: Vec<IpNet> = vec!["10.0.3.0/25".parse().unwrap()];
        while let Some(shares) = share(&ranges, &used) {
            let meets = |net: &IpNet| net.contains(&shares[0]) || shares[0].contains(net);
            assert!(!used.iter().any(meets));
            used.extend(shares);
        }
        assert_eq!(used.len(), 16);
    }
}
