//! Clock, randomness, back-off, shutdown, named tasks, error chain, telemetry; no Kubernetes.
