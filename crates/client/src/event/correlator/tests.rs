use expect_test::{Expect, expect};

use super::*;

/// Lines `SECOND REASON MESSAGE [xTIMES]`: an event about one pod; `done`: the writes under way
/// have ended. Prints the writes.
#[track_caller]
fn check(script: &str, expect: Expect) {
    let mut correlator = Correlator::new();
    let mut under_way = Vec::new();
    let mut out = String::new();
    let mut show = |write: Write, under_way: &mut Vec<EventKey>| {
        let verb = if write.count > 1 { "patch" } else { "create" };
        out.push_str(&format!(
            "{verb} #{} {} x{}: {}\n",
            write.number, write.what.reason, write.count, write.what.message
        ));
        under_way.push(write.key);
    };
    for line in script.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if line == "done" {
            for key in std::mem::take(&mut under_way) {
                if let Some(write) = correlator.written(key) {
                    show(write, &mut under_way);
                }
            }
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        let [second, reason, message, times @ ..] = words.as_slice() else {
            panic!("{line}");
        };
        let times: u32 = times.first().map_or(1, |t| t[1..].parse().unwrap());
        for number in 0..times {
            let what = Occurrence {
                about: Reference {
                    kind: "Pod".to_owned(),
                    name: "web".to_owned(),
                    resource_version: number.to_string(),
                    ..Reference::default()
                },
                event_type: EventType::Warning,
                reason: (*reason).to_owned(),
                message: message.replace('N', &number.to_string()),
                at: Timestamp::from_second(second.parse().unwrap()).unwrap(),
            };
            if let Some(write) = correlator.observe(what) {
                show(write, &mut under_way);
            }
        }
    }
    expect.assert_eq(&out);
}

/// The revision of the object is no part of an event's identity.
#[test]
fn equal_events_are_counted() {
    check(
        "0 Failed a\ndone\n1 Failed a x3\ndone\ndone\n9 Failed b",
        expect![[r#"
            create #1 Failed x1: a
            patch #1 Failed x2: a
            patch #1 Failed x4: a
            create #2 Failed x1: b
        "#]],
    );
}

/// The tenth message of a reason begins a common event; after ten quiet minutes all is new.
#[test]
fn similar_events_are_combined() {
    check(
        "0 Failed mN x12\ndone\ndone\n601 Failed again\n1300 Failed later",
        expect![[r#"
            create #1 Failed x1: m0
            create #2 Failed x1: m1
            create #3 Failed x1: m2
            create #4 Failed x1: m3
            create #5 Failed x1: m4
            create #6 Failed x1: m5
            create #7 Failed x1: m6
            create #8 Failed x1: m7
            create #9 Failed x1: m8
            create #10 Failed x1: (combined from similar events): m9
            patch #10 Failed x3: (combined from similar events): m11
            create #11 Failed x1: again
            create #12 Failed x1: later
        "#]],
    );
}

/// 25 at once, then one in five minutes; those that are left out count.
#[test]
fn an_object_has_25_events() {
    check(
        "0 A a x9\n0 B bN x9\n0 C cN x9\ndone\n0 D d\n299 D d\n300 D d\n301 D d",
        expect![[r#"
            create #1 A x1: a
            create #2 B x1: b0
            create #3 B x1: b1
            create #4 B x1: b2
            create #5 B x1: b3
            create #6 B x1: b4
            create #7 B x1: b5
            create #8 B x1: b6
            create #9 B x1: b7
            create #10 B x1: b8
            create #11 C x1: c0
            create #12 C x1: c1
            create #13 C x1: c2
            create #14 C x1: c3
            create #15 C x1: c4
            create #16 C x1: c5
            create #17 C x1: c6
            patch #1 A x9: a
            patch #20 D x3: d
        "#]],
    );
}
