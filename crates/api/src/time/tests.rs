//! Both forms of time.

use super::{format_micros, format_seconds, parse};

#[test]
fn forms() {
    let time = parse("2026-11-21T07:23:44.1234567+02:00").unwrap();
    assert_eq!(format_seconds(time), "2026-11-21T05:23:44Z");
    assert_eq!(format_micros(time), "2026-11-21T05:23:44.123456Z");
    assert_eq!(
        format_seconds(parse("0001-01-01T00:00:00Z").unwrap()),
        "0001-01-01T00:00:00Z"
    );
    for broken in [
        "",
        "2026-11-21",
        "2026-11-21 05:23:44Z",
        "2026-13-21T05:23:44Z",
        "x",
    ] {
        assert!(parse(broken).is_err(), "{broken}");
    }
}
