//! Configurations in, specifications out.

use expect_test::{Expect, expect};
use nodeapi::cri;

use super::{Input, command, container, environment, exec_process, limits, signal_number, user};
use crate::images::{Image, ImageConfig};

fn image() -> ImageConfig {
    ImageConfig {
        entrypoint: vec!["/entry".into()],
        cmd: vec!["cmd".into()],
        env: vec!["A=image".into(), "B=image".into()],
        user: "app:staff".into(),
        ..ImageConfig::default()
    }
}

#[track_caller]
fn check_command(own: &[&str], args: &[&str], expect: Expect) {
    let list = |l: &[&str]| l.iter().map(ToString::to_string).collect();
    let config = cri::ContainerConfig {
        command: list(own),
        args: list(args),
        ..Default::default()
    };
    expect.assert_eq(&format!(
        "{:?}",
        command(&config, &image()).map_err(|e| e.message)
    ));
}

/// The table of the Kubernetes documentation on command and arguments.
#[test]
fn entrypoint_and_arguments() {
    check_command(&[], &[], expect![[r#"Ok(["/entry", "cmd"])"#]]);
    check_command(&["run"], &[], expect![[r#"Ok(["run"])"#]]);
    check_command(&[], &["x"], expect![[r#"Ok(["/entry", "x"])"#]]);
    check_command(&["run"], &["x"], expect![[r#"Ok(["run", "x"])"#]]);
}

#[test]
fn environment_of_the_container_wins() {
    let mut config = cri::ContainerConfig {
        tty: true,
        ..Default::default()
    };
    config.envs.push(cri::KeyValue {
        key: "B".into(),
        value: "own=1".into(),
    });
    let env = environment(&config, &image(), "pod");
    expect![[r#"["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", "HOSTNAME=pod", "A=image", "B=own=1"]"#]]
        .assert_eq(&format!("{env:?}"));
}

#[test]
fn users() {
    let id = |value| Some(cri::Int64Value { value });
    let mut security = cri::LinuxContainerSecurityContext::default();
    assert_eq!(user(&security, &image()).unwrap(), "app:staff");
    security.run_as_group = id(7);
    assert_eq!(user(&security, &image()).unwrap(), "app:7");
    assert_eq!(user(&security, &ImageConfig::default()).unwrap(), "0:7");
    security.run_as_user = id(5);
    assert_eq!(user(&security, &image()).unwrap(), "5:7");
    security.run_as_group = None;
    assert_eq!(user(&security, &image()).unwrap(), "5");
}

#[test]
fn signals() {
    let cases = [
        ("SIGTERM", Some(15)),
        ("usr1", Some(10)),
        ("9", Some(9)),
        ("SIGRTMIN+3", Some(37)),
        ("SIGRTMINPLUS3", Some(37)),
        ("SIGRTMAXMINUS1", Some(63)),
        ("SIGRTMIN", Some(34)),
        ("65", None),
        ("nonsense", None),
        ("", None),
    ];
    for (name, expect) in cases {
        assert_eq!(signal_number(name), expect, "{name}");
    }
}

#[test]
fn limits_without_a_word_on_swap_allow_none() {
    let resources = cri::LinuxContainerResources {
        memory_limit_in_bytes: 64,
        cpu_shares: 2,
        cpu_quota: -1,
        cpu_period: 100_000,
        ..Default::default()
    };
    let limits = limits(&resources);
    assert_eq!(
        (limits.memory, limits.memory_and_swap),
        (Some(64), Some(64))
    );
    assert_eq!(
        (limits.cpu_shares, limits.cpu_quota_us),
        (Some(2), Some(-1))
    );
}

#[test]
fn whole_container() {
    let mount = |container: &str, host: &str| cri::Mount {
        container_path: container.into(),
        host_path: host.into(),
        ..Default::default()
    };
    let config = cri::ContainerConfig {
        log_path: "app/0.log".into(),
        mounts: vec![
            mount("/data/inner", "/i"),
            mount("/data", "/o"),
            mount("/etc/hosts", "/h"),
        ],
        ..Default::default()
    };
    let sandbox = cri::PodSandboxConfig {
        log_directory: "/logs/pod/".into(),
        ..Default::default()
    };
    let image = Image {
        config: image(),
        lowers: vec!["/l2".into(), "/l1".into()],
        ..Image::default()
    };
    let spec = container(Input {
        id: "c",
        sandbox: &sandbox,
        config: &config,
        image: &image,
        sandbox_dir: "/s",
        dir: "/s/c",
        image_volumes: [(0, "/s/c/images/0/all".to_string())].into(),
        cgroup: oci::spec::Cgroup::default(),
        host_devices: Vec::new(),
        localhost_profile: None,
        hostname: "pod",
    })
    .unwrap();
    let mounts: String = spec
        .mounts
        .iter()
        .map(|m| format!("{} {} {}\n", m.kind, m.source, m.target))
        .collect();
    expect![[r#"
        proc  /proc
        tmpfs  /dev
        devpts  /dev/pts
        mqueue  /dev/mqueue
        sysfs  /sys
        cgroup  /sys/fs/cgroup
        bind /s/shm /dev/shm
        bind /s/hostname /etc/hostname
        bind /s/resolv.conf /etc/resolv.conf
        bind /o /data
        bind /i /data/inner
        bind /h /etc/hosts
    "#]]
    .assert_eq(&mounts);
    assert_eq!(spec.log_path, "/logs/pod/app/0.log");
    assert_eq!(
        (spec.namespaces.net.as_str(), spec.namespaces.pid.as_str()),
        ("pod", "pod")
    );
    let exec = exec_process(&spec.process, &["ls".into()], true);
    assert_eq!(
        (exec.args.len(), exec.terminal, exec.user.as_str()),
        (1, true, "app:staff")
    );
}
