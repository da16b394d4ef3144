//! What people write into fields and files and large crates read: schedules, kubeconfigs.

use jiff::Timestamp;

use crate::{Heap, Target};

/// What is here.
pub const TARGETS: &[Target] = &[
    Target::new("cron", cron, 128, Heap::SMALL),
    Target::new("kubeconfig", kubeconfig, 2048, Heap::DOCUMENT),
];

/// A schedule, and on a second line its zone.
pub(crate) fn cron(data: &[u8]) {
    let source = crate::text(data);
    let (schedule, zone) = source.split_once('\n').unwrap_or((&source, ""));
    for start in [0, 1_772_000_000, -62_135_596_800, 253_402_207_000] {
        let start = Timestamp::from_second(start).expect("a time");
        let Some(next) = controllers::fuzz::next(schedule, zone, start) else {
            continue;
        };
        assert!(next > start, "{schedule:?} after {start} is {next}");
    }
}

pub(crate) fn kubeconfig(data: &[u8]) {
    let source = crate::text(data);
    kubectl::fuzz::kubeconfig(&source);
    bootstrap::fuzz::kubeconfig(&source);
    for line in source.lines().take(4) {
        let trust = transport::tls::Trust::System;
        let tls = transport::tls::ClientTls::new(trust);
        let _ = transport::client::Endpoint::from_url(line, tls);
    }
}
