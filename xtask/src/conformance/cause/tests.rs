use expect_test::{Expect, expect};

use super::cause;

#[track_caller]
fn check(message: &str, expect: Expect) {
    expect.assert_eq(&cause(message));
}

#[test]
fn names_and_numbers_do_not_tell_causes_apart() {
    check(
        "failed: Timed out after 300.001s.\nExpected pod \"web-5f7d9-x2x4z\" of 10.99.0.1:443 to be Running",
        expect![[r#"Timed out after N. Expected pod "…" of … to be Running"#]],
    );
    check(
        "failed: Expected\n    <int64>: 2\nto be equivalent to\n    <int>: 1",
        expect!["Expected <int64>: N to be equivalent to <int>: N"],
    );
    check(
        "panicked: pods a-1b2c3d4e, b-1b2c3d4e c-9f9f9f9f not found | `x`",
        expect!["pods …, … not found / 'x'"],
    );
}

#[test]
fn a_cause_is_one_short_line() {
    check(
        &"word ".repeat(100),
        expect![
            "word word word word word word word word word word word word word word word word word word word word word word word word word word word word …"
        ],
    );
    check("", expect![""]);
}
