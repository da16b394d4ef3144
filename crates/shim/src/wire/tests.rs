//! The format is frozen: its bytes are written out here.

use expect_test::expect;

use super::{Record, frame, item, take_frame};
use crate::spec::{Container, Mount, Process};

#[test]
fn bytes_of_a_record_do_not_change() {
    let mount = Mount {
        kind: "proc".into(),
        flags: 14,
        recursive: true,
        ..Mount::default()
    };
    expect!["[1, 0, 4, 0, 0, 0, 112, 114, 111, 99, 5, 0, 8, 0, 0, 0, 14, 0, 0, 0, 0, 0, 0, 0, 7, 0, 1, 0, 0, 0, 1]"]
        .assert_eq(&format!("{:?}", mount.to_bytes()));
}

#[test]
fn round_trip_of_nested_records_and_lists() {
    let process = Process {
        args: vec!["/bin/sh".into(), String::new(), "x".into()],
        oom_score_adj: Some(0),
        ..Process::default()
    };
    let mounts = vec![
        Mount {
            target: "/proc".into(),
            ..Mount::default()
        },
        Mount::default(),
    ];
    let spec = Container {
        id: "a".into(),
        process,
        mounts,
        ..Container::default()
    };
    assert_eq!(Container::read(&spec.to_bytes()), Ok(spec));
}

#[test]
fn unknown_tags_are_skipped_and_damage_is_refused() {
    let mut bytes = Mount {
        kind: "x".into(),
        ..Mount::default()
    }
    .to_bytes();
    item(999, b"from the future", &mut bytes);
    assert_eq!(Mount::read(&bytes).unwrap().kind, "x");
    bytes.pop();
    assert!(Mount::read(&bytes).is_err());
    assert!(Mount::read(&[1]).is_err());
}

#[test]
fn frames_are_taken_whole_and_bounded() {
    let mut buffer = frame(7, b"abc");
    buffer.extend(frame(8, b""));
    let tail = buffer.pop().unwrap();
    assert_eq!(take_frame(&mut buffer), Ok(Some((7, b"abc".to_vec()))));
    assert_eq!(take_frame(&mut buffer), Ok(None));
    buffer.push(tail);
    assert_eq!(take_frame(&mut buffer), Ok(Some((8, Vec::new()))));
    let mut huge = vec![0xff; 8];
    assert!(take_frame(&mut huge).is_err());
}
