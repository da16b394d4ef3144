//! Invariants that hold or are reported: abort in tests, an error line in production.

/// Reports a broken invariant. Use through [`always!`](crate::always) and [`never!`](crate::never).
#[track_caller]
pub fn violated(what: &str) {
    let place = std::panic::Location::caller();
    tracing::error!(invariant = what, place = %place, "invariant violated");
    if cfg!(debug_assertions) {
        panic!("invariant violated at {place}: {what}");
    }
}

/// Checks what must be true; evaluates to the condition so that callers can degrade.
#[macro_export]
macro_rules! always {
    ($condition:expr, $what:literal) => {{
        let holds = $condition;
        if !holds {
            $crate::violated($what);
        }
        holds
    }};
}

/// Checks what must not be true; evaluates to the condition so that callers can degrade.
#[macro_export]
macro_rules! never {
    ($condition:expr, $what:literal) => {{
        let occurred = $condition;
        if occurred {
            $crate::violated($what);
        }
        occurred
    }};
}
