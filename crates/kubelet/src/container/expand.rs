//! `$(NAME)` in commands, arguments and values. `$$(NAME)` is the text `$(NAME)`; an unknown name
//! stays as it is written.
//!
//! Source: kubernetes v1.36 third_party/forked/golang/expansion/expand.go.

/// Replaces the references that `lookup` knows.
pub fn expand(text: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        result.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            result.push('$');
            rest = after;
        } else if let Some(inner) = rest.strip_prefix('(')
            && let Some(end) = inner.find(')')
        {
            let name = &inner[..end];
            match lookup(name) {
                Some(value) => result.push_str(&value),
                None => {
                    result.push_str("$(");
                    result.push_str(name);
                    result.push(')');
                }
            }
            rest = &inner[end + 1..];
        } else {
            result.push('$');
        }
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstreams_cases() {
        let lookup = |name: &str| (name == "A").then(|| "1".to_owned());
        for (text, expected) in [
            ("$(A)", "1"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(B)-$(A)", "$(B)-1"),
            ("$(A", "$(A"),
            ("$A $", "$A $"),
            ("a$(A)b$(A)", "a1b1"),
        ] {
            assert_eq!(expand(text, lookup), expected, "{text}");
        }
    }
}
