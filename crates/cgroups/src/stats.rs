//! Usage of one group, and how the kernel's files become it. Parsing is pure.
//!
//! Source: kubernetes v1.36 (cAdvisor's working set = usage - total inactive file).

use crate::files::keyed;

/// Usage of a group and its children.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Processor time in ns since the group was made.
    pub cpu_usage_ns: u64,
    /// Periods in which the group was held back by its quota.
    pub cpu_throttled_periods: u64,
    /// Memory in use, with page cache.
    pub memory_usage: u64,
    /// Memory that cannot be reclaimed easily: what eviction looks at.
    pub memory_working_set: u64,
    /// Anonymous memory.
    pub memory_rss: u64,
    /// The limit, `u64::MAX` if none.
    pub memory_limit: u64,
    /// Swap in use.
    pub swap_usage: u64,
    /// Minor and major page faults.
    pub page_faults: u64,
    /// Page faults that read from disk.
    pub major_page_faults: u64,
    /// Tasks.
    pub pids: u64,
}

impl Stats {
    pub(crate) fn memory_v1(&mut self, usage: u64, with_swap: Option<u64>, stat: &str) {
        self.memory_usage = usage;
        let inactive = keyed(stat, "total_inactive_file").unwrap_or(0);
        self.memory_working_set = usage.saturating_sub(inactive);
        self.memory_rss = keyed(stat, "total_rss").unwrap_or(0);
        self.swap_usage = with_swap.map_or(0, |total| total.saturating_sub(usage));
        self.page_faults = keyed(stat, "total_pgfault").unwrap_or(0);
        self.major_page_faults = keyed(stat, "total_pgmajfault").unwrap_or(0);
        // The kernel rounds "no limit" to whole pages: anything above 2^62 is none.
        if self.memory_limit > 1 << 62 {
            self.memory_limit = u64::MAX;
        }
    }

    pub(crate) fn memory_v2(&mut self, usage: u64, swap: Option<u64>, stat: &str) {
        self.memory_usage = usage;
        self.memory_working_set = usage.saturating_sub(keyed(stat, "inactive_file").unwrap_or(0));
        self.memory_rss = keyed(stat, "anon").unwrap_or(0);
        self.swap_usage = swap.unwrap_or(0);
        self.page_faults = keyed(stat, "pgfault").unwrap_or(0);
        self.major_page_faults = keyed(stat, "pgmajfault").unwrap_or(0);
    }

    pub(crate) fn cpu_v2(&mut self, stat: &str) {
        self.cpu_usage_ns = keyed(stat, "usage_usec").unwrap_or(0).saturating_mul(1000);
        self.cpu_throttled_periods = keyed(stat, "nr_throttled").unwrap_or(0);
    }
}

#[cfg(test)]
mod tests;
