//! CRI service: sandboxes, containers, exec, logs, statistics.
