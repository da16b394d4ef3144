//! Limits of a group as one value, and the files they become. Pure.
//!
//! `plan_v1` and `plan_v2` give (controller, file, value) in the order of writing.
//! Source: opencontainers/cgroups fs/{memory,cpu,cpuset,pids}.go, fs2/*.go, utils.go.

/// Limits of one group; `None` leaves a file alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes; -1 is unlimited.
    pub memory: Option<i64>,
    /// Memory plus swap in bytes; -1 is unlimited.
    pub memory_and_swap: Option<i64>,
    /// Relative processor weight in version 1 units (2..=262144).
    pub cpu_shares: Option<u64>,
    /// Processor time per period in µs; -1 is unlimited.
    pub cpu_quota_us: Option<i64>,
    /// Period in µs.
    pub cpu_period_us: Option<u64>,
    /// Processors, as a kernel list (`0-3,7`).
    pub cpuset_cpus: Option<String>,
    /// Memory nodes, as a kernel list.
    pub cpuset_mems: Option<String>,
    /// Number of tasks; -1 is unlimited.
    pub pids: Option<i64>,
    /// Whether an OOM kill takes the whole group (version 2 only).
    pub oom_group: Option<bool>,
    /// Files of version 2 written as they are; ignored elsewhere.
    pub unified: Vec<(String, String)>,
}

/// One file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) controller: &'static str,
    pub(crate) file: String,
    pub(crate) value: String,
}

fn write(controller: &'static str, file: &str, value: impl ToString) -> Write {
    Write {
        controller,
        file: file.into(),
        value: value.to_string(),
    }
}

impl Limits {
    pub(crate) fn plan_v1(&self) -> Vec<Write> {
        let mut out = Vec::new();
        // The kernel keeps limit <= limit with swap: `Group::apply` swaps the two on refusal.
        if let Some(bytes) = self.memory {
            out.push(write("memory", "memory.limit_in_bytes", bytes));
        }
        if let Some(bytes) = self.memory_and_swap.or(self.memory.filter(|b| *b == -1)) {
            out.push(write("memory", "memory.memsw.limit_in_bytes", bytes));
        }
        if let Some(shares) = self.cpu_shares.filter(|s| *s > 0) {
            out.push(write("cpu", "cpu.shares", shares.clamp(2, 262_144)));
        }
        if let Some(period) = self.cpu_period_us.filter(|p| *p > 0) {
            out.push(write("cpu", "cpu.cfs_period_us", period));
        }
        if let Some(quota) = self.cpu_quota_us.filter(|q| *q != 0) {
            out.push(write("cpu", "cpu.cfs_quota_us", quota));
        }
        self.plan_cpuset(&mut out);
        if let Some(pids) = self.pids.filter(|p| *p != 0) {
            out.push(write("pids", "pids.max", max_or(pids)));
        }
        out
    }

    pub(crate) fn plan_v2(&self) -> Vec<Write> {
        let mut out = Vec::new();
        if let (Some(total), Some(memory)) = (self.memory_and_swap, self.memory)
            && (total == -1 || memory != -1)
        {
            let swap = if total == -1 {
                -1
            } else {
                total.saturating_sub(memory).max(0)
            };
            out.push(write("memory", "memory.swap.max", max_or(swap)));
        }
        if let Some(bytes) = self.memory {
            out.push(write("memory", "memory.max", max_or(bytes)));
        }
        if let Some(group) = self.oom_group {
            out.push(write("memory", "memory.oom.group", u8::from(group)));
        }
        if let Some(weight) = self
            .cpu_shares
            .map(cpu_weight_from_shares)
            .filter(|w| *w > 0)
        {
            out.push(write("cpu", "cpu.weight", weight));
        }
        let period = self.cpu_period_us.filter(|p| *p > 0);
        match (self.cpu_quota_us.filter(|q| *q != 0), period) {
            (Some(quota), period) => {
                let period = period.unwrap_or(100_000);
                out.push(write(
                    "cpu",
                    "cpu.max",
                    format!("{} {period}", max_or(quota)),
                ));
            }
            (None, Some(period)) => out.push(write("cpu", "cpu.max", format!("max {period}"))),
            (None, None) => {}
        }
        self.plan_cpuset(&mut out);
        if let Some(pids) = self.pids.filter(|p| *p != 0) {
            out.push(write("pids", "pids.max", max_or(pids)));
        }
        for (file, value) in &self.unified {
            out.push(write("", file, value));
        }
        out
    }

    fn plan_cpuset(&self, out: &mut Vec<Write>) {
        if let Some(cpus) = self.cpuset_cpus.as_ref().filter(|c| !c.is_empty()) {
            out.push(write("cpuset", "cpuset.cpus", cpus));
        }
        if let Some(mems) = self.cpuset_mems.as_ref().filter(|m| !m.is_empty()) {
            out.push(write("cpuset", "cpuset.mems", mems));
        }
    }
}

fn max_or(value: i64) -> String {
    if value < 0 {
        "max".into()
    } else {
        value.to_string()
    }
}

/// Version 2 weight for version 1 shares: 2 → 1, 1024 → 100, 262144 → 10000, 0 → 0 (unset).
///
/// Source: opencontainers/cgroups utils.go, ConvertCPUSharesToCgroupV2Value.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "shares are at most 262144 and the result at most 10000"
)]
pub fn cpu_weight_from_shares(shares: u64) -> u64 {
    match shares {
        0 => 0,
        1..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let l = (shares as f64).log2();
            let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
            10f64.powf(exponent).ceil() as u64
        }
    }
}

#[cfg(test)]
mod tests;
