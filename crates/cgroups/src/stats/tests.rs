//! Kernel text to usage.

use expect_test::expect;

use super::Stats;

#[test]
fn version_one() {
    let mut stats = Stats {
        memory_limit: 9_223_372_036_854_771_712,
        ..Stats::default()
    };
    let stat = "cache 5\nrss 1\ntotal_rss 4096\ntotal_inactive_file 1000\ntotal_pgfault 7\n";
    stats.memory_v1(10_000, Some(10_500), stat);
    let shown = format!(
        "{} {} {} {} {} {}",
        stats.memory_working_set,
        stats.memory_rss,
        stats.swap_usage,
        stats.page_faults,
        stats.major_page_faults,
        stats.memory_limit == u64::MAX
    );
    expect!["9000 4096 500 7 0 true"].assert_eq(&shown);
}

#[test]
fn version_two() {
    let mut stats = Stats::default();
    stats.memory_v2(
        10_000,
        None,
        "anon 4096\ninactive_file 20000\npgfault 9\npgmajfault 2\n",
    );
    stats.cpu_v2("usage_usec 1500\nuser_usec 5\nnr_throttled 3\n");
    let shown = format!(
        "{} {} {} {} {} {}",
        stats.memory_working_set,
        stats.memory_rss,
        stats.page_faults,
        stats.major_page_faults,
        stats.cpu_usage_ns,
        stats.cpu_throttled_periods
    );
    expect!["0 4096 9 2 1500000 3"].assert_eq(&shown);
}
