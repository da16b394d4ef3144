//! Log lines of a process: level from `TRANSOM_LOG`, one line an event, on standard error.

use tracing_subscriber::EnvFilter;

/// Installs the subscriber of this process. A second call changes nothing.
pub fn init(default_level: &str) {
    let filter =
        EnvFilter::try_from_env("TRANSOM_LOG").unwrap_or_else(|_| EnvFilter::new(default_level));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .try_init();
}
