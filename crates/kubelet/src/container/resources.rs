//! Limits as the runtime takes them: CPU shares and quota, memory, the OOM killer's preference.
//!
//! Source: kubernetes v1.36 pkg/kubelet/cm/helpers_linux.go, pkg/kubelet/qos/policy.go.

use api::Quantity;
use nodeapi::cri::LinuxContainerResources;
use schema::Ref;

use crate::pod::Limits;

pub(crate) const PERIOD_MICROSECONDS: i64 = 100_000;
const LEAST_QUOTA_MICROSECONDS: i64 = 1_000;
const LEAST_SHARES: i64 = 2;
const MOST_SHARES: i64 = 262_144;

/// Shares for a CPU request.
pub(crate) fn shares(millicores: i64) -> i64 {
    if millicores == 0 {
        LEAST_SHARES
    } else {
        (millicores * 1024 / 1000).clamp(LEAST_SHARES, MOST_SHARES)
    }
}

/// Quota for a CPU limit; 0: none.
pub(crate) fn quota(millicores: i64) -> i64 {
    if millicores == 0 {
        return 0;
    }
    (millicores * PERIOD_MICROSECONDS / 1000).max(LEAST_QUOTA_MICROSECONDS)
}

/// What a container's control group allows, as far as that can be changed while it runs.
pub(crate) fn limits(container: Ref<'_>) -> Limits {
    let all = container_resources(container, "", false, 0);
    Limits {
        cpu_shares: all.cpu_shares,
        cpu_quota: all.cpu_quota,
        memory_bytes: all.memory_limit_in_bytes,
    }
}

/// The resources of one container of a pod of class `qos`.
pub(crate) fn container_resources(
    container: Ref<'_>,
    qos: &str,
    critical: bool,
    node_memory_bytes: i64,
) -> LinuxContainerResources {
    let amount = |list: &str, name: &str| {
        container
            .at(&["resources", list, name])
            .and_then(|value| value.as_str())
            .and_then(|text| Quantity::parse(text).ok())
    };
    let millis = |list: &str| amount(list, "cpu").map_or(0, |amount| amount.millis());
    let bytes = |list: &str| amount(list, "memory").map_or(0, |amount| amount.value());
    // A limit without a request asks for as much.
    let request = amount("requests", "cpu").map_or_else(|| millis("limits"), |a| a.millis());
    LinuxContainerResources {
        cpu_period: PERIOD_MICROSECONDS,
        cpu_quota: quota(millis("limits")),
        cpu_shares: shares(request),
        memory_limit_in_bytes: bytes("limits"),
        oom_score_adj: oom_score(qos, critical, bytes("requests"), node_memory_bytes),
        ..LinuxContainerResources::default()
    }
}

/// Who goes first when memory is short: what asked for little of it.
fn oom_score(qos: &str, critical: bool, request_bytes: i64, node_memory_bytes: i64) -> i64 {
    match qos {
        _ if critical => -997,
        "Guaranteed" => -997,
        "BestEffort" => 1000,
        _ => (1000 - 1000 * request_bytes / node_memory_bytes.max(1)).clamp(3, 999),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_quota() {
        assert_eq!((shares(0), shares(1), shares(1000)), (2, 2, 1024));
        assert_eq!((quota(0), quota(1), quota(500)), (0, 1000, 50_000));
        assert_eq!(oom_score("Burstable", false, 1 << 30, 4 << 30), 750);
        assert_eq!(oom_score("Burstable", false, 4 << 30, 4 << 30), 3);
    }
}
