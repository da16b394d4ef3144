//! Ages at each change of form; Go durations there and back.

use super::{format_nanos, human, parse_nanos};
use proptest::prelude::proptest;

#[test]
fn ages() {
    for (seconds, want) in [
        (-2, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (10_860, "3h1m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (176_400, "2d1h"),
        (691_200, "8d"),
        (63_071_999, "729d"),
        (63_072_000, "2y"),
        (63_158_400, "2y1d"),
        (252_288_000, "8y"),
    ] {
        assert_eq!(human(seconds), want, "{seconds}");
    }
}

#[test]
fn go_durations() {
    for (text, want) in [
        ("0", "0s"),
        ("1h15m30.5s", "1h15m30.5s"),
        ("90s", "1m30s"),
        ("1.5ms", "1.5ms"),
        ("-1.5h", "-1h30m0s"),
        ("2us", "2µs"),
        (".5s", "500ms"),
        ("1000000h", "1000000h0m0s"),
        ("", "time: invalid duration \"\""),
        ("3", "time: missing unit in duration \"3\""),
        ("3d", "time: unknown unit \"d\" in duration \"3d\""),
        ("-", "time: invalid duration \"-\""),
        ("9999999h", "time: invalid duration \"9999999h\""),
    ] {
        let got = parse_nanos(text).map_or_else(|e| e.to_string(), format_nanos);
        assert_eq!(got, want, "{text}");
    }
}

proptest! {
    #[test]
    fn round_trip(nanos: i64) {
        assert_eq!(parse_nanos(&format_nanos(nanos)).ok(), (nanos != i64::MIN).then_some(nanos).or(Some(i64::MIN)));
    }

    #[test]
    fn any_text_is_safe(text in "[-+0-9.hmsuµné]{0,40}") {
        let _ = parse_nanos(&text);
    }
}
