//! emptyDir, projected, hostPath; atomic writes; mounts.
