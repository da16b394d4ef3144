//! Escapes that Go's two printers disagree on.

use super::{json_string, quote};
use expect_test::{Expect, expect};

#[track_caller]
fn check(value: &str, want: Expect) {
    let mut out = quote(value);
    out.push(' ');
    json_string(&mut out, value);
    want.assert_eq(&out);
}

#[test]
fn escapes() {
    check("a\"b\\", expect![[r#""a\"b\\" "a\"b\\""#]]);
    check("<&>", expect![[r#""<&>" "\u003c\u0026\u003e""#]]);
    check("\u{1}\u{7}\n", expect![[r#""\x01\a\n" "\u0001\u0007\n""#]]);
    check(
        "é\u{a0}\u{2028}",
        expect![[r#""é\u00a0\u2028" "é \u2028""#]],
    );
}
