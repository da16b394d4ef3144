//! What is committed is what the generator makes.

/// Also runs the Go program where Go and its modules are at hand.
#[test]
fn everything_is_up_to_date() {
    super::run(true).unwrap();
}
