//! Numbers, and items behind each other.

use bytes::Bytes;

use super::{Digits, items};

#[test]
fn digits_are_as_format_writes_them() {
    for number in [0, 1, 9, 10, 4096, 18_446_744_073_709_551_615] {
        assert_eq!(Digits::of(number).as_bytes(), number.to_string().as_bytes());
    }
}

#[test]
fn items_have_commas_between() {
    let row = registry::RESOURCES
        .iter()
        .find(|row| row.kind == "ConfigMap");
    let row = row.unwrap();
    let full = Bytes::from_static(br#"{"metadata":{"name":"a"},"data":{}}"#);
    let bare = Bytes::from_static(br#"{"metadata":{}}"#);
    let mut parts = Vec::new();
    let all = [(&full, 7), (&bare, 12)].into_iter();
    items(row, &row.views[0], all, &mut parts);
    assert_eq!(
        String::from_utf8(parts.concat()).unwrap(),
        r#"{"metadata":{"resourceVersion":"7","name":"a"},"data":{}},{"metadata":{"resourceVersion":"12"}}"#
    );
}
