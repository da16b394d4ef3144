//! The part of a page that a task writes, between two marks; the rest is written by people.

/// The page with that part anew; none if the page has no place for it.
pub(crate) fn with_part(page: &str, (begin, end): (&str, &str), part: &str) -> Option<String> {
    let (before, rest) = page.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}{part}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::with_part;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let marks = ("<1>", "<2>");
        let new = with_part("a <1>old<2> b", marks, "new");
        assert_eq!(new.as_deref(), Some("a <1>new<2> b"));
        for page in ["", "a <1> b", "<2> <1>"] {
            assert_eq!(with_part(page, marks, "new"), None, "{page:?}");
        }
    }
}
