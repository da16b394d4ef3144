//! What names, keys and values may look like, and upstream's words for what may not.
//!
//! Every function returns the list of complaints, empty when the value is fine. The patterns
//! are matched by hand (no regex engine), but the messages quote upstream's expressions.
//! Source: apimachinery v0.36.3 pkg/util/validation/validation.go, pkg/api/validate/content,
//! pkg/api/validation/generic.go; apiserver v0.36.3 pkg/storage/names/generate.go.

use crate::field::{FieldError, Path};

mod address;

pub use address::{
    cidr_for_legacy_field, ip_for_legacy_field, parse_cidr_sloppy, parse_ip_sloppy, strict_cidr,
    strict_ip,
};

const LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// Longest DNS label and longest name part of a label key.
pub const LABEL_MAX: usize = 63;
/// Longest DNS subdomain.
pub const SUBDOMAIN_MAX: usize = 253;
/// All annotations of an object together, keys and values.
pub const ANNOTATIONS_MAX_BYTES: usize = 256 * 1024;

/// Checks a name; `prefix` says that something will be appended (`generateName`).
pub type NameCheck = fn(name: &str, prefix: bool) -> Vec<String>;

/// `must be no more than N characters`.
#[must_use]
pub fn max_length_message(length: usize) -> String {
    format!("must be no more than {length} characters")
}

/// The message about a pattern, with examples.
#[must_use]
pub fn pattern_message(message: &str, pattern: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{pattern}')");
    }
    let mut out = format!("{message} (e.g. ");
    for (i, example) in examples.iter().enumerate() {
        if i > 0 {
            out.push_str(" or ");
        }
        out.push_str(&format!("'{example}', "));
    }
    out.push_str(&format!("regex used for validation is '{pattern}')"));
    out
}

/// `must be between LOW and HIGH, inclusive`.
#[must_use]
pub fn range_message(low: i64, high: i64) -> String {
    format!("must be between {low} and {high}, inclusive")
}

fn lower_or_digit(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// First and last by `edge`, the rest by `inner`; not empty.
fn framed(text: &str, first: fn(u8) -> bool, inner: fn(u8) -> bool, last: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(a), Some(z)) => {
            first(*a) && inner_all(bytes, inner) && (bytes.len() == 1 || last(*z))
        }
        _ => false,
    }
}

fn inner_all(bytes: &[u8], inner: fn(u8) -> bool) -> bool {
    bytes.iter().skip(1).all(|b| inner(*b))
}

fn is_label(text: &str) -> bool {
    framed(
        text,
        lower_or_digit,
        |b| lower_or_digit(b) || b == b'-',
        lower_or_digit,
    )
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

fn is_key(text: &str) -> bool {
    framed(
        text,
        |b| b.is_ascii_alphanumeric(),
        |b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'),
        |b| b.is_ascii_alphanumeric(),
    )
}

fn max_length(value: &str, max: usize) -> Vec<String> {
    if value.len() > max {
        vec![max_length_message(max)]
    } else {
        Vec::new()
    }
}

/// A DNS label of RFC 1123 in lower case.
#[must_use]
pub fn dns1123_label(value: &str) -> Vec<String> {
    let mut errors = max_length(value, LABEL_MAX);
    if !is_label(value) {
        errors.push(if is_subdomain(value) {
            "must not contain dots".to_owned()
        } else {
            pattern_message(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL,
                &["my-name", "123-abc"],
            )
        });
    }
    errors
}

/// A DNS subdomain of RFC 1123 in lower case.
#[must_use]
pub fn dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = max_length(value, SUBDOMAIN_MAX);
    if !is_subdomain(value) {
        errors.push(pattern_message(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN,
            &["example.com"],
        ));
    }
    errors
}

/// As [`dns1123_subdomain`], but labels may also hold `_` (search paths of `dnsConfig`).
#[must_use]
pub fn dns1123_subdomain_with_underscore(value: &str) -> Vec<String> {
    let label = |text: &str| {
        let text = text.strip_prefix('_').unwrap_or(text);
        framed(
            text,
            lower_or_digit,
            |b| lower_or_digit(b) || matches!(b, b'-' | b'_'),
            lower_or_digit,
        )
    };
    let mut errors = max_length(value, SUBDOMAIN_MAX);
    if !value.split('.').all(label) {
        errors.push(pattern_message(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
            "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*",
            &["example.com"],
        ));
    }
    errors
}

/// `*.` and a DNS subdomain.
#[must_use]
pub fn wildcard_dns1123_subdomain(value: &str) -> Vec<String> {
    let mut errors = max_length(value, SUBDOMAIN_MAX);
    if !value.strip_prefix("*.").is_some_and(is_subdomain) {
        errors.push(pattern_message(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
            &format!("\\*\\.{SUBDOMAIN}"),
            &["*.example.com"],
        ));
    }
    errors
}

