use super::*;

const LOG: &str = "\
2026-01-01T00:00:00Z stdout F one
2026-01-01T00:00:01Z stderr F two
2026-01-01T00:00:02Z stdout P thr
2026-01-01T00:00:02Z stdout F ee
2026-01-01T00:00:03Z stdout F four
";

#[track_caller]
fn check(options: LogOptions, expected: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0.log");
    std::fs::write(&path, LOG).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let text = runtime.block_on(async {
        let (sender, mut receiver) = mpsc::channel(16);
        stream(path, options, || false, sender).await;
        let mut text = Vec::new();
        while let Some(part) = receiver.recv().await {
            text.extend_from_slice(&part.unwrap());
        }
        String::from_utf8(text).unwrap()
    });
    assert_eq!(text, expected);
}

#[test]
fn pieces_are_joined() {
    check(LogOptions::default(), "one\ntwo\nthree\nfour\n");
}

#[test]
fn the_tail_counts_whole_lines() {
    for (lines, expected) in [
        (0, ""),
        (1, "four\n"),
        (2, "three\nfour\n"),
        (9, "one\ntwo\nthree\nfour\n"),
    ] {
        check(
            LogOptions {
                tail_lines: Some(lines),
                ..LogOptions::default()
            },
            expected,
        );
    }
}

#[test]
fn since_limit_stream_and_times() {
    let since = Some("2026-01-01T00:00:03Z".parse().unwrap());
    check(
        LogOptions {
            since,
            ..LogOptions::default()
        },
        "four\n",
    );
    check(
        LogOptions {
            limit_bytes: Some(5),
            ..LogOptions::default()
        },
        "one\nt",
    );
    check(
        LogOptions {
            stream: Some("stderr"),
            ..LogOptions::default()
        },
        "two\n",
    );
    check(
        LogOptions {
            timestamps: true,
            tail_lines: Some(1),
            ..LogOptions::default()
        },
        "2026-01-01T00:00:03Z four\n",
    );
}

/// A pod that may write to the node's logs puts a link (or a pipe) where its log was, to have the
/// node read out what the link leads to.
#[test]
fn links_are_not_read_out() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("pods/a_b_c");
    let outside = dir.path().join("outside");
    for folder in [&logs.join("c"), &outside] {
        std::fs::create_dir_all(folder).unwrap();
    }
    for file in ["0.log", "shadow"] {
        std::fs::write(outside.join(file), LOG).unwrap();
    }
    std::fs::write(logs.join("c/0.log"), LOG).unwrap();
    symlink(outside.join("shadow"), logs.join("c/1.log")).unwrap();
    symlink(&outside, logs.join("d")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, logs.join("c/2.log"), fifo, 0o644.into(), 0).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for (name, good) in [
        ("c/0.log", true),
        ("c/1.log", false),
        ("c/2.log", false),
        ("d/0.log", false),
    ] {
        let path = logs.join(name);
        assert_eq!(last_words(&path).is_empty(), !good, "{name}");
        let part = runtime.block_on(async {
            let (sender, mut receiver) = mpsc::channel(16);
            stream(path, LogOptions::default(), || false, sender).await;
            receiver.recv().await
        });
        assert_eq!(part.is_some_and(|part| part.is_ok()), good, "{name}");
    }
}
