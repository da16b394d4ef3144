//! Pods, probes, status, node status, the kubelet's server.