/// A DNS label of RFC 1035 in lower case (Services).
#[must_use]
pub fn dns1035_label(value: &str) -> Vec<String> {
    let mut errors = max_length(value, LABEL_MAX);
    if !framed(
        value,
        |b| b.is_ascii_lowercase(),
        |b| lower_or_digit(b) || b == b'-',
        lower_or_digit,
    ) {
        errors.push(pattern_message(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    errors
}

/// A label key: a name with an optional DNS prefix (also finalizers, annotation keys, taints).
#[must_use]
pub fn qualified_name(value: &str) -> Vec<String> {
    const MESSAGE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
    const EXAMPLES: [&str; 3] = ["MyName", "my.name", "123-abc"];
    let mut errors = Vec::new();
    let name = match value.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                let complaints = dns1123_subdomain(prefix);
                errors.extend(complaints.iter().map(|text| format!("prefix part {text}")));
            }
            *name
        }
        _ => {
            let pattern = pattern_message(MESSAGE, KEY, &EXAMPLES);
            return vec![format!(
                "a valid label key {pattern} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        errors.push(format!("name part {}", max_length_message(LABEL_MAX)));
    }
    if !is_key(name) {
        errors.push(format!(
            "name part {}",
            pattern_message(MESSAGE, KEY, &EXAMPLES)
        ));
    }
    errors
}

/// A label value.
#[must_use]
pub fn label_value(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LABEL_MAX {
        errors.push(format!("must be no more than {LABEL_MAX} bytes"));
    }
    if !value.is_empty() && !is_key(value) {
        errors.push(pattern_message(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            &format!("({KEY})?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    errors
}

/// An identifier of C.
#[must_use]
pub fn c_identifier(value: &str) -> Vec<String> {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if framed(
        value,
        |b| b.is_ascii_alphabetic() || b == b'_',
        inner,
        inner,
    ) {
        return Vec::new();
    }
    vec![pattern_message(
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_'",
        "[A-Za-z_][A-Za-z0-9_]*",
        &["my_name", "MY_NAME", "MyName"],
    )]
}

/// A port number.
#[must_use]
pub fn port_number(port: i64) -> Vec<String> {
    in_range(port, 1, 65535)
}

/// A number within bounds.
#[must_use]
pub fn in_range(value: i64, low: i64, high: i64) -> Vec<String> {
    if (low..=high).contains(&value) {
        Vec::new()
    } else {
        vec![range_message(low, high)]
    }
}

/// A user or group id.
#[must_use]
pub fn user_or_group_id(id: i64) -> Vec<String> {
    in_range(id, 0, i64::from(i32::MAX))
}

/// The name of a port (IANA service name).
#[must_use]
pub fn port_name(value: &str) -> Vec<String> {
    let mut errors = max_length(value, 15);
    let bytes = value.as_bytes();
    if bytes.is_empty() || !bytes.iter().all(|b| lower_or_digit(*b) || *b == b'-') {
        errors.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !bytes.iter().any(u8::is_ascii_lowercase) {
        errors.push("must contain at least one letter (a-z)".to_owned());
    }
    if value.contains("--") {
        errors.push("must not contain consecutive hyphens".to_owned());
    }
    if value.starts_with('-') || value.ends_with('-') {
        errors.push("must not begin or end with a hyphen".to_owned());
    }
    errors
}

/// A percentage such as `25%`.
#[must_use]
pub fn percent(value: &str) -> Vec<String> {
    let digits = value.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Vec::new();
    }
    vec![pattern_message(
        "a valid percent string must be a numeric string followed by an ending '%'",
        "[0-9]+%",
        &["1%", "93%"],
    )]
}

/// The name of an HTTP header (probes).
#[must_use]
pub fn http_header_name(value: &str) -> Vec<String> {
    if !value.is_empty()
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    {
        return Vec::new();
    }
    vec![pattern_message(
        "a valid HTTP header must consist of alphanumeric characters or '-'",
        "[-A-Za-z0-9]+",
        &["X-Header-Name"],
    )]
}

fn dot_complaint(value: &str) -> Option<String> {
    match value {
        "." => Some("must not be '.'".to_owned()),
        ".." => Some("must not be '..'".to_owned()),
        _ if value.starts_with("..") => Some("must not start with '..'".to_owned()),
        _ => None,
    }
}

/// The name of an environment variable, the old strict rule.
#[must_use]
pub fn env_var_name(value: &str) -> Vec<String> {
    let first = |b: u8| b.is_ascii_alphabetic() || matches!(b, b'-' | b'.' | b'_');
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let mut errors = Vec::new();
    if !framed(value, first, inner, inner) {
        errors.push(pattern_message(
            "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit",
            "[-._a-zA-Z][-._a-zA-Z0-9]*",
            &["my.env-name", "MY_ENV.NAME", "MyEnvName1"],
        ));
    }
    errors.extend(dot_complaint(value));
    errors
}

/// The name of an environment variable, the rule in force: printable ASCII without `=`.
#[must_use]
pub fn relaxed_env_var_name(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if value
        .bytes()
        .any(|b| !(0x20..0x7f).contains(&b) || b == b'=')
    {
        return vec![
            "a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned(),
        ];
    }
    Vec::new()
}

/// A key of a ConfigMap or Secret.
#[must_use]
pub fn config_map_key(value: &str) -> Vec<String> {
    let mut errors = max_length(value, SUBDOMAIN_MAX);
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if value.is_empty() || !value.bytes().all(good) {
        errors.push(pattern_message(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    errors.extend(dot_complaint(value));
    errors
}

/// A decimal integer without leading zeros or plus sign.
#[must_use]
pub fn decimal_integer(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec!["must be non-empty".to_owned()];
    }
    let digits = value.strip_prefix('-').unwrap_or(value);
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    let good = value == "0" || (plain && !digits.is_empty() && !digits.starts_with('0'));
    if good {
        return Vec::new();
    }
    vec!["must be a valid decimal integer in canonical form".to_owned()]
}

fn mask_trailing_dash(name: &str) -> std::borrow::Cow<'_, str> {
    // Upstream cuts two characters and adds one: the length shrinks by one, as there.
    if name.len() > 1 && name.ends_with('-') && name.is_char_boundary(name.len() - 2) {
        return format!("{}a", &name[..name.len() - 2]).into();
    }
    name.into()
}

/// Most kinds: a DNS subdomain.
#[must_use]
pub fn name_is_subdomain(name: &str, prefix: bool) -> Vec<String> {
    if prefix {
        dns1123_subdomain(&mask_trailing_dash(name))
    } else {
        dns1123_subdomain(name)
    }
}

/// Namespaces and others: a DNS label.
#[must_use]
pub fn name_is_label(name: &str, prefix: bool) -> Vec<String> {
    if prefix {
        dns1123_label(&mask_trailing_dash(name))
    } else {
        dns1123_label(name)
    }
}

/// Services of old: a label of RFC 1035.
#[must_use]
pub fn name_is_dns1035_label(name: &str, prefix: bool) -> Vec<String> {
    if prefix {
        dns1035_label(&mask_trailing_dash(name))
    } else {
        dns1035_label(name)
    }
}

/// RBAC kinds and CSRs' kin: anything that fits in one segment of a URL path.
#[must_use]
pub fn name_is_path_segment(name: &str, prefix: bool) -> Vec<String> {
    if !prefix && matches!(name, "." | "..") {
        return vec![format!("may not be '{name}'")];
    }
    let parts = ["/", "%"].into_iter().filter(|part| name.contains(part));
    parts
        .map(|part| format!("may not contain '{part}'"))
        .collect()
}

/// Labels of an object.
pub fn labels<'a>(
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    path: &Path,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels {
        errors.extend(
            qualified_name(key)
                .into_iter()
                .map(|m| FieldError::invalid(path, key, m)),
        );
        errors.extend(
            label_value(value)
                .into_iter()
                .map(|m| FieldError::invalid(path, value, m)),
        );
    }
    errors
}

/// Annotations of an object: keys and total size.
pub fn annotations<'a>(
    annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
    path: &Path,
) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut total = 0_usize;
    for (key, value) in annotations {
        let complaints = qualified_name(&key.to_lowercase());
        errors.extend(
            complaints
                .into_iter()
                .map(|m| FieldError::invalid(path, key, m)),
        );
        total += key.len() + value.len();
    }
    if total > ANNOTATIONS_MAX_BYTES {
        errors.push(FieldError::too_long(path, ANNOTATIONS_MAX_BYTES));
    }
    errors
}

const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const GENERATED_MAX: usize = 58;

/// `base` and five random characters; `below(n)` draws a number in `0..n`.
pub fn generate_name(base: &str, below: impl FnMut(u64) -> u64) -> String {
    let mut end = base.len().min(GENERATED_MAX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{}", &base[..end], random_suffix(5, below))
}

/// `length` characters of upstream's alphabet without vowels and look-alikes.
pub fn random_suffix(length: usize, mut below: impl FnMut(u64) -> u64) -> String {
    let count = ALPHABET.len() as u64;
    let pick = |_| {
        let index = usize::try_from(below(count) % count).unwrap_or_default();
        char::from(ALPHABET[index])
    };
    (0..length).map(pick).collect()
}

/// A random version 4 UUID, which every object gets.
pub fn random_uid(mut below: impl FnMut(u64) -> u64) -> String {
    let quarter = |_| u128::from(below(1 << 32)) & 0xffff_ffff;
    let random = (0..4)
        .map(quarter)
        .fold(0_u128, |all, part| all << 32 | part);
    let number = random & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
    let hex = format!("{number:032x}");
    let parts = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ];
    parts.join("-")
}

/// Encodes a hash as upstream does for `pod-template-hash`: digits of the decimal number
/// mapped on the alphabet. Source: apimachinery pkg/util/rand SafeEncodeString.
#[must_use]
pub fn safe_encode(text: &str) -> String {
    text.bytes()
        .map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()]))
        .collect()
}

#[cfg(test)]
mod tests;
