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
