//! Limits to files, for both versions.

use expect_test::{Expect, expect};

use super::{Limits, Write, cpu_weight_from_shares};

#[track_caller]
fn check(limits: &Limits, expect: Expect) {
    let show = |plan: Vec<Write>| {
        plan.iter()
            .map(|w| format!("  {}={}\n", w.file, w.value))
            .collect::<String>()
    };
    expect.assert_eq(&format!(
        "v1\n{}v2\n{}",
        show(limits.plan_v1()),
        show(limits.plan_v2())
    ));
}

#[test]
fn a_container() {
    check(
        &Limits {
            memory: Some(64 << 20),
            memory_and_swap: Some(64 << 20),
            cpu_shares: Some(102),
            cpu_quota_us: Some(20_000),
            cpu_period_us: Some(100_000),
            cpuset_cpus: Some("0".into()),
            pids: Some(100),
            unified: vec![("memory.high".into(), "60000000".into())],
            ..Limits::default()
        },
        expect![[r#"
            v1
              memory.limit_in_bytes=67108864
              memory.memsw.limit_in_bytes=67108864
              cpu.shares=102
              cpu.cfs_period_us=100000
              cpu.cfs_quota_us=20000
              cpuset.cpus=0
              pids.max=100
            v2
              memory.swap.max=0
              memory.max=67108864
              cpu.weight=17
              cpu.max=20000 100000
              cpuset.cpus=0
              pids.max=100
              memory.high=60000000
        "#]],
    );
}

#[test]
fn unlimited() {
    check(
        &Limits {
            memory: Some(-1),
            cpu_quota_us: Some(-1),
            pids: Some(-1),
            ..Limits::default()
        },
        expect![[r#"
            v1
              memory.limit_in_bytes=-1
              memory.memsw.limit_in_bytes=-1
              cpu.cfs_quota_us=-1
              pids.max=max
            v2
              memory.max=max
              cpu.max=max 100000
              pids.max=max
        "#]],
    );
}

#[test]
fn nothing_set_writes_nothing() {
    check(
        &Limits::default(),
        expect![[r#"
            v1
            v2
        "#]],
    );
}

#[test]
fn weights_keep_minimum_default_and_maximum() {
    let got: Vec<u64> = [0, 1, 2, 3, 512, 1024, 2048, 262_144, u64::MAX]
        .map(cpu_weight_from_shares)
        .into();
    assert_eq!(got, [0, 1, 1, 2, 59, 100, 174, 10_000, 10_000]);
}
