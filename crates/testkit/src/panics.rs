//! What panicked in this thread: tasks that panic are caught by those who spawned them, which in
//! production start them again; in a simulation each is a bug.

use std::cell::RefCell;
use std::panic::{set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static SEEN: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// From now on panics of this thread are remembered; they are told as before.
pub(crate) fn remember() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            SEEN.with_borrow_mut(|seen| {
                if let Some(seen) = seen {
                    seen.push(info.to_string());
                }
            });
            before(info);
        }));
    });
    SEEN.set(Some(Vec::new()));
}

/// What was remembered; nothing more is.
pub(crate) fn seen() -> Vec<String> {
    SEEN.take().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use base::{Shutdown, tasks};

    #[tokio::test]
    async fn a_task_that_panicked_is_remembered() {
        super::remember();
        let task = tasks::spawn("test", &Shutdown::new(), async {
            panic!("expected by the test")
        });
        task.join().await;
        let seen = super::seen();
        assert!(
            seen.len() == 1 && seen[0].contains("expected by the test"),
            "{seen:?}"
        );
        assert!(super::seen().is_empty());
    }
}
