//! Names at the edges of each rule.

use super::*;
use expect_test::{Expect, expect};

#[track_caller]
fn check(complaints: &[String], want: Expect) {
    want.assert_eq(&complaints.join(" | "));
}

#[track_caller]
fn good(rule: fn(&str) -> Vec<String>, values: &[&str]) {
    for value in values {
        assert_eq!(rule(value), Vec::<String>::new(), "{value:?}");
    }
}

#[track_caller]
fn bad(rule: fn(&str) -> Vec<String>, values: &[&str]) {
    for value in values {
        assert_ne!(rule(value), Vec::<String>::new(), "{value:?}");
    }
}

#[test]
fn uids_say_that_they_are_random() {
    check(
        &[random_uid(|_| 0), random_uid(|bound| bound - 1)],
        expect!["00000000-0000-4000-8000-000000000000 | ffffffff-ffff-4fff-bfff-ffffffffffff"],
    );
    let mut count = 0;
    let uid = random_uid(|_| {
        count += 1;
        count
    });
    check(&[uid], expect!["00000001-0000-4002-8000-000300000004"]);
}

#[test]
fn labels_and_subdomains() {
    good(
        dns1123_label,
        &["a", "0", "a-1", "a--1--2--b", &"a".repeat(63)],
    );
    bad(
        dns1123_label,
        &[
            "",
            "-",
            "a-",
            "-a",
            "A",
            "a_b",
            "a.b",
            " a",
            &"a".repeat(64),
            "é",
        ],
    );
    good(dns1123_subdomain, &["a.b", "1.2.3", "a-b.c--d"]);
    bad(
        dns1123_subdomain,
        &["", ".", "a..b", "a.", ".a", "a.-b", "A.b"],
    );
    good(dns1035_label, &["a1", "a-b"]);
    bad(dns1035_label, &["1a", "", "a."]);
    check(&dns1123_label("a.b"), expect!["must not contain dots"]);
    check(
        &dns1123_label("A"),
        expect![
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        ],
    );
}

#[test]
fn keys_and_values() {
    good(qualified_name, &["a", "A.b_c-1", "example.com/x", "1/2"]);
    bad(
        qualified_name,
        &["", "/a", "a/", "a/b/c", "-a", "X.com/a", &"a".repeat(64)],
    );
    good(label_value, &["", "a", "1.2"]);
    bad(label_value, &["-", "a b", &"a".repeat(64)]);
    check(
        &qualified_name("/"),
        expect![
            "prefix part must be non-empty | name part must be non-empty | name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        ],
    );
}

#[test]
fn ports_variables_keys() {
    good(port_name, &["http", "a-1"]);
    bad(port_name, &["", "1", "a--b", "-a", "A", "abcdefghijklmnop"]);
    good(relaxed_env_var_name, &["a b", "1", "A.B"]);
    bad(relaxed_env_var_name, &["", "a=b", "é", "a\tb"]);
    good(env_var_name, &["A_b.c-d"]);
    bad(env_var_name, &["1a", "..", "a b"]);
    bad(config_map_key, &["", "..a", ".", "a/b"]);
    good(decimal_integer, &["0", "-5", "12345678901234567890"]);
    bad(decimal_integer, &["-0", "00", "+1", "", "-", "1.0"]);
    good(percent, &["0%", "100%"]);
    bad(percent, &["%", "1", "1.5%"]);
    good(wildcard_dns1123_subdomain, &["*.a.b"]);
    bad(wildcard_dns1123_subdomain, &["a.b", "*"]);
}

#[test]
fn generated_names_fit_a_label() {
    let mut n = 0;
    let name = generate_name(&"é".repeat(40), |count| {
        n += 5;
        n % count
    });
    assert!(name.len() <= 63);
    assert!(name.ends_with("hpxb7") || name.len() == 63, "{name}");
    assert_eq!(name_is_subdomain("web-", true), Vec::<String>::new());
}

#[test]
fn addresses() {
    let path = Path::new("ip");
    let check = |value: &str, want: Expect| {
        let all: Vec<_> = strict_ip(&path, value)
            .iter()
            .map(ToString::to_string)
            .collect();
        want.assert_eq(&all.join(" | "));
    };
    check("10.0.0.1", expect![""]);
    check(
        "010.0.0.1",
        expect![[r#"ip: Invalid value: "010.0.0.1": must not have leading 0s"#]],
    );
    check(
        "::ffff:1.2.3.4",
        expect![[
            r#"ip: Invalid value: "::ffff:1.2.3.4": must not be an IPv4-mapped IPv6 address"#
        ]],
    );
    check(
        "2001:DB8::1",
        expect![[r#"ip: Invalid value: "2001:DB8::1": must be in canonical form ("2001:db8::1")"#]],
    );
    check(
        "1.2.3",
        expect![[
            r#"ip: Invalid value: "1.2.3": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#
        ]],
    );
    let check = |value: &str, want: Expect| {
        let all: Vec<_> = strict_cidr(&path, value)
            .iter()
            .map(ToString::to_string)
            .collect();
        want.assert_eq(&all.join(" | "));
    };
    check("10.0.0.0/8", expect![""]);
    check("::/0", expect![""]);
    check(
        "10.0.0.1/8",
        expect![[
            r#"ip: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length"#
        ]],
    );
    check(
        "10.0.0.0/33",
        expect![[
            r#"ip: Invalid value: "10.0.0.0/33": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"#
        ]],
    );
}
