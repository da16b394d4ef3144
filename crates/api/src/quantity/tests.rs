//! Canonical texts that upstream prints, and laws of arithmetic.

use super::{Format, Quantity};
use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};

#[track_caller]
fn check(text: &str, want: &str) {
    let got = Quantity::parse(text).map_or_else(|e| e.to_string(), |q| q.to_string());
    assert_eq!(got, want, "{text}");
}

#[test]
fn canonical_text() {
    for (text, want) in [
        ("0", "0"),
        ("0n", "0"),
        ("00", "0"),
        ("0Gi", "0"),
        ("-", "0"),
        (".", "0"),
        ("100m", "100m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.5", "500m"),
        ("1.5", "1500m"),
        ("0.1", "100m"),
        ("1.001", "1.001"),
        ("1.000", "1"),
        ("+5", "+5"),
        ("005", "005"),
        ("1Gi", "1Gi"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("1025Ki", "1025Ki"),
        ("8Gi", "8Gi"),
        ("512", "512"),
        ("1Ki", "1Ki"),
        ("0.5Ki", "512"),
        ("1Ti", "1Ti"),
        ("1000k", "1M"),
        ("1234567k", "1234567k"),
        ("12e6", "12e6"),
        ("1e3", "1e3"),
        ("1E", "1E"),
        ("12E3", "12E3"),
        ("1e0", "1e0"),
        ("100e1", "1e3"),
        ("5e-1", "500e-3"),
        ("0.0000000001", "1n"),
        ("-0.0000000001", "-1n"),
        ("1.0000000001", "1000000001n"),
        ("0.0001Ki", "102400u"),
        ("9223372036854775807", "9223372036854775807"),
        ("10000000000000000000", "10E"),
        ("16Ei", "9223372036854775807"),
        ("-1.5Gi", "-1536Mi"),
        ("3.14Gi", "3371549327360m"),
    ] {
        check(text, want);
    }
}

#[test]
fn refusals() {
    let format = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    let suffix = "unable to parse quantity's suffix";
    let numeric = "unable to parse numeric part of quantity";
    for (text, want) in [
        ("", format),
        ("1.1.M", format),
        ("1+1.0M", format),
        ("0.1mi", suffix),
        ("1é", format),
        ("aoeu", format),
        (" 1", format),
        ("1 ", format),
        ("1mm", suffix),
        ("1e", suffix),
        ("1e99999999999999999999", suffix),
        ("1K", suffix),
        ("1234567890123456789012345678901234567890", numeric),
    ] {
        check(text, want);
    }
}

/// Upstream writes "1", "100" and "1": the exponent goes where no suffix has it.
#[test]
fn magnitudes_beyond_the_suffixes_are_kept() {
    check("1000E", "1e21");
    check("100000000000000000000000", "100e21");
    check("100e2147483647", "1000e2147483646");
    let mut sum = Quantity::parse("1Ei").unwrap();
    sum.mul(1024);
    assert_eq!(sum.to_string(), "1024Ei");
}

#[test]
fn values() {
    let q = |text: &str| Quantity::parse(text).unwrap();
    assert_eq!(q("1.5").value(), 2);
    assert_eq!(q("100m").millis(), 100);
    assert_eq!(q("1n").millis(), 1);
    assert_eq!(q("1Gi").value(), 1 << 30);
    assert_eq!(q("1500m").as_i64(), None);
    assert_eq!(q("2000m").as_i64(), Some(2));
    assert!(q("1Ki") > q("1k") && q("1e30") > q("9E") && q("-1") < q("0"));
    assert_eq!(q("1000m"), q("1"));
    assert_eq!(q("1e2147483647").value(), i64::MAX);
    let mut sum = Quantity::ZERO;
    sum.add(&q("100m"));
    sum.add(&q("1"));
    assert_eq!(sum.to_string(), "1100m");
    sum.sub(&q("100m"));
    assert_eq!(sum.to_string(), "1");
    let mut memory = q("1Gi");
    memory.add(&q("512Mi"));
    assert_eq!(memory.to_string(), "1536Mi");
    assert_eq!(
        Quantity::from_millis(250, Format::DecimalSi).to_string(),
        "250m"
    );
}

fn quantity() -> impl Strategy<Value = Quantity> {
    (any::<i64>(), -9..9_i32).prop_map(|(mantissa, scale)| Quantity {
        mantissa: i128::from(mantissa),
        scale,
        format: Format::DecimalSi,
        text: None,
    })
}

proptest! {
    #[test]
    fn any_text_is_safe(text in "[-+0-9.eEinumkKMGTPi é]{0,50}") {
        if let Ok(q) = Quantity::parse(&text) {
            let _ = (q.value(), q.millis(), q.as_i64(), q.as_f64(), q.to_string(), q == q.clone());
            let mut sum = q.clone();
            sum.add(&q);
            sum.sub(&q);
            sum.mul(i64::MIN);
            sum.round_up(0);
            let _ = sum.to_string();
        }
    }

    #[test]
    fn text_round_trips(q in quantity()) {
        let text = q.to_string();
        prop_assert_eq!(&Quantity::parse(&text).unwrap(), &q);
    }

    #[test]
    fn sum_and_order_agree(a in quantity(), b in quantity()) {
        let mut sum = a.clone();
        sum.add(&b);
        prop_assert_eq!(sum > a, b.sign() > 0);
        sum.sub(&b);
        prop_assert!(sum == a);
    }
}
